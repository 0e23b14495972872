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
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from services.core import audit, jobs, spawning, terminal
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context
from services.core.errors import (
    EXIT_DONE,
    Broken,
    Conflict,
    DeskError,
    Invalid,
    Misconfigured,
    Refused,
    describe,
)
from services.protection.index import catalog
from services.protection.manifest import manifest_key
from services.protection.model import Manifest, SnapshotRow, Storage
from services.protection.proving import choice, records
from services.protection.proving.choice import Due
from services.protection.proving.evidence import Drill, Evidence, Step
from services.protection.sealing.keys import keys_of
from services.protection.stores import open_store
from services.protection.stores.base import Store
from services.protection.workspace import workspace

log = logging.getLogger("desk.drill")

LOCK = "drill"
"""One drill at a time; it reads the store alone, so a backup or a restore may run beside it."""
KIND = "drill"
_NEXT = {
    records.STORE: "It counts as damaged from now on. Make another backup, and find out what "
    "happened to this one.",
    records.COPY: "Its copy counts as damaged from now on; the backup itself is not concerned. "
    "Run `python services/replication.py` with its id: what differs is sent again.",
}
Watcher = Callable[[str, float | None], None]


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
    job = _create(ctx, actor, snapshot_id, place)
    spawning.spawn(ctx, job, "services.drill")
    return job


def run(
    ctx: Context,
    actor: Actor,
    snapshot_id: str,
    place: str = records.STORE,
    watcher: Watcher = lambda _text, _fraction: None,
) -> jobs.Job:
    """The same in this process (cron, a terminal).

    Raises:
        Broken: the snapshot did not pass; the evidence is kept, and the list shows it.
        Conflict: it was removed meanwhile; nothing was proven.
        Transient, Misconfigured: the store or this machine failed; nothing was proven.
    """
    return _run(ctx, _create(ctx, actor, snapshot_id, place), watcher)


def due(ctx: Context, actor: Actor, place: str = records.STORE) -> Due:
    """What a daily run would drill now, and how the proofs of all that is kept stand.

    Args:
        place: `copy` asks the second store which snapshots it has.

    Raises:
        Transient, Misconfigured: the second store can't be listed.
    """
    require(actor, Permission.BACKUP_VIEW)
    rows = catalog.everything(ctx)
    return choice.due(_copies(ctx, rows) if place == records.COPY else rows, ctx.now())


def _copies(ctx: Context, rows: tuple[SnapshotRow, ...]) -> list[SnapshotRow]:
    """The snapshots that have a copy, each as its copy stands."""
    from services.protection.replication.listing import ids_in

    there, proven = ids_in(ctx, _store(ctx, records.COPY)), records.proven_copies(ctx)
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


def _run(ctx: Context, job: jobs.Job, watcher: Watcher) -> jobs.Job:
    # Permission was checked when the row was written; the row says who asked.
    actor = Actor(job.actor_id, job.actor_name, job.actor_kind)
    snapshot_id, place = str(job.params["snapshot"]), str(job.params["place"])

    def work(handle: jobs.JobHandle) -> dict[str, Any]:
        store = _store(ctx, place)
        if place == records.COPY and store.stat(_key(ctx, snapshot_id)) is None:
            raise Conflict(
                f"{snapshot_id} has no copy in the second store; nothing was proven.",
                f"`python services/replication.py {snapshot_id}` brings it there.",
            )
        evidence = _evidence(ctx, store, handle, snapshot_id)
        if not evidence.passed and store.stat(_key(ctx, snapshot_id)) is None:
            raise Conflict(
                f"Nothing was proven: {snapshot_id} was removed while it was restored as a test.",
                "Drill another one.",
            )
        drill = _drill(ctx, job, snapshot_id, place, evidence)
        records.keep(ctx, drill, actor)
        if not records.send(ctx, open_store(ctx.settings), drill):
            handle.say("The evidence could not be written to the store: it is kept here alone.")
        if not drill.passed:
            _alarm(drill)
            raise Broken(f"The test restore of {snapshot_id} failed. {drill.error}", _NEXT[place])
        return _told(drill)

    try:
        return jobs.run(ctx, job, work, watcher=watcher)
    except BaseException as error:
        if records.get(ctx, job.id) is None:  # it ended without a verdict
            message = describe(error)[0] if isinstance(error, DeskError) else "It met a bug."
            audit.note(
                ctx,
                actor,
                "drill.inconclusive",
                ("snapshot", snapshot_id),
                f"The test restore of {snapshot_id} proved nothing. {message}",
                details={"job": job.id, "place": place},
                outcome="failed",
            )
        raise


def _store(ctx: Context, place: str) -> Store:
    return (
        open_store(ctx.settings, place=place) if place == records.COPY else open_store(ctx.settings)
    )


def _key(ctx: Context, snapshot_id: str) -> str:
    return manifest_key(ctx.settings.instance_id, snapshot_id)


def _evidence(ctx: Context, store: Store, handle: jobs.JobHandle, snapshot_id: str) -> Evidence:
    from services.knowledge.rehearsal import reimport
    from services.protection.proving.prove import MANIFEST, Borrowed, prove

    begun = time.monotonic()
    handle.step("Reading the manifest", 0.0)
    try:
        manifest: Manifest = catalog.load_manifest(ctx, store, snapshot_id)
    except Broken as error:
        # An altered manifest is the first thing that a drill has to find.
        took = time.monotonic() - begun
        return Evidence((Step(MANIFEST, False, error.message, took),), took)
    with workspace(ctx, handle.id) as folder:
        return prove(ctx, store, handle, manifest, folder, Borrowed(reimport))


def _drill(ctx: Context, job: jobs.Job, snapshot_id: str, place: str, evidence: Evidence) -> Drill:
    return Drill(
        id=job.id,
        snapshot_id=snapshot_id,
        instance=ctx.settings.instance_id,
        place=place,
        at=ctx.now(),
        seconds=round(evidence.seconds, 3),
        passed=evidence.passed,
        host=ctx.host,
        asked_by=job.actor_name,
        error=None if evidence.passed else evidence.error or "A step could not be done.",
        steps=evidence.steps,
    )


def _told(drill: Drill) -> dict[str, Any]:
    return {
        "drill": drill.id,
        "snapshot": drill.snapshot_id,
        "place": drill.place,
        "passed": drill.passed,
        "recovery_seconds": drill.seconds,
        "steps": [step.to_dict() for step in drill.steps],
    }


def _alarm(drill: Drill) -> None:
    """Everybody who must know of a failed proof is told from here.

    The first page shows it by itself (`posture`), and the exit code tells cron; messages to
    people go out from this place too.
    """
    log.error("test restore of %s failed: %s", drill.snapshot_id, drill.error)


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
        spawning.give_way()
        _run(ctx, terminal.queued(ctx, options.job), lambda _text, _fraction: None)
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
            _run(ctx, job, bar)
    except DeskError as error:
        found = records.get(ctx, job.id)
        code = terminal.failed(error, answer)
        answer |= _told(found) if found else {"state": "inconclusive"}
        return code
    found = records.get(ctx, job.id)
    if found is not None:
        answer |= {"state": "passed", **_told(found)}
        if sys.stdout.isatty() and not options.json:
            print(f"{found.snapshot_id} passed its test restore in {found.seconds:.1f} s.")
            for step in found.steps:
                print(f"  {step.name}: {step.found}")
    return EXIT_DONE


def _drill_due(
    ctx: Context, actor: Actor, options: argparse.Namespace, answer: dict[str, Any]
) -> int:
    chosen = due(ctx, actor, options.place).chosen
    answer |= {"state": "passed", "drills": []}
    code = EXIT_DONE
    for snapshot_id in chosen:
        one: dict[str, Any] = {"snapshot": snapshot_id}
        try:
            ended = _drill_one(ctx, actor, snapshot_id, options, one)
        except Invalid:
            continue  # retention removed it since it was chosen
        except DeskError as error:
            ended = terminal.failed(error, one)
            one["state"] = "inconclusive"
        answer["drills"].append(one)
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
        return _store(ctx, place).stat(_key(ctx, snapshot_id)) is None
    except DeskError:
        return False


if __name__ == "__main__":
    sys.exit(main())
