"""Remove what belongs to no snapshot any more: data without a manifest, pictures without a list.

Whoever lost the manifests (a hand in the bucket, a rule of somebody else) must not lose the
data to the next night's sweep as well. So what this desk did not itself give up goes only
when it is older than a day, nobody pinned it, and it is little beside what is listed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete

from db.control import stored_pictures
from db.engine import write
from services.core.context import Context
from services.core.errors import DeskError, Transient
from services.protection.index import catalog
from services.protection.manifest import SNAPSHOT_ID, image_key
from services.protection.model import Manifest, Part
from services.protection.reading import picture_keys
from services.protection.rescue.boundary import reached
from services.protection.retention import facts as retention_facts
from services.protection.retention.deleting import Deleting, Pruned
from services.protection.retention.pins import pin_key, pin_prefix
from services.protection.stores.base import Store, StoredObject

ORPHAN_AGE = timedelta(days=1)
"""So old, by the store's own clock, must be what no manifest names before it is removed."""
FEW_ORPHANS = 3
"""So many at once are an accident of a backup; more than that and than a quarter of what is
listed are an accident of the store."""
_PICTURE = re.compile(r"[0-9a-f]{64}(-[0-9a-f]{16})?(\.age)?")
_AT_ONCE = 8


@dataclass(frozen=True)
class Left:
    """What the sweep of the data could not remove, and what it means for the pictures."""

    intended: set[str]  # given up, and something may still be there
    in_flight: bool  # something is so young that a backup elsewhere may be sending it


def orphans(
    ctx: Context,
    store: Store,
    deleting: Deleting,
    done: Pruned,
    old: datetime,
    *,
    intended: set[str],
) -> Left:
    """Remove data and evidence below ids that no manifest names.

    Args:
        old: what the store changed later than this is left alone.
        intended: ids that retention gave up; they go whatever their age.

    Raises:
        Transient, Misconfigured: the store can't be listed.
    """
    instance = ctx.settings.instance_id
    found = _by_snapshot(store, f"data/{instance}/")
    for snapshot_id, objects in _by_snapshot(store, f"drills/{instance}/").items():
        found[snapshot_id] += objects
    pinned = {each.key for each in store.list(pin_prefix(instance))}
    # Listed after the data: a manifest that was written meanwhile is seen.
    catalog.refresh(ctx, store)
    rows = catalog.everything(ctx)
    owned = {row.id for row in rows} | set(catalog.gaps(ctx))
    shared = retention_facts.shared_keys(ctx)
    below = {each: objects for each, objects in sorted(found.items()) if each not in owned}
    free = {each: [o for o in objects if o.key not in shared] for each, objects in below.items()}
    lost = {each: objects for each, objects in free.items() if objects}
    young = {
        each
        for each, objects in lost.items()
        if each not in intended and max(item.modified for item in objects) > old
    }
    stay = {each for each in lost if pin_key(instance, each) in pinned}
    unknown = lost.keys() - intended - young - stay
    if stay:
        done.notes.append(
            f"{len(stay)} pinned backups have data but no manifest; their data was left alone."
        )
    if len(unknown) > max(FEW_ORPHANS, len(rows) // 4):
        done.notes.append(
            f"Data of {len(unknown)} backups has no manifest, and this desk removed none of "
            "them: it was left alone. Find out who removed the manifests."
        )
        stay |= unknown
    for each in sorted(lost.keys() - young - stay):
        reached("before orphan")
        done.orphans += 1
        for item in lost[each]:
            deleting.delete(item.key, item.size)
        reached("orphan deleted")
    # Shared, refused or not tried: the next run looks after what is left of them.
    gone = lost.keys() - young - stay if not (done.refused or deleting.pointless) else set()
    whole = {each for each in gone if len(lost[each]) == len(below[each])}
    return Left(intended & (below.keys() - whole), bool(young))


def pictures(
    ctx: Context,
    store: Store,
    deleting: Deleting,
    done: Pruned,
    old: datetime,
    *,
    in_flight: bool,
) -> None:
    """Remove pictures that no listed snapshot shows and that the store has had for a day.

    Where the list of one snapshot can't be read here (it is encrypted, archived or damaged),
    every picture stays, and that is said.

    Raises:
        Transient: the store does not answer.
    """
    prefix = image_key(ctx.settings.instance_id, "")
    stored = [
        each
        for each in store.list(prefix)
        if _PICTURE.fullmatch(each.key.removeprefix(prefix)) and each.modified < old
    ]
    if not stored:
        return
    if in_flight:
        done.notes.append("Pictures stay: a backup that is not listed yet may show them.")
        return
    try:
        needed = _needed(ctx, store)
    except Transient:
        raise
    except DeskError as error:
        done.notes.append(f"Pictures stay, because a list of them can't be read: {error.message}")
        return
    for each in stored:
        if each.key in needed:
            continue
        reached("before picture")
        with write(ctx.control) as connection:
            connection.execute(
                delete(stored_pictures).where(
                    stored_pictures.c.instance == ctx.settings.instance_id,
                    stored_pictures.c.key == each.key,
                )
            )
        done.pictures += deleting.delete(each.key, each.size)


def _needed(ctx: Context, store: Store) -> set[str]:
    """Key of every picture that a listed snapshot shows."""
    lists: dict[tuple[str, ...], Manifest] = {}
    ids = [row.id for row in catalog.everything(ctx) if Part.IMAGES in row.parts]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for manifest in pool.map(lambda each: catalog.load_manifest(ctx, store, each), ids):
                # Most snapshots show what the one before them showed.
                lists[_list_of(manifest)] = manifest
            found = pool.map(lambda each: picture_keys(ctx, store, each), lists.values())
            return {key for keys in found for key in keys}
        finally:
            pool.shutdown(cancel_futures=True)


def _list_of(manifest: Manifest) -> tuple[str, ...]:
    return tuple(
        sorted(part.stored_sha256 for part in manifest.components if part.part is Part.IMAGES)
    )


def _by_snapshot(store: Store, prefix: str) -> defaultdict[str, list[StoredObject]]:
    """The objects of a folder by the id they lie below; what has no such id is not ours."""
    found: defaultdict[str, list[StoredObject]] = defaultdict(list)
    for each in store.list(prefix):
        snapshot_id, separator, _name = each.key.removeprefix(prefix).partition("/")
        if separator and SNAPSHOT_ID.fullmatch(snapshot_id):
            found[snapshot_id].append(each)
    return found
