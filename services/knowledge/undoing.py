"""Take a change set back, or some entries of it; bring deleted entries back; purge them.

Taking back is a change set itself: it has an author, a history and can be taken back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select, update

from db.knowledge import change_sets, changes, changes_group, changes_purged
from db.knowledge import entries as table
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop, write_shop
from services.core.errors import Conflict, Invalid
from services.knowledge.changes import sound_reason
from services.knowledge.document import Kind, Row
from services.knowledge.entries import cells_of, everything
from services.knowledge.history import EntryChange, FieldChange
from services.knowledge.inverse import PURGED, Inverse, Kept, Past, inverse, past_of
from services.knowledge.ledger import ChangeSet, Ledger
from services.knowledge.relay import relay
from services.knowledge.sections import title_of
from services.knowledge.validation import KEY, MAX_REASON

KIND = "undo"
PURGE_WORD = "purge"
"""What is typed to confirm that texts go for good."""
BIN_ROWS = 50
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


@dataclass(frozen=True)
class DeletedEntry:
    """An entry in the recycle bin, as it was when it was deleted."""

    entry_id: int
    section: str
    key: str
    cells: dict[str, str]
    change_set_id: str
    by: str
    at: datetime
    reason: str


@dataclass(frozen=True)
class Bin:
    """One page of the recycle bin, the newest first."""

    entries: tuple[DeletedEntry, ...]
    total: int


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
        tuple(_told(found, actor, ctx.now())),
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
        for entry in found.deleted:
            ledger.delete(entry)
        for entry, row in found.edited:
            ledger.edit(entry, row)
        for past, row in _outer_first(found.returned):
            ledger.ensure_holders(row.section)
            ledger.bring_back(past.entry_id, past.writes + 1, row)
        for entry_id, position in found.shifted:
            ledger.shift(entry_id, position)
        change_set = ledger.write(ctx, actor, KIND, reason)
    relay(ctx)
    return change_set


def deleted(ctx: Context, actor: Actor, *, search: str = "", page: int = 1) -> Bin:
    """Entries that were deleted and not brought back, the newest first.

    Args:
        search: found in keys and texts, whatever the case.
        page: from 1, of `BIN_ROWS` entries.
    """
    require(actor, Permission.KB_VIEW)
    skip = (max(page, 1) - 1) * BIN_ROWS
    query = _in_bin().order_by(changes.c.id.desc())
    with read_shop(ctx) as connection:
        if not search:
            total = connection.scalar(select(func.count()).select_from(query.subquery())) or 0
            rows = connection.execute(query.limit(BIN_ROWS).offset(skip)).all()
            return Bin(tuple(_binned(row) for row in rows), total)
        wanted = search.casefold()
        found = [_binned(row) for row in connection.execute(query)]
    matching = [
        one
        for one in found
        if any(wanted in text.casefold() for text in (one.key, *one.cells.values()))
    ]
    return Bin(tuple(matching[skip : skip + BIN_ROWS]), len(matching))


def purge(ctx: Context, actor: Actor, entry_ids: Collection[int], typed: str) -> int:
    """Remove the texts of deleted entries from the whole history. Final: only backups have them.

    That each was changed, by whom and when stays in the history.

    Args:
        typed: `purge`, as the person typed it.

    Returns:
        How many entries were purged.

    Raises:
        Denied: without `kb.purge`.
        Invalid: the confirmation is missing, or one of them is not in the bin.
    """
    require(actor, Permission.KB_PURGE)
    wanted = sorted(set(entry_ids))
    if typed.strip() != PURGE_WORD:
        raise Invalid(
            "The confirmation does not fit; nothing was purged.",
            f"Type {PURGE_WORD} to remove these texts for good.",
        )
    with write_shop(ctx) as connection:
        rows = [
            row
            for start in range(0, len(wanted), _AT_ONCE)
            for row in connection.execute(
                _in_bin().where(changes.c.entry_id.in_(wanted[start : start + _AT_ONCE]))
            )
        ]
        if len(rows) != len(wanted) or not rows:
            raise Invalid(
                "Not all of these entries are in the recycle bin (any more); nothing was purged.",
                "Reload the page and choose again.",
            )
        if connection.dialect.name == "sqlite":
            # Not every build of SQLite overwrites what it frees.
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        for row in rows:
            _blank(connection, row.entry_id)
        named = ", ".join(f"{title_of(row.section)} / {row.key}" for row in rows)
        told = f"Purged {len(rows)} deleted entries for good: {named}"
        Ledger(connection).write(ctx, actor, "purge", _shortened(told))
    relay(ctx)
    return len(rows)


def _about(connection: Connection, change_set_id: str) -> str:
    row = connection.execute(select(change_sets).where(change_sets.c.id == change_set_id)).first()
    if row is None:
        raise Invalid(
            "There is no such change set (any more); nothing was taken back.",
            "Reload the page and choose it again.",
        )
    why = f" ({row.reason[:200]})" if row.reason else ""
    return f"Takes back the change by {row.author} of {row.at:%Y-%m-%d %H:%M} UTC{why}"


def _inverse(connection: Connection, change_set_id: str, only: frozenset[int]) -> Inverse:
    query = select(changes).where(changes.c.change_set_id == change_set_id)
    rows = connection.execute(query.order_by(changes.c.id)).all()
    chosen = [row for row in rows if not only or row.entry_id in only]
    writes = _writes(connection, {row.entry_id for row in chosen if row.after is None})
    past = [past_of(row, writes.get(row.entry_id, 0)) for row in chosen]
    return inverse(past, everything(connection))


def _writes(connection: Connection, ids: Collection[int]) -> dict[int, int]:
    """How often each entry was ever written. What comes back continues from there: a version
    that it had before must not pass for the one that somebody still has on the screen."""
    wanted = sorted(ids)
    found: dict[int, int] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        counted = connection.execute(
            select(changes.c.entry_id, func.count().label("writes"))
            .where(changes.c.entry_id.in_(wanted[start : start + _AT_ONCE]))
            .group_by(changes.c.entry_id)
        )
        found.update((row.entry_id, row.writes) for row in counted)
    return found


def _outer_first(returned: Sequence[tuple[Past, Row]]) -> list[tuple[Past, Row]]:
    return sorted(returned, key=lambda one: one[1].section.count("/"))


def _fingerprint(found: Inverse) -> str:
    facts: list[Any] = [
        [(entry.id, entry.version) for entry in found.deleted],
        [
            (entry.id, entry.version, row.key, row.kind, row.body, row.position)
            for entry, row in found.edited
        ],
        [(past.entry_id, row.key, row.body, row.position) for past, row in found.returned],
        [(one.section, one.key, one.field, one.why) for one in found.kept],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _told(found: Inverse, actor: Actor, now: datetime) -> list[EntryChange]:
    pairs = [
        *((entry.id, "delete", entry.row, None) for entry in found.deleted),
        *((entry.id, "edit", entry.row, row) for entry, row in found.edited),
        *((past.entry_id, "add", None, row) for past, row in found.returned),
    ]
    return [
        EntryChange(
            entry_id,
            (after or before or row).section,
            (after or before or row).key,
            action,
            _fields(before, after),
            actor.name,
            now,
            "",
            "",
        )
        for entry_id, action, before, after in pairs
        for row in [before or after]
        if row is not None and row.kind is not Kind.GROUP
    ]


def _fields(before: Row | None, after: Row | None) -> tuple[FieldChange, ...]:
    one, two = (
        {} if row is None else {KEY: row.key, **cells_of(row.kind, row.body)}
        for row in (before, after)
    )
    return tuple(
        FieldChange(name, one.get(name), two.get(name))
        for name in dict.fromkeys([*one, *two])
        if one.get(name) != two.get(name)
    )


def _in_bin() -> Select[Any]:
    """The last change of each entry that is no longer there, if it can be brought back."""
    last = select(func.max(changes.c.id)).group_by(changes.c.entry_id)
    return (
        select(changes, change_sets.c.author, change_sets.c.at, change_sets.c.reason)
        .join(change_sets)
        .where(
            changes.c.id.in_(last),
            changes.c.action == "delete",
            changes.c.entry_id.not_in(select(table.c.id)),
            ~changes_group(),
            ~changes_purged(),
        )
    )


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 1]}…"


def _binned(row: Any) -> DeletedEntry:
    cells = cells_of(row.before["kind"], row.before["body"])
    return DeletedEntry(
        row.entry_id, row.section, row.key, cells, row.change_set_id, row.author, row.at, row.reason
    )


def _blank(connection: Connection, entry_id: int) -> None:
    for row in connection.execute(select(changes).where(changes.c.entry_id == entry_id)).all():
        sides = {
            name: None if side is None else {**side, "kind": PURGED, "body": None}
            for name, side in (("before", row.before), ("after", row.after))
        }
        connection.execute(update(changes).where(changes.c.id == row.id).values(**sides))
