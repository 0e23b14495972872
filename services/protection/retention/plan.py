"""Which snapshots may go, and why every other one stays. Pure: no store, no database, no clock.

Everything here only ever adds reasons to keep: a snapshot goes when nothing speaks for it.
So loosening the policy can't delete more, and a plan made again after it was carried out
finds nothing left to do.

Days, weeks and months are counted among those that *have* a snapshot (in UTC), not back from
today. A desk that stood still for two months would otherwise throw away, with its first new
snapshot, every day it had.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from services.protection.model import SnapshotRow, Storage
from services.protection.retention.model import (
    LEGACY_REASON,
    SAFETY_REASON,
    Archive,
    Decision,
    Hold,
    Inventory,
    Policy,
    PrunePlan,
    Shared,
)
from services.protection.retention.words import (
    BUCKETS,
    Bucket,
    clock,
    count,
    day_of,
    on_day,
)

YOUNG = timedelta(days=1)
"""So long nothing is touched: somebody may be about to use it, another machine to list it."""
UNDO_WINDOW = timedelta(days=7)
"""So long what was there before a restore is kept for its Undo, whatever the policy."""
CLOCK_TOLERANCE = timedelta(minutes=5)
COMPARED = 7
"""Snapshots before the newest, whose middle row count is what is normal."""
SMALL_TABLE, TINY_TABLE = 20, 3
"""A small table may halve, but not become empty; a tiny one may do as it likes."""
FEW = 10
"""So few may go at once without a question, whatever share they are."""
MINIMUM_DAYS = {"GLACIER_IR": 90, "GLACIER": 90, "DEEP_ARCHIVE": 180}
"""For how long S3 bills what lies in an archive class, deleted or not."""


def plan_prune(inventory: Inventory, policy: Policy, now: datetime) -> PrunePlan:
    """Decide about every snapshot.

    Args:
        inventory: everything there is; its order does not matter.
        policy: how much to keep.
        now: aware.

    Returns:
        A decision for each, newest first, and whatever speaks against carrying any of it out.
    """
    rows = sorted(inventory.snapshots, key=_age_order, reverse=True)
    reasons: dict[str, list[str]] = {row.id: [] for row in rows}
    _for_themselves(reasons, rows, inventory, now)
    slots = [_slots(rows, bucket, bucket.kept(policy), now) for bucket in BUCKETS]
    for bucket, kept in zip(BUCKETS, slots, strict=True):
        for start, row in kept.items():
            damaged = ", though damaged" if row.verify_error else ""
            reasons[row.id].append(f"newest of {bucket.name(start, now)}{damaged}")
    for row in rows[: policy.minimum]:
        if not reasons[row.id]:
            reasons[row.id].append(f"one of the {policy.minimum} newest")
    used = _used_of(inventory, {row.id for row in rows if reasons[row.id]})
    decisions = tuple(
        Decision(
            row,
            keep=bool(reasons[row.id]),
            reasons=tuple(reasons[row.id]) or _why_it_goes(row, slots, policy, now),
            warning="" if reasons[row.id] else _fee(row, inventory.archive, now),
            shared_with=len({each.user for each in used[row.id]}),
            shared_bytes=sum({each.name: each.stored_bytes for each in used[row.id]}.values()),
        )
        for row in rows
    )
    return PrunePlan(
        made_at=now,
        policy=policy,
        decisions=decisions,
        holds=tuple(_holds(rows, decisions, inventory, policy, now)),
        fingerprint=inventory.fingerprint(policy),
    )


def _age_order(row: SnapshotRow) -> tuple[datetime, str]:
    return row.created_at, row.id


def _for_themselves(
    reasons: dict[str, list[str]], rows: list[SnapshotRow], inventory: Inventory, now: datetime
) -> None:
    """What a snapshot is, apart from when it was made."""
    good = [row for row in rows if not row.verify_error]
    ordinary = [row for row in good if row.reason != SAFETY_REASON]
    last = {
        "the last verified one": (_newest(good, _verified), _newest(ordinary, _verified)),
        "the last one read back": (_newest(good, _read_back), _newest(ordinary, _read_back)),
    }
    for row in rows:
        said = reasons[row.id]
        if row.pin is not None:
            said.append(f"pinned by {row.pin.by}: {row.pin.note}")
        said += [why for why, which in last.items() if row.id in which]
        if row.id in inventory.in_use:
            said.append(inventory.in_use[row.id])
        until = row.created_at + UNDO_WINDOW
        if row.reason == SAFETY_REASON and now < until:
            said.append(f"made before a restore: can undo it until {on_day(until, now)}")
        if row.reason == LEGACY_REASON:
            said.append("adopted from a legacy backup")
        if now - row.created_at < YOUNG:
            said.append("younger than a day")


def _verified(row: SnapshotRow) -> bool:
    return row.verified_at is not None


def _read_back(row: SnapshotRow) -> bool:
    return row.read_back_at is not None


def _newest(rows: list[SnapshotRow], wanted: Callable[[SnapshotRow], bool]) -> str:
    return next((row.id for row in rows if wanted(row)), "")


def _slots(
    rows: list[SnapshotRow], bucket: Bucket, most: int, now: datetime
) -> dict[datetime, SnapshotRow]:
    """Who stands for each of the newest `most` days, weeks or months that have a snapshot.

    A damaged one only where there is no other; what a restore set aside holds the state that
    somebody wanted to get away from, so it stands back behind any backup.
    """
    periods: dict[datetime, SnapshotRow] = {}
    for row in rows:
        start = bucket.start(row.created_at)
        if start not in periods:
            if len(periods) == most:
                break  # rows are sorted: every other period is older
            periods[start] = row
        elif _worth(row) > _worth(periods[start]):
            periods[start] = row
    return periods


def _worth(row: SnapshotRow) -> tuple[bool, bool]:
    return not row.verify_error, row.reason != SAFETY_REASON


def _used_of(inventory: Inventory, kept: set[str]) -> defaultdict[str, list[Shared]]:
    """By owner, the objects that snapshots which stay use of another.

    Such an object stays when its owner goes: whoever needs it names it. Keeping the owner
    instead would keep what the owner uses too, and so on, back to the first of all.
    """
    used: defaultdict[str, list[Shared]] = defaultdict(list)
    for each in inventory.shared:
        if each.user in kept:
            used[each.owner].append(each)
    return used


def _why_it_goes(
    row: SnapshotRow, slots: list[dict[datetime, SnapshotRow]], policy: Policy, now: datetime
) -> tuple[str, ...]:
    damaged = ("damaged",) if row.verify_error else ()
    passed: list[str] = []
    for bucket, kept in zip(BUCKETS, slots, strict=True):
        start, most = bucket.start(row.created_at), bucket.kept(policy)
        if start in kept:
            other = kept[start]
            newer = clock(other, row) if bucket.word == "day" else day_of(other, now)
            older = f"older than the {' and '.join(passed)} kept, and " if passed else ""
            return *damaged, f"{older}{bucket.name(start, now)} keeps the one of {newer}"
        if most:
            passed.append(count(most, bucket.word))
    if not passed:
        return *damaged, "nothing keeps it"
    return *damaged, f"older than the {', '.join(passed)} kept"


def _fee(row: SnapshotRow, archive: Archive, now: datetime) -> str:
    told = []
    locked = row.created_at + timedelta(days=archive.lock_days)
    if archive.lock_days and now < locked:
        told.append(f"Object Lock keeps its bytes until {on_day(locked, now)}")
    least = MINIMUM_DAYS.get(archive.storage_class, 0)
    if row.storage is not Storage.STANDARD and least:
        moved = row.created_at + timedelta(days=archive.after_days)
        free = moved + timedelta(days=least)
        if now < free:
            told.append(
                f"{archive.storage_class} bills {least} days, so S3 may charge an early "
                f"deletion fee until {on_day(free, now)}"
            )
    return "; ".join(told)


def _holds(
    rows: list[SnapshotRow],
    decisions: tuple[Decision, ...],
    inventory: Inventory,
    policy: Policy,
    now: datetime,
) -> Iterable[Hold]:
    """What speaks against deleting anything at all."""
    if inventory.store_error:
        yield Hold(
            "store",
            f"The store can't be read: {inventory.store_error}",
            "What can't be listed can't be judged. Retention goes on when the store answers.",
        )
    if inventory.unreadable:
        named = ", ".join(sorted(inventory.unreadable)[:3])
        more = f" and {len(inventory.unreadable) - 3} more" if len(inventory.unreadable) > 3 else ""
        yield Hold(
            "catalog",
            f"The manifest of {named}{more} can't be read, so what it uses is not known.",
            f"{inventory.unreadable[min(inventory.unreadable)]} Only what is beyond repair should "
            "be removed, by hand.",
        )
    if policy.is_empty:
        yield Hold(
            "policy",
            "The policy keeps no days, no weeks and no months.",
            "Set KEEP_DAYS, KEEP_WEEKS or KEEP_MONTHS; the page shows what would go.",
        )
    if inventory.failed_run:
        yield Hold(
            "failed",
            f"The last backup did not succeed: {inventory.failed_run}",
            "Old backups are worth most when new ones fail. Make one that succeeds first.",
        )
    if rows and rows[0].created_at > now + CLOCK_TOLERANCE:
        yield Hold(
            "clock",
            f"The newest backup is from the future ({rows[0].created_at:%Y-%m-%d %H:%M} UTC), so "
            "a clock is wrong.",
            "Set the clock of this machine, or of the one that made it.",
        )
    yield from _shrunk(rows)
    going = sum(not decision.keep for decision in decisions)
    unchanged = inventory.last_policy in (None, policy)
    if unchanged and going > FEW and going * 2 > len(rows):
        yield Hold(
            "half",
            f"{going} of {len(rows)} backups would go at once, though the policy is as it was.",
            "Look at the calendar. If that is what you want, confirm it on the page; the nightly "
            "run never does.",
            confirmable=True,
        )


def _shrunk(rows: list[SnapshotRow]) -> Iterable[Hold]:
    made = [row for row in rows if row.reason not in (SAFETY_REASON, LEGACY_REASON)]
    if not made:
        return
    newest, before = made[0], made[1 : 1 + COMPARED]
    shrunk = []
    for table in sorted({name for row in before for name in row.headline}):
        usual = statistics.median(row.headline.get(table, 0) for row in before)
        now = newest.headline.get(table, 0)
        if usual >= TINY_TABLE and not (now and usual < SMALL_TABLE) and now * 2 < usual:
            shrunk.append(f"{table} has {now:,} rows instead of {usual:,.0f}")
    if shrunk:
        yield Hold(
            "shrunk",
            f"The shop lost rows: in the newest backup, {', '.join(shrunk)}.",
            "If that was an accident, the old backups are the way back. If the shop was tidied "
            "up, confirm on the page; after some more backups this passes by itself.",
            confirmable=True,
        )
