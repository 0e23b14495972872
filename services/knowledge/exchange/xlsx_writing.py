"""A workbook for people: one sheet for each part, every cell a text.

Written directly, so that two exports of the same content are the same bytes, no cell is ever
computed, and every character comes back.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

from services.core.errors import Invalid
from services.knowledge.exchange.cells import KEY, KIND, SECTION, Column, heading_of
from services.knowledge.exchange.table_writing import WrittenTable
from services.knowledge.exchange.xlsx_text import MAX_CELL, escaped, pieces

MAX_ROWS = 1_048_576
MAX_COLUMNS = 16_384

_WHEN = (1980, 1, 1, 0, 0, 0)
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_OPEN_XML = "http://schemas.openxmlformats.org"
_MAIN = f'xmlns="{_OPEN_XML}/spreadsheetml/2006/main"'
_RELATIONS = f"{_OPEN_XML}/officeDocument/2006/relationships"
_PACKAGE = f"{_OPEN_XML}/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_WIDTHS = {SECTION: 28, KIND: 9, KEY: 26}
_WIDE, _NARROW = 80, 46

# Styles: 0 nothing, 1 a text (wrapped, at the top), 2 a heading, 3 a key.
_STYLES = f"""{_HEAD}<styleSheet {_MAIN}>\
<fonts count="3"><font><sz val="11"/><name val="Calibri"/></font>\
<font><b/><sz val="11"/><color rgb="FFFFFFFF"/><name val="Calibri"/></font>\
<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>\
<fills count="3"><fill><patternFill patternType="none"/></fill>\
<fill><patternFill patternType="gray125"/></fill>\
<fill><patternFill patternType="solid"><fgColor rgb="FF334155"/></patternFill></fill></fills>\
<borders count="2"><border/><border><bottom style="hair"><color rgb="FFCBD5E1"/></bottom></border>\
</borders><cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="4"><xf xfId="0"/>\
<xf numFmtId="49" borderId="1" xfId="0" applyNumberFormat="1" applyAlignment="1">\
<alignment vertical="top" wrapText="1"/></xf>\
<xf numFmtId="49" fontId="1" fillId="2" xfId="0" applyNumberFormat="1" applyAlignment="1">\
<alignment vertical="center"/></xf>\
<xf numFmtId="49" fontId="2" borderId="1" xfId="0" applyNumberFormat="1" applyAlignment="1">\
<alignment vertical="top"/></xf></cellXfs>\
<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>"""


def write_xlsx(tables: Sequence[WrittenTable]) -> bytes:
    """A workbook with a sheet for each table.

    Raises:
        Invalid: a sheet has no room for a table.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as book:
        for name, text in _frame(tables):
            book.writestr(_member(name), text)
        for number, table in enumerate(tables, 1):
            with book.open(_member(f"xl/worksheets/sheet{number}.xml"), "w") as file:
                for text in _sheet(_fitted(table)):
                    file.write(text.encode())
    return out.getvalue()


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _WHEN)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info


def _frame(tables: Sequence[WrittenTable]) -> Iterator[tuple[str, str]]:
    numbers = range(1, len(tables) + 1)
    kinds = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_TYPE}.worksheet+xml"/>'
        for n in numbers
    )
    yield (
        "[Content_Types].xml",
        f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>{kinds}</Types>',
    )
    yield (
        "_rels/.rels",
        f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
        f'Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    )
    sheets = "".join(
        f'<sheet name="{_attribute(_sheet_name(table.title))}" sheetId="{n}" r:id="rId{n}"/>'
        for n, table in zip(numbers, tables, strict=True)
    )
    yield (
        "xl/workbook.xml",
        f'{_HEAD}<workbook {_MAIN} xmlns:r="{_RELATIONS}"><sheets>{sheets}</sheets></workbook>',
    )
    targets = "".join(
        f'<Relationship Id="rId{n}" Type="{_RELATIONS}/worksheet" '
        f'Target="worksheets/sheet{n}.xml"/>'
        for n in numbers
    )
    yield (
        "xl/_rels/workbook.xml.rels",
        f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">{targets}'
        f'<Relationship Id="rId{len(tables) + 1}" Type="{_RELATIONS}/styles" '
        'Target="styles.xml"/></Relationships>',
    )
    yield "xl/styles.xml", _STYLES


def _sheet_name(title: str) -> str:
    # What has a column for the section may be called anything that Excel takes.
    name = re.sub(r"[^\w ,.()&'-]+", " ", title)[:31].strip(" '")
    return (
        name
        if name and name.lower() != "history" and len(name.encode("utf-16-le")) < 64
        else ("Entries")
    )


def _attribute(text: str) -> str:
    return escaped(text).replace('"', "&quot;")


def _fitted(table: WrittenTable) -> WrittenTable:
    """The table with columns that continue those in which a text is too long for a cell."""
    if len(table.rows) >= MAX_ROWS:
        raise Invalid(
            f"A sheet has room for {MAX_ROWS - 1:,} rows; {table.title} has {len(table.rows):,}. "
            "Nothing was exported.",
            "Export CSV or JSON, or one part at a time.",
        )
    needed = [1] * len(table.columns)
    for row in table.rows:
        for index, cell in enumerate(row):
            if cell is not None and 2 * len(cell) > MAX_CELL:
                needed[index] = max(needed[index], len(pieces(cell)))
    if sum(needed) > MAX_COLUMNS:
        raise Invalid(
            f"A text in {table.title} is too long for a workbook. Nothing was exported.",
            "Export JSON, YAML or CSV.",
        )
    if max(needed) == 1:
        return table
    columns = tuple(
        replace(column, piece=piece)
        for column, count in zip(table.columns, needed, strict=True)
        for piece in range(1, count + 1)
    )
    rows = [
        tuple(
            piece
            for cell, count in zip(row, needed, strict=True)
            for piece, _number in zip_longest(
                [cell] if cell is None or count == 1 else pieces(cell), range(count)
            )
        )
        for row in table.rows
    ]
    return WrittenTable(table.title, columns, rows)


def _sheet(table: WrittenTable) -> Iterator[str]:
    letters = [_letters(index) for index in range(len(table.columns))]
    last = f"{letters[-1]}{len(table.rows) + 1}"
    key = next(i for i, column in enumerate(table.columns) if _is_key(column))
    columns = "".join(
        f'<col min="{n}" max="{n}" width="{_width(table, column)}" '
        f'style="{3 if _is_key(column) else 1}" customWidth="1"/>'
        for n, column in enumerate(table.columns, 1)
    )
    corner = f"{_letters(key + 1)}2"
    yield (
        f'{_HEAD}<worksheet {_MAIN}><dimension ref="A1:{last}"/><sheetViews>'
        f'<sheetView workbookViewId="0"><pane xSplit="{key + 1}" ySplit="1" '
        f'topLeftCell="{corner}" activePane="bottomRight" state="frozen"/>'
        f'<selection pane="bottomRight" activeCell="{corner}" sqref="{corner}"/>'
        f'</sheetView></sheetViews><sheetFormatPr defaultRowHeight="15"/>'
        f"<cols>{columns}</cols><sheetData>"
    )
    headings = [heading_of(column) for column in table.columns]
    yield _row(1, letters, headings, [2] * len(letters))
    styles = [3 if _is_key(column) else 1 for column in table.columns]
    for number, row in enumerate(table.rows, 2):
        yield _row(number, letters, row, styles)
    yield f'</sheetData><autoFilter ref="A1:{last}"/></worksheet>'


def _is_key(column: Column) -> bool:
    return column.name == KEY and not column.is_field


def _width(table: WrittenTable, column: Column) -> int:
    if not column.is_field and column.name in _WIDTHS:
        return _WIDTHS[column.name]
    return _WIDE if len(table.columns) <= 4 else _NARROW


def _row(
    number: int, letters: Sequence[str], cells: Sequence[str | None], styles: Sequence[int]
) -> str:
    # A blank cell takes the style of its column.
    written = [
        f'<c r="{letter}{number}" s="{style}" t="inlineStr">'
        f'<is><t xml:space="preserve">{escaped(cell)}</t></is></c>'
        for letter, cell, style in zip(letters, cells, styles, strict=True)
        if cell is not None
    ]
    return f'<row r="{number}">{"".join(written)}</row>'


def _letters(index: int) -> str:
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
