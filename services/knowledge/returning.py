"""What leads from now back to a moment of the history, entry by entry under its own id.

Only entries that were touched since are read; everything else stays, also where the others
come to stand.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from sqlalchemy import ColumnElement, Connection, func, or_, select

from db.knowledge import change_sets, changes
from services.knowledge.document import Kind, Row, same
from services.knowledge.entries import Entry, by_id
from services.knowledge.inverse import PURGED, WHOLE, Kept, holders
from services.knowledge.ledger import Ledger
from services.knowledge.ordering import Placed, placed_like
from services.knowledge.sections import path_of, pointer
from services.knowledge.sliding import Slide, slid, taken_back, without_detours
from services.knowledge.undoing import Standing, slides_since, writes

Pair = tuple[int, Entry | None, Row | None]
"""Id of an entry, as it is now, and as it was then."""


@dataclass
class Steps:
    """The operations that lead back."""

    pairs: list[Pair] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)  # of what is moved, or comes
    shifted: list[tuple[int, int]] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)
    homeless: list[str] = field(default_factory=list)  # sections whose holders must be made

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be written."""
        return not self.pairs

    @property
    def fingerprint(self) -> str:
        """A digest of exactly these operations on exactly these entries."""
        facts = [
            (
                entry_id,
                entry.version if entry else self.versions.get(entry_id, 0),
                (row.key, row.kind, row.body, row.position) if row else None,
            )
            for entry_id, entry, row in self.pairs
        ]
        said = [facts, self.shifted, [(one.section, one.key, one.why) for one in self.kept]]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def enter(self, ledger: Ledger) -> None:
        """Hand them to a ledger."""
        for entry_id, entry, row in self.pairs:
            if entry is not None and row is None:
                ledger.delete(entry)
            elif entry is not None and row is not None:
                ledger.edit(entry, row, placed=entry_id in self.places)
            elif row is not None:
                ledger.bring_back(entry_id, self.versions[entry_id] + 1, row)
        for section in self.homeless:
            ledger.ensure_holders(section)
        for entry_id, position in self.shifted:
            ledger.shift(entry_id, position)


@dataclass(frozen=True)
class _Then:
    """An entry that was touched since, as it was then."""

    entry_id: int
    section: str
    row: Row | None  # None: it was not there
    place: int = 0  # where it stood then


def lead_back(connection: Connection, number: int, where: str = "") -> Steps:
    """What leads back to right after a change set.

    Args:
        number: of the change set; 0 for before all of them.
        where: pointer of the part that goes back; everything, where it is empty.
    """
    return _Return(connection, number, where).result()


class _Return:
    """Works out what leads from now to then."""

    def __init__(self, connection: Connection, number: int, where: str) -> None:
        self._connection = connection
        self._number = number
        self._where = where
        self._found = Steps()
        self._slides: defaultdict[str, list[tuple[int, Slide]]] = defaultdict(list)
        for at, one in slides_since(connection, number + 1):
            self._slides[one.section].append((at, one))
        self._since = {
            section: without_detours(one for _at, one in found)
            for section, found in self._slides.items()
        }
        then = list(self._touched())
        self._now = by_id(connection, [one.entry_id for one in then])
        self._then = {one.entry_id: one for one in then if self._is_inside(one)}

    def result(self) -> Steps:
        """The operations, with keys and places that fit together."""
        self._without_clashes()
        places = self._found.places = self._places()
        others = by_id(self._connection, [one for one in places if one not in self._then])
        for entry_id, then in self._then.items():
            entry, row = self._now.get(entry_id), then.row
            if row is not None:
                stays = entry.position if entry else then.place
                row = replace(row, position=places.get(entry_id, stays))
            if entry is None and row is None:
                continue
            moved = entry_id in places
            if entry is None or row is None or moved or not says_the_same(entry, row):
                self._found.pairs.append((entry_id, entry, row))
        for entry_id, entry in others.items():
            row = replace(entry.row, position=places[entry_id])
            self._found.pairs.append((entry_id, entry, row))
        gone = [one for one, entry, _row in self._found.pairs if entry is None]
        self._found.versions = writes(self._connection, gone)
        self._found.homeless = self._homeless()
        return self._found

    def _touched(self) -> Iterator[_Then]:
        """The first change of each entry since then tells how it was."""
        first = (
            select(func.min(changes.c.id))
            .join(change_sets)
            .where(change_sets.c.number > self._number)
            .group_by(changes.c.entry_id)
        )
        columns = (changes.c.entry_id, changes.c.section, changes.c.key, changes.c.before)
        query = select(*columns, change_sets.c.number).join(change_sets)
        query = query.where(changes.c.id.in_(first)).order_by(changes.c.id)
        if self._where:
            query = query.where(_near(self._where))
        for row in self._connection.execute(query):
            facts = row.before
            if facts is None:
                yield _Then(row.entry_id, row.section, None)
            elif facts["kind"] == PURGED:
                self._keep(row.section, row.key, "its texts were purged for good")
            else:
                kind, body, position = Kind(facts["kind"]), facts["body"], facts["position"]
                place = self._place(row.section, position, row.number)
                then = Row(row.section, facts["key"], kind, body, place)
                yield _Then(row.entry_id, row.section, then, place)

    def _place(self, section: str, position: int, number: int) -> int:
        """Where it stood then: others made room between then and its first change."""
        between = [one for at, one in self._slides[section] if at < number]
        return slid(taken_back(between), section, position)

    def _is_inside(self, then: _Then) -> bool:
        where = self._where
        if not where or then.section == where or then.section.startswith(where + "/"):
            return True
        own = path_of(where)[-1]
        entry = self._now.get(then.entry_id)
        return own in ((then.row and then.row.key), (entry and entry.key))

    def _without_clashes(self) -> None:
        """Where a part goes back, what others have by now stays theirs."""
        if not self._where:
            return
        standing = Standing(self._connection)
        while True:
            wanted = {(one.section, one.row.key): one for one in self._then.values() if one.row}
            taken = [
                wanted[place]
                for place, entry in standing.at(wanted).items()
                if entry.id not in self._then
            ]
            above = {place for section, _key in wanted for place in holders(section)}
            closed = {
                place
                for place, entry in standing.at(above).items()
                if entry.kind is not Kind.GROUP and entry.id not in self._then
            }
            taken += [one for one in wanted.values() if closed.intersection(holders(one.section))]
            if not taken:
                return
            for one in taken:
                if self._then.pop(one.entry_id, None) and one.row:
                    self._keep(one.section, one.row.key, "another entry has its place now")

    def _places(self) -> dict[int, int]:
        """New places of what comes back or was moved; the others only make room."""
        sections = {then.section for then in self._then.values() if self._is_misplaced(then)}
        standing = Standing(self._connection)
        places: dict[int, int] = {}
        for section in sorted(sections):
            found = placed_like(self._order_then(section, standing.standing(section)))
            places.update(found.placed)
            self._found.shifted += found.shifted
        return places

    def _is_misplaced(self, then: _Then) -> bool:
        if then.row is None:
            return False
        entry = self._now.get(then.entry_id)
        return entry is None or entry.position != self._place_now(then)

    def _place_now(self, then: _Then) -> int:
        return slid(self._since.get(then.section, ()), then.section, then.place)

    def _order_then(self, section: str, standing: Collection[tuple[int, int]]) -> list[Placed]:
        """The rows of a section in the order they had, each with the place it has now."""
        rows = [
            ((position, 1, 0, entry_id), Placed(entry_id, position))
            for position, entry_id in standing
            if entry_id not in self._then
        ]
        for then in self._then.values():
            if then.section == section and then.row is not None:
                entry = self._now.get(then.entry_id)
                # Before whoever stands there: the places of others only ever make room upwards.
                now, then_now = entry.position if entry else None, self._place_now(then)
                order = (then_now, 0, then.place, then.entry_id)
                rows.append((order, Placed(then.entry_id, now, wish=then_now)))
        return [one for _order, one in sorted(rows, key=lambda pair: pair[0])]

    def _homeless(self) -> list[str]:
        sections = {row.section for _id, entry, row in self._found.pairs if row and not entry}
        coming = {(row.section, row.key) for _id, _entry, row in self._found.pairs if row}
        places = {place for section in sections for place in holders(section)} - coming
        there = set(Standing(self._connection).at(places)) | coming
        return sorted(one for one in sections if not there.issuperset(holders(one)))

    def _keep(self, section: str, key: str, why: str) -> None:
        self._found.kept.append(Kept(section, key, WHOLE, why))


def _near(where: str) -> ColumnElement[bool]:
    """Changes of what lies at a pointer, below it, or beside it (it may have been renamed)."""
    below = changes.c.section.startswith(where + "/", autoescape=True)
    beside = changes.c.section == pointer(path_of(where)[:-1])
    return or_(changes.c.section == where, below, beside)


def says_the_same(entry: Entry, row: Row) -> bool:
    """Whether an entry says what a row says, whatever their places are."""
    alike = (entry.key, entry.kind) == (row.key, row.kind)
    return alike and same(entry.body, row.body)
