"""What was changed, by whom, and why: per entry and for the whole knowledge base."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select, union

from db.knowledge import change_sets, changes, changes_group
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import Invalid
from services.knowledge.document import Row
from services.knowledge.entries import Entry, cells_of
from services.knowledge.ledger import ChangeSet
from services.knowledge.sections import path_of, pointer
from services.knowledge.state import once_a_revision
from services.knowledge.validation import KEY

PAGE_ROWS = 20
DETAIL_ROWS = 25

_MAX_ROWS = 200


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
    kind: str  # of the change set: edit, bulk, import, restore, undo, rollback
    change_set_id: str = ""


@dataclass(frozen=True)
class HistoryFilter:
    """Which change sets are looked for; what is empty does not count."""

    author: str = ""
    kind: str = ""
    section: str = ""  # pointer: what touched anything in it
    since: datetime | None = None
    until: datetime | None = None  # this moment is no longer of it
    text: str = ""  # in the reason, whatever the case

    @property
    def is_empty(self) -> bool:
        """Whether everything is asked for."""
        return self == HistoryFilter()


EVERYTHING = HistoryFilter()


@dataclass(frozen=True)
class HistoryPage:
    """One page of change sets, newest first."""

    change_sets: tuple[ChangeSet, ...]
    total: int


@dataclass(frozen=True)
class Details:
    """One page of what a change set did, entry by entry."""

    changes: tuple[EntryChange, ...]
    total: int


def history(
    ctx: Context, actor: Actor, entry: Entry, rows: int = 50, page: int = 1
) -> tuple[EntryChange, ...]:
    """Everything that happened to an entry and to earlier ones of its name, newest first."""
    require(actor, Permission.KB_VIEW)
    same_place = (changes.c.section == entry.section) & (changes.c.key == entry.key)
    # Two look-ups by an index each; asked with OR, a database may read all of the history.
    ids = union(
        select(changes.c.id).where(changes.c.entry_id == entry.id),
        select(changes.c.id).where(same_place),
    ).subquery()
    newest = select(ids.c.id).order_by(ids.c.id.desc()).limit(rows).offset(rows * (page - 1))
    with read_shop(ctx) as connection:
        wanted = list(connection.scalars(newest))
        found = connection.execute(_changes().where(changes.c.id.in_(wanted)))
        told = {row.id: _entry_change(row) for row in found}
    return tuple(told[row_id] for row_id in wanted)


def recent(
    ctx: Context,
    actor: Actor,
    *,
    page: int = 1,
    rows: int = PAGE_ROWS,
    wanted: HistoryFilter = EVERYTHING,
) -> HistoryPage:
    """Change sets of the whole knowledge base, newest first.

    Args:
        page: from 1.
        rows: at most 200.
        wanted: of these alone.
    """
    require(actor, Permission.KB_VIEW)
    rows = max(1, min(rows, _MAX_ROWS))
    skip = (max(page, 1) - 1) * rows
    query = _filtered(wanted)
    with read_shop(ctx) as connection:
        if wanted.text:
            numbers = _saying(connection, query, wanted.text)
            shown = select(change_sets).where(change_sets.c.number.in_(numbers[skip : skip + rows]))
            found = connection.execute(shown.order_by(change_sets.c.number.desc())).all()
            return HistoryPage(tuple(map(change_set_of, found)), len(numbers))
        counted = select(func.count()).select_from(query.subquery())
        total = connection.scalar(counted) or 0
        shown = select(change_sets).where(change_sets.c.id.in_(query))
        if wanted.is_empty:
            shown = select(change_sets)
        newest = shown.order_by(change_sets.c.number.desc(), change_sets.c.id)
        found = connection.execute(newest.limit(rows).offset(skip)).all()
    return HistoryPage(tuple(map(change_set_of, found)), total)


def change_set(ctx: Context, actor: Actor, change_set_id: str) -> ChangeSet:
    """One change set.

    Raises:
        Invalid: there is none of this name.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        query = select(change_sets).where(change_sets.c.id == change_set_id)
        row = connection.execute(query).first()
    if row is None:
        raise Invalid("There is no such change set (any more).", "Choose it from the history.")
    return change_set_of(row)


def authors(ctx: Context, actor: Actor) -> tuple[str, ...]:
    """Everybody who ever changed the knowledge base, by name."""
    require(actor, Permission.KB_VIEW)
    query = select(change_sets.c.author).distinct().order_by(change_sets.c.author)
    with read_shop(ctx) as connection:
        return once_a_revision(
            connection, "authors", lambda: tuple(str(one) for one in connection.scalars(query))
        )


def details(
    ctx: Context,
    actor: Actor,
    change_set_id: str,
    *,
    page: int = 1,
    rows: int = DETAIL_ROWS,
    section: str = "",
) -> Details:
    """What one change set did, entry by entry, in the order in which it was written.

    Args:
        page: from 1.
        rows: at most 200.
        section: pointer: what it did in there alone.
    """
    require(actor, Permission.KB_VIEW)
    rows = max(1, min(rows, _MAX_ROWS))
    mine = (changes.c.change_set_id == change_set_id, ~changes_group())
    inside = (*mine, _inside(section)) if section else mine
    with read_shop(ctx) as connection:
        total = connection.scalar(select(func.count()).select_from(changes).where(*inside)) or 0
        query = _changes().where(*inside).order_by(changes.c.id)
        found = connection.execute(query.limit(rows).offset((max(page, 1) - 1) * rows))
        return Details(tuple(_entry_change(row) for row in found), total)


def fields_of(before: Row | None, after: Row | None) -> tuple[FieldChange, ...]:
    """What differs between two states of an entry, cell by cell."""
    one, two = (
        {} if row is None else {KEY: row.key, **cells_of(row.kind, row.body)}
        for row in (before, after)
    )
    return _differing(one, two)


def change_set_of(row: Any) -> ChangeSet:
    """A row of `kb_change_sets` as a change set."""
    return ChangeSet(
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


def _filtered(wanted: HistoryFilter) -> Select[Any]:
    query = select(change_sets.c.id)
    if wanted.author:
        query = query.where(change_sets.c.author == wanted.author)
    if wanted.kind:
        query = query.where(change_sets.c.kind == wanted.kind)
    if wanted.since is not None:
        query = query.where(change_sets.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(change_sets.c.at < wanted.until)
    if wanted.section:
        touched = select(changes.c.change_set_id).where(_inside(wanted.section))
        query = query.where(change_sets.c.id.in_(touched))
    return query


def _inside(where: str) -> ColumnElement[bool]:
    """Whether a change is of what lies at a pointer or below it."""
    path = path_of(where)
    itself = (changes.c.section == pointer(path[:-1])) & (changes.c.key == path[-1])
    below = changes.c.section.startswith(where + "/", autoescape=True)
    return or_(changes.c.section == where, below, itself)


def _saying(connection: Connection, query: Select[Any], text: str) -> list[int]:
    """Numbers of the change sets whose reason says this, newest first."""
    wanted = text.casefold()
    columns = select(change_sets.c.number, change_sets.c.reason)
    found = connection.execute(
        columns.where(change_sets.c.reason != "", change_sets.c.id.in_(query)).order_by(
            change_sets.c.number.desc()
        )
    )
    return [number for number, reason in found if wanted in reason.casefold()]


def _changes() -> Select[Any]:
    return select(
        changes,
        change_sets.c.author,
        change_sets.c.at,
        change_sets.c.reason,
        change_sets.c.kind.label("set_kind"),
    ).join(change_sets)


def _entry_change(row: Any) -> EntryChange:
    return EntryChange(
        row.entry_id,
        row.section,
        row.key,
        row.action,
        _differing(_cells(row.before), _cells(row.after)),
        row.author,
        row.at,
        row.reason,
        row.set_kind,
        row.change_set_id,
    )


def _cells(facts: dict[str, Any] | None) -> dict[str, str]:
    if facts is None:
        return {}
    return {KEY: facts["key"], **cells_of(facts["kind"], facts["body"])}


def _differing(before: dict[str, str], after: dict[str, str]) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(name, before.get(name), after.get(name))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    )
