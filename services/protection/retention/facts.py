"""What retention has to know, gathered from the index, the jobs and the settings."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, null, select

from db.control import jobs, retrievals, snapshots
from db.engine import read
from services.core import remembered
from services.core.context import Context
from services.core.errors import DeskError
from services.core.jobs import JobState, recent
from services.protection.index import catalog
from services.protection.manifest import SNAPSHOT_ID, data_key
from services.protection.rescue.undo import newest_undoable
from services.protection.retention.model import Archive, Inventory, Policy, Shared
from services.protection.stores.base import Store

_RUN = "retention"
_WANTED = ("waiting", "ready")


def gather(ctx: Context, store_error: str = "") -> Inventory:
    """Everything that the index knows, as it stands.

    Args:
        store_error: why the store could not be listed, if it could not.
    """
    unread = catalog.unread(ctx)
    if unread and not store_error:
        store_error = f"{unread:,} manifests have not been read yet."
    return Inventory(
        snapshots=catalog.everything(ctx),
        in_use=in_use(ctx),
        # Another name in that folder is no snapshot, readable or not.
        unreadable={
            snapshot_id: why
            for snapshot_id, why in catalog.gaps(ctx).items()
            if SNAPSHOT_ID.fullmatch(snapshot_id)
        },
        store_error=store_error,
        failed_run=_failed_run(ctx),
        last_policy=_last_policy(ctx),
        archive=Archive.of(ctx.settings),
        shared=tuple(shared(ctx)),
    )


def refresh(ctx: Context, store: Store) -> str:
    """List the store anew; what went wrong, in words, where it could not be."""
    try:
        catalog.refresh(ctx, store)
    except DeskError as error:
        return error.message
    return ""


def shared(ctx: Context) -> Iterator[Shared]:
    """Every object that lies below one snapshot and is used by another that is listed."""
    ours = snapshots.c.instance == ctx.settings.instance_id
    with read(ctx.control) as connection:
        for row in connection.execute(select(snapshots.c.id, snapshots.c.components).where(ours)):
            for part in row.components:
                if part.get("origin"):
                    yield Shared(part["origin"], row.id, part["name"], part["stored_bytes"])


def shared_keys(ctx: Context) -> frozenset[str]:
    """Key of each such object: it stays, whatever becomes of the snapshot it lies below."""
    instance = ctx.settings.instance_id
    return frozenset(data_key(instance, each.owner, each.name) for each in shared(ctx))


def is_wanted(ctx: Context, snapshot_id: str) -> bool:
    """Whether a snapshot was pinned, or something began to use it, since it was decided on."""
    with read(ctx.control) as connection:
        pinned = connection.scalar(
            select(snapshots.c.id).where(
                snapshots.c.instance == ctx.settings.instance_id,
                snapshots.c.id == snapshot_id,
                snapshots.c.pin.is_not(null()),
            )
        )
    return pinned is not None or snapshot_id in in_use(ctx)


def remember(connection: Connection, ctx: Context, policy: Policy) -> None:
    """Write down with which policy retention ran, and when."""
    value = {
        "at": ctx.now().isoformat(),
        "policy": [policy.days, policy.weeks, policy.months, policy.minimum],
    }
    remembered.remember(connection, ctx, _RUN, value)


def _last_policy(ctx: Context) -> Policy | None:
    with read(ctx.control) as connection:
        value = remembered.recall(connection, ctx, _RUN)
    return Policy(*value["policy"]) if value else None


def _failed_run(ctx: Context) -> str:
    ended = next((job for job in recent(ctx, ("backup",), 20) if job.state.ended), None)
    if ended is None or ended.state is JobState.SUCCEEDED:
        return ""
    return ended.error or "it ended without a word."


def in_use(ctx: Context) -> dict[str, str]:
    """Snapshots that something needs just now: id -> what."""
    found: dict[str, str] = {}
    undo = newest_undoable(ctx)
    if undo is not None:
        found[undo.safety_id] = "undoing the last restore needs it"
    open_states = [JobState.QUEUED.value, JobState.RUNNING.value]
    with read(ctx.control) as connection:
        for asked in connection.execute(
            select(retrievals.c.snapshot_id).where(
                retrievals.c.instance == ctx.settings.instance_id,
                retrievals.c.state.in_(_WANTED),
            )
        ):
            found[asked.snapshot_id] = "it was asked for from the archive"
        for job in connection.execute(
            select(jobs.c.kind, jobs.c.params).where(jobs.c.state.in_(open_states))
        ):
            for value in job.params.values():
                if isinstance(value, str) and SNAPSHOT_ID.fullmatch(value):
                    found[value] = f"a {job.kind} is using it"
    return found
