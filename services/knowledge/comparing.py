"""What it takes to get from one state of the knowledge base to another. Pure.

Everything here takes time in proportion to the rows that are compared, however many those are.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.knowledge.document import Kind, Row, same
from services.knowledge.entries import Entry
from services.knowledge.ledger import Ledger
from services.knowledge.sections import rank

Place = tuple[str, str]
"""Section and key."""

ROOT = ""
"""Pointer of the whole knowledge base."""


class Mode(enum.StrEnum):
    """How an import meets what is there."""

    MERGE = "merge"  # add and change; what the file does not name stays
    SECTION = "section"  # afterwards some tables are exactly the file's; the rest is merged
    REPLACE = "replace"  # afterwards the knowledge base is exactly the file

    def replaced(self, tables: Collection[str]) -> frozenset[str]:
        """Pointers of what is exactly the file's afterwards.

        Args:
            tables: those that were chosen; only `section` has a choice.
        """
        if self is Mode.REPLACE:
            return frozenset({ROOT})
        return frozenset(tables) if self is Mode.SECTION else frozenset()


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


def difference(
    current: Sequence[Entry], wanted: Sequence[Row], mode: Mode, tables: Collection[str] = ()
) -> Difference:
    """Compare by place and key.

    Args:
        current: every row there is.
        wanted: every row there should be; where the mode merges, those to add or change.
        tables: pointers of the tables that mode `section` replaces.
    """
    replaced = mode.replaced(tables)
    there = {(entry.section, entry.key): entry for entry in current}
    targets = [
        row
        if (entry := there.get((row.section, row.key))) is None or lies_in(row.pointer, replaced)
        else replace(row, body=merged(entry, row))
        for row in wanted
    ]
    removed = gone(current, targets, replaced)
    return arranged(current, targets, removed, lambda section: lies_in(section, replaced))


def lies_in(where: str, places: Collection[str]) -> bool:
    """Whether a pointer is one of these places, or lies in one."""
    return any(above in places for above in lineage(where))


def lineage(where: str) -> Iterator[str]:
    """A pointer and everything that it lies in, up to the root."""
    yield where
    while where:
        where = where.rpartition("/")[0]
        yield where


def merged(entry: Entry, row: Row) -> Any:
    """What an entry says after a merge: a record's cells that are not named stay."""
    if row.kind is not Kind.RECORD or entry.kind is not Kind.RECORD:
        return row.body
    both = {**entry.body, **row.body}
    return entry.body if both == entry.body else both


def gone(
    current: Sequence[Entry], targets: Sequence[Row], replaced: Collection[str]
) -> tuple[Entry, ...]:
    """What would not be there any more.

    Args:
        targets: rows as they would be.
        replaced: pointers of what is exactly the targets afterwards.
    """
    asked = {(row.section, row.key) for row in targets}
    # Where a dict becomes a text, what was in it can't stay.
    holders = {entry.row.pointer for entry in current if entry.kind is Kind.GROUP}
    lost = {row.pointer for row in targets if row.kind is not Kind.GROUP} & holders
    if not replaced and not lost:
        return ()
    return tuple(
        entry
        for entry in current
        if lies_in(entry.section, lost)
        or ((entry.section, entry.key) not in asked and lies_in(entry.row.pointer, replaced))
    )


def differs(entry: Entry, row: Row) -> bool:
    """Whether an entry says anything else than a row, whatever their places are."""
    if entry.kind is not row.kind:
        return True
    if row.kind is Kind.TEXT:
        return bool(entry.body != row.body)
    return not same(entry.body, row.body)


def arranged(
    current: Sequence[Entry],
    targets: Sequence[Row],
    removed: Sequence[Entry],
    by_file: Callable[[str], bool],
) -> Difference:
    """The operations after which the targets say what they say, each at its place.

    Args:
        targets: rows as they are to be, in the order of the file.
        removed: entries that go; every other entry that is no target stays as it is.
        by_file: whether a section takes the order of the targets; else new ones come to
            their place among those that are there, and nothing else moves.
    """
    there = {(entry.section, entry.key): entry for entry in current}
    placed = _placed(current, targets, {entry.id for entry in removed}, by_file)
    added: list[Row] = []
    changed: list[tuple[Entry, Row]] = []
    moved: list[tuple[Entry, Row]] = []
    unchanged = 0
    aimed: set[int] = set()
    for row in targets:
        position, moves = placed[(row.section, row.key)]
        entry = there.get((row.section, row.key))
        if entry is None:
            added.append(replace(row, position=position))
            continue
        # Who only makes room for others keeps the place among them: that is no part of the
        # history, and taking the change back leaves it where it is.
        stands = position if moves else entry.position
        if differs(entry, row):
            changed.append((entry, replace(row, position=stands)))
        elif stands != entry.position:
            moved.append((entry, replace(row, position=stands)))
        elif entry.kind is not Kind.GROUP:
            unchanged += 1
        if moves:
            aimed.add(entry.id)
    going = {entry.id for entry in removed}
    shifted: list[tuple[int, int]] = []
    for entry in current:
        if entry.id in going or entry.id in aimed:
            continue
        position, moves = placed[(entry.section, entry.key)]
        if position == entry.position:
            continue
        if moves:
            moved.append((entry, replace(entry.row, position=position)))
        else:
            shifted.append((entry.id, position))
    return Difference(
        tuple(added), tuple(changed), tuple(moved), tuple(removed), unchanged, tuple(shifted)
    )


Placed = dict[Place, tuple[int, bool]]
"""Where every row will stand, and whether its place among the others is another one."""


def _placed(
    current: Sequence[Entry],
    targets: Sequence[Row],
    going: set[int],
    by_file: Callable[[str], bool],
) -> Placed:
    held: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    asked: dict[str, list[str]] = defaultdict(list)
    for entry in current:
        if entry.id not in going:
            held[entry.section].append((entry.position, entry.id, entry.key))
    for row in targets:
        asked[row.section].append(row.key)
    placed: Placed = {}
    for section in {**held, **asked}:
        there = sorted(held[section])
        old = {key: position for position, _id, key in there}
        keys = [key for _position, _id, key in there]
        if by_file(section):
            final = _with_kept(asked[section], keys)
        else:
            final = _with_new(section, keys, [key for key in asked[section] if key not in old])
        if [key for key in final if key in old] == keys:
            placed.update(_in_order(section, final, old))
        else:
            placed.update({(section, key): (n, True) for n, key in enumerate(final)})
    return placed


def _in_order(section: str, keys: Iterable[str], old: dict[str, int]) -> Placed:
    # Old positions stay as long as they still grow; gaps are no harm.
    placed: Placed = {}
    last = -1
    for key in keys:
        position = old.get(key)
        last = position if position is not None and position > last else last + 1
        placed[(section, key)] = (last, False)
    return placed


def _with_kept(wanted: Sequence[str], keys: Sequence[str]) -> list[str]:
    """The wanted order, and whoever stays besides behind the neighbour it had."""
    asked = set(wanted)
    behind: dict[str | None, list[str]] = defaultdict(list)
    neighbour: str | None = None
    for key in keys:
        if key in asked:
            neighbour = key
        else:
            behind[neighbour].append(key)
    final = list(behind[None])
    for key in wanted:
        final.append(key)
        final += behind.get(key, ())
    return final


def _with_new(section: str, keys: list[str], new: Iterable[str]) -> list[str]:
    final = list(keys)
    for key in new:
        mine = rank(section, key)
        if mine is None:
            final.append(key)
        else:
            final.insert(_index(section, mine, final), key)
    return final


def _index(section: str, mine: int, keys: Sequence[str]) -> int:
    for index, other in enumerate(keys):
        theirs = rank(section, other)
        if theirs is not None and theirs > mine:
            return index
    return len(keys)
