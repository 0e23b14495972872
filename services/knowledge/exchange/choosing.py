"""What of a plan is taken: everything, unless a person rejects an item or a cell of it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from services.knowledge.comparing import Difference, arranged, lies_in, lineage
from services.knowledge.document import Kind, Row
from services.knowledge.exchange.planning import Groundwork, Item, Plan, Sort, cells_after


@dataclass(frozen=True)
class Choice:
    """What is rejected of a plan; whatever is not named here is accepted."""

    items: frozenset[str] = frozenset()  # ids
    cells: frozenset[tuple[str, str]] = frozenset()  # (id, name of a cell)

    @cached_property
    def _cells_of(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for item_id, name in self.cells:
            found[item_id].add(name)
        return {item_id: frozenset(names) for item_id, names in found.items()}

    def takes(self, item: Item) -> bool:
        """Whether anything of an item is accepted, as far as it is its own to say."""
        if item.id in self.items:
            return False
        refused = self.rejected_cells(item)
        return not refused or len(refused) < len(item.cells)

    def rejected_cells(self, item: Item) -> frozenset[str]:
        """Names of the cells of an item that stay as they are."""
        named = self._cells_of.get(item.id)
        if named is None or not item.by_cell:
            return frozenset()
        return named & {cell.name for cell in item.cells}

    def rejecting(self, ids: Iterable[str]) -> Choice:
        """The same, without these items."""
        return replace(self, items=self.items | frozenset(ids))

    def accepting(self, ids: Iterable[str]) -> Choice:
        """The same, with the whole of these items."""
        taken = frozenset(ids)
        cells = frozenset(one for one in self.cells if one[0] not in taken)
        return Choice(self.items - taken, cells)

    def without_cell(self, item_id: str, name: str) -> Choice:
        """The same, without one cell."""
        return replace(self, cells=self.cells | {(item_id, name)})

    def with_cell(self, item_id: str, name: str) -> Choice:
        """The same, with one cell."""
        return replace(self, cells=self.cells - {(item_id, name)})

    def as_values(self) -> dict[str, Any]:
        """For JSON."""
        return {"items": sorted(self.items), "cells": sorted(self.cells)}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Choice:
        """Back from JSON.

        Raises:
            KeyError, TypeError, ValueError: these are no values of a choice.
        """
        cells = frozenset((str(item_id), str(name)) for item_id, name in values["cells"])
        return cls(frozenset(map(str, values["items"])), cells)


ALL = Choice()
"""Everything is accepted."""


@dataclass(frozen=True)
class CarriedOver:
    """A choice that was made over one plan, for another plan of the same file."""

    choice: Choice
    other: frozenset[str]  # ids of items that say something else than in the first plan


def only(plan: Plan, sorts: Collection[Sort]) -> Choice:
    """Nothing but these: only what is new, say."""
    return Choice(frozenset(item.id for item in plan.items if item.sort not in sorts))


def taken(plan: Plan, choice: Choice) -> tuple[Item, ...]:
    """The items of which anything is done."""
    return tuple(item for item in plan.items if _is_taken(plan, choice, item))


def _is_taken(plan: Plan, choice: Choice, item: Item) -> bool:
    holder = plan.by_id.get(item.goes_with) if item.goes_with else None
    # What lies in something that becomes of another kind has no lot of its own: nothing can
    # stay in a text.
    return choice.takes(item) if holder is None else _is_taken(plan, choice, holder)


def carried_over(choice: Choice, before: Plan, after: Plan) -> CarriedOver:
    """Keep what was rejected where the item still says the same, and name those that do not.

    What a person has not seen is not accepted behind their back by being the same entry: the
    items that became others are named, and stay rejected where they were.
    """
    other = frozenset(
        item.id
        for item in after.items
        if (seen := before.by_id.get(item.id)) is None or not _same(seen, item)
    )
    items = choice.items & after.by_id.keys()
    cells = frozenset(one for one in choice.cells if one[0] in after.by_id)
    return CarriedOver(Choice(frozenset(items), cells), other)


def _same(one: Item, other: Item) -> bool:
    return (one.sort, one.cells, one.moves) == (other.sort, other.cells, other.moves)


def chosen(plan: Plan, ground: Groundwork, choice: Choice) -> Difference:
    """The operations that do exactly what is accepted."""
    accepted = {item.id: item for item in taken(plan, choice)}
    there = {(entry.section, entry.key): entry for entry in ground.current}
    staying = {
        entry.id
        for entry in ground.removed
        if entry.row.pointer in plan.by_id and entry.row.pointer not in accepted
    }
    # A group stays for as long as anything in it does.
    kept = {
        above for entry in ground.removed if entry.id in staying for above in lineage(entry.section)
    }
    removed = [
        entry
        for entry in ground.removed
        if entry.id not in staying and entry.row.pointer not in kept
    ]
    targets: list[Row] = []
    for row in ground.targets:
        where = row.pointer
        item = plan.by_id.get(where)
        if item is None:
            targets.append(row)
        elif where in accepted:
            body = cells_after(item, choice.rejected_cells(item))
            targets.append(replace(row, body=body))
        elif item.entry is not None:
            targets.append(replace(item.entry.row, position=row.position))
    filled = {
        above
        for row in targets
        if row.kind is not Kind.GROUP or row.pointer in accepted
        for above in lineage(row.section)
    }
    going = {(entry.section, entry.key) for entry in removed}
    targets = [
        row
        for row in targets
        if (row.section, row.key) not in going
        and (
            row.kind is not Kind.GROUP
            or (row.section, row.key) in there
            or row.pointer in accepted
            or row.pointer in filled
        )
    ]
    refused = {
        item.section for item in plan.items if item.sort is Sort.MOVED and item.id not in accepted
    }

    def by_file(section: str) -> bool:
        return section not in refused and lies_in(section, ground.replaced)

    return arranged(ground.current, targets, removed, by_file)
