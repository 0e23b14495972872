"""Carry a plan of retention out: manifests first, then what only they held.

A snapshot whose manifest is gone is no snapshot; what is left of it then belongs to nothing,
and this run removes it or, should it be killed, the next one: the ids are written down before
anything goes. So at any instant everything that is listed can be restored in full. Nothing of
another instance, and nothing that does not have the form of ours, is ever touched.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete

from db.control import drills, snapshots
from db.engine import read, write
from services.core.context import Context
from services.core.errors import Conflict, Invalid
from services.core.jobs import JobHandle
from services.core.remembered import recall, remember
from services.protection import leftovers
from services.protection.index import catalog
from services.protection.manifest import data_key, manifest_key
from services.protection.model import SnapshotRow
from services.protection.replication.keeping import give_up
from services.protection.rescue.boundary import reached
from services.protection.rescue.recovery import recover_all
from services.protection.retention import facts as retention_facts
from services.protection.retention import sweeping
from services.protection.retention.deleting import Deleting, Pruned
from services.protection.retention.model import LEGACY_REASON, Hold, Policy, PrunePlan
from services.protection.retention.pins import pin_key
from services.protection.retention.plan import plan_prune
from services.protection.stores.base import Store

CLOCKS_APART = timedelta(hours=1)
_INTENT = "pruning"


def current_plan(ctx: Context, store: Store) -> PrunePlan:
    """The plan for what the store holds now; that it can't be listed is one of its holds."""
    trouble = retention_facts.refresh(ctx, store)
    return plan_prune(retention_facts.gather(ctx, trouble), Policy.of(ctx.settings), ctx.now())


def refuse_if_held(holds: Sequence[Hold], *, confirmed: bool) -> None:
    """Stop where something holds retention.

    Args:
        confirmed: a person has looked; what a person may pass does not hold any more.

    Raises:
        Conflict: says what holds it.
    """
    for hold in holds:
        if not (confirmed and hold.confirmable):
            raise Conflict(f"Retention holds, nothing was deleted. {hold.message}", hold.hint)


def prune(
    ctx: Context, store: Store, handle: JobHandle, order: dict[str, Any], *, confirmed: bool
) -> tuple[Pruned, PrunePlan]:
    """Carry out what a plan ordered, if the world is still the one that it was made for.

    Call it while holding PROTECTION_LOCK.

    Args:
        order: of `PrunePlan.order`.
        confirmed: a person looked at the holds that a person may pass.

    Raises:
        Conflict: the world moved, or something holds retention; nothing was deleted.
        Transient, Misconfigured: the store can't be used; what was done so far is complete
            in itself, and the next run finishes it.
    """
    handle.step("Looking at what there is", 0.02)
    for found in recover_all(ctx, lambda: store):
        if not found.side:
            raise Conflict(f"{found.message} Nothing was deleted.", found.hint)
    old = _store_time(ctx, store) - sweeping.ORPHAN_AGE
    plan = current_plan(ctx, store)
    refuse_if_held(plan.holds, confirmed=confirmed)
    if plan.fingerprint != order["fingerprint"]:
        raise Conflict(
            "The backups or the policy changed since this was planned; nothing was deleted.",
            "Look at what would go now, and decide again.",
        )
    done = Pruned()
    deleting = Deleting(store, done)
    leftovers.clear(ctx, store, handle.say)
    ordered = set(order["going"])
    # A plan may be minutes old: what it lets go and today's plan keeps, stays.
    going = [each.row.id for each in reversed(plan.going) if each.row.id in ordered]
    done.skipped = sorted(ordered - set(going))
    if going:
        _intend(ctx, going)
    shared = retention_facts.shared_keys(ctx)
    for number, snapshot_id in enumerate(going):
        text = f"Removing backup {number + 1} of {len(going)}"
        handle.step(text, 0.05 + 0.6 * number / len(going))
        _remove(ctx, store, deleting, snapshot_id, done, shared)
    handle.step("Looking for what belongs to no backup", 0.7)
    left = sweeping.orphans(ctx, store, deleting, done, old, intended=_intended(ctx))
    _finish_intent(ctx, left.intended)
    handle.step("Looking for pictures that no backup shows", 0.8)
    sweeping.pictures(ctx, store, deleting, done, old, in_flight=left.in_flight)
    return done, plan


def remove_adopted(ctx: Context, store: Store, snapshot_id: str) -> Pruned:
    """Remove one snapshot that was made of an old backup. No policy ever does; a person may.

    Call it while holding PROTECTION_LOCK. What others share with it stays.

    Raises:
        Invalid: there is no such snapshot, or it was made here.
        Conflict: it is pinned or in use, or there is no other good one; nothing was deleted.
        Transient, Misconfigured: the store can't be used; the next run of retention finishes
            what was begun.
    """
    row = require_removable(ctx, snapshot_id)
    done = Pruned()
    shared = retention_facts.shared_keys(ctx)
    _intend(ctx, [row.id])
    _remove(ctx, store, Deleting(store, done), row.id, done, shared)
    if row.id not in done.removed:
        _finish_intent(ctx, _intended(ctx) - {row.id})
        raise Conflict(f"{row.id} is needed by now, or the store keeps it; nothing was deleted.")
    return done


def require_removable(ctx: Context, snapshot_id: str) -> SnapshotRow:
    """See `remove_adopted`, of which this is the first half."""
    row = catalog.find(ctx, snapshot_id)
    if row.reason != LEGACY_REASON:
        raise Invalid(
            f"{row.id} was not made of an old backup; nothing was deleted.",
            "Retention removes what was made here, by its policy.",
        )
    if row.pin is not None:
        raise Conflict(
            f"{row.id} is pinned by {row.pin.by}: {row.pin.note}. Nothing was deleted.",
            "Take the pin away first.",
        )
    if why := retention_facts.in_use(ctx).get(row.id):
        raise Conflict(f"{row.id} stays: {why}. Nothing was deleted.")
    others = (each for each in catalog.everything(ctx) if each.id != row.id)
    if not any(each.read_back_at and not each.verify_error for each in others):
        raise Conflict(
            f"{row.id} is the last backup that is known to be whole. Nothing was deleted.",
            "Make another one first.",
        )
    return row


def _store_time(ctx: Context, store: Store) -> datetime:
    """The store's own time, from an object written now; it must not be far from ours."""
    key = f"desk-check/{secrets.token_hex(8)}"
    now = store.put(key, io.BytesIO(b"what time is it?")).modified
    store.delete(key)
    if abs(now - ctx.now()) > CLOCKS_APART:
        raise Conflict(
            f"The clocks of this machine ({ctx.now():%Y-%m-%d %H:%M} UTC) and of the store "
            f"({now:%Y-%m-%d %H:%M} UTC) disagree; nothing was deleted.",
            "Set the one that is wrong: what is old enough to go is judged by them.",
        )
    return now


def _remove(
    ctx: Context,
    store: Store,
    deleting: Deleting,
    snapshot_id: str,
    done: Pruned,
    shared: frozenset[str],
) -> None:
    """One snapshot: its manifest, then what the index knows, then what lies below its id,
    but for what others share with it."""
    instance = ctx.settings.instance_id
    if deleting.pointless or retention_facts.is_wanted(ctx, snapshot_id):
        done.skipped.append(snapshot_id)
        return
    reached("before manifest")
    if not deleting.delete(manifest_key(instance, snapshot_id), 0):
        done.skipped.append(snapshot_id)
        return
    done.removed.append(snapshot_id)
    reached("manifest deleted")
    with write(ctx.control) as connection:
        for table, column in ((snapshots, snapshots.c.id), (drills, drills.c.snapshot_id)):
            connection.execute(
                delete(table).where(table.c.instance == instance, column == snapshot_id)
            )
    reached("index forgotten")
    for prefix in (data_key(instance, snapshot_id, ""), f"drills/{instance}/{snapshot_id}/"):
        for found in list(store.list(prefix)):
            if found.key not in shared:
                deleting.delete(found.key, found.size)
                reached("object deleted")
    deleting.delete(pin_key(instance, snapshot_id), 0)


def _intend(ctx: Context, snapshot_ids: list[str]) -> None:
    """Write down what is about to go, so that a run that is killed is finished by the next."""
    if ctx.settings.backup_copy_url:
        give_up(ctx, snapshot_ids)
    _finish_intent(ctx, _intended(ctx) | set(snapshot_ids))


def _intended(ctx: Context) -> set[str]:
    with read(ctx.control) as connection:
        return set(recall(connection, ctx, _INTENT).get("ids", []))


def _finish_intent(ctx: Context, left: set[str]) -> None:
    with write(ctx.control) as connection:
        remember(connection, ctx, _INTENT, {"ids": sorted(left)})
