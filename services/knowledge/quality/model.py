"""What checks look at, and what they give."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from services.knowledge.document import Kind
from services.knowledge.entries import Entry
from services.knowledge.sections import Part, Shape, part_of_entry


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at, in one cell."""

    check: str  # name in `CHECKS`
    entry_id: int
    section: str
    key: str
    field: str
    message: str  # goes on after the key: "navy" "is empty."
    about: str = ""  # what else tells it apart: the other entry, the word

    @property
    def id(self) -> str:
        """The same on every run while the same thing is wrong; what a dismissal names."""
        return "|".join((self.check, str(self.entry_id), self.field, self.about))

    @property
    def digest(self) -> str:
        """The id in 64 characters, however long the keys are."""
        return hashlib.sha256(self.id.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell that is written, or should be."""

    entry: Entry
    part: Part | None
    name: str
    text: str


Alike = tuple[int, int, float]
"""Two entries that mean nearly the same, and how nearly: 1.0 is the very same."""


@dataclass(frozen=True)
class Facts:
    """What checks may look at."""

    entries: Sequence[Entry]
    now: datetime
    categories: frozenset[str] = frozenset()  # of the shop's products, in lower case
    alike: Sequence[Alike] | None = None  # by meaning; None where nobody can tell
    by_section: Mapping[str, Sequence[Entry]] = field(init=False)

    def __post_init__(self) -> None:
        grouped: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            if entry.kind is not Kind.GROUP:
                grouped[entry.section].append(entry)
        object.__setattr__(self, "by_section", dict(grouped))

    @cached_property
    def cells(self) -> Sequence[Cell]:
        """Every text that a person edits, and the fields of a record that are missing."""
        return tuple(self._cells())

    def _cells(self) -> Iterator[Cell]:
        for entry in self.entries:
            if entry.kind is Kind.TEXT:
                yield Cell(entry, part_of_entry(entry.section, entry.key), "text", entry.body)
            elif entry.kind is Kind.RECORD:
                part = part_of_entry(entry.section, entry.key)
                names = dict.fromkeys(entry.body)
                if part is not None and part.shape is Shape.RECORDS:
                    names = dict.fromkeys([*part.field_names, *names])
                for name in names:
                    yield Cell(entry, part, name, entry.body.get(name, ""))


@dataclass(frozen=True)
class Check:
    """One thing to look for."""

    name: str
    title: str
    about: str
    find: Callable[[Facts], Iterable[Finding]]
    of_text: bool = True
    """Whether the text decides. Then a dismissal holds while the entry says the same; else for
    as long as the same thing is found, whatever the text becomes."""


@dataclass(frozen=True)
class Completeness:
    """How much of a section is written."""

    section: str  # pointer of the part
    filled: int
    cells: int
    empty: tuple[tuple[int, str, str], ...]  # (entry id, key, field)

    @property
    def share(self) -> float:
        """0 to 1; a section without a cell is complete."""
        return self.filled / self.cells if self.cells else 1.0


def found(entry: Entry, field_name: str, message: str, about: str = "") -> Finding:
    """A finding in one cell of an entry; the registry adds the check's name."""
    return Finding("", entry.id, entry.section, entry.key, field_name, message, about)
