"""Door: make a snapshot, list what there is, prove it, hand out its parts.

The browser calls these functions; cron runs the file (`python services/backup.py`) or the
module (`python -m services.backup`). Both do the same work through the same `jobs` row.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python puts services/ first on the path, ahead of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, tzinfo
from typing import Any, BinaryIO

from services.core import audit, doors, jobs, terminal
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context
from services.core.errors import Broken
from services.protection import snapshots as snapshot_room
from services.protection.archive import index as archive_index
from services.protection.index import catalog
from services.protection.index.days import day_states
from services.protection.making import job as making
from services.protection.model import (
    PROTECTION_LOCK,
    Component,
    DayState,
    Manifest,
    RefreshResult,
    SnapshotPage,
    SnapshotRow,
)
from services.protection.stores import open_store

log = logging.getLogger("desk.backup")

LOCK = PROTECTION_LOCK
KIND = making.KIND
SCHEDULED = "scheduled"
"""Reason of what cron makes: only then are old backups removed afterwards."""


def snapshots(
    ctx: Context,
    actor: Actor,
    *,
    search: str = "",
    state: str = "",
    page: int = 1,
    rows: int = 50,
    zone: tzinfo = UTC,
) -> SnapshotPage:
    """One page of the snapshots of this instance, newest first.

    The store is listed again when that was last done a minute ago; when it can't be, the
    index still lists, and the page carries the error.

    Args:
        search: a day, a month or a year as people write it ("14 March 2026", "2026-03"), or
            part of an id, a reason or who asked.
        zone: whose days are meant.
        state: `verified`, `read back`, `unchecked`, `damaged` or nothing.
    """
    require(actor, Permission.BACKUP_VIEW)
    catalog.refresh_if_old(ctx)
    archive_index.look_if_old(ctx)
    return catalog.page(ctx, search=search, state=state, page=page, rows=rows, zone=zone)


def refresh(ctx: Context, actor: Actor) -> RefreshResult:
    """Compare the index with the store now.

    Raises:
        Transient, Misconfigured: the store can't be listed; the index is as it was.
    """
    require(actor, Permission.BACKUP_VIEW)
    return catalog.refresh(ctx, open_store(ctx.settings))


def manifest(ctx: Context, actor: Actor, snapshot_id: str) -> Manifest:
    """The manifest of one snapshot, read from the store and held against the index."""
    require(actor, Permission.BACKUP_VIEW)
    return catalog.load_manifest(ctx, open_store(ctx.settings, hurried=True), snapshot_id)


def current(ctx: Context) -> jobs.Job | None:
    """The backup or restore that runs now."""
    return jobs.active(ctx, LOCK)


def days(ctx: Context, actor: Actor, count: int = 90, zone: tzinfo = UTC) -> tuple[DayState, ...]:
    """The last `count` days, oldest first, with what each has to show.

    Args:
        zone: whose days are meant.
    """
    require(actor, Permission.OVERVIEW_VIEW)
    return day_states(ctx, count, zone)


def verify(
    ctx: Context,
    actor: Actor,
    snapshot_id: str,
    watcher: Callable[[float], None] = lambda _fraction: None,
) -> SnapshotRow:
    """Read every object of a snapshot back in full, and write down whether it is equal.

    Args:
        snapshot_id: an id, or `latest`.
        watcher: called with the share that is done, 0 to 1.

    Raises:
        Broken: names the object that is missing or altered; the list shows it from now on.
        Transient, Misconfigured: the store can't be read; nothing was written down.
    """
    require(actor, Permission.BACKUP_CREATE)
    store = open_store(ctx.settings)
    row = catalog.find(ctx, snapshot_id)
    subject = ("snapshot", row.id)
    try:
        found = catalog.load_manifest(ctx, store, row.id)
        total = max(1, found.stored_bytes + found.image_bytes)
        snapshot_room.verify(ctx, store, found, lambda count: watcher(min(1.0, count / total)))
    except Broken as error:
        catalog.record_verification(ctx, row.id, error.message)
        audit.note(ctx, actor, "backup.verify", subject, error.message, outcome="failed")
        raise
    verified = catalog.record_verification(ctx, row.id, None)
    audit.note(ctx, actor, "backup.verify", subject, f"Read {row.id} back in full: it is whole")
    return verified


@contextmanager
def open_component(
    ctx: Context, actor: Actor, snapshot_id: str, name: str
) -> Iterator[tuple[Component, BinaryIO]]:
    """One component as it is stored, for a download; its manifest entry says how to open it.

    Raises:
        Invalid: no such snapshot or component.
        Broken: it is missing from the store.
    """
    require(actor, Permission.BACKUP_DOWNLOAD)
    store = open_store(ctx.settings)
    found = catalog.load_manifest(ctx, store, snapshot_id)
    component = snapshot_room.component_of(found, name)
    audit.note(
        ctx, actor, "backup.download", ("snapshot", found.id), f"Downloaded {name} of {found.id}"
    )
    with snapshot_room.open_stored(store, component) as stream:
        yield component, stream


def start(ctx: Context, actor: Actor, reason: str = "manual") -> jobs.Job:
    """Make a snapshot in a process of its own, which outlives the browser and the server.

    Raises:
        Busy: a backup or restore is running; names it.
    """
    return doors.begin(ctx, _create(ctx, actor, reason), "backup")


def run(
    ctx: Context,
    actor: Actor,
    reason: str = "scheduled",
    watcher: doors.Watcher = doors.unwatched,
) -> jobs.Job:
    """Make a snapshot in this process (cron, a terminal).

    Raises:
        Busy: a backup or restore is running; names it.
        what `snapshots.create` raises, after the job's row was written.
    """
    return _work_off(ctx, _create(ctx, actor, reason), watcher)


def _create(ctx: Context, actor: Actor, reason: str) -> jobs.Job:
    require(actor, Permission.BACKUP_CREATE)
    job = jobs.create(ctx, actor, KIND, lock=LOCK, params={"reason": reason[:60]})
    audit.note(ctx, actor, "backup.start", ("job", job.id), f"Backup started ({reason[:60]})")
    return job


def _work_off(ctx: Context, job: jobs.Job, watcher: doors.Watcher) -> jobs.Job:
    from services.knowledge.transfer import canonical_json
    from services.watch import at_once

    at_once.backup_started(ctx)
    try:
        return making.work_off(ctx, job, watcher, canonical_json)
    finally:
        _sample(ctx)
        at_once.backup_ended(ctx, job.id)


def _sample(ctx: Context) -> None:
    try:
        from services.watch import samples

        samples.take(ctx, samples.collect(ctx))
    except Exception:  # a chart without a point is no reason to call a backup failed
        log.exception("no sample after the backup")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return terminal.main(_parser(), arguments, terminal.on_a_desk(_command))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python services/backup.py",
        description="Back the shop up, or list and prove the backups.",
        epilog=f"{terminal.CODES} A second copy that failed gives its code, though the backup "
        "is made; old backups that could not be removed are only said.",
    )
    terminal.add_json(parser)
    parser.add_argument("--reason", default=SCHEDULED, help="why; shown in the list")
    parser.add_argument(
        "--no-prune",
        action="store_true",
        help="leave old backups alone; a scheduled one removes what the policy does not keep",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="list the backups in the store")
    what.add_argument("--verify", metavar="ID", help="read one back in full: an id, or latest")
    what.add_argument("--job", metavar="ID", help=argparse.SUPPRESS)
    return parser


def _command(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> int:
    actor = command_line_actor()
    if options.list:
        _command_list(ctx, actor, answer, options.json)
    elif options.verify:
        _command_verify(ctx, actor, options.verify, answer, options.json)
    else:
        _command_backup(ctx, actor, options, answer)
    return int(answer.get("copy", {}).get("exit_code", 0))  # the backup counts all the same


def _command_backup(
    ctx: Context, actor: Actor, options: argparse.Namespace, answer: dict[str, Any]
) -> None:
    queued = options.job
    job = doors.taken_up(ctx, queued) if queued else _create(ctx, actor, options.reason)
    answer["job"] = job.id
    with terminal.bar() as bar:
        ended = _work_off(ctx, job, bar)
    answer |= {"state": ended.state.value, **(ended.result or {})}
    _copy(ctx, actor, answer)
    if job.params["reason"] == SCHEDULED and not (options.job or options.no_prune):
        _prune(ctx, actor, answer)
    if sys.stdout.isatty() and not options.json:
        print(f"Backup {answer['snapshot']} is stored and was read back in full.")


def _copy(ctx: Context, actor: Actor, answer: dict[str, Any]) -> None:
    """Bring it to the second store; a copy that fails is said, and the backup counts."""
    from services.protection.replication.job import after_backup

    with terminal.bar() as bar:
        copy = after_backup(ctx, bar, actor)
    if copy is None:
        return
    answer["copy"] = copy
    if copy["state"] == "failed":
        print(f"{copy['error']} {copy['hint']}".strip(), file=sys.stderr)


def _prune(ctx: Context, actor: Actor, answer: dict[str, Any]) -> None:
    """Remove what the policy does not keep; whatever comes of it is said, and the backup counts."""
    from services.protection.retention.job import after_backup

    with terminal.bar() as bar:
        pruned = after_backup(ctx, bar, actor)
    answer["retention"] = pruned
    if pruned["state"] == "failed":
        print(f"{pruned['error']} {pruned['hint']}".strip(), file=sys.stderr)
    elif pruned["state"] == "held" and pruned["would_go"]:
        print(f"Old backups were not removed: {' '.join(pruned['reasons'])}", file=sys.stderr)


def _command_verify(
    ctx: Context, actor: Actor, snapshot_id: str, answer: dict[str, Any], as_json: bool
) -> None:
    answer["snapshot"] = snapshot_id
    refresh(ctx, actor)
    with terminal.bar() as bar:
        row = verify(ctx, actor, snapshot_id, lambda share: bar("Reading it back", share))
    answer |= {"snapshot": row.id, "state": "verified"}
    if not as_json:
        print(f"{row.id} is whole: every object was read back in full.")


def _command_list(ctx: Context, actor: Actor, answer: dict[str, Any], as_json: bool) -> None:
    found = refresh(ctx, actor)
    rows: list[SnapshotRow] = []
    while len(rows) < (listed := catalog.page(ctx, page=len(rows) // 1000 + 1, rows=1000)).total:
        rows += listed.rows
    for snapshot_id, why in found.unreadable.items():
        print(f"{snapshot_id}: {why}", file=sys.stderr)
    answer |= {
        "snapshots": [
            {
                "id": row.id,
                "created_at": row.created_at.isoformat(),
                "reason": row.reason,
                "asked_by": row.asked_by,
                "plain_bytes": row.plain_bytes,
                "stored_bytes": row.stored_bytes,
                "read_back_at": row.read_back_at.isoformat() if row.read_back_at else None,
                "verified_at": row.verified_at.isoformat() if row.verified_at else None,
                "verify_error": row.verify_error,
            }
            for row in rows
        ],
        "unreadable": found.unreadable,
    }
    if not as_json:
        for row in rows:
            seen = "verified" if row.verified_at else "read back" if row.read_back_at else "-"
            known = "damaged" if row.verify_error else seen
            print(
                f"{row.id}  {row.created_at:%Y-%m-%d %H:%M} UTC  {row.plain_bytes / 1e6:10,.1f} MB"
                f"  {known:9}  {row.reason} ({row.asked_by})"
            )


if __name__ == "__main__":
    sys.exit(main())
