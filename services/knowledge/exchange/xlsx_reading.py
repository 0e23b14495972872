"""Workbooks of any program, read as what their cells say; nothing in them is ever computed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from services.knowledge.exchange.tables import Bad, Cell
from services.knowledge.exchange.xlsx_preflight import (
    MAX_ROWS,
    check,
    damaged,
    no_workbook,
    too_much,
)
from services.knowledge.exchange.xlsx_text import meant

MAX_CHARACTERS = 400_000_000
"""Of all cells together: a text that many cells share counts for each of them."""

# What the library leaves out (colours, drawings, rules of other programs) nobody misses here.
warnings.filterwarnings("ignore", category=UserWarning, module=r"openpyxl\.")


@dataclass(frozen=True)
class Sheet:
    """One sheet of a workbook."""

    name: str
    is_hidden: bool
    merged: int  # places where cells are merged
    source: Any  # openpyxl's ReadOnlyWorksheet


class Workbook:
    """A workbook, opened.

    Raises:
        NotImportable: it is none, it is encrypted, has macros, or unfolds too far.
    """

    def __init__(self, data: bytes) -> None:
        checked = check(data)
        from openpyxl import load_workbook

        self.numbers = 0  # of the sheet read last: cells that are numbers, not texts
        self._characters = 0
        try:
            book = load_workbook(BytesIO(data), read_only=True, keep_links=False)
        except Exception as error:  # of whatever kind: the library trusts what it reads
            raise _failed(error) from None
        if len(book.sheetnames) < checked.sheets:
            raise no_workbook()  # the library passes over a sheet that isn't there
        self.sheets: list[Sheet] = []
        for sheet in book.worksheets:
            # The one place that tells which member of the package a sheet is.
            merged = checked.tables.get(getattr(sheet, "_worksheet_path", ""))
            if merged is None:
                raise no_workbook()
            self.sheets.append(Sheet(sheet.title, sheet.sheet_state != "visible", merged, sheet))

    def rows(self, sheet: Sheet) -> Iterator[tuple[int, list[Cell]]]:
        """Number and cells of each row that has any."""
        self.numbers = 0
        sheet.source.reset_dimensions()  # what a sheet says of its size need not be true
        lines = sheet.source.iter_rows(max_row=MAX_ROWS)
        number = 0
        while True:
            number += 1
            try:
                line = next(lines, None)
            except Exception as error:
                raise _failed(error) from None
            if line is None:
                return
            cells = [self._cell(cell.data_type, cell.value) for cell in line]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                yield number, cells

    def _cell(self, kind: str | None, value: Any) -> Cell:
        if value is None:
            return ""
        if kind == "s":
            text = meant(value)
            self._characters += len(text)
            if self._characters > MAX_CHARACTERS:
                raise too_much()
            return text
        if kind == "f":
            told = value if isinstance(value, str) else getattr(value, "text", None)
            return Bad(
                str(told or "=")[:80],
                "The cell is a formula; what it last gave may not be what it gives now.",
                "Copy the cell and paste it as a value, or format it as text and type it.",
            )
        if kind == "b":
            return "TRUE" if value else "FALSE"
        if kind == "e":
            said = str(value)
            return Bad(
                said[:80],
                f"The cell holds an error ({said[:20]}).",
                "Write the text that was meant.",
            )
        if kind == "n" and isinstance(value, int | float):
            self.numbers += 1
            return _number(value)
        if kind == "d":
            return Bad(
                str(value)[:80],
                "The spreadsheet program made a date of this cell; what was typed is gone.",
                "Format the cell as text and type it again.",
            )
        raise damaged(f"a cell is of the kind {str(kind)[:20]}")


def _failed(error: Exception) -> Exception:
    if isinstance(error, KeyError | IndexError | TypeError | AttributeError):
        return no_workbook()
    return damaged(f"it can't be read ({type(error).__name__})")


def _number(value: int | float) -> Cell:
    if isinstance(value, int):
        if abs(value) < 10**15:
            return str(value)
        text = ""
    else:
        # Of what was typed a program keeps 15 digits, and writes 0.1 as 0.10000000000000001.
        text = f"{value:.15g}"
        if abs(value) < 1e15 and sum(sign.isdigit() for sign in text.strip("-0.")) < 15:
            return text
    return Bad(
        text or str(value)[:80],
        "The spreadsheet program made a number of this cell, and may have rounded it.",
        "Format the cell as text and type it again.",
    )
