"""CSV: one table in a file, as any program writes it."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator

from services.knowledge.exchange.cells import KEY, harmless, restored
from services.knowledge.exchange.gathering import Gathering
from services.knowledge.exchange.table_writing import WrittenTable
from services.knowledge.exchange.tables import NoTable, Table
from services.knowledge.shapes import NotImportable

_SEPARATORS = ",;\t|"
MAX_ROWS = 1_048_576
"""As many as a sheet of a workbook has."""

_MOST_COLUMNS = 500_000
_LONGEST = 1 << 30  # of a cell; the file itself is limited

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", ""),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)


def read_csv(gathering: Gathering, data: bytes, part: str | None) -> bool:
    """Take in the table of a CSV file.

    Returns:
        Whether it has the columns of a whole knowledge base.

    Raises:
        NotImportable: it is no CSV, or no table of entries.
    """
    text = decoded(data, gathering)
    text, separator = _separated(text)
    if separator != ",":
        name = {";": "semicolons", "\t": "tabs", "|": "bars"}[separator]
        gathering.notes[f"The columns are separated by {name}."] = None
    _refuse_endless_rows(text, separator)
    rows = _rows(text, separator)
    heading = next((row for row in rows if any(row[1])), None)
    if heading is None:
        raise NotImportable(
            "The file is empty.", "The first row must name the columns: key, text and so on."
        )
    try:
        table = Table(gathering, heading, restored, part)
    except NoTable as wrong:
        raise NotImportable(
            wrong.message, wrong.fix, ((f"row {wrong.row}", wrong.message),)
        ) from None
    table.read(rows)
    return table.names_kinds


def decoded(data: bytes, gathering: Gathering) -> str:
    """The text of a file in whichever encoding it is; what had to be assumed is noted.

    Raises:
        NotImportable: it is no text.
    """
    for mark, encoding, name in _MARKS:
        if data.startswith(mark):
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError:
                raise _no_text(name or "UTF-8") from None
            if name:
                gathering.notes[f"The file is {name}."] = None
            return text
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        raise _no_text("UTF-8") from None
    gathering.notes[
        "The file is not UTF-8; it was read as Windows-1252 (Western European). "
        "Look at accents and dashes before you import it."
    ] = None
    return text


def _no_text(encoding: str) -> NotImportable:
    return NotImportable(
        f"The file is not {encoding} text.", "Save it as CSV in UTF-8 and try again."
    )


def _separated(text: str) -> tuple[str, str]:
    """The table, and the sign between its columns: that with which the headings make sense."""
    first, _newline, rest = text.partition("\n")
    told = first.rstrip("\r")
    if told.lower().startswith("sep=") and len(told) == 5 and told[4] in _SEPARATORS:
        return rest, told[4]
    head = text.lstrip("\r\n ")[:10_000]
    best, most = ",", 0
    for separator in _SEPARATORS:
        try:
            headings = next(csv.reader(io.StringIO(head, newline=""), delimiter=separator), [])
        except csv.Error:
            continue
        if KEY in (cell.strip().lower() for cell in headings) and len(headings) > most:
            best, most = separator, len(headings)
    return text, best


def _refuse_endless_rows(text: str, separator: str) -> None:
    for number, line in enumerate(io.StringIO(text), 1):
        if len(line) > _MOST_COLUMNS and line.count(separator) > _MOST_COLUMNS:
            raise NotImportable(
                f"Line {number} has more than {_MOST_COLUMNS:,} columns.", "Is this the right file?"
            )


def _rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(_LONGEST)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    number = 0
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            line = reader.line_num
            raise NotImportable(
                f"The file is not valid CSV: {error} in line {line}.",
                "A quoted cell does not end, or holds a quote that is not doubled.",
                ((f"line {line}", str(error)),),
            ) from None
        if cells is None:
            return
        number += 1
        if number > MAX_ROWS:
            raise NotImportable(
                f"The file has more than {MAX_ROWS:,} rows.", "Import it in several files."
            )
        yield number, cells


def write_csv(table: WrittenTable) -> bytes:
    """A CSV file that spreadsheet programs open as it is: UTF-8 with its mark, commas."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(harmless(heading) for heading in table.headings)
    writer.writerows(_cells(table.rows))
    return codecs.BOM_UTF8 + out.getvalue().encode()


def _cells(rows: Iterable[tuple[str | None, ...]]) -> Iterator[list[str]]:
    for row in rows:
        yield ["" if cell is None else harmless(cell) for cell in row]
