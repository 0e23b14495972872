"""What it takes to get from one state of the knowledge base to another. Pure."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.knowledge.document import Kind, Row, same
from services.knowledge.entries import Entry
from services.knowledge.ledger import Ledger
from services.knowledge.sections import rank


class Mode(enum.StrEnum):
    """How an import meets what is there."""

    MERGE = "merge"  # add and change; what the file does not name stays
    REPLACE = "replace"  # afterwards the knowledge base is exactly the file


@dataclass(frozen=True)
class Difference:
    """The operations that lead from the current rows to the wanted ones."""

    added: tuple[Row, ...]
    changed: tuple[tuple[Entry, Row], ...]
    moved: tuple[tuple[Entry, Row], ...]  # only the order differs
    removed: tuple[Entry, ...]
    unchanged: int
    shifted: tuple[tuple[int, int], ...] = ()  # (id, position): only makes room for others

    @property
    def is_empty(self) -> bool:
        """Whether both are the same."""
        return not (self.added or self.changed or self.moved or self.removed)

    def enter(self, ledger: Ledger) -> None:
        """Hand every operation to a ledger."""
        for entry in self.removed:
            ledger.delete(entry)
        for entry, row in (*self.changed, *self.moved):
            ledger.edit(entry, row)
        for row in self.added:
            ledger.add(row)
        for entry_id, position in self.shifted:
            ledger.shift(entry_id, position)


def difference(current: Sequence[Entry], wanted: Sequence[Row], mode: Mode) -> Difference:
    """Compare by place and key.

    Args:
        current: every row there is.
        wanted: every row there should be; in a merge, those to add or change.
    """
    there = {(entry.section, entry.key): entry for entry in current}
    asked = {(row.section, row.key) for row in wanted}
    removed = _removed(current, wanted, asked, mode)
    gone = {entry.id for entry in removed}
    placed = _placed(current, wanted, mode, gone)
    added: list[Row] = []
    changed: list[tuple[Entry, Row]] = []
    moved: list[tuple[Entry, Row]] = []
    unchanged = 0
    for row in wanted:
        entry = there.get((row.section, row.key))
        position = placed[(row.section, row.key)]
        if entry is None:
            added.append(replace(row, position=position))
            continue
        body = _body(entry, row, mode)
        # In a merge nothing changes its place among the others; some only make room, which
        # is no part of the history: taking the change back leaves them where they are.
        stands = position if mode is Mode.REPLACE else entry.position
        target = replace(row, body=body, position=stands)
        if entry.kind is not row.kind or not same(entry.body, body):
            changed.append((entry, target))
        elif mode is Mode.REPLACE and entry.position != position:
            moved.append((entry, target))
        elif entry.kind is not Kind.GROUP:
            unchanged += 1
    if mode is Mode.REPLACE:
        return Difference(tuple(added), tuple(changed), tuple(moved), removed, unchanged)
    shifted = tuple(
        (entry.id, placed[(entry.section, entry.key)])
        for entry in current
        if entry.id not in gone and placed[(entry.section, entry.key)] != entry.position
    )
    return Difference(tuple(added), tuple(changed), (), removed, unchanged, shifted)


def _removed(
    current: Sequence[Entry],
    wanted: Sequence[Row],
    asked: set[tuple[str, str]],
    mode: Mode,
) -> tuple[Entry, ...]:
    if mode is Mode.REPLACE:
        return tuple(entry for entry in current if (entry.section, entry.key) not in asked)
    # Where a dict becomes a text, what was in it can't stay.
    holders = {entry.row.pointer for entry in current if entry.kind is Kind.GROUP}
    lost = {row.pointer for row in wanted if row.kind is not Kind.GROUP} & holders
    return tuple(
        entry
        for entry in current
        if any(entry.section == where or entry.section.startswith(where + "/") for where in lost)
    )


def _body(entry: Entry, row: Row, mode: Mode) -> Any:
    if mode is Mode.REPLACE or row.kind is not Kind.RECORD or entry.kind is not Kind.RECORD:
        return row.body
    merged = {**entry.body, **row.body}
    return entry.body if merged == entry.body else merged


def _placed(
    current: Sequence[Entry], wanted: Sequence[Row], mode: Mode, gone: set[int]
) -> dict[tuple[str, str], int]:
    """Where every row will stand."""
    if mode is Mode.REPLACE:
        return _by_file(current, wanted)
    placed: dict[tuple[str, str], int] = {}
    new: dict[str, list[Row]] = defaultdict(list)
    held: dict[str, list[str]] = defaultdict(list)
    for entry in sorted(current, key=lambda entry: entry.position):
        if entry.id not in gone:
            held[entry.section].append(entry.key)
            placed[(entry.section, entry.key)] = entry.position
    for row in wanted:
        if (row.section, row.key) not in placed:
            new[row.section].append(row)
    for section, rows in new.items():
        keys = held[section]
        for row in rows:
            keys.insert(_index(section, row.key, keys), row.key)
        last = -1
        for key in keys:
            # Old positions stay as long as they still grow; gaps are no harm.
            old = placed.get((section, key))
            last = old if old is not None and old > last else last + 1
            placed[(section, key)] = last
    return placed


def _index(section: str, key: str, keys: list[str]) -> int:
    mine = rank(section, key)
    if mine is not None:
        for index, other in enumerate(keys):
            theirs = rank(section, other)
            if theirs is not None and theirs > mine:
                return index
    return len(keys)


def _by_file(current: Sequence[Entry], wanted: Iterable[Row]) -> dict[tuple[str, str], int]:
    # Positions with gaps still give the same order: an untouched section stays untouched.
    here: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for entry in current:
        here[entry.section].append((entry.position, entry.key))
    files: dict[str, list[str]] = defaultdict(list)
    for row in wanted:
        files[row.section].append(row.key)
    placed: dict[tuple[str, str], int] = {}
    for section, keys in files.items():
        old = sorted(here[section])
        if [key for _position, key in old] == keys:
            placed.update({(section, key): position for position, key in old})
        else:
            placed.update({(section, key): index for index, key in enumerate(keys)})
    return placed
