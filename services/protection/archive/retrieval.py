"""Archived snapshots: which ones they are, what bringing one back costs, asking for it.

A retrieval takes minutes to two days, so it is a row that whoever comes by looks after (a
page, cron, a command): nothing sleeps, and a restart loses nothing. Ready copies expire; the
snapshot is then archived as before and can be asked for anew.
"""

from __future__ import annotations

import logging
import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update

from db.control import retrievals
from db.engine import write
from services.core import audit
from services.core.access import Actor, system_actor
from services.core.context import Context
from services.core.errors import Broken, Busy, DeskError, Invalid
from services.protection.archive.index import as_retrieval, put_storage, rows
from services.protection.archive.model import OPEN, Offer, Options, Retrieval, RetrievalState
from services.protection.archive.objects import ask_for, objects_of, states_of
from services.protection.archive.offers import options_of
from services.protection.index import catalog
from services.protection.model import Storage
from services.protection.stores.base import Access, Store, Tier

log = logging.getLogger("desk.archive")

MOST_DAYS = 30
"""Longer copies are better made by moving the objects out of the archive."""
LOOKED = timedelta(seconds=60)
"""How long a look at a retrieval is good enough for a page."""


def options(ctx: Context, store: Store, snapshot_id: str, days: int = 3) -> Options:
    """What can be done about one snapshot: read it, wait, or ask for it by which tier.

    Args:
        days: how long the copies would stay, for the estimate.

    Raises:
        Invalid: there is no such snapshot.
        Broken: an object of it is missing.
        Transient, Misconfigured: the store can't be read.
    """
    manifest = catalog.load_manifest(ctx, store, snapshot_id)
    held = objects_of(ctx, store, manifest)
    return options_of(ctx, manifest, held, states_of(store, held), days)


def request(
    ctx: Context, store: Store, actor: Actor, snapshot_id: str, tier: Tier, days: int
) -> Retrieval:
    """Ask for every archived object of a snapshot, its shared ones too.

    The row is written first: a process that dies in between leaves one that the next look
    goes on with. What is on its way by a slower tier is asked for again by a faster one, which
    costs as if it were asked for anew; the days stay those that were asked for first.

    Raises:
        Invalid: nothing of it is archived, its class has no such tier, or `days` is no
            number of days from 1 to 30.
        Busy: it was asked for already, by this tier or a faster one.
        Transient, Misconfigured: nothing could be asked for.
    """
    if not 1 <= days <= MOST_DAYS:
        raise Invalid(f"A copy can be kept for 1 to {MOST_DAYS} days. Nothing was asked for.")
    manifest = catalog.load_manifest(ctx, store, snapshot_id)
    held = objects_of(ctx, store, manifest)
    found = options_of(ctx, manifest, held, states_of(store, held), days)
    running = found.running
    if running is not None:
        if tier not in running.tier.faster:
            raise Busy(
                f"{manifest.id} is being brought back already ({running.tier.value}). "
                "Nothing was asked for.",
                "`python services/store.py poll` says how far it is"
                + ("; a faster tier can still be asked for." if running.tier.faster else "."),
            )
        # S3 takes only the tier of a running one anew, nothing else.
        days = running.days
    if not found.objects:
        raise Invalid(
            f"Nothing of {manifest.id} lies in an archive: it can be read now.",
            "Restore it; there is nothing to wait for.",
        )
    offer = next((each for each in found.offers if each.tier is tier), None)
    if offer is None:
        may = ", ".join(each.tier.value for each in found.offers)
        raise Invalid(
            f"{manifest.id} can't be brought back by {tier.value} retrieval. "
            "Nothing was asked for.",
            f"Its storage class ({', '.join(found.classes)}) has: {may}.",
        )
    retrieval = _insert(ctx, actor, manifest.id, offer, found.objects, days, running)
    try:
        ask_for(store, held, tier, days, faster=running is not None)
    except DeskError as error:
        if running is None:
            _end(ctx, retrieval, RetrievalState.FAILED, error.message)
        else:
            _go_on(ctx, running, retrieval)
        raise
    return _look_at(ctx, store, retrieval, asked=True)


def poll(ctx: Context, store: Store, *, everything: bool = False) -> tuple[Retrieval, ...]:
    """Look after every retrieval that is not over.

    Args:
        everything: also those that somebody looked at a moment ago.

    Returns:
        Those that are still waiting or ready, and those that ended by this look.

    Raises:
        Transient, Misconfigured: the store can't be read.
    """
    looked = []
    for row in rows(ctx, retrievals.c.state.in_(OPEN)):
        over = row.ready_until is not None and ctx.now() >= row.ready_until
        fresh = row.looked_at is not None and ctx.now() - row.looked_at < LOOKED
        looked.append(row if fresh and not over and not everything else _look_at(ctx, store, row))
    return tuple(looked)


def _look_at(ctx: Context, store: Store, retrieval: Retrieval, *, asked: bool = False) -> Retrieval:
    try:
        manifest = catalog.load_manifest(ctx, store, retrieval.snapshot_id)
        held = objects_of(ctx, store, manifest)
        if not asked and retrieval.looked_at is None:  # whoever began was killed
            ask_for(store, held, retrieval.tier, retrieval.days, faster=True)
        states = states_of(store, held)
    except Invalid:
        return _end(ctx, retrieval, RetrievalState.DROPPED, "The snapshot is no longer there.")
    except Broken as error:
        return _end(ctx, retrieval, RetrievalState.FAILED, error.message)
    readable = [state for state in states.values() if state.access is Access.READABLE]
    waiting = [state for state in states.values() if state.access is Access.RETRIEVING]
    if len(readable) == len(states):
        until = min((s.ready_until for s in readable if s.ready_until), default=None)
        return _ready(ctx, retrieval, until)
    if waiting and retrieval.state is RetrievalState.WAITING:
        back = sum(state.ready_until is not None for state in readable)
        return _changed(ctx, retrieval, looked_at=ctx.now(), objects_ready=back)
    return _end(ctx, retrieval, RetrievalState.EXPIRED, None)


def _ready(ctx: Context, retrieval: Retrieval, until: datetime | None) -> Retrieval:
    new = retrieval.state is not RetrievalState.READY
    until = until or ctx.now() + timedelta(days=retrieval.days)
    values: dict[str, Any] = {
        "looked_at": ctx.now(),
        "state": RetrievalState.READY.value,
        "ready_until": until,
        "objects_ready": retrieval.objects,
    }
    if not new:
        return _changed(ctx, retrieval, **values)
    said = f"{retrieval.snapshot_id} is back from the archive, readable until {_minute(until)}"
    return _changed(
        ctx, retrieval, Storage.READY, ("retrieval.ready", said), ready_at=ctx.now(), **values
    )


def _end(ctx: Context, retrieval: Retrieval, state: RetrievalState, error: str | None) -> Retrieval:
    said = {
        RetrievalState.EXPIRED: "The readable copy of {} expired; it lies in the archive as before",
        RetrievalState.FAILED: "Bringing {} back from the archive failed",
        RetrievalState.DROPPED: "{} is not brought back any more",
    }[state].format(retrieval.snapshot_id)
    return _changed(
        ctx,
        retrieval,
        Storage.ARCHIVED,
        (f"retrieval.{state.value}", f"{said}. {error or ''}".strip()),
        looked_at=ctx.now(),
        state=state.value,
        error=error,
    )


def _changed(
    ctx: Context,
    retrieval: Retrieval,
    storage: Storage | None = None,
    event: tuple[str, str] | None = None,
    **values: Any,
) -> Retrieval:
    """Write what a look found, unless somebody else's look was first."""
    with write(ctx.control) as connection:
        changed = connection.execute(
            update(retrievals)
            .where(retrievals.c.id == retrieval.id, retrievals.c.state == retrieval.state.value)
            .values(**values)
        ).rowcount
        if changed and storage is not None:
            put_storage(ctx, connection, retrieval.snapshot_id, storage)
        if changed and event is not None:
            failed = values.get("state") == RetrievalState.FAILED
            audit.record(
                connection,
                ctx,
                system_actor("archive"),
                event[0],
                ("snapshot", retrieval.snapshot_id),
                event[1],
                outcome="failed" if failed else "done",
            )
        row = connection.execute(select(retrievals).where(retrievals.c.id == retrieval.id)).one()
    return as_retrieval(row)


def _go_on(ctx: Context, running: Retrieval, failed: Retrieval) -> None:
    """A faster tier could not be had: what was on its way still is."""
    state = retrievals.c.state
    with write(ctx.control) as connection:
        connection.execute(delete(retrievals).where(retrievals.c.id == failed.id))
        connection.execute(
            update(retrievals)
            .where(retrievals.c.id == running.id, state == RetrievalState.DROPPED.value)
            .values(state=RetrievalState.WAITING.value)
        )


def _insert(
    ctx: Context,
    actor: Actor,
    snapshot_id: str,
    offer: Offer,
    objects: int,
    days: int,
    running: Retrieval | None,
) -> Retrieval:
    values = {
        "id": secrets.token_hex(8),
        "snapshot_id": snapshot_id,
        "instance": ctx.settings.instance_id,
        "state": RetrievalState.WAITING.value,
        "tier": offer.tier.value,
        "days": days,
        "asked_by": actor.name[:120],
        "asked_at": ctx.now(),
        "objects": objects,
        "objects_ready": 0,
    }
    with write(ctx.control) as connection:
        # A copy that is kept longer: the old row is over.
        connection.execute(
            update(retrievals)
            .where(
                retrievals.c.snapshot_id == snapshot_id,
                retrievals.c.instance == ctx.settings.instance_id,
                retrievals.c.state.in_(OPEN),
            )
            .values(state=RetrievalState.DROPPED.value)
        )
        connection.execute(insert(retrievals).values(**values))
        audit.record(
            connection,
            ctx,
            actor,
            "retrieval.request",
            ("snapshot", snapshot_id),
            f"Asked the archive for {snapshot_id}: {offer.tier.value}"
            + (f" instead of {running.tier.value}" if running else "")
            + f", for {days} days, {objects} objects, about ${offer.cost:,.2f}",
            details={"tier": offer.tier.value, "days": days, "objects": objects},
        )
        row = connection.execute(select(retrievals).where(retrievals.c.id == values["id"])).one()
    return as_retrieval(row)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
