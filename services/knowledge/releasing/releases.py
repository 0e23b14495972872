"""Releases: look at what publishing would do, publish, and read what was published."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from db.knowledge import activations as made_current
from db.knowledge import releases as table
from services.core import audit
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.core.doors import Watcher, unwatched
from services.core.errors import Broken, Conflict, Invalid
from services.knowledge.exchange.exporting import Export
from services.knowledge.releasing import archive, golden
from services.knowledge.releasing.activating import Wanted, activate, activation_of
from services.knowledge.releasing.archive import Frozen, Member, freeze, packed, packed_members
from services.knowledge.releasing.comparing import Difference, comparison, difference
from services.knowledge.releasing.model import (
    Activation,
    ActivationPage,
    Comparison,
    Release,
    ReleasePage,
    ReleasePlan,
)
from services.knowledge.releasing.published import current_release
from services.knowledge.releasing.standing import standing
from services.knowledge.releasing.words import sound_words
from services.knowledge.state import once_a_revision, revision
from services.knowledge.writing import to_module

PAGE_ROWS = 20
MAX_PAGE_ROWS = 200


def preview(ctx: Context, actor: Actor) -> ReleasePlan:
    """What publishing now would change, and how the folder stands. Writes nothing.

    A current release that can't be read is no hindrance: everything is new beside it.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        current = current_release(connection)
        asked = repr([(one.question, one.note) for one in golden.asked(connection)])
        name = f"preview {current} {hashlib.sha256(asked.encode()).hexdigest()}"
        try:
            seen = once_a_revision(connection, name, lambda: _beside(connection, current))
        except Broken as error:
            beside_nothing = comparison(connection, None, None)
            seen = replace(beside_nothing, before=current, unreadable=error.message)
        number, at = next_number(connection), revision(connection)
    return ReleasePlan(number, at, seen, standing(ctx))


def _beside(connection: Connection, current: int | None) -> Comparison:
    if current is not None:
        # Told also where nothing differs: what can't be written again must not seem published.
        archive.data_of(connection, current)
    return comparison(connection, current, None)


def publish(
    ctx: Context,
    actor: Actor,
    plan: ReleasePlan,
    notes: str,
    *,
    again: bool = False,
    over_hand_edits: bool = False,
    watcher: Watcher = unwatched,
) -> Activation:
    """Make a release of what the plan saw, make it current, and write it for the shop.

    Args:
        notes: what changed, for people; required.
        again: also when the current release says all of this already.
        over_hand_edits: replace what somebody changed by hand in the folder: the person saw
            it and said so.
        watcher: called with every step before it is done; it must not raise.

    Returns:
        The activation; its `problem` says why the folder does not hold it yet, if so.

    Raises:
        Denied: without `kb.publish`.
        Conflict: the knowledge base changed since the plan, somebody else published, or the
            folder was changed by hand; nothing was published.
        Invalid: there is nothing to publish, or the notes are missing or too long.
        Refused: the folder can't be written; nothing was published.
    """
    require(actor, Permission.KB_PUBLISH)
    notes = sound_words(notes, "notes", "published")
    if plan.is_empty and not again:
        raise Invalid(
            "There is nothing to publish: the current release says all of this already.",
            "Save a change first, or make another release current.",
        )
    watcher("Freezing what is saved", 0.0)
    draft = drafted(ctx, plan)

    def record(connection: Connection) -> int:
        require_unmoved(connection, plan)
        return add_release(connection, actor, ctx.now(), notes, draft)

    frozen = draft.frozen
    wanted = Wanted(frozen.data, frozen.document, frozen.members)
    return activate(ctx, actor, wanted, record, notes, over=over_hand_edits, watcher=watcher)


def require_unmoved(connection: Connection, plan: ReleasePlan) -> None:
    """Refuse a plan that does not hold any more.

    Raises:
        Conflict: says what moved.
    """
    if revision(connection) != plan.revision:
        raise Conflict(
            "The knowledge base was changed since this preview; nothing was published.",
            "Look at a new preview, then publish.",
        )
    if current_release(connection) != plan.comparison.before:
        raise Conflict(
            "Another release was made current since this preview; nothing was published.",
            "Look at a new preview, then publish.",
        )


def next_number(connection: Connection) -> int:
    """The number that the next release gets."""
    return int(connection.scalar(select(func.max(table.c.number))) or 0) + 1


@dataclass(frozen=True)
class Draft:
    """A release that is worked out, and not yet written down."""

    frozen: Frozen
    found: Difference  # beside the release that is current
    document: bytes
    members: bytes


def drafted(ctx: Context, plan: ReleasePlan) -> Draft:
    """Work a release out before the transaction that writes it: the shop writes there too.

    Raises:
        Conflict: the plan does not hold any more.
    """
    with read_shop(ctx) as connection:
        require_unmoved(connection, plan)
        frozen = freeze(connection)
        before = current_release(connection)
        old: Sequence[Member] = ()
        if before is not None:
            with suppress(Broken):  # all is new beside it, as the plan says
                old = archive.members_of(connection, before)
    found = difference(old, frozen.members)
    return Draft(frozen, found, packed(frozen.data), packed_members(frozen.members))


def add_release(connection: Connection, by: Actor, at: datetime, notes: str, draft: Draft) -> int:
    """Write a release that nothing has made current yet; gives its number."""
    number = next_number(connection)
    connection.execute(
        insert(table).values(
            number=number,
            at=at,
            author_id=by.id,
            author=by.name,
            notes=notes,
            revision=draft.frozen.revision,
            digest=draft.frozen.digest,
            entries=draft.frozen.entries,
            added=draft.found.added,
            edited=draft.found.edited,
            deleted=draft.found.deleted,
            document=draft.document,
            members=draft.members,
        )
    )
    return number


def recent(ctx: Context, actor: Actor, *, page: int = 1, rows: int = PAGE_ROWS) -> ReleasePage:
    """Releases, newest first.

    Args:
        page: from 1.
        rows: at most 200.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    rows = max(1, min(rows, MAX_PAGE_ROWS))
    query = _releases().order_by(table.c.number.desc())
    with read_shop(ctx) as connection:
        total = connection.scalar(select(func.count()).select_from(table)) or 0
        current = current_release(connection)
        found = connection.execute(query.limit(rows).offset((max(page, 1) - 1) * rows))
        return ReleasePage(tuple(_release(row, current) for row in found), total)


def release(ctx: Context, actor: Actor, number: int) -> Release:
    """One release.

    Raises:
        Denied: without `kb.view`.
        Invalid: there is no such release.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        row = connection.execute(_releases().where(table.c.number == number)).first()
        current = current_release(connection)
    if row is None:
        raise Invalid(
            f"There is no release {number}.", "The list of releases shows those there are."
        )
    return _release(row, current)


def activations(
    ctx: Context, actor: Actor, *, page: int = 1, rows: int = PAGE_ROWS
) -> ActivationPage:
    """Which release was made current when, newest first.

    Args:
        page: from 1.
        rows: at most 200.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    rows = max(1, min(rows, MAX_PAGE_ROWS))
    query = select(made_current).order_by(made_current.c.id.desc())
    with read_shop(ctx) as connection:
        total = connection.scalar(select(func.count()).select_from(made_current)) or 0
        found = connection.execute(query.limit(rows).offset((max(page, 1) - 1) * rows))
        return ActivationPage(tuple(activation_of(row) for row in found), total)


def export_json(ctx: Context, actor: Actor, number: int) -> Export:
    """A release as canonical JSON; the export is audited.

    Raises:
        Denied: without `kb.view`.
        Invalid: there is no such release.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        data = archive.data_of(connection, number)
        entries = _entries(connection, number)
    found = Export(f"fashion_kb-{number}.json", "application/json", data, entries)
    return _handed_out(ctx, actor, number, found)


def export_module(ctx: Context, actor: Actor, number: int) -> Export:
    """A release as a Python module of data alone; the export is audited.

    Raises:
        Denied: without `kb.view`.
        Invalid: there is no such release.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        data = to_module(archive.document_of(connection, number))
        entries = _entries(connection, number)
    found = Export(f"fashion_kb_{number}.py", "text/x-python", data, entries)
    return _handed_out(ctx, actor, number, found)


def _handed_out(ctx: Context, by: Actor, number: int, found: Export) -> Export:
    audit.note(
        ctx,
        by,
        "release.export",
        ("release", str(number)),
        f"Exported release {number} of the knowledge base as {found.name}",
    )
    return found


def _entries(connection: Connection, number: int) -> int:
    return int(connection.scalar(select(table.c.entries).where(table.c.number == number)) or 0)


def _releases() -> Any:
    # Without the documents: a page of them would be megabytes.
    heavy = (table.c.document, table.c.members)
    return select(*(column for column in table.c if column not in heavy))


def _release(row: Any, current: int | None) -> Release:
    return Release(
        row.number,
        row.at,
        row.author,
        row.notes,
        row.digest,
        row.entries,
        row.added,
        row.edited,
        row.deleted,
        row.number == current,
    )
