"""Workbooks of any program, read as what their cells say; nothing in them is ever computed.

The XML is read as a stream, without document types, entities, or anything outside the file, and
within limits of size: a small file can't unfold into something large.
"""

from __future__ import annotations

import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from xml.parsers import expat

from services.knowledge.exchange.tables import Cell
from services.knowledge.exchange.xlsx_cells import (
    SAVE,
    Reader,
    SheetReader,
    StringReader,
    local,
    no_workbook,
    too_much,
)
from services.knowledge.shapes import NotImportable

MAX_UNPACKED = 256_000_000
"""Bytes of XML in one workbook."""

MAX_ELEMENTS = 8_000_000
MAX_CHARACTERS = 400_000_000
"""Of all cells together: a text that many cells share counts for each of them."""

_DEEPEST = 50
_CHUNK = 1 << 16

_RELATION_ID = (
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships id",
    "http://purl.oclc.org/ooxml/officeDocument/relationships id",
)
# What Python's zipfile, zlib and encodings raise where a file is not what it says.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    NotImplementedError,
    RuntimeError,
)
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DATES = frozenset([*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)])
_NO_DATE = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.|_.|\*.')


@dataclass(frozen=True)
class Sheet:
    """One sheet of a workbook."""

    name: str
    is_hidden: bool
    member: str


@dataclass
class Workbook:
    """A workbook, opened.

    Raises:
        NotImportable: it is none, it is encrypted, has macros, or unfolds too far.
    """

    data: bytes
    sheets: list[Sheet] = field(default_factory=list)
    merged: int = 0  # of the sheet read last: merged places
    numbers: int = 0  # and cells that are numbers, not texts

    def __post_init__(self) -> None:
        self._elements = self._characters = self._depth = 0
        self._zip = _opened(self.data)
        names = set(self._zip.namelist())
        if any("vbaproject" in name.lower() for name in names):
            raise NotImportable("The workbook holds macros, which are not read.", SAVE)
        targets = self._targets("_rels/.rels", "")
        main = next(
            (target for _id, (kind, target) in targets.items() if kind.endswith("/officeDocument")),
            "xl/workbook.xml",
        )
        if main not in names:
            raise no_workbook()
        relations = posixpath.join(
            posixpath.dirname(main), "_rels", posixpath.basename(main) + ".rels"
        )
        self._parts = self._targets(relations, posixpath.dirname(main))
        self._read_sheets(main)
        self._strings = self._read_strings()
        self._dates = self._read_dates()

    def rows(self, sheet: Sheet) -> Iterator[tuple[int, list[Cell]]]:
        """Number and cells of each row that has any."""
        reader = SheetReader(self._strings, self._dates, self._count)
        for rows in self._parsed(sheet.member, reader):
            yield from rows
            rows.clear()
        self.merged, self.numbers = reader.merged, reader.numbers

    # --- parts of the package ---

    def _targets(self, member: str, folder: str) -> dict[str, tuple[str, str]]:
        """Kind and member of every relation in a file of relations, by id."""
        found: dict[str, tuple[str, str]] = {}

        def start(name: str, facts: dict[str, str]) -> None:
            if name.endswith(" Relationship") and facts.get("TargetMode") != "External":
                target = facts.get("Target", "")
                inner = target[1:] if target.startswith("/") else posixpath.join(folder, target)
                place = posixpath.normpath(inner)
                found[facts.get("Id", "")] = (facts.get("Type", ""), place)

        if member in self._zip.namelist():
            self._all(member, start)
        return found

    def _of_kind(self, kind: str) -> str | None:
        found = (target for told, target in self._parts.values() if told.endswith("/" + kind))
        target = next(found, None)
        return target if target in self._zip.namelist() else None

    def _read_sheets(self, main: str) -> None:
        def start(name: str, facts: dict[str, str]) -> None:
            if local(name) == "sheet":
                told = next((facts[key] for key in _RELATION_ID if key in facts), "")
                kind, member = self._parts.get(told, ("", ""))
                if kind.endswith("/worksheet"):
                    hidden = facts.get("state", "visible") != "visible"
                    self.sheets.append(Sheet(facts.get("name", ""), hidden, member))

        self._all(main, start)
        there = set(self._zip.namelist())
        if any(sheet.member not in there for sheet in self.sheets):
            raise no_workbook()

    def _read_strings(self) -> list[str]:
        member = self._of_kind("sharedStrings")
        if member is None:
            return []
        reader = StringReader(self._count)
        for _nothing in self._parsed(member, reader):
            pass
        return reader.strings

    def _read_dates(self) -> frozenset[int]:
        """Numbers of the cell styles that show a date."""
        member = self._of_kind("styles")
        formats: dict[str, bool] = {}
        styles: list[bool] = []
        inside = [False]

        def start(name: str, facts: dict[str, str]) -> None:
            inner = local(name)
            if inner == "numFmt":
                code = _NO_DATE.sub("", facts.get("formatCode", "")).lower()
                formats[facts.get("numFmtId", "")] = any(sign in code for sign in "dmyhs")
            elif inner == "cellXfs":
                inside[0] = True
            elif inner == "cellStyles":
                inside[0] = False
            elif inner == "xf" and inside[0]:
                told = facts.get("numFmtId", "0")
                known = told.isascii() and told.isdigit() and int(told[:9]) in _DATES
                styles.append(formats.get(told, known))

        if member is not None:
            self._all(member, start)
        return frozenset(number for number, is_date in enumerate(styles) if is_date)

    # --- XML ---

    def _all(self, member: str, start: Callable[[str, dict[str, str]], None]) -> None:
        parser = _parser()

        def counted(name: str, facts: dict[str, str]) -> None:
            self._open()
            start(name, facts)

        parser.StartElementHandler = counted
        parser.EndElementHandler = self._close
        for _chunk in self._fed(member, parser):
            pass

    def _parsed(self, member: str, reader: Reader) -> Iterator[list[Any]]:
        parser = _parser()
        opened, closed = self._open, self._close
        starts, ends = reader.start, reader.end

        def start(name: str, facts: dict[str, str]) -> None:
            opened()
            starts(name, facts)

        def end(name: str) -> None:
            closed(name)
            ends(name)

        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = reader.text
        for _chunk in self._fed(member, parser):
            yield reader.ready

    def _fed(self, member: str, parser: expat.XMLParserType) -> Iterator[None]:
        self._depth = 0  # a sheet that is no table is left in the middle
        try:
            with self._zip.open(member) as file:
                while chunk := file.read(_CHUNK):
                    parser.Parse(chunk, False)
                    yield None
                parser.Parse(b"", True)
                yield None
        except expat.ExpatError as error:
            raise NotImportable(
                f"The workbook is damaged: {expat.ErrorString(error.code)} in {member[:80]}.", SAVE
            ) from None
        except _DAMAGED as error:
            raise NotImportable(
                f"The workbook is damaged: {member[:80]} can't be unpacked "
                f"({type(error).__name__}).",
                SAVE,
            ) from None

    def _open(self) -> None:
        self._elements += 1
        self._depth += 1
        if self._elements > MAX_ELEMENTS or self._depth > _DEEPEST:
            raise too_much()

    def _close(self, _name: str) -> None:
        self._depth -= 1

    def _count(self, characters: int) -> None:
        self._characters += characters
        if self._characters > MAX_CHARACTERS:
            raise too_much()


def _opened(data: bytes) -> zipfile.ZipFile:
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise NotImportable(
            "The workbook is protected by a password, or is an old .xls file.",
            "Remove the password, or save it as .xlsx; then try again.",
        )
    try:
        found = zipfile.ZipFile(BytesIO(data))
        infos = found.infolist()
    except _DAMAGED:
        raise no_workbook() from None
    if len(infos) > 10_000 or sum(info.file_size for info in infos) > MAX_UNPACKED:
        raise too_much()
    if any(info.compress_type not in _PACKED for info in infos):
        raise no_workbook()
    if any(info.flag_bits & 1 for info in infos):
        raise NotImportable("The workbook is protected by a password.", "Remove it and try again.")
    return found


def _parser() -> expat.XMLParserType:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    return parser


def _refuse_doctype(*_facts: object) -> None:
    raise NotImportable("The workbook holds a document type, which no spreadsheet has.", SAVE)
