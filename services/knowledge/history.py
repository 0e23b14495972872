"""What was changed, by whom, and why: per entry and for the whole knowledge base."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, or_, select

from db.knowledge import change_sets, changes, changes_group
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.knowledge.entries import Entry, cells_of
from services.knowledge.ledger import ChangeSet
from services.knowledge.validation import KEY

PAGE_ROWS = 20

_MAX_CHANGES = 200


@dataclass(frozen=True)
class FieldChange:
    """One cell before and after; None where there was none."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class EntryChange:
    """What a change set did to one entry."""

    entry_id: int
    section: str
    key: str
    action: str  # add, edit, delete
    fields: tuple[FieldChange, ...]
    author: str
    at: datetime
    reason: str
    kind: str  # of the change set: edit, import, restore, undo


@dataclass(frozen=True)
class HistoryPage:
    """One page of change sets, newest first."""

    change_sets: tuple[ChangeSet, ...]
    total: int


def history(ctx: Context, actor: Actor, entry: Entry, rows: int = 50) -> tuple[EntryChange, ...]:
    """Everything that happened to an entry and to earlier ones of its name, newest first."""
    require(actor, Permission.KB_VIEW)
    same_place = (changes.c.section == entry.section) & (changes.c.key == entry.key)
    query = _changes().where(or_(changes.c.entry_id == entry.id, same_place))
    with read_shop(ctx) as connection:
        found = connection.execute(query.order_by(changes.c.id.desc()).limit(rows))
        return tuple(_entry_change(row) for row in found)


def recent(ctx: Context, actor: Actor, *, page: int = 1, rows: int = PAGE_ROWS) -> HistoryPage:
    """Change sets of the whole knowledge base, newest first.

    Args:
        page: from 1.
        rows: at most 200.
    """
    require(actor, Permission.KB_VIEW)
    rows = max(1, min(rows, 200))
    with read_shop(ctx) as connection:
        total = connection.scalar(select(func.count()).select_from(change_sets)) or 0
        found = connection.execute(
            select(change_sets)
            .order_by(change_sets.c.at.desc(), change_sets.c.id)
            .limit(rows)
            .offset((max(page, 1) - 1) * rows)
        ).all()
    return HistoryPage(
        tuple(
            ChangeSet(
                row.id,
                row.at,
                row.author,
                row.author_kind,
                row.kind,
                row.reason,
                row.added,
                row.edited,
                row.deleted,
            )
            for row in found
        ),
        total,
    )


def details(ctx: Context, actor: Actor, change_set_id: str) -> tuple[EntryChange, ...]:
    """What one change set did, entry by entry; at most the first 200."""
    require(actor, Permission.KB_VIEW)
    query = _changes().where(changes.c.change_set_id == change_set_id, ~changes_group())
    with read_shop(ctx) as connection:
        found = connection.execute(query.order_by(changes.c.id).limit(_MAX_CHANGES))
        return tuple(_entry_change(row) for row in found)


def _changes() -> Select[Any]:
    return select(
        changes,
        change_sets.c.author,
        change_sets.c.at,
        change_sets.c.reason,
        change_sets.c.kind.label("set_kind"),
    ).join(change_sets)


def _entry_change(row: Any) -> EntryChange:
    before, after = _cells(row.before), _cells(row.after)
    fields = tuple(
        FieldChange(name, before.get(name), after.get(name))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    )
    return EntryChange(
        row.entry_id,
        row.section,
        row.key,
        row.action,
        fields,
        row.author,
        row.at,
        row.reason,
        row.set_kind,
    )


def _cells(facts: dict[str, Any] | None) -> dict[str, str]:
    if facts is None:
        return {}
    return {KEY: facts["key"], **cells_of(facts["kind"], facts["body"])}
