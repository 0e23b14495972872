"""What a file says, before anybody decides what is taken from it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.knowledge.document import Kind


class Format(enum.StrEnum):
    """The files that the knowledge base is read from and written to; by their endings."""

    MODULE = "py"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"
    XLSX = "xlsx"


@dataclass(frozen=True)
class Origin:
    """A place in a file, as a person finds it again."""

    sheet: str = ""  # of a workbook
    row: int = 0  # from 1, the heading row counted; 0 where the file has no rows
    column: str = ""  # its heading; or, in a document, the pointer of the place


@dataclass(frozen=True)
class ReadRow:
    """One entry as the file has it.

    In a merge a record's cells that the file does not name stay as they are.
    """

    section: str  # pointer, as in `kb_entries`
    key: str
    kind: Kind
    body: Any  # a text, {field: text}, {} for a group, any JSON for a value
    position: int  # order within its section, in the file
    at: Origin = Origin()
    blank: frozenset[str] = frozenset()  # cells the file leaves blank: not in `body`


@dataclass(frozen=True)
class Fault:
    """Something in the file that can't be taken; the rest of it can."""

    at: Origin
    key: str
    field: str
    message: str  # what is wrong
    fix: str  # how to put it right
    raw: Mapping[str, str]  # the whole row by heading, for the file of errors; may be empty


@dataclass(frozen=True)
class ReadFile:
    """A file, read: what it says and what is wrong in it."""

    name: str
    format: Format
    rows: tuple[ReadRow, ...]
    faults: tuple[Fault, ...]
    # Pointers of the parts that it holds in full, for "replace section"; of which nothing had
    # to be left out, so that replacing deletes nothing for a mistake in the file.
    tables: tuple[str, ...]
    # A whole knowledge base, without a fault: only then it can replace everything.
    whole: bool
    notes: tuple[str, ...] = ()  # what was assumed while reading, for a person
