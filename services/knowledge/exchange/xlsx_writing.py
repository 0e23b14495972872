"""A workbook for people: one sheet for each part, every cell a text, none ever computed."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from services.core.errors import Broken, Invalid
from services.knowledge.exchange.cells import KEY, KIND, SECTION, Column, heading_of
from services.knowledge.exchange.table_writing import WrittenTable
from services.knowledge.exchange.xlsx_text import exact, pieces

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.format import Format as Style

MAX_ROWS = 1_048_576
MAX_COLUMNS = 16_384

_WHEN = datetime(1980, 1, 1, tzinfo=UTC)
_WIDTHS = {SECTION: 28, KIND: 9, KEY: 26}
_WIDE, _NARROW = 80, 46
_SHORT = 5_000
"""Characters that fit into one cell in any case."""


def write_xlsx(tables: Sequence[WrittenTable]) -> bytes:
    """A workbook with a sheet for each table; the same bytes for the same content.

    Raises:
        Invalid: a sheet has no room for a table.
        Broken: the server has no room for the files that it is put together from.
    """
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import FileCreateError

    out = io.BytesIO()
    try:
        with TemporaryDirectory(prefix="workbook-") as folder:
            book = Workbook(out, {"constant_memory": True, "tmpdir": folder})
            book.set_properties({"created": _WHEN})
            styles = _Styles.of(book)
            for table in tables:
                _write_sheet(book, styles, table)
            book.close()
    except (OSError, FileCreateError) as error:
        raise Broken(
            f"The workbook could not be written ({type(error).__name__}). Nothing was exported.",
            "Make room in the server's folder for temporary files, or export JSON or CSV.",
        ) from None
    return out.getvalue()


@dataclass(frozen=True)
class _Styles:
    heading: Style
    key: Style
    text: Style

    @classmethod
    def of(cls, book: Workbook) -> _Styles:
        cell = {"num_format": "@", "valign": "top", "bottom": 7, "bottom_color": "#CBD5E1"}
        heading = {"num_format": "@", "bold": True, "font_color": "white", "bg_color": "#334155"}
        return cls(
            book.add_format(heading | {"valign": "vcenter"}),
            book.add_format(cell | {"bold": True}),
            book.add_format(cell | {"text_wrap": True}),
        )


def _write_sheet(book: Workbook, styles: _Styles, table: WrittenTable) -> None:
    needed = _needed(table)
    columns = [
        replace(column, piece=piece)
        for column, count in zip(table.columns, needed, strict=True)
        for piece in range(1, count + 1)
    ]
    sheet = book.add_worksheet(_sheet_name(table.title))
    for index, column in enumerate(columns):
        style = styles.key if _is_key(column) else styles.text
        sheet.set_column(index, index, _width(columns, column), style)
    key = next(i for i, column in enumerate(columns) if _is_key(column))
    sheet.freeze_panes(1, key + 1)
    sheet.autofilter(0, 0, len(table.rows), len(columns) - 1)
    # write_string alone: write() would guess numbers, formulas and links.
    write, wrong = sheet.write_string, 0
    for index, column in enumerate(columns):
        wrong |= write(0, index, exact(heading_of(column)), styles.heading)
    for number, row in enumerate(table.rows, 1):
        index = 0
        for column, cell, count in zip(table.columns, row, needed, strict=True):
            if cell is not None:  # a blank cell takes the style of its column
                style = styles.key if _is_key(column) else styles.text
                for offset, piece in enumerate(pieces(cell)):
                    wrong |= write(number, index + offset, piece, style)
            index += count
    if wrong:  # the library says so of what it did not write, or cut
        raise _no_room(table)


def _sheet_name(title: str) -> str:
    # What has a column for the section may be called anything that Excel takes.
    name = re.sub(r"[^\w ,.()&'-]+", " ", title)[:31].strip(" '")
    return (
        name
        if name and name.lower() != "history" and len(name.encode("utf-16-le")) < 64
        else "Entries"
    )


def _needed(table: WrittenTable) -> list[int]:
    """How many columns each column takes: more than one where a text is too long for a cell."""
    if len(table.rows) >= MAX_ROWS:
        raise Invalid(
            f"A sheet has room for {MAX_ROWS - 1:,} rows; {table.title} has {len(table.rows):,}. "
            "Nothing was exported.",
            "Export CSV or JSON, or one part at a time.",
        )
    needed = [1] * len(table.columns)
    for row in table.rows:
        for index, cell in enumerate(row):
            if cell is not None and len(cell) > _SHORT:
                needed[index] = max(needed[index], len(pieces(cell)))
    if sum(needed) > MAX_COLUMNS:
        raise _no_room(table)
    return needed


def _no_room(table: WrittenTable) -> Invalid:
    return Invalid(
        f"A text in {table.title} is too long for a workbook. Nothing was exported.",
        "Export JSON, YAML or CSV.",
    )


def _is_key(column: Column) -> bool:
    return column.name == KEY and not column.is_field


def _width(columns: Sequence[Column], column: Column) -> int:
    if not column.is_field and column.name in _WIDTHS:
        return _WIDTHS[column.name]
    return _WIDE if len(columns) <= 4 else _NARROW
