"""The list of snapshots. The bucket is the truth; the table `snapshots` only indexes it.

An empty control database and a bucket give the full list again. What was found out later
(read back in full, and when) is known to the index alone, and is found out anew after that.
"""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from db.control import snapshots
from db.engine import read, write
from services.core.context import Context
from services.core.errors import Broken, DeskError, Invalid, Refused
from services.core.remembered import recall, remember
from services.protection.index import indexed, searching
from services.protection.manifest import (
    MAX_MANIFEST_BYTES,
    from_json,
    manifest_key,
    manifest_prefix,
    signature_state,
)
from services.protection.model import (
    Manifest,
    RefreshResult,
    SnapshotPage,
    SnapshotRow,
)
from services.protection.proving import records
from services.protection.retention import pins
from services.protection.sealing.keys import keys_of
from services.protection.sealing.signing import Unsigned
from services.protection.stores import open_store
from services.protection.stores.base import Store

log = logging.getLogger("desk.catalog")

LATEST = "latest"
FRESH = timedelta(seconds=60)
"""How long a listing of the store is good enough for a page."""
AFTER_ERROR = timedelta(minutes=10)
"""A store that does not answer holds a page up for seconds: it is not asked each time."""
AT_A_GLANCE = 1000
"""New manifests that a page waits for at most; the next look goes on with older ones."""
_LISTING = "catalog"
_READ_AT_ONCE = 8
_MOST_NAMED = 500
_MAX_ROWS = 1000
# Ids of the same second don't sort by time; the time of the capture does.
_NEWEST_FIRST = (snapshots.c.created_at.desc(), snapshots.c.id.desc())


def refresh(ctx: Context, store: Store, *, most: int | None = None) -> RefreshResult:
    """Compare the index with the store: load new manifests, drop what has vanished.

    Only this instance's manifests are looked at. One that can't be read, or is not what was
    indexed, is reported and the others are listed all the same. Known manifests are not read
    again, new ones several at a time, and all go into the index in one transaction.

    Args:
        most: read no more new manifests than this, the newest; the next refresh goes on.

    Raises:
        Transient, Misconfigured: the store can't be listed; the index stays as it is.
    """
    prefix = manifest_prefix(ctx.settings.instance_id)
    present = {
        found.key.removeprefix(prefix).removesuffix(".json")
        for found in store.list(prefix)
        if found.key.endswith(".json")
    }
    known = _known(ctx)
    # Ids begin with their time, so the newest are the last.
    wanted = sorted(present - known, reverse=True)
    news, unreadable = _read_all(ctx, store, wanted[:most])
    pinned = pins.fetch_changed(ctx, store, present)
    removed = sorted(known - present)
    with write(ctx.control) as connection:
        there = set(connection.scalars(select(snapshots.c.id).where(_ours(ctx))))
        added = sorted(news.keys() - there)
        if added:
            connection.execute(insert(snapshots), [news[snapshot_id] for snapshot_id in added])
        for start in range(0, len(removed), _MOST_NAMED):
            some = removed[start : start + _MOST_NAMED]
            connection.execute(delete(snapshots).where(_ours(ctx), snapshots.c.id.in_(some)))
        pins.write_changed(connection, ctx, pinned)
        left = len(wanted[most:]) if most else 0
        state = {"at": ctx.now().isoformat(), "unreadable": unreadable, "left": left}
        _remember(ctx, connection, state)
    records.gather(ctx, store)
    return RefreshResult(tuple(added), tuple(removed), unreadable, len(present))


def _read_all(
    ctx: Context, store: Store, wanted: list[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What to write into the index for each, and why some can't be used."""

    def load(snapshot_id: str) -> dict[str, Any] | str:
        try:
            data = _read(store, ctx.settings.instance_id, snapshot_id)
            return indexed.values_of(
                _checked(ctx, snapshot_id, data), data, keys_of(ctx.settings), ctx.now()
            )
        except (Broken, KeyError) as error:
            log.warning("manifest %s: %s", snapshot_id, error)
            return str(error) or "It vanished while it was read."

    found: dict[str, dict[str, Any]] = {}
    unreadable: dict[str, str] = {}
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        try:
            for snapshot_id, values in zip(wanted, pool.map(load, wanted), strict=True):
                if isinstance(values, str):
                    unreadable[snapshot_id] = values
                else:
                    found[snapshot_id] = values
        finally:
            pool.shutdown(cancel_futures=True)
    return found, unreadable


def refresh_if_old(ctx: Context) -> None:
    """Refresh when the last listing is a minute old; a failure is kept for `page` to show.

    A control database that can't be written (its disk is full, say) still lists what it knows.
    """
    state = _state(ctx)
    tried = state.get("tried") or state.get("at")
    patience = AFTER_ERROR if state.get("error") else FRESH
    unfinished = state.get("left") and not state.get("error")
    if tried and not unfinished and ctx.now() - datetime.fromisoformat(tried) < patience:
        return
    try:
        _refresh_or_remember(ctx, state)
    except SQLAlchemyError as error:
        log.warning("the list of snapshots is as it was: %s", error)


def _refresh_or_remember(ctx: Context, state: dict[str, Any]) -> None:
    try:
        refresh(ctx, open_store(ctx.settings, hurried=True), most=AT_A_GLANCE)
    except DeskError as error:
        state |= {"tried": ctx.now().isoformat(), "error": [error.message, error.hint]}
        with write(ctx.control) as connection:
            _remember(ctx, connection, state)


def page(
    ctx: Context,
    *,
    search: str = "",
    state: str = "",
    page: int = 1,
    rows: int = 50,
    zone: tzinfo = UTC,
) -> SnapshotPage:
    """One page of the index, newest first.

    Args:
        search: a day, a month or a year as people write it, or part of an id, a reason or
            who asked.
        zone: whose days are meant.
    """
    rows = max(1, min(rows, _MAX_ROWS))
    wanted = searching.filtered(select(snapshots).where(_ours(ctx)), search, state, zone)
    with read(ctx.control) as connection:
        total = connection.scalar(select(func.count()).select_from(wanted.subquery())) or 0
        found = connection.execute(
            wanted.order_by(*_NEWEST_FIRST).limit(rows).offset((max(page, 1) - 1) * rows)
        )
        listed = tuple(indexed.row_of(row) for row in found)
    known = _state(ctx)
    error = known.get("error")
    return SnapshotPage(
        rows=listed,
        total=total,
        store_url=ctx.settings.store_url,
        store_error=(error[0], error[1]) if error else None,
        refreshed_at=datetime.fromisoformat(known["at"]) if known.get("at") else None,
    )


def everything(ctx: Context) -> tuple[SnapshotRow, ...]:
    """Every snapshot of the index, newest first: for whoever decides about all of them."""
    with read(ctx.control) as connection:
        query = select(snapshots).where(_ours(ctx)).order_by(*_NEWEST_FIRST)
        return tuple(indexed.row_of(row) for row in connection.execute(query))


def gaps(ctx: Context) -> dict[str, str]:
    """What the last listing found but could not read: snapshot id -> why."""
    return dict(_state(ctx).get("unreadable") or {})


def unread(ctx: Context) -> int:
    """How many manifests the last listing found but left for the next."""
    return int(_state(ctx).get("left") or 0)


def first_made_at(ctx: Context) -> datetime | None:
    """When the oldest snapshot that is kept was made."""
    with read(ctx.control) as connection:
        found: datetime | None = connection.scalar(
            select(func.min(snapshots.c.created_at)).where(_ours(ctx))
        )
        return found


def find(ctx: Context, snapshot_id: str) -> SnapshotRow:
    """One snapshot of the index.

    Args:
        snapshot_id: an id, or `latest`.

    Raises:
        Invalid: there is none.
    """
    query = select(snapshots).where(_ours(ctx))
    if snapshot_id == LATEST:
        query = query.order_by(*_NEWEST_FIRST).limit(1)
    else:
        query = query.where(snapshots.c.id == snapshot_id)
    with read(ctx.control) as connection:
        row = connection.execute(query).first()
    if row is None:
        raise Invalid(
            "There is no snapshot yet."
            if snapshot_id == LATEST
            else f"There is no snapshot {snapshot_id[:40]!r}.",
            "`python services/backup.py --list` shows which there are.",
        )
    return indexed.row_of(row)


def load_manifest(ctx: Context, store: Store, snapshot_id: str) -> Manifest:
    """Read a manifest from the store and hold it against what was indexed.

    Args:
        snapshot_id: an id, or `latest`.

    Raises:
        Invalid: no such snapshot.
        Broken: it is gone, damaged, or not the one that was indexed.
        Refused: it is as it was indexed, but no key that is set signed it.
        Transient, Misconfigured: the store can't be read.
    """
    wanted = find(ctx, snapshot_id).id
    try:
        data = _read(store, ctx.settings.instance_id, wanted)
    except KeyError as error:
        raise Broken(
            f"The manifest of the snapshot {wanted} is no longer in the store.",
            "Refresh the list, and use another snapshot.",
        ) from error
    as_listed = hashlib.sha256(data).hexdigest() == indexed.digest(ctx, wanted)
    try:
        manifest = _checked(ctx, wanted, data)
    except Unsigned as error:
        if not as_listed:
            raise
        # The keys changed, not the manifest: that is no verdict on the snapshot.
        raise Refused(error.message, error.hint) from error
    signed = _is_signed(ctx, data)
    # Another desk may have signed it anew since; nobody without a key can.
    if not signed and not as_listed:
        raise Broken(
            f"The manifest of the snapshot {wanted} was altered since the desk first saw it.",
            "Don't use this snapshot. Find out who can write to the store.",
        )
    if signed:
        indexed.note_signature(ctx, wanted, data)
    return manifest


def read_manifest(ctx: Context, store: Store, snapshot_id: str) -> Manifest:
    """A manifest as it lies in the store, where no index knows it yet (a recovery).

    Raises:
        KeyError: there is none.
        Broken: it is damaged, altered, or not this instance's.
        Transient, Misconfigured: the store can't be read.
    """
    return _checked(ctx, snapshot_id, _read(store, ctx.settings.instance_id, snapshot_id))


def record(
    ctx: Context, manifest: Manifest, data: bytes, *, read_back_at: datetime | None = None
) -> bool:
    """Put a manifest into the index.

    Args:
        data: the manifest as it lies in the store.
        read_back_at: when its objects were read back and found equal, if they were.

    Returns:
        Whether it was new.
    """
    values = indexed.values_of(manifest, data, keys_of(ctx.settings), ctx.now()) | {
        "read_back_at": read_back_at
    }
    with write(ctx.control) as connection:
        exists = connection.scalar(
            select(snapshots.c.id).where(_ours(ctx), snapshots.c.id == manifest.id)
        )
        if exists:
            return False
        connection.execute(insert(snapshots).values(**values))
    return True


def record_verification(ctx: Context, snapshot_id: str, error: str | None) -> SnapshotRow:
    """Write what reading a snapshot back in full found.

    Args:
        error: what is wrong, for a person; None when everything was equal. That takes back
            no proof that failed: a drill looks deeper.
    """
    values: dict[str, Any] = {"read_back_at": ctx.now()}
    if error:
        values = {"read_back_at": None, "verified_at": None, "drill_seconds": None}
    failed = records.standing_failure(ctx, snapshot_id)
    with write(ctx.control) as connection:
        connection.execute(
            update(snapshots)
            .where(_ours(ctx), snapshots.c.id == snapshot_id)
            .values(**values, verify_error=error or failed)
        )
    return find(ctx, snapshot_id)


def _values(ctx: Context, manifest: Manifest, data: bytes) -> dict[str, Any]:
    return indexed.values_of(manifest, data, keys_of(ctx.settings), ctx.now())


def _known(ctx: Context) -> set[str]:
    with read(ctx.control) as connection:
        return set(connection.scalars(select(snapshots.c.id).where(_ours(ctx))))


def _ours(ctx: Context) -> Any:
    return snapshots.c.instance == ctx.settings.instance_id


def _read(store: Store, instance: str, snapshot_id: str) -> bytes:
    with store.open(manifest_key(instance, snapshot_id)) as stream:
        return stream.read(MAX_MANIFEST_BYTES + 1)


def _checked(ctx: Context, snapshot_id: str, data: bytes) -> Manifest:
    manifest = from_json(data, keys_of(ctx.settings))
    if (manifest.instance, manifest.id) != (ctx.settings.instance_id, snapshot_id):
        raise Broken(
            f"The manifest {snapshot_id} says that it is {manifest.instance}/{manifest.id}.",
            "It was copied or renamed; the other snapshots are not affected.",
        )
    return manifest


def _is_signed(ctx: Context, data: bytes) -> bool:
    return signature_state(data, keys_of(ctx.settings)) == "signed"


def _state(ctx: Context) -> dict[str, Any]:
    with read(ctx.control) as connection:
        return recall(connection, ctx, _LISTING)


def _remember(ctx: Context, connection: Connection, value: dict[str, Any]) -> None:
    remember(connection, ctx, _LISTING, value)
