"""Go back: the knowledge base, or a part of it, as it was right after some change.

What was written since is taken back entry by entry under its own id, as one change set that
can be taken back itself. Only entries that were touched since are read; everything else
stays, also where the others come to stand.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, or_, select

from db.knowledge import change_sets, changes, releases
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop, write_shop
from services.core.errors import Conflict, Invalid
from services.knowledge.changes import sound_reason
from services.knowledge.document import Kind, Row, same
from services.knowledge.entries import Entry, by_id
from services.knowledge.history import EntryChange, fields_of
from services.knowledge.inverse import PURGED, WHOLE, Kept, holders
from services.knowledge.ledger import ChangeSet, Ledger
from services.knowledge.ordering import Placed, placed_like
from services.knowledge.relay import relay
from services.knowledge.sections import path_of, pointer, title_of
from services.knowledge.sliding import Slide, slid, taken_back, without_detours
from services.knowledge.undoing import Standing, slides_since, writes

KIND = "rollback"
WORD = "go back"
"""What is typed to confirm that the whole knowledge base goes back."""
SHOWN = 200
"""Changes of a plan that are told one by one."""


@dataclass(frozen=True)
class Moment:
    """Where to go back to; exactly one of these."""

    change_set_id: str = ""  # right after this change
    at: datetime | None = None  # everything up to this time
    release: int | None = None  # what this release was made from


@dataclass(frozen=True)
class RollbackPlan:
    """What going back would do now. It holds for exactly this state of the entries."""

    moment: Moment
    where: str  # pointer of the part that goes back; "" for the whole knowledge base
    about: str
    then: datetime  # the moment itself
    changes: tuple[EntryChange, ...]  # the first `SHOWN`
    added: int
    edited: int
    deleted: int
    moved: int  # entries whose place alone changes
    kept: tuple[Kept, ...]  # what can't go back, and why
    change_sets: int  # so many changes were made since
    fingerprint: str

    @property
    def is_empty(self) -> bool:
        """Whether everything is as it was then."""
        return not (self.added or self.edited or self.deleted or self.moved)


def preview(ctx: Context, actor: Actor, moment: Moment, where: str = "") -> RollbackPlan:
    """What going back would change.

    Args:
        where: pointer of a section or a part of one; everything, where it is empty.

    Raises:
        Denied: without `kb.edit`.
        Invalid: there is no such moment in the history.
    """
    require(actor, Permission.KB_EDIT)
    with read_shop(ctx) as connection:
        number, about, then = _number(connection, moment)
        found = _Return(connection, number, where).result()
        since = connection.scalar(
            select(func.count()).select_from(change_sets).where(change_sets.c.number > number)
        )
    pairs = [pair for pair in found.pairs if not _is_group(pair)]
    added = sum(1 for _id, entry, _row in pairs if entry is None)
    deleted = sum(1 for _id, _entry, row in pairs if row is None)
    moved = sum(1 for _id, entry, row in pairs if entry and row and _says_the_same(entry, row))
    pairs.sort(key=_order)
    place = title_of(where) if where else "The whole knowledge base"
    return RollbackPlan(
        moment,
        where,
        f"{place} as it was {about}",
        then,
        tuple(_told(pair, actor, ctx.now()) for pair in pairs[:SHOWN]),
        added,
        len(pairs) - added - deleted - moved,
        deleted,
        moved,
        tuple(found.kept),
        since or 0,
        found.fingerprint,
    )


def roll_back(
    ctx: Context, actor: Actor, plan: RollbackPlan, reason: str = "", typed: str = ""
) -> ChangeSet:
    """Do exactly what the plan says, as one change set.

    Args:
        typed: `go back`, as the person typed it, where the whole knowledge base goes back.

    Raises:
        Denied: without `kb.edit`.
        Conflict: the entries were changed since the plan; nothing was changed.
        Invalid: the confirmation is missing, or everything is as it was then.
    """
    require(actor, Permission.KB_EDIT)
    reason = sound_reason(reason) or plan.about
    if not plan.where and typed.strip() != WORD:
        raise Invalid(
            "The confirmation does not fit; nothing was changed.",
            f"Type {WORD} to take the whole knowledge base back.",
        )
    with write_shop(ctx) as connection:
        number, _about, _then = _number(connection, plan.moment)
        found = _Return(connection, number, plan.where).result()
        if found.fingerprint != plan.fingerprint:
            raise Conflict(
                "Somebody changed these entries since you looked; nothing was changed.",
                "Look at what going back would do now.",
            )
        if not found.pairs:
            raise Invalid("Everything is as it was then already; nothing was changed.")
        ledger = Ledger(connection)
        found.enter(ledger)
        change_set = ledger.write(ctx, actor, KIND, reason)
    relay(ctx)
    return change_set


def _number(connection: Connection, moment: Moment) -> tuple[int, str, datetime]:
    """The change set right after which it was, how a person says that, and when it was."""
    if moment.at is not None:
        highest = select(func.max(change_sets.c.number)).where(change_sets.c.at <= moment.at)
        return connection.scalar(highest) or 0, f"on {_minute(moment.at)} UTC", moment.at
    wanted = moment.change_set_id
    about = ""
    if moment.release is not None:
        number = moment.release
        query = select(releases.c.revision).where(releases.c.number == number)
        wanted = connection.scalar(query) or ""
        about = f"when release {number} was made"
    row = connection.execute(select(change_sets).where(change_sets.c.id == wanted)).first()
    if row is None:
        raise Invalid(
            "The history does not reach back to that moment; nothing was changed.",
            "Choose a change from the history. A release can also be compared and exported.",
        )
    about = about or f"right after the change by {row.author} of {_minute(row.at)} UTC"
    return row.number, about, row.at


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


_Pair = tuple[int, Entry | None, Row | None]
"""Id of an entry, as it is now, and as it was then."""


@dataclass
class _Result:
    """The operations that lead back."""

    pairs: list[_Pair] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)  # of what is moved, or comes
    shifted: list[tuple[int, int]] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)
    homeless: list[str] = field(default_factory=list)  # sections whose holders must be made

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


class _Return:
    """Works out what leads from now to then."""

    def __init__(self, connection: Connection, number: int, where: str) -> None:
        self._connection = connection
        self._number = number
        self._where = where
        self._found = _Result()
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

    def result(self) -> _Result:
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
            if entry is None or row is None or moved or not _says_the_same(entry, row):
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


def _says_the_same(entry: Entry, row: Row) -> bool:
    alike = (entry.key, entry.kind) == (row.key, row.kind)
    return alike and same(entry.body, row.body)


def _is_group(pair: _Pair) -> bool:
    _id, entry, row = pair
    return all(one is None or one.kind is Kind.GROUP for one in (entry, row))


def _order(pair: _Pair) -> tuple[bool, str, str]:
    """As a person reads them: what only moves comes last."""
    _id, entry, row = pair
    moved = entry is not None and row is not None and _says_the_same(entry, row)
    section, key = (
        (row.section, row.key) if row else (entry.section, entry.key) if entry else ("", "")
    )
    return moved, section, key


def _told(pair: _Pair, actor: Actor, now: datetime) -> EntryChange:
    entry_id, entry, row = pair
    action = "add" if entry is None else "delete" if row is None else "edit"
    before = entry.row if entry else None
    _moved, section, key = _order(pair)
    fields = fields_of(before, row)
    return EntryChange(entry_id, section, key, action, fields, actor.name, now, "", "")
