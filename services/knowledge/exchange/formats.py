"""Every file of the knowledge base, in and out.

`read` gives what a file says and what is wrong in it; `write` gives a file that reads back as
exactly the same rows. Both are pure: nobody is asked for a permission, nothing is stored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from services.core.errors import Broken
from services.knowledge.document import Kind, Row, canonical, from_rows, to_rows
from services.knowledge.exchange.checking import HOLDERS
from services.knowledge.exchange.csv_files import read_csv, write_csv
from services.knowledge.exchange.documents import only, rows_of
from services.knowledge.exchange.gathering import Gathering, lineage
from services.knowledge.exchange.model import Format, ReadFile, ReadRow
from services.knowledge.exchange.naming import (
    MIME,
    file_name,
    names_part,
    part_of_name,
    slug,
    told_part,
)
from services.knowledge.exchange.table_writing import one_table, sheets
from services.knowledge.exchange.xlsx_sheets import read_xlsx
from services.knowledge.exchange.xlsx_writing import write_xlsx
from services.knowledge.exchange.yaml_files import read_yaml, write_yaml
from services.knowledge.json_reading import read_json
from services.knowledge.reading import MAX_BYTES, read_module
from services.knowledge.sections import pointer
from services.knowledge.shapes import NotImportable
from services.knowledge.writing import to_module


def read(
    name: str, data: bytes, *, part: str | None = None, known: Collection[str] = ()
) -> ReadFile:
    """What a file says; nothing in it is ever executed.

    Args:
        name: its ending says what it is; a table may be named after its part.
        data: the file's bytes.
        part: pointer of the part that a table without a `section` column belongs to.
        known: pointers of unregistered sections that the knowledge base has: a table may
            add to them without declaring them.

    Raises:
        NotImportable: nothing can be taken from it; says where and why.
    """
    format = _format(name)
    if len(data) > MAX_BYTES:
        raise NotImportable(
            f"The file is too large: {len(data) / 1e6:.1f} MB, where at most "
            f"{MAX_BYTES / 1e6:.0f} MB are read.",
            "Is this the right file? A large one can be imported part by part.",
        )
    if format is Format.MODULE:
        return _from_document(name, format, read_module(data))
    if format is Format.JSON:
        return _from_document(name, format, read_json(data))
    if format is Format.YAML:
        return _from_document(name, format, read_yaml(data))
    gathering = Gathering(known)
    told = part or part_of_name(name)
    could_be_whole = (read_csv if format is Format.CSV else read_xlsx)(gathering, data, told)
    return _from_tables(name, format, gathering, could_be_whole)


def write(
    rows: Iterable[Row], format: Format, *, part: str | None = None
) -> tuple[str, str, bytes]:
    """A file with the whole knowledge base, or with one part of it.

    Args:
        rows: of the whole knowledge base.
        part: pointer of a section, a table or a text; None for everything.

    Returns:
        Its name, its media type and its bytes; the same ones for the same content.

    Raises:
        Invalid: the format has no room for so much.
        Broken: something in it can't be written to any file.
    """
    document = from_rows(rows)
    if part is not None:
        document = only(document, part)
    try:
        data = _written(document, format, part)
    except UnicodeEncodeError:
        raise Broken(
            "The knowledge base holds half a character, which no file can hold; "
            "nothing was exported.",
            "Search for texts that end in an unreadable sign, and correct them.",
        ) from None
    return file_name(format, part), MIME[format], data


def _written(document: Mapping[str, Any], format: Format, part: str | None) -> bytes:
    if format is Format.MODULE:
        return to_module(document)
    if format is Format.JSON:
        return canonical(document)
    if format is Format.YAML:
        return write_yaml(document)
    if format is Format.XLSX:
        return write_xlsx(sheets(to_rows(document), part))
    return write_csv(one_table(to_rows(document), part))


def _format(name: str) -> Format:
    ending = name.strip().lower().rpartition(".")[2]
    if ending == "yml":
        return Format.YAML
    try:
        return Format(ending)
    except ValueError:
        raise NotImportable(
            "Only .py, .json, .yaml, .csv and .xlsx files can be imported.",
            _INSTEAD.get(ending, "Rename the file if it is one of these."),
        ) from None


_SAVE_AS = "Open it in your spreadsheet program and save it as .xlsx or .csv."
_INSTEAD = dict.fromkeys(("xls", "xlsm", "xlsb", "ods", "numbers"), _SAVE_AS)


def _from_document(name: str, format: Format, document: Mapping[str, Any]) -> ReadFile:
    rows, faults = rows_of(document)
    alone = _alone(name, document)
    damaged = {where for fault in faults for where in lineage(fault.at.column)}
    tables = _tables(rows) if alone is None else [alone]
    return ReadFile(
        name,
        format,
        tuple(rows),
        tuple(faults),
        tuple(where for where in tables if where not in damaged),
        alone is None and not faults and bool(document or not names_part(name)),
    )


def _from_tables(name: str, format: Format, gathering: Gathering, could_be_whole: bool) -> ReadFile:
    rows, tables = gathering.finish()
    top = [pointer((row.key,)) for row in rows if not row.section]
    alone = len(top) == 1 and slug(top[0]) == told_part(name)
    is_all = gathering.says_top or (not rows and not names_part(name))
    whole = could_be_whole and is_all and not alone
    return ReadFile(
        name,
        format,
        tuple(rows),
        tuple(gathering.faults),
        tuple(tables),
        whole and not gathering.faults,
        tuple(gathering.notes),
    )


def _alone(name: str, document: Mapping[str, Any]) -> str | None:
    """The part that the file is an export of, by its name: it holds nothing besides."""
    told = told_part(name)
    path: tuple[str, ...] = ()
    held: Any = document
    while isinstance(held, Mapping) and len(held) == 1:
        path = (*path, next(iter(held)))
        held = held[path[-1]]
        if slug(pointer(path)) == told:
            return pointer(path)
    return part_of_name(name) if not document else None


def _tables(rows: Iterable[ReadRow]) -> list[str]:
    """What a person sees as one table: registered ones, and groups that nobody registered."""
    return [
        where
        for row in rows
        if row.kind is Kind.GROUP
        and row.section in HOLDERS
        and (where := row.section + pointer((row.key,))) not in HOLDERS
    ]
