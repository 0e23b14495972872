"""Which sheets of a workbook are tables of entries, and which part each of them belongs to."""

from __future__ import annotations

from services.knowledge.exchange.cells import section_of
from services.knowledge.exchange.checking import Wrong
from services.knowledge.exchange.gathering import Gathering
from services.knowledge.exchange.model import Origin
from services.knowledge.exchange.tables import NoTable, Table
from services.knowledge.exchange.xlsx_reading import Sheet, Workbook
from services.knowledge.sections import part_at
from services.knowledge.shapes import NotImportable


def read_xlsx(gathering: Gathering, data: bytes, part: str | None) -> bool:
    """Take in the sheets of a workbook.

    Args:
        part: where the entries of a sheet lie whose name and columns tell no section.

    Returns:
        Whether one of them has the columns of a whole knowledge base.

    Raises:
        NotImportable: it is no workbook, or none of its sheets is a table of entries.
    """
    book = Workbook(data)
    could_be_whole = False
    read = 0
    wrong: list[NoTable] = []
    for sheet in book.sheets:
        try:
            table = _read_sheet(gathering, book, sheet, part)
        except NoTable as error:
            wrong.append(error)
            fault = Wrong("", f"The sheet is not read: {error.message}", error.fix)
            gathering.fault(Origin(sheet.name, error.row), "", fault, {}, None)
            continue
        if table is not None:
            read += 1
            could_be_whole |= table.names_kinds
    if read:
        return could_be_whole
    if wrong:
        raise NotImportable(wrong[0].message, wrong[0].fix)
    raise NotImportable(
        "The workbook is empty.", "The first row of a sheet must name the columns: key, text etc."
    )


def _read_sheet(
    gathering: Gathering, book: Workbook, sheet: Sheet, part: str | None
) -> Table | None:
    rows = book.rows(sheet)
    heading = next(((number, cells) for number, cells in rows if any(cells)), None)
    if heading is None:
        return None
    told = section_of(sheet.name)
    table = Table(gathering, heading, str, told if told and part_at(told) else part, sheet.name)
    table.read(rows)
    if sheet.is_hidden:
        gathering.notes[f"The sheet {sheet.name} is hidden; it is read like the others."] = None
    if sheet.merged:
        gathering.notes[
            f"The sheet {sheet.name} has {sheet.merged} merged cells: only the first of each "
            "holds its text, the others count as blank."
        ] = None
    if book.numbers:
        gathering.notes[
            f"The sheet {sheet.name} has {book.numbers} numbers where texts are expected: they "
            "are taken as they are shown. What was typed may have had other zeros or signs."
        ] = None
    return table
