"""Take a change set back, or some entries of it; see `recycling` for what was deleted.

Taking back is a change set itself: it has an author, a history and can be taken back. Only
the rows that matter are read, so that one cell takes no longer among 100,000 entries.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from db.knowledge import change_sets, changes
from db.knowledge import entries as table
from db.knowledge import slides as slides_table
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop, write_shop
from services.core.errors import Conflict, Invalid
from services.knowledge.changes import sound_reason
from services.knowledge.document import Kind, Row
from services.knowledge.entries import Entry, by_id, entry_of
from services.knowledge.history import EntryChange, fields_of
from services.knowledge.inverse import Inverse, Kept, Place, holders, inverse, past_of
from services.knowledge.ledger import ChangeSet, Ledger
from services.knowledge.relay import relay
from services.knowledge.sliding import Slide

KIND = "undo"
_AT_ONCE = 500


@dataclass(frozen=True)
class UndoPlan:
    """What taking changes back would do now. It holds for exactly this state of the entries."""

    change_set_id: str
    only: frozenset[int]  # entries of the change set; empty for all
    about: str
    changes: tuple[EntryChange, ...]
    kept: tuple[Kept, ...]
    fingerprint: str

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take back."""
        return not self.changes


class Standing:
    """The knowledge base as it stands, of which only the rows that are asked for are read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def by_id(self, ids: Collection[int]) -> Mapping[int, Entry]:
        """Those of these entries that are there."""
        return by_id(self._connection, ids)

    def at(self, places: Collection[Place]) -> Mapping[Place, Entry]:
        """The entries at these places."""
        keys: defaultdict[str, list[str]] = defaultdict(list)
        for section, key in places:
            keys[section].append(key)
        found: dict[Place, Entry] = {}
        for section, wanted in keys.items():
            for some in in_parts(sorted(wanted)):
                query = select(table).where(table.c.section == section, table.c.key.in_(some))
                for row in self._connection.execute(query):
                    found[(row.section, row.key)] = entry_of(row)
        return found

    def held(self, sections: Collection[str]) -> Mapping[str, int]:
        """How many rows lie directly in each of these."""
        found: dict[str, int] = {}
        for some in in_parts(sorted(sections)):
            counted = self._connection.execute(
                select(table.c.section, func.count())
                .where(table.c.section.in_(some))
                .group_by(table.c.section)
            )
            found.update((section, count) for section, count in counted)
        return found

    def standing(self, section: str) -> Sequence[tuple[int, int]]:
        """Position and id of every row of a section, in their order."""
        query = select(table.c.position, table.c.id).where(table.c.section == section)
        rows = self._connection.execute(query.order_by(table.c.position, table.c.id))
        return [(position, row_id) for position, row_id in rows]


def preview(ctx: Context, actor: Actor, change_set_id: str, only: Collection[int] = ()) -> UndoPlan:
    """What taking a change set back would change, and what it would leave alone.

    Args:
        only: ids of entries, where not all of it is to be taken back.

    Raises:
        Denied: without `kb.edit`.
        Invalid: there is no such change set.
    """
    require(actor, Permission.KB_EDIT)
    with read_shop(ctx) as connection:
        about = _about(connection, change_set_id)
        found = _inverse(connection, change_set_id, frozenset(only))
    return UndoPlan(
        change_set_id,
        frozenset(only),
        about,
        tuple(told(found, actor, ctx.now())),
        found.kept,
        _fingerprint(found),
    )


def undo(ctx: Context, actor: Actor, plan: UndoPlan, reason: str = "") -> ChangeSet:
    """Do exactly what the plan says, as one change set.

    Raises:
        Denied: without `kb.edit`.
        Conflict: the entries were changed since the plan; nothing was taken back.
        Invalid: nothing is left to take back.
    """
    require(actor, Permission.KB_EDIT)
    reason = sound_reason(reason) or plan.about
    with write_shop(ctx) as connection:
        found = _inverse(connection, plan.change_set_id, plan.only)
        if _fingerprint(found) != plan.fingerprint:
            raise Conflict(
                "Somebody changed these entries since you looked; nothing was taken back.",
                "Look at what it would do now, then take it back.",
            )
        if found.is_empty:
            raise Invalid(
                "There is nothing left to take back: later changes replaced all of it.",
                "Its texts are in the history of each entry.",
            )
        ledger = Ledger(connection)
        enter(found, ledger, Standing(connection))
        change_set = ledger.write(ctx, actor, KIND, reason)
    relay(ctx)
    return change_set


def enter(found: Inverse, ledger: Ledger, around: Standing) -> None:
    """Hand every operation of an inverse to a ledger."""
    for one in found.slides:
        ledger.slide(one.section, one.first, one.last, one.by)
    for entry in found.deleted:
        ledger.delete(entry)
    for entry, row in found.edited:
        ledger.edit(entry, row, placed=entry.id in found.placed)
    for past, row in sorted(found.returned, key=lambda one: one[1].section.count("/")):
        ledger.bring_back(past.entry_id, past.writes + 1, row)
    for section in _without_holders(found, around):
        ledger.ensure_holders(section)
    for entry_id, position in found.shifted:
        ledger.shift(entry_id, position)


def _without_holders(found: Inverse, around: Standing) -> list[str]:
    sections = {row.section for _past, row in found.returned}
    places = {place for section in sections for place in holders(section)}
    there = set(around.at(places)) | {(row.section, row.key) for _past, row in found.returned}
    return sorted(section for section in sections if not there.issuperset(holders(section)))


def writes(connection: Connection, ids: Collection[int]) -> dict[int, int]:
    """How often each entry was ever written. What comes back continues from there: a version
    that it had before must not pass for the one that somebody still has on the screen."""
    found: dict[int, int] = {}
    for some in in_parts(sorted(ids)):
        counted = connection.execute(
            select(changes.c.entry_id, func.count().label("writes"))
            .where(changes.c.entry_id.in_(some))
            .group_by(changes.c.entry_id)
        )
        found.update((row.entry_id, row.writes) for row in counted)
    return found


def slides_since(
    connection: Connection, number: int, sections: Collection[str] = ()
) -> list[tuple[int, Slide]]:
    """How entries made room in every change set from this number on, the oldest first.

    Args:
        sections: of these alone; of all, where none is named or they are many.
    """
    query = (
        select(change_sets.c.number, slides_table)
        .join(change_sets, change_sets.c.id == slides_table.c.change_set_id)
        .where(change_sets.c.number >= number)
        .order_by(slides_table.c.id)
    )
    if 0 < len(sections) <= _AT_ONCE:
        query = query.where(slides_table.c.section.in_(sections))
    return [
        (row.number, Slide(row.section, row.first, row.last, row.by))
        for row in connection.execute(query)
    ]


def in_parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """So many at once as a statement takes on every database."""
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _set_of(connection: Connection, change_set_id: str) -> Any:
    row = connection.execute(select(change_sets).where(change_sets.c.id == change_set_id)).first()
    if row is None:
        raise Invalid(
            "There is no such change set (any more); nothing was taken back.",
            "Reload the page and choose it again.",
        )
    return row


def _about(connection: Connection, change_set_id: str) -> str:
    row = _set_of(connection, change_set_id)
    why = f" ({row.reason[:200]})" if row.reason else ""
    return f"Takes back the change by {row.author} of {row.at:%Y-%m-%d %H:%M} UTC{why}"


def _inverse(connection: Connection, change_set_id: str, only: frozenset[int]) -> Inverse:
    number = _set_of(connection, change_set_id).number
    query = select(changes).where(changes.c.change_set_id == change_set_id).order_by(changes.c.id)
    if 0 < len(only) <= _AT_ONCE:
        query = query.where(changes.c.entry_id.in_(only))
    chosen = [row for row in connection.execute(query) if not only or row.entry_id in only]
    written = writes(connection, {row.entry_id for row in chosen if row.after is None})
    past = [past_of(row, written.get(row.entry_id, 0)) for row in chosen]
    slides = slides_since(connection, number, {row.section for row in chosen})
    return inverse(
        past,
        Standing(connection),
        slides=[one for at, one in slides if at == number],
        later=[one for at, one in slides if at > number],
        whole=not only,
    )


def _fingerprint(found: Inverse) -> str:
    facts: list[Any] = [
        [(entry.id, entry.version) for entry in found.deleted],
        [
            (entry.id, entry.version, row.key, row.kind, row.body, row.position)
            for entry, row in found.edited
        ],
        [(past.entry_id, row.key, row.body, row.position) for past, row in found.returned],
        found.shifted,
        [(one.section, one.key, one.field, one.why) for one in found.kept],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def told(found: Inverse, actor: Actor, now: datetime) -> list[EntryChange]:
    """An inverse as a person reads it."""
    pairs: list[tuple[int, str, Row | None, Row | None]] = [
        *((entry.id, "delete", entry.row, None) for entry in found.deleted),
        *((entry.id, "edit", entry.row, row) for entry, row in found.edited),
        *((past.entry_id, "add", None, row) for past, row in found.returned),
    ]
    return [
        EntryChange(
            entry_id,
            row.section,
            row.key,
            action,
            fields_of(before, after),
            actor.name,
            now,
            "",
            "",
        )
        for entry_id, action, before, after in pairs
        for row in [after or before]
        if row is not None and row.kind is not Kind.GROUP
    ]
