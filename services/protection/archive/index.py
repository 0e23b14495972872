"""Where the objects of each snapshot lie, and the retrievals there were: what the index knows."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select, update

from db.control import retrievals, row_dict, snapshots
from db.engine import read, write
from services.core.context import Context
from services.core.errors import DeskError
from services.core.remembered import recall, remember
from services.protection.archive.model import Retrieval, RetrievalState
from services.protection.manifest import data_key
from services.protection.model import Storage
from services.protection.stores import open_store
from services.protection.stores.base import ARCHIVE_CLASSES, Store, Tier

log = logging.getLogger("desk.archive")

LISTED = timedelta(hours=6)
"""How long a listing of the classes is good enough for a page: S3 moves objects once a day."""
INSTANT_CLASS = "GLACIER_IR"
_LOOKED = "archive"


def look(ctx: Context, store: Store) -> int:
    """Write down where the objects of every snapshot lie, from one listing.

    Returns:
        How many snapshots are archived.

    Raises:
        Transient, Misconfigured: the store can't be listed; what was known stays.
    """
    instance = ctx.settings.instance_id
    classes = {found.key: found.storage for found in store.list(f"data/{instance}/")}
    ready = {row.snapshot_id for row in rows(ctx, retrievals.c.state == RetrievalState.READY)}
    with write(ctx.control) as connection:
        archived = 0
        known = connection.execute(
            select(snapshots.c.id, snapshots.c.components, snapshots.c.storage).where(
                snapshots.c.instance == instance
            )
        )
        for row in known.all():
            held = {classes.get(key, "") for key in _indexed_keys(instance, row)}
            storage = _storage(held, ready=row.id in ready)
            archived += storage in (Storage.ARCHIVED, Storage.READY)
            if storage != row.storage:
                put_storage(ctx, connection, row.id, storage)
        _remember(ctx, connection)
    return archived


def look_if_old(ctx: Context) -> None:
    """The same for a page: seldom, only where something can be archived, never in its way."""
    if not _in_play(ctx) or ((last := _looked(ctx)) is not None and ctx.now() - last < LISTED):
        return
    try:
        look(ctx, open_store(ctx.settings, hurried=True))
    except DeskError as error:
        log.warning("which snapshots are archived is as it was: %s", error)


def known(ctx: Context, snapshot_id: str = "", limit: int = 20) -> tuple[Retrieval, ...]:
    """The retrievals of this instance (or of one snapshot), newest first."""
    wanted = retrievals.c.snapshot_id == snapshot_id if snapshot_id else retrievals.c.id != ""
    return tuple(reversed(rows(ctx, wanted)))[:limit]


def put_storage(ctx: Context, connection: Connection, snapshot_id: str, storage: Storage) -> None:
    """Write down where the objects of a snapshot lie."""
    connection.execute(
        update(snapshots)
        .where(snapshots.c.instance == ctx.settings.instance_id, snapshots.c.id == snapshot_id)
        .values(storage=storage.value)
    )


def rows(ctx: Context, wanted: ColumnElement[bool]) -> list[Retrieval]:
    """The retrievals of this instance that are wanted, oldest first."""
    mine = retrievals.c.instance == ctx.settings.instance_id
    query = select(retrievals).where(and_(mine, wanted)).order_by(retrievals.c.asked_at)
    with read(ctx.control) as connection:
        return [as_retrieval(row) for row in connection.execute(query)]


def as_retrieval(row: Any) -> Retrieval:
    """A row of the table as it is meant."""
    values = row_dict(row)
    del values["instance"]
    values |= {"state": RetrievalState(values["state"]), "tier": Tier(values["tier"])}
    return Retrieval(**values)


def _in_play(ctx: Context) -> bool:
    """Whether anything can be archived: settings ask for it, or something was."""
    if not ctx.settings.store_url.startswith("s3://"):
        return False
    if ctx.settings.archive_after_days:
        return True
    moved = snapshots.c.storage != Storage.STANDARD.value
    with read(ctx.control) as connection:
        return connection.execute(select(snapshots.c.id).where(moved).limit(1)).first() is not None


def _looked(ctx: Context) -> datetime | None:
    with read(ctx.control) as connection:
        value = recall(connection, ctx, _LOOKED)
    return datetime.fromisoformat(value["at"]) if value else None


def _remember(ctx: Context, connection: Connection) -> None:
    remember(connection, ctx, _LOOKED, {"at": ctx.now().isoformat()})


def _storage(classes: set[str], *, ready: bool) -> Storage:
    if classes & ARCHIVE_CLASSES:
        return Storage.READY if ready else Storage.ARCHIVED
    return Storage.INSTANT if INSTANT_CLASS in classes else Storage.STANDARD


def _indexed_keys(instance: str, row: Any) -> list[str]:
    return [
        data_key(instance, part.get("origin") or row.id, part["name"]) for part in row.components
    ]
