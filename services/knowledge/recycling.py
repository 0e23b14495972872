"""The recycle bin: what was deleted, brought back as it was, or purged for good."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    cast,
    exists,
    func,
    or_,
    select,
    update,
)

from db.knowledge import change_sets, changes, changes_group, changes_purged, releases
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop, write_shop
from services.core.errors import Invalid
from services.knowledge.changes import sound_reason
from services.knowledge.drafting import rows as drafts
from services.knowledge.entries import cells_of
from services.knowledge.inverse import PURGED, Inverse, Kept, inverse, past_of
from services.knowledge.ledger import ChangeSet, Ledger
from services.knowledge.relay import relay
from services.knowledge.searching import index, meaning
from services.knowledge.sections import title_of
from services.knowledge.sliding import slid
from services.knowledge.state import once_a_revision
from services.knowledge.undoing import KIND, Standing, enter, in_parts, slides_since, writes
from services.knowledge.validation import MAX_REASON

PURGE_WORD = "purge"
"""What is typed to confirm that texts go for good."""
BIN_ROWS = 50
MAX_FOUND = 1_000
"""A search of the bin tells of no more: a narrower one finds the rest."""


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
    more: bool = False  # a search found more than `MAX_FOUND`, and went no further


@dataclass(frozen=True)
class Returned:
    """What came back from the bin, and what could not."""

    change_set: ChangeSet | None
    kept: tuple[Kept, ...]


def deleted(ctx: Context, actor: Actor, *, search: str = "", page: int = 1) -> Bin:
    """Entries that were deleted and not brought back, the newest first.

    Args:
        search: found in keys and texts, whatever the case.
        page: from 1, of `BIN_ROWS` entries.
    """
    require(actor, Permission.KB_VIEW)
    skip = (max(page, 1) - 1) * BIN_ROWS
    with read_shop(ctx) as connection:
        if not search:
            total = once_a_revision(connection, "bin", lambda: _count(connection))
            rows = connection.execute(_newest(_in_bin()).limit(BIN_ROWS).offset(skip)).all()
            return Bin(tuple(_binned(row) for row in rows), total)
        found: list[DeletedEntry] = []
        total = 0
        for row in _matching(connection, search):
            if total == MAX_FOUND:
                return Bin(tuple(found), total, more=True)
            if skip <= total < skip + BIN_ROWS:
                found.append(_binned(row))
            total += 1
    return Bin(tuple(found), total)


def found_ids(ctx: Context, actor: Actor, search: str = "") -> tuple[int, ...]:
    """The entries of the whole bin, or those that a search finds (`MAX_FOUND` at most)."""
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        if not search:
            return tuple(connection.scalars(_in_bin(changes.c.entry_id)))
        rows = _matching(connection, search)
        return tuple(row.entry_id for row, _number in zip(rows, range(MAX_FOUND), strict=False))


def bring_back(
    ctx: Context, actor: Actor, entry_ids: Collection[int], reason: str = ""
) -> Returned:
    """Bring deleted entries back, whoever deleted them and when, as one change set.

    What can't come back (another entry has its name) stays in the bin and is told.

    Raises:
        Denied: without `kb.edit`.
        Invalid: none of them is in the bin.
    """
    require(actor, Permission.KB_EDIT)
    reason = sound_reason(reason)
    with write_shop(ctx) as connection:
        rows = _rows(connection, entry_ids)
        if not rows:
            raise Invalid(
                "These entries are not in the recycle bin (any more); nothing was brought back.",
                "Reload the page and choose again.",
            )
        found = _coming_back(connection, rows)
        change_set = None
        if not found.is_empty:
            ledger = Ledger(connection)
            enter(found, ledger, Standing(connection))
            count = len(found.returned)
            told = f"Brings {count} deleted {'entry' if count == 1 else 'entries'} back"
            change_set = ledger.write(ctx, actor, KIND, reason or told)
    relay(ctx)
    return Returned(change_set, found.kept)


def purge(ctx: Context, actor: Actor, entry_ids: Collection[int], typed: str) -> int:
    """Remove the texts of deleted entries from the whole history and from all drafts. Final.

    That each was changed, by whom and when stays in the history. Releases are frozen and
    were given to the shop: those that hold the texts (`releases_that_hold`) keep them, and
    so do backups.

    Args:
        typed: `purge`, as the person typed it.

    Returns:
        How many entries were purged.

    Raises:
        Denied: without `kb.purge`.
        Invalid: the confirmation is missing, or one of them is not in the bin.
        DeskError: a database can't be written; nothing was purged.
    """
    require(actor, Permission.KB_PURGE)
    if typed.strip() != PURGE_WORD:
        raise Invalid(
            "The confirmation does not fit; nothing was purged.",
            f"Type {PURGE_WORD} to remove these texts for good.",
        )
    with write_shop(ctx) as connection:
        rows = _rows(connection, entry_ids)
        if len(rows) != len(set(entry_ids)) or not rows:
            raise Invalid(
                "Not all of these entries are in the recycle bin (any more); nothing was purged.",
                "Reload the page and choose again.",
            )
        if connection.dialect.name == "sqlite":
            # Not every build of SQLite overwrites what it frees.
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        for some in in_parts(sorted(row.entry_id for row in rows)):
            _blank(connection, some)
        named = ", ".join(f"{title_of(row.section)} / {row.key}" for row in rows[:100])
        told = f"Purged {len(rows)} deleted entries for good: {named}"
        Ledger(connection).write(ctx, actor, "purge", _shortened(told))
        # Another database, so another transaction, which ends first: whatever is killed in
        # between, the entries are still in the bin and are seen there.
        drafts.purge(ctx, (row.entry_id for row in rows))
    index.forget(ctx)  # it may still hold pieces of these texts
    meaning.forget(ctx)
    relay(ctx)
    return len(rows)


def releases_that_hold(ctx: Context, actor: Actor, entry_ids: Collection[int]) -> int:
    """How many releases hold texts of these entries; a purge leaves those as they are."""
    require(actor, Permission.KB_PURGE)
    wanted = set(entry_ids)
    with read_shop(ctx) as connection:
        found = connection.scalars(select(releases.c.members).execution_options(yield_per=1))
        return sum(
            any(entry_id in wanted for entry_id, _digest in json.loads(zlib.decompress(members)))
            for members in found
        )


def _in_bin(*columns: Any) -> Select[Any]:
    """The last change of each entry that is no longer there, if it can be brought back."""
    later = changes.alias("later")
    came_after = exists().where(later.c.entry_id == changes.c.entry_id, later.c.id > changes.c.id)
    return select(*(columns or (changes,))).where(
        changes.c.action == "delete", ~changes_group(), ~changes_purged(), ~came_after
    )


def _newest(query: Select[Any]) -> Select[Any]:
    told = (change_sets.c.author, change_sets.c.at, change_sets.c.reason, change_sets.c.number)
    return query.add_columns(*told).join(change_sets).order_by(changes.c.id.desc())


def _count(connection: Connection) -> int:
    found = _in_bin(changes.c.id).subquery()
    return connection.scalar(select(func.count()).select_from(found)) or 0


def _matching(connection: Connection, search: str) -> Iterator[Any]:
    """Rows of the bin that say this, the newest first; the database looks through them before."""
    wanted = search.casefold()
    said = cast(changes.c.before, Text)
    # As JSON, what is not ASCII is written \uXXXX there, and no LIKE knows its other case.
    written: ColumnElement[bool] = said.like("%\\u%", escape="|")
    if wanted.isascii():
        written = or_(written, said.icontains(json.dumps(wanted)[1:-1], autoescape=True))
    query = _newest(_in_bin()).where(written).execution_options(yield_per=500)
    for row in connection.execute(query):
        facts = row.before
        texts = (facts["key"], *cells_of(facts["kind"], facts["body"]).values())
        if any(wanted in text.casefold() for text in texts):
            yield row


def _rows(connection: Connection, entry_ids: Collection[int]) -> list[Any]:
    return [
        row
        for some in in_parts(sorted(set(entry_ids)))
        for row in connection.execute(_newest(_in_bin()).where(changes.c.entry_id.in_(some)))
    ]


def _coming_back(connection: Connection, rows: list[Any]) -> Inverse:
    written = writes(connection, {row.entry_id for row in rows})
    slides = slides_since(
        connection, min(row.number for row in rows), {row.section for row in rows}
    )
    past = []
    for row in rows:
        one = past_of(row, written[row.entry_id])
        if one.before is not None:
            # Its place then, where others have made room since.
            since = [slide for number, slide in slides if number >= row.number]
            position = slid(since, row.section, one.before.position)
            one = replace(one, before=replace(one.before, position=position))
        past.append(one)
    return inverse(past, Standing(connection), whole=False)


def _binned(row: Any) -> DeletedEntry:
    cells = cells_of(row.before["kind"], row.before["body"])
    return DeletedEntry(
        row.entry_id, row.section, row.key, cells, row.change_set_id, row.author, row.at, row.reason
    )


def _blank(connection: Connection, entry_ids: Collection[int]) -> None:
    for row in connection.execute(select(changes).where(changes.c.entry_id.in_(entry_ids))).all():
        sides = {
            name: None if side is None else {**side, "kind": PURGED, "body": None}
            for name, side in (("before", row.before), ("after", row.after))
        }
        blank = update(changes).where(changes.c.id == row.id).values(kind=PURGED, **sides)
        connection.execute(blank)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 1]}…"
