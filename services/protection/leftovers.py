"""Objects of a snapshot that never came to be: what a killed backup sent, removed by the next.

The id is written down before anything is sent under it and crossed out when the snapshot is
listed or taken back, so that the next backup removes exactly that and looks at nothing else
in a bucket that others share.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy import Connection

from db.engine import read, write
from services.core.context import Context
from services.core.errors import DeskError
from services.core.remembered import recall, remember
from services.protection.manifest import data_key, manifest_key
from services.protection.stores.base import Store

log = logging.getLogger("desk.snapshots")

_SENDING = "sending"


def begin(ctx: Context, snapshot_id: str) -> None:
    """Write down that objects of a snapshot are about to be sent."""
    with write(ctx.control) as connection:
        _keep(connection, ctx, [*_ids(connection, ctx), snapshot_id])


def end(ctx: Context, snapshot_id: str) -> None:
    """The snapshot is listed, or nothing of it is left."""
    with write(ctx.control) as connection:
        _keep(connection, ctx, [known for known in _ids(connection, ctx) if known != snapshot_id])


def clear(ctx: Context, store: Store, say: Callable[[str], None]) -> None:
    """Remove what earlier runs left; call it while no other backup of this desk runs.

    One whose manifest lies in the store is a snapshot and stays. What can't be removed now
    is tried again next time: it is no reason to make no backup.
    """
    with read(ctx.control) as connection:
        found = _ids(connection, ctx)
    instance = ctx.settings.instance_id
    for snapshot_id in found:
        try:
            if store.stat(manifest_key(instance, snapshot_id)) is None:
                left = [each.key for each in store.list(data_key(instance, snapshot_id, ""))]
                for key in left:
                    store.delete(key)
                if left:
                    say(f"Removed {len(left)} objects of {snapshot_id}, which was never finished")
        except DeskError as error:
            log.warning("%s, which was never finished, stays for now: %s", snapshot_id, error)
            continue
        end(ctx, snapshot_id)


def _ids(connection: Connection, ctx: Context) -> list[str]:
    return list(recall(connection, ctx, _SENDING).get("ids", []))


def _keep(connection: Connection, ctx: Context, ids: list[str]) -> None:
    remember(connection, ctx, _SENDING, {"ids": ids})
