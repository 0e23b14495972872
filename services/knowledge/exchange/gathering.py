"""Puts together what the tables of a file say: which entries can be taken, and in what order."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.knowledge.document import Kind
from services.knowledge.exchange.cells import PLACES, SECTION
from services.knowledge.exchange.checking import HOLDERS, Wrong, require_few, wrong_with
from services.knowledge.exchange.model import Fault, Origin, ReadRow
from services.knowledge.sections import Shape, part_at, path_of, pointer, title_of
from services.knowledge.shapes import place
from services.knowledge.validation import KEY

_MAX_GUESSES = 100


@dataclass(frozen=True)
class Found:
    """An entry as a row says it; whether it can be taken is seen when all are known."""

    section: str
    key: str
    kind: Kind
    body: Any
    blank: frozenset[str]
    at: Origin
    headings: Mapping[str, str]  # of a field: where it stands
    raw: Callable[[], dict[str, str]]

    @property
    def where(self) -> str:
        """Its pointer."""
        return self.section + pointer((self.key,))


@dataclass
class Gathering:
    """The tables of one file.

    Args:
        known: pointers of unregistered sections that are there already.
    """

    known: Collection[str] = ()
    faults: list[Fault] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    says_top: bool = False  # something lies at the top of the knowledge base, by its own word
    _found: list[Found] = field(default_factory=list)
    _declared: dict[str, None] = field(default_factory=dict)
    _damaged: set[str] = field(default_factory=set)
    _all_damaged: bool = False
    _guesses: int = 0

    def take(self, one: Found) -> None:
        """Keep an entry for later."""
        self._found.append(one)

    def fault(
        self, at: Origin, key: str, wrong: Wrong, raw: Mapping[str, str], section: str | None
    ) -> None:
        """Note what can't be taken; the part that it belongs to is not complete any more.

        Args:
            section: None where nobody can tell; then no part is sure to be complete.
        """
        self.faults.append(Fault(at, key, wrong.field, wrong.message, wrong.fix, raw))
        require_few(self.faults)
        if section is None:
            self._all_damaged = True
        else:
            self._damaged.update(lineage(section))

    def declare(self, section: str, at: Origin, raw: Mapping[str, str]) -> None:
        """Say that a section is there, whether or not anything lies in it."""
        path = path_of(section)
        for depth, key in enumerate(path):
            for wrong in wrong_with(pointer(path[:depth]), key, Kind.GROUP, {}):
                self.fault(at, "", wrong, raw, section)
                return
        self._declared[section] = None

    def finish(self) -> tuple[list[ReadRow], list[str]]:
        """The rows that can be taken, holders first, and the parts that are there in full."""
        found = sorted(self._found, key=lambda one: one.section.count("/"))
        times = Counter((one.section, one.key) for one in found)
        first: dict[tuple[str, str], int] = {}
        leaves = {one.where for one in found if one.kind is not Kind.GROUP}
        groups = {one.where for one in found if one.kind is Kind.GROUP}
        verdicts: dict[str, Wrong | None] = {}
        positions: Counter[str] = Counter()
        rows: list[ReadRow] = []
        for one in found:
            section, identity = one.section, (one.section, one.key)
            if section not in verdicts:
                verdicts[section] = self._verdict(section, leaves, groups)
            homeless = verdicts[section]
            if homeless is not None:
                wrong = [homeless]
            elif times[identity] > 1:
                wrong = [_twice(one, times[identity], first.setdefault(identity, one.at.row))]
            else:
                wrong = list(wrong_with(section, one.key, one.kind, one.body))
            if wrong:
                self._leave_out(one, wrong, homeless is not None)
                if one.kind is Kind.GROUP:
                    verdicts[one.where] = Wrong(
                        SECTION,
                        f"It lies in {place(path_of(one.where))}, which can't be taken.",
                        f"Correct row {one.at.row} first.",
                    )
                continue
            rows.append(
                ReadRow(section, one.key, one.kind, one.body, positions[section], one.at, one.blank)
            )
            positions[section] += 1
        declared = [one for one in self._declared if self._verdict(one, leaves, groups) is None]
        rows = _with_holders(rows, declared, positions)
        sheets = {fault.at.sheet: number for number, fault in enumerate(self.faults)}
        self.faults.sort(key=lambda fault: (sheets[fault.at.sheet], fault.at.row))
        return rows, self._complete(rows, groups, declared)

    def _leave_out(self, one: Found, wrong: Iterable[Wrong], homeless: bool) -> None:
        raw = one.raw()
        for problem in wrong:
            column = one.headings.get(problem.field, problem.field)
            at = Origin(one.at.sheet, one.at.row, column)
            self.fault(at, one.key, problem, raw, None if homeless else one.section)
        self._damaged.add(one.where)

    def _verdict(
        self, section: str, leaves: Collection[str], groups: Collection[str]
    ) -> Wrong | None:
        """Why nothing can lie in this section; None where entries may."""
        for above in lineage(section):
            if above in leaves:
                return Wrong(
                    SECTION,
                    f"{place(path_of(above))} is an entry in this file; nothing can lie in it.",
                    "Correct the section here, or the kind of that entry.",
                )
        if section in groups or section in self._declared or section in self.known:
            return None
        part = part_at(section)
        if section in HOLDERS or (part is not None and part.shape is not Shape.TEXT):
            return None
        return self.unknown(section)

    def unknown(self, told: str) -> Wrong:
        """Why this is no section; with the nearest that is one, for the first of such names."""
        self._guesses += 1
        return _unknown_section(told, self._guesses <= _MAX_GUESSES)

    def _complete(
        self, rows: Iterable[ReadRow], groups: Collection[str], declared: Iterable[str]
    ) -> list[str]:
        if self._all_damaged:
            return []
        tables = [
            where
            for row in rows
            if row.kind is Kind.GROUP
            and row.section in HOLDERS
            and (where := row.section + pointer((row.key,))) not in HOLDERS
            and (where in groups or part_at(where) is not None)
        ]
        both = dict.fromkeys([*tables, *declared])
        return [where for where in both if where not in self._damaged]


def _twice(one: Found, times: int, first: int) -> Wrong:
    other = f", first in row {first}" if first != one.at.row else ""
    return Wrong(
        KEY,
        f"The key is there {times} times in {title_of(one.section)}{other}; none is taken.",
        "Keep one of these rows, or give the others keys of their own.",
    )


def _with_holders(
    rows: list[ReadRow], declared: Iterable[str], positions: Counter[str]
) -> list[ReadRow]:
    """The rows, with groups for what lies in sections that the file does not list."""
    there = {row.section + pointer((row.key,)) for row in rows if row.kind is Kind.GROUP}
    made: list[ReadRow] = []
    for section in dict.fromkeys([*(row.section for row in rows), *declared]):
        path = path_of(section)
        for depth in range(len(path)):
            where = pointer(path[: depth + 1])
            if where in there:
                continue
            there.add(where)
            above = pointer(path[:depth])
            made.append(ReadRow(above, path[depth], Kind.GROUP, {}, positions[above]))
            positions[above] += 1
    if not made:
        return rows
    return sorted([*made, *rows], key=lambda row: row.section.count("/"))


def _unknown_section(told: str, guess: bool) -> Wrong:
    words = told.strip("/").replace("/", " ").replace("_", " ").casefold()
    near = difflib.get_close_matches(words[:120], PLACES, 1, 0.6) if guess else []
    shown = place(path_of(told)) if told.startswith("/") else told[:120]
    return Wrong(
        SECTION,
        f"There is no section {shown}.",
        f"Did you mean {PLACES[near[0]]}?" if near else "Write the name of a section.",
    )


def lineage(where: str) -> Iterator[str]:
    """A pointer and everything that it lies in, but for the root."""
    while where:
        yield where
        where = where.rpartition("/")[0]
