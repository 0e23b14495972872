"""How long copies stay.

The rule, in words: a copy goes only after retention gave its snapshot up in the first store,
said so beforehand, and `LONGER` has passed since. A snapshot that vanished from the first
store in any other way (a hand, a fault, an intruder) keeps its copy for good: it may be the
last there is. Nothing goes while the first store lists nothing or can't be listed, nor the
newest copies, of which `KEEP_MINIMUM` always stay. Manifests go first, data after them, and
no object that a manifest over there still names.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection

from db.engine import read, write
from services.core.context import Context
from services.core.errors import DeskError
from services.core.remembered import recall, remember
from services.protection.manifest import image_key, manifest_key
from services.protection.reading import picture_keys
from services.protection.replication.listing import (
    ids_in,
    items_of,
    read_manifest,
    sizes_in,
)
from services.protection.stores.base import Store

LONGER = timedelta(days=7)
"""How much longer than in the first store a snapshot stays in the second."""
_UNFINISHED = timedelta(days=1)
"""Objects without a manifest may belong to a run that goes on; older ones do not."""
_MARKS = ("pins/", "drills/")
_MAX_MARK = 1 << 20
_GIVEN_UP = "copy-given-up"


def give_up(ctx: Context, snapshot_ids: Iterable[str]) -> None:
    """Write down, before it is done, that retention removes snapshots from the first store.

    Without this word their copies stay. Pruning calls it with what it is about to remove.
    """
    now = ctx.now().isoformat()
    with write(ctx.control) as connection:
        known = _given_up(connection, ctx)
        _keep(connection, ctx, dict.fromkeys(snapshot_ids, now) | known)


def given_up(ctx: Context) -> dict[str, datetime]:
    """Snapshots that retention removed, and when it said so."""
    with read(ctx.control) as connection:
        found = _given_up(connection, ctx)
    return {name: datetime.fromisoformat(at) for name, at in found.items()}


def sweep(ctx: Context, first: Store, second: Store, say: Callable[[str], None]) -> tuple[str, ...]:
    """Remove what the rule lets go from the second store.

    Returns:
        The snapshots that went.
    """
    ours = ids_in(ctx, first)
    if not ours:
        return ()  # an empty first store is a loss, not a decision
    theirs = ids_in(ctx, second)
    newest = set(sorted(theirs, reverse=True)[: ctx.settings.keep_minimum])
    told = given_up(ctx)
    going = sorted(
        name
        for name, at in told.items()
        if name in theirs and name not in ours | newest and ctx.now() - at >= LONGER
    )
    instance = ctx.settings.instance_id
    for snapshot_id in going:
        second.delete(manifest_key(instance, snapshot_id))
    staying = theirs - set(going)
    removed = _sweep_data(ctx, second, staying, ours, set(going))
    if going:
        removed += _sweep_pictures(ctx, second, staying)
        say(f"Removed {len(going)} copies that retention gave up, {removed} objects")
    # What is gone over there, or came back here, needs no word any more.
    left = {
        name: at.isoformat()
        for name, at in told.items()
        if name in staying - ours or ctx.now() - at < LONGER
    }
    with write(ctx.control) as connection:
        _keep(connection, ctx, left)
    return tuple(going)


def copy_marks(ctx: Context, first: Store, second: Store) -> int:
    """Bring pins and the evidence of drills over too: they are small, and recovery from the
    second store alone should know them.

    Returns:
        How many were sent or removed.
    """
    count = 0
    for folder in _MARKS:
        prefix = f"{folder}{ctx.settings.instance_id}/"
        ours, theirs = sizes_in(first, prefix), sizes_in(second, prefix)
        for key, size in ours.items():
            if theirs.get(key) != size and size <= _MAX_MARK:
                with first.open(key) as stream:
                    second.put(key, io.BytesIO(stream.read(_MAX_MARK + 1)))
                count += 1
        if folder == "pins/" and ids_in(ctx, first):
            for key in theirs.keys() - ours.keys():
                second.delete(key)
                count += 1
    return count


def _sweep_data(
    ctx: Context, second: Store, staying: set[str], ours: set[str], going: set[str]
) -> int:
    """Data below an id that nobody names: given up, or sent by a run that never ended."""
    instance = ctx.settings.instance_id
    found = list(second.list(f"data/{instance}/"))
    orphans = [each for each in found if each.key.split("/")[2] not in staying]
    if not orphans:
        return 0
    named = set()
    for snapshot_id in staying:
        try:
            manifest, _data = read_manifest(ctx, second, snapshot_id)
        except DeskError:
            return 0  # what a manifest names that can't be read, nobody knows
        named |= {item.key for item in items_of(manifest)}
    count = 0
    for each in orphans:
        owner = each.key.split("/")[2]
        unfinished = owner not in ours and ctx.now() - each.modified > _UNFINISHED
        if each.key not in named and (owner in going or unfinished):
            second.delete(each.key)
            count += 1
    return count


def _sweep_pictures(ctx: Context, second: Store, staying: set[str]) -> int:
    """Pictures that no copy holds any more; none goes where a list can't be read."""
    named: set[str] = set()
    for snapshot_id in staying:
        try:
            manifest, _data = read_manifest(ctx, second, snapshot_id)
            named |= picture_keys(ctx, second, manifest)
        except DeskError:
            return 0
    count = 0
    for each in second.list(image_key(ctx.settings.instance_id, "")):
        if each.key not in named and ctx.now() - each.modified > _UNFINISHED:
            second.delete(each.key)
            count += 1
    return count


def _given_up(connection: Connection, ctx: Context) -> dict[str, str]:
    return recall(connection, ctx, _GIVEN_UP)


def _keep(connection: Connection, ctx: Context, given: dict[str, str]) -> None:
    remember(connection, ctx, _GIVEN_UP, dict(given))
