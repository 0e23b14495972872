"""What takes a change set back and leaves everybody's later work alone. Pure.

A cell goes back only where it still says what the change set made of it; whatever somebody
wrote since stays, and is named. That is what `git revert` does by lines, done by cells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from services.knowledge.document import Kind, Row, same
from services.knowledge.entries import TEXT, Entry
from services.knowledge.ordering import Placed, placed_like
from services.knowledge.sections import path_of, pointer
from services.knowledge.sliding import Slide, slid, taken_back, without_detours
from services.knowledge.validation import KEY

WHOLE = "entry"
"""The field of a `Kept` that speaks of an entry as a whole."""
PLACE = "place"
"""The field of a `Kept` that speaks of an entry's place among the others."""
PURGED = "purged"
"""The kind of what an administrator removed from the history for good."""

Place = tuple[str, str]
"""Section and key."""


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
    slides: tuple[Slide, ...] = ()  # first of all: the room that was made goes again
    placed: frozenset[int] = frozenset()  # of the edited: those that go back to their place
    shifted: tuple[tuple[int, int], ...] = ()  # (id, position): only makes room for others
    kept: tuple[Kept, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be written."""
        return not (self.deleted or self.edited or self.returned)


class Around(Protocol):
    """What is asked of the knowledge base as it stands: never all of it."""

    def by_id(self, ids: Collection[int]) -> Mapping[int, Entry]:
        """Those of these entries that are there."""

    def at(self, places: Collection[Place]) -> Mapping[Place, Entry]:
        """The entries at these places."""

    def held(self, sections: Collection[str]) -> Mapping[str, int]:
        """How many rows lie directly in each of these; those that hold none may be left out."""

    def standing(self, section: str) -> Sequence[tuple[int, int]]:
        """Position and id of every row of a section, in their order."""


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


def inverse(
    past: Sequence[Past],
    around: Around,
    *,
    slides: Sequence[Slide] = (),
    later: Sequence[Slide] = (),
    whole: bool = True,
) -> Inverse:
    """What to write so that these changes are taken back.

    Args:
        past: the changes of one change set, or some of them; each entry at most once.
        around: the knowledge base as it stands.
        slides: how others made room in that change set.
        later: how others made room in every change set since.
        whole: whether these are all of its changes.
    """
    return _Weighing(past, around, slides, later, whole=whole).result()


class _Weighing:
    def __init__(
        self,
        past: Sequence[Past],
        around: Around,
        slides: Sequence[Slide],
        later: Sequence[Slide],
        *,
        whole: bool,
    ) -> None:
        self._around = around
        self._slides = slides
        self._later = without_detours(later)
        self._now = around.by_id({change.entry_id for change in past})
        # Where their order can't be had again as it was, each goes back for itself.
        self._broken = {one.section for one in self._later}
        self._whole = whole
        self._back: list[Slide] = []
        self._kept: list[Kept] = []
        self._deleted: dict[int, Entry] = {}
        self._edited: dict[int, tuple[Entry, Row]] = {}
        self._returned: dict[int, tuple[Past, Row]] = {}
        self._places: dict[int, tuple[int, int]] = {}  # of what comes or goes back: now, and then
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
            tuple(
                (entry, row)
                for entry, row in self._edited.values()
                if entry.row != row or entry.id in self._places
            ),
            tuple(self._returned.values()),
            tuple(self._back),
            frozenset(self._places).intersection(self._edited),
            shifted,
            tuple(self._kept),
        )

    def _was_moved(self, change: Past) -> bool:
        """Whether the change set put it elsewhere among the others; some only made room."""
        if change.before is None or change.after is None:
            return False
        made_room = slid(self._slides, change.section, change.before.position)
        return change.after.position != made_room

    def _weigh(self, change: Past) -> None:
        entry = self._now.get(change.entry_id)
        if change.purged:
            self._keep(change, WHOLE, "its texts were purged from the history")
        elif change.after is None:
            if entry is None and change.before is not None:
                self._returned[change.entry_id] = (change, change.before)
                self._put_back(change, change.before)
            else:
                self._keep(change, WHOLE, "it came back already")
        elif entry is None:
            self._keep(change, WHOLE, "it is no longer there")
        elif change.before is None:
            self._take_away(change, change.after, entry)
        else:
            self._set_back(change, change.before, change.after, entry)

    def _put_back(self, change: Past, before: Row) -> None:
        # Others made room in this change set and since: its place is among the same ones.
        now = slid((*self._slides, *self._later), change.section, before.position)
        self._places[change.entry_id] = (now, before.position)

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
        if self._was_moved(change):
            if entry.position == slid(self._later, entry.section, after.position):
                self._put_back(change, before)
            else:
                self._broken.add(entry.section)
                self._keep(change, PLACE, "it was moved since")
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
        if not going:
            return
        left = dict(self._around.held({group.row.pointer for group in going}))
        # Where another group comes into its place, what lies in it is at home there.
        relieved = {row.pointer for _past, row in self._returned.values() if row.kind is Kind.GROUP}
        for entry in self._deleted.values():
            if entry.row.pointer not in relieved:
                left[entry.section] = left.get(entry.section, 0) - 1
        # The innermost first: a group may be all that another one holds.
        for group in sorted(going, key=lambda entry: -entry.section.count("/")):
            relief = group.id in self._deleted and group.row.pointer in relieved
            if left.get(group.row.pointer, 0) > 0 and not relief:
                if self._deleted.pop(group.id, None):
                    left[group.section] = left.get(group.section, 0) + 1
                self._edited.pop(group.id, None)
                self._kept.append(
                    Kept(group.section, group.key, WHOLE, "other entries lie in it by now")
                )

    def _without_twins(self) -> None:
        """Two entries of a section never get the same key: one of those that would stays."""
        claims: defaultdict[Place, list[int]] = defaultdict(list)
        for entry, row in self._edited.values():
            claims[(row.section, row.key)].append(entry.id)
        for entry_id, (_past, row) in self._returned.items():
            claims[(row.section, row.key)].append(entry_id)
        renamed = {entry.id for entry, row in self._edited.values() if entry.key != row.key}
        asked = {
            place
            for place, ids in claims.items()
            if any(one in renamed or one in self._returned for one in ids)
        }
        for place, entry in self._around.at(asked).items():
            if entry.id not in self._edited and entry.id not in self._deleted:
                claims[place].insert(0, entry.id)
        waiting = [place for place, ids in claims.items() if len(ids) > 1]
        while waiting:
            place = waiting.pop()
            ids = claims[place]
            while len(ids) > 1 and (loser := self._loser(ids)) is not None:
                ids.remove(loser)
                fallen = self._give_up(loser)
                if fallen is not None:
                    claims[fallen].append(loser)
                    waiting.append(fallen)

    def _loser(self, ids: list[int]) -> int | None:
        for entry_id in ids:
            if entry_id in self._returned:
                return entry_id
            if entry_id in self._edited:
                entry, row = self._edited[entry_id]
                if entry.key != row.key:
                    return entry_id
        return None

    def _give_up(self, entry_id: int) -> Place | None:
        """Let go of a name; gives the place where the entry stays, if it stays."""
        if entry_id in self._returned:
            change = self._returned.pop(entry_id)[0]
            self._keep(change, WHOLE, "another entry has its name now")
            return None
        entry, row = self._edited[entry_id]
        self._edited[entry_id] = (entry, replace(row, key=entry.key))
        self._kept.append(Kept(entry.section, entry.key, KEY, f"another entry is {row.key} now"))
        return entry.section, entry.key

    def _without_homeless(self) -> None:
        """What would come back into something that holds no entries stays away."""
        places = {at for _past, row in self._returned.values() for at in holders(row.section)}
        if not places:
            return
        kinds = {
            place: entry.kind
            for place, entry in self._around.at(places).items()
            if entry.id not in self._deleted
        }
        kinds |= {(e.section, row.key): row.kind for e, row in self._edited.values()}
        kinds |= {(row.section, row.key): row.kind for _past, row in self._returned.values()}
        closed = {place for place in places if kinds.get(place, Kind.GROUP) is not Kind.GROUP}
        for change, row in list(self._returned.values()):
            if closed.intersection(holders(row.section)):
                del self._returned[change.entry_id]
                self._keep(change, WHOLE, "a text stands where it was")

    def _placed(self) -> tuple[tuple[int, int], ...]:
        """Put what comes back, or goes back, between the same neighbours; others make room."""
        rows = {one: row for one, (_past, row) in self._returned.items()}
        rows |= {one: row for one, (_entry, row) in self._edited.items() if one in self._places}
        coming: defaultdict[str, list[int]] = defaultdict(list)
        for entry_id, row in rows.items():
            coming[row.section].append(entry_id)
        shifted: list[tuple[int, int]] = []
        for section, ids in coming.items():
            others = [
                (position, entry_id)
                for position, entry_id in self._around.standing(section)
                if entry_id not in rows and entry_id not in self._deleted
            ]
            if self._as_it_was(section, ids, others):
                continue
            order = [((at, 1, 0, entry_id), Placed(entry_id, at)) for at, entry_id in others]
            for entry_id in ids:
                now, then = self._places[entry_id]
                order.append(((now, 0, then, entry_id), Placed(entry_id, wish=now)))
            found = placed_like([one for _order, one in sorted(order, key=lambda pair: pair[0])])
            shifted += found.shifted
            for entry_id, position in found.placed.items():
                if entry_id in rows:
                    self._move(entry_id, position)
                else:  # two stood at one place
                    shifted.append((entry_id, position))
        return tuple(shifted)

    def _as_it_was(
        self, section: str, ids: Sequence[int], others: Sequence[tuple[int, int]]
    ) -> bool:
        """Put everything where it stood to the number, where nothing else is there since."""
        if not self._whole or section in self._broken:
            return False
        back = taken_back([one for one in self._slides if one.section == section])
        places = [slid(back, section, position) for position, _id in others]
        places += [self._places[entry_id][1] for entry_id in ids]
        if len(set(places)) < len(places):
            return False
        self._back += back
        for entry_id in ids:
            self._move(entry_id, self._places[entry_id][1])
        return True

    def _move(self, entry_id: int, position: int) -> None:
        if entry_id in self._returned:
            change, row = self._returned[entry_id]
            self._returned[entry_id] = (change, replace(row, position=position))
        else:
            entry, row = self._edited[entry_id]
            self._edited[entry_id] = (entry, replace(row, position=position))

    def _keep(self, change: Past, field: str, why: str) -> None:
        self._kept.append(Kept(change.section, change.key, field, why))


def holders(section: str) -> list[Place]:
    """The places of everything that a section lies in."""
    path = path_of(section)
    return [(pointer(path[:depth]), path[depth]) for depth in range(len(path))]


def _since(entry: Entry) -> str:
    return f"{entry.updated_by} changed it since"
