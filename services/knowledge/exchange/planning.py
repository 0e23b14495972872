"""What an import would do, item by item, before anything is done. Pure.

A plan holds for exactly one revision of the knowledge base and one file. It is made of items
that a person accepts or rejects (`choosing`); what is applied is what was shown and accepted.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from services.knowledge.comparing import (
    Difference,
    Mode,
    arranged,
    differs,
    gone,
    lies_in,
    lineage,
    merged,
)
from services.knowledge.document import Kind, Row
from services.knowledge.entries import TEXT, Entry, cells_of
from services.knowledge.exchange.model import Fault, Origin, ReadFile, ReadRow
from services.knowledge.sections import KEY_PATTERN, part_at, path_of, pointer, title_of
from services.knowledge.validation import suggest_key

WHOLE = "value"
"""Name of the only cell of what no person edits by cells."""

_MAX_NOTES = 50
_NOWHERE = Origin()


class Sort(enum.StrEnum):
    """What an item would do."""

    NEW = "new"
    CHANGED = "changed"
    REMOVED = "removed"
    MOVED = "moved"  # the entries of one table stand in another order


@dataclass(frozen=True)
class Options:
    """How the file meets what is there."""

    mode: Mode = Mode.MERGE
    tables: frozenset[str] | None = None  # that mode `section` replaces; None: all in the file
    blanks_empty: bool = False  # a cell left blank empties what is there


MERGED = Options()


@dataclass(frozen=True)
class Cell:
    """One text before and after; None where there is none."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Item:
    """What would happen to one entry, or to the order of one table."""

    id: str  # its pointer, so that it is the same in another plan; `order:` and a table's
    sort: Sort
    section: str
    key: str
    entry: Entry | None
    row: Row | None
    at: Origin
    goes_with: str = ""  # id of the item whose lot it shares: what lies in what is replaced
    moves: int = 0  # entries that get another place

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What changes in it, cell by cell."""
        before, after = _shown(self.entry.row if self.entry else None), _shown(self.row)
        names = dict.fromkeys([*(before or {}), *(after or {})])
        told = (
            Cell(name, None if before is None else before.get(name), (after or {}).get(name))
            for name in names
        )
        return tuple(cell for cell in told if cell.before != cell.after)

    @property
    def by_cell(self) -> bool:
        """Whether some of its cells can be taken without the others."""
        kinds = {one.kind for one in (self.entry, self.row) if one is not None}
        named = self.sort in (Sort.NEW, Sort.CHANGED) and kinds == {Kind.RECORD}
        return named and len(self.cells) > 1


@dataclass(frozen=True)
class Groundwork:
    """What a plan was worked out from; as large as the knowledge base, so nobody keeps it."""

    current: Sequence[Entry]
    targets: Sequence[Row]
    removed: Sequence[Entry]
    replaced: frozenset[str]  # pointers of what is exactly the file's afterwards


@dataclass(frozen=True)
class Plan:
    """An import, looked at and not yet done."""

    file: ReadFile
    options: Options
    revision: str  # of the knowledge base that it was made for
    items: tuple[Item, ...]
    faults: tuple[Fault, ...]
    unchanged: int
    notes: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the knowledge base says all of this already."""
        return not self.items

    @cached_property
    def by_id(self) -> dict[str, Item]:
        """The items by their ids."""
        return {item.id: item for item in self.items}

    @cached_property
    def counts(self) -> dict[Sort, int]:
        """How many items of each sort there are."""
        counted = Counter(item.sort for item in self.items)
        return {sort: counted[sort] for sort in Sort}

    @cached_property
    def fingerprint(self) -> str:
        """A digest of everything that it would do: two plans with the same do the same."""
        digest = hashlib.sha256(f"{self.revision} {self.options.mode}".encode())
        for item in self.items:
            said = item.row and (item.row.kind, item.row.body, item.row.position)
            digest.update(json.dumps([item.id, item.sort, item.goes_with, said]).encode())
        return digest.hexdigest()


def worked_out(
    current: Sequence[Entry], revision: str, file: ReadFile, options: Options
) -> tuple[Plan, Groundwork]:
    """Say what importing a file would do, and what it takes to do it.

    Args:
        current: every row of the knowledge base, groups included.
        revision: that these rows are of.
    """
    there = {(entry.section, entry.key): entry for entry in current}
    rows, doubled = _once(file.rows)
    blank = [_blank(row) for row in rows if _is_blank(row) and (row.section, row.key) not in there]
    tables = file.tables if options.tables is None else options.tables & set(file.tables)
    replaced = options.mode.replaced(tables)
    targets: list[Row] = []
    origins: dict[str, Origin] = {}
    for row in (*_holders(rows, there), *rows):
        target = _target(row, there.get((row.section, row.key)), replaced, options)
        if target is not None:
            targets.append(target)
            origins[target.pointer] = row.at
    removed = gone(current, targets, replaced)
    found = arranged(current, targets, removed, lambda section: lies_in(section, replaced))
    items = tuple(_items(current, targets, found, origins, there))
    faults = (*file.faults, *doubled, *blank)
    notes = tuple(_notes(row for row in targets if row.kind is not Kind.GROUP))
    made = Plan(file, options, revision, items, faults, found.unchanged, notes)
    return made, Groundwork(current, targets, removed, replaced)


def _once(rows: Iterable[ReadRow]) -> tuple[list[ReadRow], list[Fault]]:
    """The rows, each entry once: of two that say the same place, the first."""
    first: dict[tuple[str, str], ReadRow] = {}
    faults: list[Fault] = []
    for row in rows:
        other = first.setdefault((row.section, row.key), row)
        if other is not row:
            where = f" (first in row {other.at.row})" if other.at.row else ""
            faults.append(
                Fault(
                    row.at,
                    row.key,
                    "key",
                    f"This entry is in the file twice{where}; the first one is taken.",
                    "Remove one of them, or give it a key of its own.",
                    {"key": row.key, **cells_of(row.kind, row.body)},
                )
            )
    return list(first.values()), faults


def _is_blank(row: ReadRow) -> bool:
    return row.kind is Kind.TEXT and TEXT in row.blank


def _blank(row: ReadRow) -> Fault:
    return Fault(
        row.at,
        row.key,
        TEXT,
        "The text is blank, and the knowledge base has no such entry.",
        "Write its text, or remove the row.",
        {"section": row.section, "key": row.key, TEXT: ""},
    )


def _holders(rows: Iterable[ReadRow], there: dict[tuple[str, str], Entry]) -> list[ReadRow]:
    """Groups that are nowhere yet, above rows of a file that names tables alone."""
    rows = list(rows)
    known = {
        "",
        *(pointer((*path_of(s), k)) for (s, k), e in there.items() if e.kind is Kind.GROUP),
    }
    known |= {row_pointer(row) for row in rows if row.kind is Kind.GROUP}
    made: dict[str, ReadRow] = {}
    for section in dict.fromkeys(row.section for row in rows):
        for above in lineage(section):
            if above not in known and above not in made:
                path = path_of(above)
                held = pointer(path[:-1])
                made[above] = ReadRow(held, path[-1], Kind.GROUP, {}, len(made))
    return sorted(made.values(), key=lambda row: row.section.count("/"))


def row_pointer(row: ReadRow | Row) -> str:
    """Where a row itself lies."""
    return row.section + pointer((row.key,))


def _target(
    row: ReadRow, entry: Entry | None, replaced: Collection[str], options: Options
) -> Row | None:
    """What an entry says afterwards; None where the file leaves it as it is."""
    body = row.body
    emptied = dict.fromkeys(sorted(row.blank), "") if options.blanks_empty else {}
    if _is_blank(row):
        if entry is None:
            return None
        body = "" if options.blanks_empty else entry.body
        kind = row.kind if options.blanks_empty else entry.kind
        return Row(row.section, row.key, kind, body, row.position)
    if row.kind is Kind.RECORD:
        held = entry.body if entry is not None and entry.kind is Kind.RECORD else {}
        # A blank cell empties what is there; it makes no cell where there was none.
        kept = {name: text for name, text in held.items() if name in row.blank}
        kept |= {name: text for name, text in emptied.items() if name in held}
        if kept:
            body = _in_its_order(held, {**row.body, **kept})
    made = Row(row.section, row.key, row.kind, body, row.position)
    if entry is None or lies_in(made.pointer, replaced):
        return made
    return replace(made, body=merged(entry, made))


def _in_its_order(held: dict[str, str], body: dict[str, str]) -> dict[str, str]:
    # What the file left blank has no place in the file's order.
    return {**{name: body[name] for name in held if name in body}, **body}


def _items(
    current: Sequence[Entry],
    targets: Sequence[Row],
    found: Difference,
    origins: dict[str, Origin],
    there: dict[tuple[str, str], Entry],
) -> Iterable[Item]:
    turned = {  # what becomes of another kind takes along whatever lies in it
        entry.row.pointer for entry, row in found.changed if entry.kind is not row.kind
    }
    filled = {row.section for row in targets}
    inhabited = {entry.section for entry in current}
    for row in targets:
        entry = there.get((row.section, row.key))
        where = row.pointer
        if entry is not None and not differs(entry, row):
            continue
        if entry is None and row.kind is Kind.GROUP and where in filled:
            continue  # only the place of others: it comes with the first of them
        yield Item(
            where,
            Sort.NEW if entry is None else Sort.CHANGED,
            row.section,
            row.key,
            entry,
            row,
            origins.get(where, _NOWHERE),
            _nearest(row.section, turned),
        )
    for entry in found.removed:
        where = entry.row.pointer
        if entry.kind is Kind.GROUP and where in inhabited:
            continue  # it goes with the last of those that lie in it
        yield Item(
            where,
            Sort.REMOVED,
            entry.section,
            entry.key,
            entry,
            None,
            _NOWHERE,
            _nearest(entry.section, turned),
        )
    moves = Counter(entry.section for entry, _row in found.moved)
    # An entry that changes and moves at once is counted where it changes; the order of its
    # table is an item all the same.
    for entry, row in found.changed:
        if entry.position != row.position:
            moves[entry.section] += 1
    for section, count in moves.items():
        order = f"order:{section}"
        yield Item(order, Sort.MOVED, section, "", None, None, _NOWHERE, moves=count)


def _nearest(section: str, places: Collection[str]) -> str:
    if not places:
        return ""
    return next((above for above in lineage(section) if above in places), "")


def _shown(row: Row | None) -> dict[str, str] | None:
    if row is None:
        return None
    if row.kind is Kind.GROUP:
        return {WHOLE: "(a dict of entries)"}
    if row.kind is Kind.VALUE:
        return {WHOLE: json.dumps(row.body, ensure_ascii=False)}
    return cells_of(row.kind, row.body)


def _notes(rows: Iterable[Row]) -> list[str]:
    """What is unusual in a file that can be imported all the same."""
    notes: list[str] = []
    more = 0
    for row in rows:
        for note in _notes_of(row):
            if len(notes) < _MAX_NOTES:
                notes.append(note)
            else:
                more += 1
    return [*notes, f"and {more:,} more notes of this kind."] if more else notes


def _notes_of(row: Row) -> Iterable[str]:
    part = part_at(row.section)
    if part is not None and not KEY_PATTERN.fullmatch(row.key):
        better = suggest_key(row.key)
        yield f"{title_of(row.section)} / {row.key}: the shop would not find this key" + (
            f"; {better} would be found." if better else "."
        )
    if row.kind is Kind.VALUE:
        yield f"{title_of(row.section)} / {row.key} is no text; it is kept, not edited."
    if part is not None and row.kind is Kind.RECORD:
        extra = [name for name in row.body if name not in part.field_names]
        if extra:
            yield (
                f"{title_of(row.section)} / {row.key} has fields the shop is not known to "
                f"read: {', '.join(extra)}. They are kept."
            )


def cells_after(item: Item, rejected: Collection[str]) -> Any:
    """The body of an item of which some cells are left as they are.

    Args:
        rejected: names of the cells that are not taken.
    """
    wanted = item.row.body if item.row is not None else {}
    if not rejected:
        return wanted
    before = item.entry.body if item.entry is not None else {}
    source = {name: before if name in rejected else wanted for name in {**wanted, **before}}
    after = {name: said[name] for name, said in source.items() if name in said}
    return _in_its_order(before, after) if after.keys() == before.keys() else after
