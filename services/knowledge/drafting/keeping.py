"""Unsaved work on the server: kept as one types, and never saved twice.

A draft belongs to one open tab of one account. It lies in the desk's own database: the
shop's may be restored, replaced or away, and the draft is still there. What it says reaches
neither a log nor the audit log.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from sqlalchemy import delete, insert, update

from db.control import kb_draft_entries as held
from db.control import kb_drafts as drafts
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.knowledge.drafting.model import (
    MAX_CHARACTERS,
    MAX_ENTRIES,
    Kept,
    Unsaved,
    encode,
)
from services.knowledge.drafting.rows import begin, drop, own, reading, sizes_of, sound_id, writing


def new_id() -> str:
    """The id of a tab and of its draft; nobody guesses it."""
    return uuid.uuid4().hex


def keep(ctx: Context, actor: Actor, draft_id: str, changed: Mapping[int, Unsaved | None]) -> Kept:
    """Bring a draft up to date: only what changed since the last time is written.

    Args:
        draft_id: of this tab; the draft begins with its first entry and ends with its last.
        changed: by number; None where nothing is unsaved any more. Empty to ask how it stands.

    Returns:
        What was left out for being too much, and whether the draft goes on elsewhere; then
        nothing was written.

    Raises:
        Denied: without `kb.edit`.
        Invalid: the draft is not this account's.
        DeskError: the desk's own database can't be written (`control_error`).
    """
    require(actor, Permission.KB_EDIT)
    sound_id(draft_id)
    if not changed:
        with reading(ctx) as connection:
            found = own(connection, ctx, actor, draft_id)
            if found is None:
                return Kept(begun=True)
            return Kept(elsewhere=found.moved_to is not None)
    bodies = {number: encode(one) for number, one in changed.items() if one is not None}
    with writing(ctx) as connection:
        found = own(connection, ctx, actor, draft_id)
        if found is not None and found.moved_to is not None:
            return Kept(elsewhere=True)
        sizes = sizes_of(connection, draft_id)
        going = [number for number in changed if number not in bodies and number in sizes]
        for number in going:
            del sizes[number]
        left_out = _fit(bodies, sizes)
        if found is None and bodies:
            begin(connection, ctx, actor, draft_id, ctx.now())
        drop(connection, draft_id, [*going, *bodies])
        if bodies:
            rows = [
                {"draft_id": draft_id, "number": number, "size": len(body), "body": body}
                for number, body in bodies.items()
            ]
            connection.execute(insert(held), rows)
        if sizes:
            # What was about to be saved is not what stands here any more.
            connection.execute(
                update(drafts)
                .where(drafts.c.id == draft_id)
                .values(touched_at=ctx.now(), saving=None)
            )
        else:
            connection.execute(delete(drafts).where(drafts.c.id == draft_id))
    return Kept(begun=found is None, left_out=left_out, why=_TOO_MUCH if left_out else "")


_TOO_MUCH = (
    f"The server keeps at most {MAX_ENTRIES:,} unsaved entries and "
    f"{MAX_CHARACTERS // 1_000_000} million characters for a tab."
)


def _fit(bodies: dict[int, str], sizes: dict[int, int]) -> tuple[int, ...]:
    """Take out of `bodies` what would be too much; `sizes` says then what stands."""
    left_out = []
    total = sum(sizes.values())
    for number, body in list(bodies.items()):
        more = len(body) - sizes.get(number, 0)
        if total + more > MAX_CHARACTERS or (number not in sizes and len(sizes) >= MAX_ENTRIES):
            left_out.append(number)
            del bodies[number]
            continue
        total += more
        sizes[number] = len(body)
    return tuple(left_out)


def begin_save(ctx: Context, actor: Actor, draft_id: str) -> str:
    """Name the change set that is about to hold this draft, before it is written.

    A desk that is killed after the save and before it clears the draft finds the change set
    by this name, and neither offers nor saves the draft again.

    Returns:
        The id for `changes.save`.

    Raises:
        Denied: without `kb.edit`.
        Invalid: the draft is not this account's.
        DeskError: the desk's own database can't be written.
    """
    require(actor, Permission.KB_EDIT)
    sound_id(draft_id)
    change_set_id = uuid.uuid4().hex
    with writing(ctx) as connection:
        if own(connection, ctx, actor, draft_id) is not None:
            connection.execute(
                update(drafts).where(drafts.c.id == draft_id).values(saving=change_set_id)
            )
    return change_set_id
