"""Door: prove a snapshot by restoring it aside and comparing it with what was written down.

The browser calls these functions; cron runs the file (`python services/drill.py
--oldest-unproven`) or the module (`python -m services.drill`).
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python puts services/ first on the path, ahead of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import logging
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import Any

from services.core import audit, doors, jobs, terminal
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context
from services.core.errors import (
    EXIT_DONE,
    Archived,
    DeskError,
    Invalid,
    Misconfigured,
    Refused,
)
from services.protection.index import catalog
from services.protection.model import SnapshotRow, Storage
from services.protection.proving import choice, records
from services.protection.proving import job as proving
from services.protection.proving.choice import Due
from services.protection.proving.evidence import Drill
from services.protection.sealing.keys import keys_of
from services.protection.stores import open_store

_SPARE = 3
"""So many others a daily run tries instead of those that it found archived."""

log = logging.getLogger("desk.drill")

LOCK = "drill"
"""One drill at a time; it reads the store alone, so a backup or a restore may run beside it."""
KIND = proving.KIND


def start(ctx: Context, actor: Actor, snapshot_id: str, place: str = records.STORE) -> jobs.Job:
    """Drill a snapshot in a process of its own, which outlives the browser and the server.

    Args:
        snapshot_id: an id, or `latest`.
        place: `store`, or `copy` for the second store.

    Raises:
        Invalid: there is no such snapshot.
        Misconfigured: it is encrypted, and this machine can't open it.
        Refused: it lies in an archive.
        Busy: another drill is running.
    """
    return doors.begin(ctx, _create(ctx, actor, snapshot_id, place), "drill")


def run(
    ctx: Context,
    actor: Actor,
    snapshot_id: str,
    place: str = records.STORE,
    watcher: doors.Watcher = doors.unwatched,
) -> jobs.Job:
    """The same in this process (cron, a terminal).

    Raises:
        Broken: the snapshot did not pass; the evidence is kept, and the list shows it.
        Conflict: it was removed meanwhile; nothing was proven.
        Transient, Misconfigured: the store or this machine failed; nothing was proven.
    """
    return _work_off(ctx, _create(ctx, actor, snapshot_id, place), watcher)


def due(
    ctx: Context, actor: Actor, place: str = records.STORE, without: Collection[str] = ()
) -> Due:
    """What a daily run would drill now, and how the proofs of all that is kept stand.

    Args:
        place: `copy` asks the second store which snapshots it has.
        without: ids of those that had their turn in this run.

    Raises:
        Transient, Misconfigured: the second store can't be listed.
    """
    require(actor, Permission.BACKUP_VIEW)
    rows = tuple(row for row in catalog.everything(ctx) if row.id not in without)
    return choice.due(_copies(ctx, rows) if place == records.COPY else rows, ctx.now())


def _copies(ctx: Context, rows: tuple[SnapshotRow, ...]) -> list[SnapshotRow]:
    """The snapshots that have a copy, each as its copy stands."""
    from services.protection.replication.listing import ids_in

    there, proven = ids_in(ctx, proving.store_of(ctx, records.COPY)), records.proven_copies(ctx)
    return [
        replace(
            row,
            verified_at=proven.get(row.id),
            verify_error=row.copy_error,
            storage=Storage.STANDARD,
        )
        for row in rows
        if row.id in there
    ]


def history(ctx: Context, actor: Actor, snapshot_id: str = "") -> tuple[Drill, ...]:
    """Drills with their evidence, newest first: of one snapshot, or of all."""
    require(actor, Permission.BACKUP_VIEW)
    return records.history(ctx, snapshot_id)


def current(ctx: Context) -> jobs.Job | None:
    """The drill that runs now."""
    return jobs.active(ctx, LOCK)


def _create(ctx: Context, actor: Actor, snapshot_id: str, place: str) -> jobs.Job:
    require(actor, Permission.DRILL_RUN)
    if place not in records.PLACES:
        raise Invalid(f"{str(place)[:40]!r} is no place that backups lie in; nothing was started.")
    row = catalog.find(ctx, snapshot_id)
    _require_readable(ctx, row, place)
    job = jobs.create(ctx, actor, KIND, lock=LOCK, params={"snapshot": row.id, "place": place})
    audit.note(ctx, actor, "drill.start", ("snapshot", row.id), f"Test restore of {row.id} started")
    return job


def _require_readable(ctx: Context, row: SnapshotRow, place: str) -> None:
    # Where a copy lies, only its own store knows: it says so when it is read.
    if place == records.STORE and row.storage is Storage.ARCHIVED:
        raise Refused(
            "This backup lies in an archive and can't be read; nothing was started.",
            "Have it brought back first; that takes hours and costs something.",
        )
    if row.encrypted and keys_of(ctx.settings).identity_file is None:
        raise Misconfigured(
            "This backup is encrypted, and this machine has no identity to open it with "
            "(BACKUP_AGE_IDENTITY_FILE); nothing was started.",
            f"Run `python services/drill.py {row.id}` where the identity lies, with the same "
            "store and INSTANCE_ID: what it finds is written to the store and counts here too.",
        )


def _work_off(ctx: Context, job: jobs.Job, watcher: doors.Watcher) -> jobs.Job:
    from services.knowledge.rehearsal import reimport
    from services.protection.proving.prove import Borrowed

    return proving.work_off(ctx, job, watcher, Borrowed(reimport), partial(_alarm, ctx))


def _alarm(ctx: Context, drill: Drill) -> None:
    """Everybody who must know of a failed proof is told from here; the exit code tells cron."""
    from services.watch import at_once

    log.error("test restore of %s failed: %s", drill.snapshot_id, drill.error)
    at_once.drill_failed(ctx, drill.place, drill.snapshot_id, drill.at, drill.error or "")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return terminal.main(_parser(), arguments, terminal.on_a_desk(_command))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python services/drill.py",
        description="Prove backups: restore them aside, compare everything, keep the evidence.",
        epilog="Exit codes: 0 passed (or nothing is due), 1 failed, 2 network, 3 configuration "
        "or usage, 4 bug.",
    )
    parser.add_argument("snapshot", nargs="?", help="an id, or latest (the default)")
    parser.add_argument(
        "--oldest-unproven",
        action="store_true",
        help="those whose turn it is: daily, every kept backup is proven every 30 days",
    )
    parser.add_argument(
        "--place",
        choices=records.PLACES,
        default=records.STORE,
        help="copy: what lies in the second store (BACKUP_COPY_URL)",
    )
    terminal.add_json(parser)
    parser.add_argument("--job", metavar="ID", help=argparse.SUPPRESS)
    return parser


def _command(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> int:
    actor = command_line_actor()
    if options.job:
        _work_off(ctx, doors.taken_up(ctx, options.job), doors.unwatched)
        return EXIT_DONE
    if options.snapshot and options.oldest_unproven:
        raise Misconfigured(
            "Both a backup and --oldest-unproven were given; nothing was started.",
            "Give one of them.",
        )
    # A machine set up anew knows no snapshot: the store does.
    catalog.refresh(ctx, open_store(ctx.settings))
    if not options.oldest_unproven:
        return _drill_one(ctx, actor, options.snapshot or catalog.LATEST, options, answer)
    return _drill_due(ctx, actor, options, answer)


def _drill_one(
    ctx: Context,
    actor: Actor,
    snapshot_id: str,
    options: argparse.Namespace,
    answer: dict[str, Any],
) -> int:
    job = _create(ctx, actor, snapshot_id, options.place)
    answer |= {"job": job.id, "snapshot": job.params["snapshot"]}
    try:
        with terminal.bar() as bar:
            _work_off(ctx, job, bar)
    except jobs.Stopped:
        raise  # the whole run was asked, not this one alone
    except DeskError as error:
        answer["archived"] = isinstance(error, Archived)
        found = records.get(ctx, job.id)
        code = terminal.failed(error, answer)
        answer |= proving.told(found) if found else {"state": "inconclusive"}
        return code
    found = records.get(ctx, job.id)
    if found is not None:
        answer |= {"state": "passed", **proving.told(found)}
        if sys.stdout.isatty() and not options.json:
            print(f"{found.snapshot_id} passed its test restore in {found.seconds:.1f} s.")
            for step in found.steps:
                print(f"  {step.name}: {step.found}")
    return EXIT_DONE


def _drill_due(
    ctx: Context, actor: Actor, options: argparse.Namespace, answer: dict[str, Any]
) -> int:
    waiting = list(due(ctx, actor, options.place).chosen)
    tried: set[str] = set()
    spare = _SPARE
    answer |= {"state": "passed", "drills": []}
    code = EXIT_DONE
    while waiting:
        snapshot_id = waiting.pop(0)
        tried.add(snapshot_id)
        one: dict[str, Any] = {"snapshot": snapshot_id}
        try:
            ended = _drill_one(ctx, actor, snapshot_id, options, one)
        except Invalid:
            continue  # retention removed it since it was chosen
        except jobs.Stopped:
            raise
        except DeskError as error:
            ended = terminal.failed(error, one)
            one["state"] = "inconclusive"
        answer["drills"].append(one)
        if one.get("archived") and spare:
            spare -= 1
            # It waits for somebody to have it brought back; meanwhile it is another one's turn.
            more = due(ctx, actor, options.place, tried.union(waiting)).chosen
            waiting += more[:1]
        if one["state"] == "inconclusive" and _is_gone(ctx, snapshot_id, options.place):
            continue
        if ended:
            # A proof that failed outweighs one that could not be made.
            code = ended if code == EXIT_DONE or one["state"] == "failed" else code
            answer["state"] = "failed" if one["state"] == "failed" else answer["state"]
    if code and answer["state"] == "passed":
        answer["state"] = "inconclusive"
    return code


def _is_gone(ctx: Context, snapshot_id: str, place: str) -> bool:
    try:
        return not proving.is_there(ctx, proving.store_of(ctx, place), snapshot_id)
    except DeskError:
        return False


if __name__ == "__main__":
    sys.exit(main())
