"""Who else has a part of the knowledge base open to edit. It warns; it never locks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, insert, or_, select

from db.control import kb_presence as table
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.knowledge.drafting.model import ALIVE_FOR
from services.knowledge.drafting.rows import reading, sound_id, writing

_SWEPT_AFTER = timedelta(hours=1)
_MAX_PART = 400
_MAX_TOLD = 20
_EVER = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Someone:
    """Another tab that has the same part open."""

    name: str
    is_me: bool
    entry_id: int | None  # what is open in full there
    at: datetime


def here(ctx: Context, actor: Actor, tab: str, part: str, entry_id: int | None = None) -> None:
    """Say that this tab has a part open to edit.

    Args:
        part: pointer; a longer one than any part has is cut.
        entry_id: the entry that is open in full; None for none, or one not saved yet.

    Raises:
        Denied: without `kb.edit`.
        Invalid: the tab's id is none.
        DeskError: the desk's own database can't be written.
    """
    require(actor, Permission.KB_EDIT)
    sound_id(tab)
    now = ctx.now()
    with writing(ctx) as connection:
        # Its own row, if it is its own: a tab's id is a secret between it and the desk.
        connection.execute(
            delete(table).where(
                ((table.c.tab == tab) & (table.c.account_id == actor.id))
                | (table.c.at < now - _SWEPT_AFTER)
            )
        )
        if connection.scalar(select(table.c.tab).where(table.c.tab == tab)) is None:
            connection.execute(
                insert(table).values(
                    tab=tab,
                    instance=ctx.settings.instance_id,
                    account_id=actor.id,
                    name=actor.name[:120],
                    part=part[:_MAX_PART],
                    entry_id=entry_id if entry_id is not None and entry_id > 0 else None,
                    at=now,
                )
            )


def others(
    ctx: Context, actor: Actor, tab: str, part: str, since: datetime | None = None
) -> tuple[Someone, ...]:
    """Other tabs that have this part open, seen within the last minute; the latest first.

    Args:
        since: when this tab was opened. Another one of the same person counts when it was
            seen after: a tab that is loaded anew was seen a moment before, and is gone.

    Raises:
        Denied: without `kb.edit`.
        DeskError: the desk's own database can't be read.
    """
    require(actor, Permission.KB_EDIT)
    query = (
        select(table.c.name, table.c.account_id, table.c.entry_id, table.c.at)
        .where(
            table.c.instance == ctx.settings.instance_id,
            table.c.part == part[:_MAX_PART],
            table.c.tab != tab,
            table.c.at > ctx.now() - ALIVE_FOR,
            or_(table.c.account_id != actor.id, table.c.at > (since or _EVER)),
        )
        .order_by(table.c.at.desc(), table.c.tab)
        .limit(_MAX_TOLD)
    )
    with reading(ctx) as connection:
        return tuple(
            Someone(row.name, row.account_id == actor.id, row.entry_id, row.at)
            for row in connection.execute(query)
        )
