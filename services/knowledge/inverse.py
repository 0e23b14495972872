"""What takes a change set back and leaves everybody's later work alone. Pure.

A cell goes back only where it still says what the change set made of it; whatever somebody
wrote since stays, and is named. That is what `git revert` does by lines, done by cells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.knowledge.document import Kind, Row, same
from services.knowledge.entries import TEXT, Entry
from services.knowledge.sections import path_of, pointer
from services.knowledge.validation import KEY

WHOLE = "entry"
"""The field of a `Kept` that speaks of an entry as a whole."""
PURGED = "purged"
"""The kind of what an administrator removed from the history for good."""


@dataclass(frozen=True)
class Past:
    """One change of the history; a side that was purged has no row, and `purged` is set."""

    entry_id: int
    section: str
    key: str
    before: Row | None
    after: Row | None
    purged: bool = False
    writes: int = 0  # how often the entry was ever written: its next version


@dataclass(frozen=True)
class Kept:
    """Something that stays as it is, and why."""

    section: str
    key: str
    field: str
    why: str


@dataclass(frozen=True)
class Inverse:
    """The operations that take a change set back."""

    deleted: tuple[Entry, ...] = ()
    edited: tuple[tuple[Entry, Row], ...] = ()
    returned: tuple[tuple[Past, Row], ...] = ()
    shifted: tuple[tuple[int, int], ...] = ()  # (id, position): only makes room for others
    kept: tuple[Kept, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be written."""
        return not (self.deleted or self.edited or self.returned)


def past_of(row: Any, writes: int = 0) -> Past:
    """A row of `kb_changes` as a change."""
    purged = any(side and side["kind"] == PURGED for side in (row.before, row.after))
    before, after = (
        _row(row.section, None if purged else side) for side in (row.before, row.after)
    )
    return Past(row.entry_id, row.section, row.key, before, after, purged, writes)


def _row(section: str, facts: Mapping[str, Any] | None) -> Row | None:
    if facts is None:
        return None
    return Row(section, facts["key"], Kind(facts["kind"]), facts["body"], facts["position"])


def inverse(past: Sequence[Past], current: Sequence[Entry]) -> Inverse:
    """What to write so that these changes are taken back.

    Args:
        past: the changes of one change set, or some of them; each entry at most once.
        current: every row of the knowledge base.
    """
    return _Weighing(past, current).result()


class _Weighing:
    def __init__(self, past: Sequence[Past], current: Sequence[Entry]) -> None:
        self._current = current
        self._now = {entry.id: entry for entry in current}
        self._kept: list[Kept] = []
        self._deleted: dict[int, Entry] = {}
        self._edited: dict[int, tuple[Entry, Row]] = {}
        self._returned: dict[int, tuple[Past, Row]] = {}
        for change in past:
            self._weigh(change)

    def result(self) -> Inverse:
        """The operations, with keys and places that fit together."""
        self._spare_filled_groups()
        self._without_twins()
        self._without_homeless()
        shifted = self._placed()
        return Inverse(
            tuple(self._deleted.values()),
            tuple((entry, row) for entry, row in self._edited.values() if entry.row != row),
            tuple(self._returned.values()),
            shifted,
            tuple(self._kept),
        )

    def _weigh(self, change: Past) -> None:
        entry = self._now.get(change.entry_id)
        if change.purged:
            self._keep(change, WHOLE, "its texts were purged from the history")
        elif change.after is None:
            if entry is None and change.before is not None:
                self._returned[change.entry_id] = (change, change.before)
            else:
                self._keep(change, WHOLE, "it came back already")
        elif entry is None:
            self._keep(change, WHOLE, "it is no longer there")
        elif change.before is None:
            self._take_away(change, change.after, entry)
        else:
            self._set_back(change, change.before, change.after, entry)

    def _take_away(self, change: Past, after: Row, entry: Entry) -> None:
        if entry.kind is after.kind and entry.key == after.key and same(entry.body, after.body):
            self._deleted[entry.id] = entry
        else:
            self._keep(change, WHOLE, _since(entry))

    def _set_back(self, change: Past, before: Row, after: Row, entry: Entry) -> None:
        target = entry.row
        if entry.kind is after.kind and same(entry.body, after.body):
            target = replace(target, kind=before.kind, body=before.body)
        elif not (entry.kind is before.kind is after.kind is Kind.RECORD):
            self._keep(change, TEXT if entry.kind is Kind.TEXT else WHOLE, _since(entry))
        else:
            target = replace(target, body=self._cells(change, before, after, entry))
        if before.key != after.key:
            if entry.key == after.key:
                target = replace(target, key=before.key)
            else:
                self._keep(change, KEY, _since(entry))
        if before.position != after.position and entry.position == after.position:
            target = replace(target, position=before.position)
        self._edited[entry.id] = (entry, target)

    def _cells(self, change: Past, before: Row, after: Row, entry: Entry) -> dict[str, str]:
        cells = dict(entry.body)
        for name in dict.fromkeys([*before.body, *after.body]):
            old, new = before.body.get(name), after.body.get(name)
            if old == new:
                continue
            if cells.get(name) != new:
                self._keep(change, name, _since(entry))
            elif old is None:
                del cells[name]
            else:
                cells[name] = old
        return cells

    def _spare_filled_groups(self) -> None:
        """A group goes, or becomes a text again, only when nothing is left in it."""
        going = [entry for entry in self._deleted.values() if entry.kind is Kind.GROUP]
        going += [
            entry
            for entry, row in self._edited.values()
            if entry.kind is Kind.GROUP and row.kind is not Kind.GROUP
        ]
        # The innermost first: a group may be all that another one holds.
        for group in sorted(going, key=lambda entry: -entry.section.count("/")):
            where = group.row.pointer
            if any(one.section == where and one.id not in self._deleted for one in self._current):
                self._deleted.pop(group.id, None)
                self._edited.pop(group.id, None)
                self._kept.append(
                    Kept(group.section, group.key, WHOLE, "other entries lie in it by now")
                )

    def _without_homeless(self) -> None:
        """What would come back into something that holds no entries stays away."""
        while True:
            kinds = {(e.section, e.key): e.kind for e in self._current if e.id not in self._deleted}
            kinds |= {(e.section, row.key): row.kind for e, row in self._edited.values()}
            kinds |= {(row.section, row.key): row.kind for _past, row in self._returned.values()}
            homeless = [
                change
                for change, row in self._returned.values()
                if any(kinds.get(at, Kind.GROUP) is not Kind.GROUP for at in _holders(row.section))
            ]
            if not homeless:
                return
            for change in homeless:
                del self._returned[change.entry_id]
                self._keep(change, WHOLE, "a text stands where it was")

    def _without_twins(self) -> None:
        """Two entries of a section never get the same key: one of those that would stays."""
        while twins := self._twins():
            for entry_id in twins:
                if entry_id in self._returned:
                    change = self._returned.pop(entry_id)[0]
                    self._keep(change, WHOLE, "another entry has its name now")
                    break
                entry, row = self._edited.get(entry_id, (None, None))
                if entry is not None and row is not None and row.key != entry.key:
                    self._edited[entry_id] = (entry, replace(row, key=entry.key))
                    self._kept.append(
                        Kept(entry.section, entry.key, KEY, f"another entry is {row.key} now")
                    )
                    break

    def _twins(self) -> list[int]:
        there: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for entry in self._current:
            if entry.id not in self._deleted:
                row = self._edited[entry.id][1] if entry.id in self._edited else entry.row
                there[(row.section, row.key)].append(entry.id)
        for entry_id, (_past, row) in self._returned.items():
            there[(row.section, row.key)].append(entry_id)
        return next((ids for ids in there.values() if len(ids) > 1), [])

    def _placed(self) -> tuple[tuple[int, int], ...]:
        """Give every row of a touched section a place of its own."""
        touched = {row.section for _one, row in (*self._edited.values(), *self._returned.values())}
        shifted: list[tuple[int, int]] = []
        for section in touched:
            # Where two would have the same place: what came back, then as they stand now.
            rows = [
                (row.position, -1, entry_id)
                for entry_id, (_past, row) in self._returned.items()
                if row.section == section
            ]
            for entry in self._current:
                if entry.section == section and entry.id not in self._deleted:
                    row = self._edited[entry.id][1] if entry.id in self._edited else entry.row
                    rows.append((row.position, entry.position, entry.id))
            last = -1
            for position, _now, entry_id in sorted(rows):
                last = max(position, last + 1)
                if last != position:
                    self._move(entry_id, last, shifted)
        return tuple(shifted)

    def _move(self, entry_id: int, position: int, shifted: list[tuple[int, int]]) -> None:
        if entry_id in self._returned:
            change, row = self._returned[entry_id]
            self._returned[entry_id] = (change, replace(row, position=position))
        elif entry_id in self._edited:
            entry, row = self._edited[entry_id]
            self._edited[entry_id] = (entry, replace(row, position=position))
        else:
            shifted.append((entry_id, position))

    def _keep(self, change: Past, field: str, why: str) -> None:
        self._kept.append(Kept(change.section, change.key, field, why))


def _holders(section: str) -> Iterable[tuple[str, str]]:
    path = path_of(section)
    return [(pointer(path[:depth]), path[depth]) for depth in range(len(path))]


def _since(entry: Entry) -> str:
    return f"{entry.updated_by} changed it since"
