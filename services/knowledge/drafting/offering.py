"""Drafts that other tabs and earlier visits left: offered, gone on with, or thrown away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, exists, func, insert, select, update

from db.control import kb_draft_entries as held
from db.control import kb_drafts as drafts
from db.control import kb_presence as presence
from db.knowledge import change_sets
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import Conflict, DeskError
from services.knowledge.drafting.model import (
    ALIVE_FOR,
    MAX_ENTRIES,
    DraftSummary,
    NewEntry,
    Taken,
    Unsaved,
    encode,
)
from services.knowledge.drafting.placing import placed
from services.knowledge.drafting.rows import (
    begin,
    bodies_of,
    drop,
    not_there,
    own,
    reading,
    remove,
    sizes_of,
    sound_id,
    there,
    writing,
)

KEPT_FOR = timedelta(days=90)
"""A draft that nobody touched for so long is swept."""


def mine(
    ctx: Context, actor: Actor, own: str = "", since: datetime | None = None
) -> tuple[DraftSummary, ...]:
    """Drafts of this account that other tabs and earlier visits left, newest first.

    What was saved though nobody cleared it away is cleared now, and what nobody touched for
    `KEPT_FOR` is swept.

    Args:
        own: the draft of the tab that asks.
        since: when that tab was opened; another counts as alive when it was seen after. (A
            tab that is loaded anew was seen a moment before, and is gone.)

    Raises:
        Denied: without `kb.edit`.
        DeskError: the desk's own database can't be read or written.
    """
    require(actor, Permission.KB_EDIT)
    now = ctx.now()
    seen = max(now - ALIVE_FOR, since or now - ALIVE_FOR)
    alive = exists().where(presence.c.tab == drafts.c.id, presence.c.at > seen)
    query = (
        select(
            drafts.c.id,
            drafts.c.touched_at,
            drafts.c.saving,
            func.count(held.c.number).label("entries"),
            alive.label("alive"),
        )
        .join(held)
        .where(
            drafts.c.instance == ctx.settings.instance_id,
            drafts.c.account_id == actor.id,
            drafts.c.moved_to.is_(None),
            drafts.c.id != own,
        )
        .group_by(drafts.c.id, drafts.c.touched_at, drafts.c.saving)
        .order_by(drafts.c.touched_at.desc(), drafts.c.id)
    )
    old = drafts.c.touched_at < now - KEPT_FOR
    with reading(ctx) as connection:
        found = connection.execute(query).all()
        stale = list(connection.scalars(select(drafts.c.id).where(old)))
    saved = _saved(ctx, {row.id: row.saving for row in found if row.saving})
    if stale or saved:
        with writing(ctx) as connection:
            remove(connection, [*stale, *saved])
    gone = {*stale, *saved}
    return tuple(
        DraftSummary(row.id, row.touched_at, row.entries, bool(row.alive))
        for row in found
        if row.id not in gone
    )


def _saved(ctx: Context, saving: Mapping[str, str]) -> list[str]:
    """Those of these drafts whose change set stands in the shop's database."""
    if not saving:
        return []
    try:
        with read_shop(ctx) as shop:
            query = select(change_sets.c.id).where(change_sets.c.id.in_(saving.values()))
            written = set(shop.scalars(query))
    except DeskError:
        return []  # a shop that is away: better offered once too often
    return [draft_id for draft_id, named in saving.items() if named in written]


def look(ctx: Context, actor: Actor, draft_id: str) -> dict[int, Unsaved]:
    """What a draft of this account says, by number.

    Raises:
        Denied: without `kb.edit`.
        Invalid: the draft is not there, or not this account's.
        DeskError: the desk's own database can't be read.
    """
    require(actor, Permission.KB_EDIT)
    sound_id(draft_id)
    with reading(ctx) as connection:
        there(connection, ctx, actor, draft_id)
        return bodies_of(connection, draft_id)


def take_over(ctx: Context, actor: Actor, draft_id: str, into: str) -> Taken:
    """Go on with a draft in another tab; the tab it came from lets go of it.

    An entry that the other tab has unsaved changes in stays behind, in the draft it is in.

    Args:
        into: the draft of the tab that goes on.

    Raises:
        Denied: without `kb.edit`.
        Invalid: a draft is not there (any more), or not this account's.
        Conflict: it was saved in the meantime, or went on in a third tab.
        DeskError: a database can't be used.
    """
    require(actor, Permission.KB_EDIT)
    sound_id(draft_id)
    sound_id(into)
    if draft_id == into:
        raise not_there()
    with reading(ctx) as connection:
        source = there(connection, ctx, actor, draft_id)
    if source.saving and _saved(ctx, {draft_id: source.saving}):
        with writing(ctx) as connection:
            remove(connection, [draft_id])
        raise Conflict("These changes were saved already.", "There is nothing left to do.")
    with writing(ctx) as connection:
        source = there(connection, ctx, actor, draft_id)
        target = own(connection, ctx, actor, into)
        if target is not None and target.moved_to is not None:
            raise not_there()
        taken = sizes_of(connection, into)
        found = bodies_of(connection, draft_id)
        if target is None:
            begin(connection, ctx, actor, into, source.started_at)
        moved = _renumbered(found, taken)
        rows = []
        for number, (_old, one) in moved.items():
            body = encode(one)
            rows.append({"draft_id": into, "number": number, "size": len(body), "body": body})
        if rows:
            connection.execute(insert(held), rows)
            drop(connection, draft_id, [old for old, _one in moved.values()])
        left = len(found) - len(moved)
        if not left:
            _end(connection, ctx, draft_id, into)
            connection.execute(delete(presence).where(presence.c.tab == draft_id))
        connection.execute(
            update(drafts).where(drafts.c.id == into).values(touched_at=ctx.now(), saving=None)
        )
    stored = {number: one for number, (_old, one) in moved.items()}
    return Taken(stored, placed(ctx, stored), left)


def _renumbered(
    found: Mapping[int, Unsaved], there: Mapping[int, int]
) -> dict[int, tuple[int, Unsaved]]:
    """What moves, by its number in the other draft: (its number so far, itself)."""
    room = MAX_ENTRIES - len(there)
    lowest = min([0, *there, *found])
    moved: dict[int, tuple[int, Unsaved]] = {}
    for number, one in found.items():
        if len(moved) >= room or (number >= 0 and number in there):
            continue
        if isinstance(one, NewEntry) and number in there:
            lowest -= 1
            moved[lowest] = (number, replace(one, ref=lowest))
        else:
            moved[number] = (number, one)
    return moved


def discard(ctx: Context, actor: Actor, draft_id: str) -> int:
    """Throw a draft away; what is stored in the knowledge base stays as it is.

    Returns:
        How many entries it had.

    Raises:
        Denied: without `kb.edit`.
        Invalid: the draft is not there, or not this account's.
        DeskError: the desk's own database can't be written.
    """
    require(actor, Permission.KB_EDIT)
    sound_id(draft_id)
    with writing(ctx) as connection:
        there(connection, ctx, actor, draft_id)
        count = len(sizes_of(connection, draft_id))
        connection.execute(delete(held).where(held.c.draft_id == draft_id))
        _end(connection, ctx, draft_id, "")
    return count


def _end(connection: Connection, ctx: Context, draft_id: str, moved_to: str) -> None:
    # The row stays for a while: the tab may still be open, and is to let go of it too.
    connection.execute(
        update(drafts)
        .where(drafts.c.id == draft_id)
        .values(touched_at=ctx.now(), moved_to=moved_to)
    )
