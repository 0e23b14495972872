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

from services.knowledge.exchange.tables import Bad, Cell
from services.knowledge.exchange.xlsx_text import unescaped
from services.knowledge.shapes import NotImportable

MAX_UNPACKED = 256_000_000
"""Bytes of XML in one workbook."""

MAX_ELEMENTS = 20_000_000
MAX_CHARACTERS = 400_000_000
"""Of all cells together: a text that many cells share counts for each of them."""

MAX_COLUMNS = 16_384
_LONGEST = 1_000_000  # of a text in XML; Excel's own are at most 32,767
_DEEPEST = 50
_CHUNK = 1 << 16

_NAMESPACES = (
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    "http://purl.oclc.org/ooxml/spreadsheetml/main",
)
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
_SAVE = "Save it anew as .xlsx in your spreadsheet program, or as CSV in UTF-8."
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
            raise NotImportable("The workbook holds macros, which are not read.", _SAVE)
        targets = self._targets("_rels/.rels", "")
        main = next(
            (target for _id, (kind, target) in targets.items() if kind.endswith("/officeDocument")),
            "xl/workbook.xml",
        )
        if main not in names:
            raise _no_workbook()
        relations = posixpath.join(
            posixpath.dirname(main), "_rels", posixpath.basename(main) + ".rels"
        )
        self._parts = self._targets(relations, posixpath.dirname(main))
        self._read_sheets(main)
        self._strings = self._read_strings()
        self._dates = self._read_dates()

    def rows(self, sheet: Sheet) -> Iterator[tuple[int, list[Cell]]]:
        """Number and cells of each row that has any."""
        reader = _SheetReader(self._strings, self._dates, self._count)
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
            if _local(name) == "sheet":
                told = next((facts[key] for key in _RELATION_ID if key in facts), "")
                kind, member = self._parts.get(told, ("", ""))
                if kind.endswith("/worksheet"):
                    hidden = facts.get("state", "visible") != "visible"
                    self.sheets.append(Sheet(facts.get("name", ""), hidden, member))

        self._all(main, start)
        there = set(self._zip.namelist())
        if any(sheet.member not in there for sheet in self.sheets):
            raise _no_workbook()

    def _read_strings(self) -> list[str]:
        member = self._of_kind("sharedStrings")
        if member is None:
            return []
        reader = _StringReader(self._count)
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
            local = _local(name)
            if local == "numFmt":
                code = _NO_DATE.sub("", facts.get("formatCode", "")).lower()
                formats[facts.get("numFmtId", "")] = any(sign in code for sign in "dmyhs")
            elif local == "cellXfs":
                inside[0] = True
            elif local == "cellStyles":
                inside[0] = False
            elif local == "xf" and inside[0]:
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

    def _parsed(self, member: str, reader: _Reader) -> Iterator[list[Any]]:
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
                f"The workbook is damaged: {expat.ErrorString(error.code)} in {member[:80]}.", _SAVE
            ) from None
        except _DAMAGED as error:
            raise NotImportable(
                f"The workbook is damaged: {member[:80]} can't be unpacked "
                f"({type(error).__name__}).",
                _SAVE,
            ) from None

    def _open(self) -> None:
        self._elements += 1
        self._depth += 1
        if self._elements > MAX_ELEMENTS or self._depth > _DEEPEST:
            raise _too_much()

    def _close(self, _name: str) -> None:
        self._depth -= 1

    def _count(self, characters: int) -> None:
        self._characters += characters
        if self._characters > MAX_CHARACTERS:
            raise _too_much()


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
        raise _no_workbook() from None
    if len(infos) > 10_000 or sum(info.file_size for info in infos) > MAX_UNPACKED:
        raise _too_much()
    if any(info.compress_type not in _PACKED for info in infos):
        raise _no_workbook()
    if any(info.flag_bits & 1 for info in infos):
        raise NotImportable("The workbook is protected by a password.", "Remove it and try again.")
    return found


def _no_workbook() -> NotImportable:
    return NotImportable("The file is not an .xlsx workbook, or it is damaged.", _SAVE)


def _too_much() -> NotImportable:
    return NotImportable(
        "The workbook unfolds into more than a knowledge base can hold.", "Is this the right file?"
    )


def _parser() -> expat.XMLParserType:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    return parser


def _refuse_doctype(*_facts: object) -> None:
    raise NotImportable("The workbook holds a document type, which no spreadsheet has.", _SAVE)


def _local(name: str) -> str:
    space, _blank, local = name.rpartition(" ")
    return local if space in _NAMESPACES else ""


class _Reader:
    """Takes what the XML parser meets."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count
        self._known: dict[str, str] = {}
        self._text: list[str] | None = None
        self._length = 0
        self.ready: list[Any] = []

    def start(self, name: str, facts: dict[str, str]) -> None:
        """An element begins."""
        raise NotImplementedError

    def end(self, name: str) -> None:
        """An element ends."""
        raise NotImplementedError

    def text(self, text: str) -> None:
        """Characters of an element."""
        if self._text is not None:
            self._length += len(text)
            if self._length > _LONGEST:
                raise _too_much()
            self._count(len(text))
            self._text.append(text)

    def _name(self, name: str) -> str:
        local = self._known.get(name)
        if local is None:
            local = self._known[name] = _local(name)
        return local


class _StringReader(_Reader):
    """The texts that cells share."""

    def __init__(self, count: Callable[[int], None]) -> None:
        super().__init__(count)
        self.strings: list[str] = []
        self._pieces: list[str] = []
        self._aside = 0

    def start(self, name: str, facts: dict[str, str]) -> None:
        """A text, or a piece of one in its own script."""
        local = self._name(name)
        if local == "si":
            self._pieces, self._length = [], 0
        elif local == "rPh":  # how it is pronounced: no part of the text
            self._aside += 1
        elif local == "t" and not self._aside:
            self._text = self._pieces

    def end(self, name: str) -> None:
        """The text is complete."""
        local = self._name(name)
        if local == "t":
            self._text = None
        elif local == "rPh":
            self._aside -= 1
        elif local == "si":
            self.strings.append(unescaped("".join(self._pieces)))


class _SheetReader(_Reader):
    """The rows of a sheet."""

    def __init__(
        self, strings: list[str], dates: frozenset[int], count: Callable[[int], None]
    ) -> None:
        super().__init__(count)
        self.merged = self.numbers = 0
        self._strings, self._dates = strings, dates
        self._row: list[Cell] = []
        self._number = 0
        self._column = -1
        self._facts: dict[str, str] = {}
        self._pieces: list[str] = []
        self._aside = 0
        self._is_formula = False
        self._columns: dict[str, int] = {}

    def start(self, name: str, facts: dict[str, str]) -> None:
        """A row, a cell, or what is in one."""
        local = self._name(name)
        if local == "c":
            self._facts, self._pieces, self._is_formula = facts, [], False
            self._length = 0
            told = facts.get("r")
            self._column = self._index(told) if told else self._column + 1
        elif local == "v" or (local == "t" and not self._aside):
            self._text = self._pieces
        elif local == "f":
            self._is_formula = True
        elif local == "row":
            told = facts.get("r", "")
            sound = told.isascii() and told.isdigit() and len(told) < 9
            self._number = int(told) if sound else self._number + 1
            self._row, self._column = [], -1
        elif local == "rPh":
            self._aside += 1
        elif local == "mergeCell":
            self.merged += 1

    def end(self, name: str) -> None:
        """The cell or the row is complete."""
        local = self._name(name)
        if local in ("v", "t"):
            self._text = None
        elif local == "c":
            cell = self._cell("".join(self._pieces))
            if cell:
                row, column = self._row, self._column
                if not 0 <= column < MAX_COLUMNS:
                    raise _no_workbook()
                if len(row) < column:
                    self._blanks(column - len(row))
                if len(row) == column:
                    row.append(cell)
                else:
                    row[column] = cell
        elif local == "row":
            if self._row:
                self.ready.append((self._number, self._row))
        elif local == "rPh":
            self._aside -= 1

    def _blanks(self, count: int) -> None:
        self._count(20 * count)  # a far column costs as much as the cells before it
        self._row.extend([""] * count)

    def _index(self, told: str) -> int:
        letters = told.rstrip("0123456789")
        index = self._columns.get(letters)
        if index is None:
            index = 0
            for letter in letters[:4].upper():
                if not "A" <= letter <= "Z":
                    raise _no_workbook()
                index = index * 26 + ord(letter) - 64
            self._columns[letters] = index = index - 1
        return index

    def _cell(self, said: str) -> Cell:
        kind = self._facts.get("t", "n")
        if kind == "inlineStr":
            return unescaped(said) if not self._is_formula else _formula(said)
        if self._is_formula:
            return _formula(said)
        if not said:
            return ""
        if kind == "s":
            text = self._shared(said)
            self._count(len(text))
            return text
        if kind == "str":
            return unescaped(said)
        if kind == "b":
            return "TRUE" if said.strip() == "1" else "FALSE"
        if kind == "e":
            return Bad(
                said[:80],
                f"The cell holds an error ({said[:20]}).",
                "Write the text that was meant.",
            )
        if kind == "d" or self._is_date():
            return Bad(
                said[:80],
                "The spreadsheet program made a date of this cell; what was typed is gone.",
                "Format the cell as text and type it again.",
            )
        self.numbers += 1
        return _number(said)

    def _shared(self, said: str) -> str:
        told = said.strip()
        if not (told.isascii() and told.isdigit() and len(told) < 10):
            raise _no_workbook()
        index = int(told)
        if index >= len(self._strings):
            raise _no_workbook()
        return self._strings[index]

    def _is_date(self) -> bool:
        told = self._facts.get("s", "")
        return told.isascii() and told.isdigit() and len(told) < 9 and int(told) in self._dates


def _formula(said: str) -> Bad:
    return Bad(
        said[:80],
        "The cell is a formula; what it last gave may not be what it gives now.",
        "Copy the cell and paste it as a value, or format it as text and type it.",
    )


def _number(said: str) -> Cell:
    told = said.strip()
    if re.fullmatch(r"-?[0-9]{1,15}", told):
        return told
    try:
        number = float(told)
    except ValueError:
        raise _no_workbook() from None
    # Of what was typed a program keeps 15 digits, and writes 0.1 as 0.10000000000000001.
    text = f"{number:.15g}"
    if abs(number) < 1e15 and sum(sign.isdigit() for sign in text.strip("-0.")) < 15:
        return text
    return Bad(
        told[:80],
        "The spreadsheet program made a number of this cell, and may have rounded it.",
        "Format the cell as text and type it again.",
    )
