"""Drafts as rows of the desk's own database; only the account that wrote one finds it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from db.control import kb_draft_entries as held
from db.control import kb_drafts as drafts
from db.engine import read, write
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Conflict, Invalid, control_error
from services.knowledge.drafting.model import Unsaved, decode

_ID = re.compile(r"[0-9a-f]{32}")
_ROWS = 500


def begin(
    connection: Connection, ctx: Context, actor: Actor, draft_id: str, started_at: datetime
) -> None:
    """A draft of this account, still without entries."""
    connection.execute(
        insert(drafts).values(
            id=draft_id,
            instance=ctx.settings.instance_id,
            account_id=actor.id,
            started_at=started_at,
            touched_at=ctx.now(),
        )
    )


def own(connection: Connection, ctx: Context, actor: Actor, draft_id: str) -> Row[Any] | None:
    """A draft, if there is one.

    Raises:
        Invalid: it is not this account's.
    """
    found = connection.execute(select(drafts).where(drafts.c.id == draft_id)).first()
    if found is None:
        return None
    if (found.instance, found.account_id) != (ctx.settings.instance_id, actor.id):
        raise not_there()  # the same words as for one that is not there: nobody learns of it
    return found


def there(connection: Connection, ctx: Context, actor: Actor, draft_id: str) -> Row[Any]:
    """A draft that somebody can still go on with.

    Raises:
        Invalid: it is not there any more, or not this account's.
    """
    found = own(connection, ctx, actor, draft_id)
    if found is None or found.moved_to is not None:
        raise not_there()
    return found


def not_there() -> Invalid:
    """Said of a draft that is gone, and of one that is none of the asker's business."""
    return Invalid(
        "These unsaved changes are not there any more. Nothing was changed.",
        "They were saved, thrown away, or went on in another tab.",
    )


def sound_id(draft_id: str) -> None:
    """Refuse what can't be the id of a draft."""
    if not isinstance(draft_id, str) or not _ID.fullmatch(draft_id):
        raise not_there()


def sizes_of(connection: Connection, draft_id: str) -> dict[int, int]:
    """How long each kept entry of a draft is, by number."""
    query = select(held.c.number, held.c.size).where(held.c.draft_id == draft_id)
    return {row.number: row.size for row in connection.execute(query)}


def bodies_of(connection: Connection, draft_id: str) -> dict[int, Unsaved]:
    """The entries of a draft, by number, without those that can't be read."""
    query = select(held.c.number, held.c.body).where(held.c.draft_id == draft_id)
    read_all = {row.number: decode(row.number, row.body) for row in connection.execute(query)}
    return {number: one for number, one in sorted(read_all.items()) if one is not None}


def drop(connection: Connection, draft_id: str, numbers: Iterable[int]) -> None:
    """These entries of a draft go."""
    wanted = list(numbers)
    for start in range(0, len(wanted), _ROWS):
        some = wanted[start : start + _ROWS]
        connection.execute(delete(held).where(held.c.draft_id == draft_id, held.c.number.in_(some)))


def remove(connection: Connection, ids: Iterable[str]) -> None:
    """These drafts go."""
    wanted = list(ids)
    for start in range(0, len(wanted), _ROWS):
        some = wanted[start : start + _ROWS]
        connection.execute(delete(held).where(held.c.draft_id.in_(some)))
        connection.execute(delete(drafts).where(drafts.c.id.in_(some)))


def purge(ctx: Context, entry_ids: Iterable[int]) -> None:
    """What anybody wrote into these entries and did not save goes, and what they saw there.

    Raises:
        DeskError: the desk's own database can't be written.
    """
    wanted = sorted(set(entry_ids))
    ours = select(drafts.c.id).where(drafts.c.instance == ctx.settings.instance_id)
    with writing(ctx) as connection:
        if connection.dialect.name == "sqlite":
            # Not every build of SQLite overwrites what it frees.
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        for start in range(0, len(wanted), _ROWS):
            here = held.c.number.in_(wanted[start : start + _ROWS]) & held.c.draft_id.in_(ours)
            touched = list(connection.scalars(select(held.c.draft_id).where(here).distinct()))
            connection.execute(delete(held).where(here))
            still = set(connection.scalars(select(held.c.draft_id).distinct())) if touched else ()
            remove(connection, [one for one in touched if one not in still])


@contextmanager
def reading(ctx: Context) -> Iterator[Connection]:
    """A view of the desk's own database whose errors quote nothing."""
    try:
        with read(ctx.control) as connection:
            yield connection
    except SQLAlchemyError as error:
        raise _said(error) from None


@contextmanager
def writing(ctx: Context) -> Iterator[Connection]:
    """A transaction on the desk's own database whose errors quote nothing."""
    try:
        with write(ctx.control) as connection:
            yield connection
    except SQLAlchemyError as error:
        raise _said(error) from None


def _said(error: SQLAlchemyError) -> Exception:
    # Its own text, and a chain to it, would carry the statement's values: what a person wrote.
    return control_error(error) or Conflict(
        "Unsaved changes could not be kept on the server.",
        "They are in this tab; save them, or leave the tab open.",
    )
