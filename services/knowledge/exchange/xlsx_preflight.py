"""What a workbook is checked for before a library reads it: that a small file stays small.

Each member is unpacked once as a stream, and the XML of each is walked once. Nothing with a
document type goes on (so there are no entities), nothing that unfolds too far, and nothing of
which the library would leave out a part without saying so.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from xml.parsers import expat

from services.knowledge.shapes import NotImportable

MAX_UNPACKED = 256_000_000
"""Bytes of all members together."""

MAX_ELEMENTS = 6_000_000
MAX_AT_ONCE = 100_000
"""Elements that are held at the same time: a row of a sheet, a shared text, or a whole part."""

MAX_BLANKS = 20_000_000
"""Cells left out before others, in all rows together."""

MAX_ROWS = 1_048_576
MAX_COLUMNS = 16_384

_MAX_MEMBERS = 10_000
_MAX_STRINGS = 1_200_000
_MAX_SHARED = 4_000_000  # characters of formulas that cells share, for each of the cells
_LONGEST = 1_000_000  # text or tag in XML; Excel's own texts are at most 32,767 characters
_DEEPEST = 50
_CHUNK = 1 << 16

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_STRICT = "http://purl.oclc.org/ooxml/spreadsheetml/main"
# Parts that the library reads as a whole, whatever is in them; and parts that it never opens,
# which may be large, and in which a row or a cell is something else.
_WHOLE = re.compile(
    r"(?:styles|workbook|theme\d*|core|custom|\[content_types\])\.xml$|\.rels$", re.IGNORECASE
)
_UNREAD = re.compile(
    r"xl/(?:calcChain|comments|connections|metadata|pivot|externalLinks/|queryTables/|revisions/"
    r"|richData/|tables/|threadedComments/)|customXml/",
    re.IGNORECASE,
)
_MARKUP = re.compile(rb"[\xef\xbb\xbf\xfe\xff\0\s]*(?:<|$)")
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

SAVE = "Save it anew as .xlsx in your spreadsheet program, or as CSV in UTF-8."
"""What helps with a workbook that can't be read."""


def no_workbook() -> NotImportable:
    """It is none, or not whole."""
    return NotImportable("The file is not an .xlsx workbook, or it is damaged.", SAVE)


def damaged(what: str) -> NotImportable:
    """It is one, but something in it is wrong."""
    return NotImportable(f"The workbook is damaged: {what}.", SAVE)


def too_much() -> NotImportable:
    """A small file that becomes a large one."""
    return NotImportable(
        "The workbook unfolds into more than a knowledge base can hold.", "Is this the right file?"
    )


@dataclass
class Checked:
    """What was met on the way, and the library does not tell."""

    sheets: int = 0
    tables: dict[str, int] = field(default_factory=dict)  # by member: places that are merged


def check(data: bytes) -> Checked:
    """Refuse what can't be a workbook, and what may do harm.

    Raises:
        NotImportable: says why, and what to do.
    """
    package = _opened(data)
    if any("vbaproject" in name.lower() for name in package.namelist()):
        raise NotImportable("The workbook holds macros, which are not read.", SAVE)
    walk, unpacked = _Walk(), 0
    for info in package.infolist():
        part: _Part | None = walk.part(info.filename)
        try:
            with package.open(info) as file:
                while chunk := file.read(_CHUNK):
                    unpacked += len(chunk)
                    if unpacked > MAX_UNPACKED:
                        raise too_much()
                    part = part if part is None or part.fed(chunk) else None
        except _DAMAGED as error:
            place = f"{info.filename[:80]} can't be unpacked ({type(error).__name__})"
            raise damaged(place) from None
        if part is not None:
            part.fed(b"")
    return walk.checked


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
    if len(infos) > _MAX_MEMBERS or sum(info.file_size for info in infos) > MAX_UNPACKED:
        raise too_much()
    if any(info.compress_type not in _PACKED for info in infos):
        raise no_workbook()
    if any(info.flag_bits & 1 for info in infos):
        raise NotImportable("The workbook is protected by a password.", "Remove it and try again.")
    return found


class _Walk:
    """All members of a workbook, one after the other."""

    def __init__(self) -> None:
        self.checked = Checked()
        self.elements = self.strings = self.blanks = self.shared = self.formula = 0
        self.columns: dict[str, int] = {}
        self.names: dict[str, str] = {}

    def part(self, member: str) -> _Part:
        """The next member."""
        return _Part(self, member)


class _Part:
    """The XML of one member, element by element; nothing of it is kept."""

    def __init__(self, walk: _Walk, member: str) -> None:
        self._walk, self._member = walk, member
        self._is_new = True
        self._root = ""
        self._is_unread = _UNREAD.match(member) is not None
        self._fed = self._depth = self._at_once = self._length = self._row = 0
        self._column = -1
        self._parser = parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text

    def fed(self, chunk: bytes) -> bool:
        """Whether the rest is wanted too: it is XML."""
        if self._is_new and not _MARKUP.match(chunk):
            return False
        self._is_new = False
        try:
            self._parser.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            if self._member.lower().endswith((".xml", ".rels")):
                place = f"{expat.ErrorString(error.code)} in {self._member[:80]}"
                raise damaged(place) from None
            return False  # drawings of old programs are no XML, and are not read
        # The parser begins an unfinished tag anew with each chunk.
        self._fed += len(chunk)
        if self._fed - self._parser.CurrentByteIndex > _LONGEST + _CHUNK:
            raise too_much()
        return True

    def _start(self, name: str, facts: dict[str, str]) -> None:
        walk = self._walk
        walk.elements += 1
        self._depth += 1
        self._at_once += 1
        self._length = 0
        if walk.elements > MAX_ELEMENTS or self._depth > _DEEPEST:
            raise too_much()
        if self._is_unread:
            return
        if self._at_once > MAX_AT_ONCE:
            raise too_much()
        inner = walk.names.get(name)
        if inner is None:
            inner = walk.names[name] = _local(name)
        if self._depth == 1:
            self._begin(inner)
        elif inner == "sheet":
            walk.checked.sheets += 1
        elif inner == "si":
            walk.strings += 1
            if walk.strings > _MAX_STRINGS:
                raise too_much()
        elif self._root != "worksheet":
            return
        elif inner == "c":
            self._cell(facts.get("r"))
        elif inner == "row":
            self._next_row(facts.get("r"))
        elif inner == "f":
            walk.shared += facts.get("t") == "shared"
        elif inner == "mergeCell":
            walk.checked.tables[self._member] += 1

    def _begin(self, root: str) -> None:
        self._root = root if _WHOLE.search(self._member) is None else ""
        if self._root == "worksheet":
            self._walk.checked.tables[self._member] = 0

    def _end(self, name: str) -> None:
        self._depth -= 1
        if not self._is_unread:
            walk = self._walk
            inner = walk.names[name]
            if (inner == "row" and self._root == "worksheet") or (
                inner == "si" and self._root == "sst"
            ):
                self._at_once = 0
            elif inner == "f":
                walk.formula = max(walk.formula, self._length)
                if walk.shared * walk.formula > _MAX_SHARED:
                    raise too_much()
        self._length = 0

    def _text(self, text: str) -> None:
        self._length += len(text)
        if self._length > _LONGEST:
            raise too_much()

    # Rows and cells that do not stand in their order are left out by the library, silently.

    def _next_row(self, told: str | None) -> None:
        if told is None:
            number = self._row + 1
        elif told.isascii() and told.isdigit() and len(told) < 9:
            number = int(told)
        else:
            raise no_workbook()
        if not self._row < number <= MAX_ROWS:
            raise damaged(f"the rows of {self._member[:80]} are not in order")
        self._row, self._column = number, -1

    def _cell(self, told: str | None) -> None:
        last = self._column
        if told is None:
            index = last + 1
        else:
            letters = told.rstrip("0123456789")
            found = self._walk.columns.get(letters)
            index = self._index(letters) if found is None else found
        if not last < index < MAX_COLUMNS:
            raise damaged(f"the cells of row {self._row} of {self._member[:80]} are not in order")
        if index > last + 1:
            self._walk.blanks += index - last - 1
            if self._walk.blanks > MAX_BLANKS:
                raise too_much()
        self._column = index

    def _index(self, letters: str) -> int:
        index = 0
        for letter in letters[:4].upper():
            if not "A" <= letter <= "Z":
                raise no_workbook()
            index = index * 26 + ord(letter) - 64
        self._walk.columns[letters] = index - 1
        return index - 1


def _local(name: str) -> str:
    """The name of an element of spreadsheets without its namespace; empty for any other."""
    space, _blank, inner = name.rpartition(" ")
    if space == _STRICT:
        raise NotImportable(
            "The workbook is saved as Strict Open XML, which is not read.",
            "Save it anew as a usual .xlsx workbook.",
        )
    return inner if space == _MAIN else ""


def _refuse_doctype(*_facts: object) -> None:
    raise NotImportable("The workbook holds a document type, which no spreadsheet has.", SAVE)
