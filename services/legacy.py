"""Door: what the shop's old backup scripts left, and making snapshots of it.

The browser calls these functions; an operator at a terminal runs the file
(`python services/legacy.py`) or the module (`python -m services.legacy`).
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python puts services/ first on the path, ahead of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
from collections.abc import Callable
from typing import Any

from services.core import audit, jobs, spawning, terminal
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context
from services.core.errors import Broken, DeskError, describe
from services.protection.legacy import listing
from services.protection.legacy.model import LegacyBackup, LegacyPage
from services.protection.model import PROTECTION_LOCK, Manifest
from services.protection.stores import open_store

LOCK = PROTECTION_LOCK
KIND = "legacy import"
Watcher = Callable[[str, float | None], None]


def legacy(ctx: Context, actor: Actor) -> LegacyPage:
    """What the old scripts left for this shop, newest first; only listed, nothing is opened."""
    require(actor, Permission.BACKUP_VIEW)
    return listing.page(ctx)


def start_adopt(ctx: Context, actor: Actor, key: str, *, drill: bool = True) -> jobs.Job:
    """Make a snapshot of an old backup in a process of its own.

    Args:
        key: as the list gives it.
        drill: restore it aside afterwards; only then it is called verified.

    Raises:
        Invalid: there is none of this name.
        Busy: a backup or a restore is running; names it.
    """
    job = _create(ctx, actor, key, drill)
    spawning.spawn(ctx, job, "services.legacy")
    return job


def run_adopt(
    ctx: Context,
    actor: Actor,
    key: str,
    *,
    drill: bool = True,
    watcher: Watcher = lambda _text, _fraction: None,
) -> jobs.Job:
    """The same in this process, for a terminal.

    Raises:
        what `start_adopt` raises, and after the job's row was written
        Broken: the old backup is damaged; nothing was made of it. Or the snapshot that was
            made did not pass its test restore; the list shows it as damaged.
        Misconfigured: it is of another kind of database than the shop's.
        Transient: a store does not answer.
    """
    return _run(ctx, _create(ctx, actor, key, drill), watcher)


def _create(ctx: Context, actor: Actor, key: str, drill: bool) -> jobs.Job:
    require(actor, Permission.BACKUP_CREATE)
    if drill:
        require(actor, Permission.DRILL_RUN)
    backup, _place = listing.find(ctx, key)
    params = {"key": backup.key, "drill": drill}
    job = jobs.create(ctx, actor, KIND, lock=LOCK, params=params)
    audit.note(ctx, actor, "legacy.adopt", ("legacy", key), f"Began to bring in {backup.main.key}")
    return job


def _run(ctx: Context, job: jobs.Job, watcher: Watcher) -> jobs.Job:
    # Permission was checked when the row was written; the row says who asked.
    actor = Actor(job.actor_id, job.actor_name, job.actor_kind)
    key, drill = str(job.params["key"]), bool(job.params["drill"])

    def work(handle: jobs.JobHandle) -> dict[str, Any]:
        from services.knowledge.transfer import canonical_json
        from services.protection.legacy.importing import bring_in

        backup, place = listing.find(ctx, key)
        store = open_store(ctx.settings)
        span = (0.0, 0.6) if drill else (0.0, 1.0)
        made = bring_in(ctx, place, store, handle, actor, backup, canonical_json, span)
        _note_made(ctx, actor, backup, made)
        proven = _prove(ctx, handle, actor, job, made) if drill else {}
        return {"snapshot": made.id, "notes": list(made.notes), **proven}

    try:
        return jobs.run(ctx, job, work, watcher=watcher)
    except BaseException as error:
        message = describe(error)[0] if isinstance(error, DeskError) else "It met a bug."
        audit.note(
            ctx,
            actor,
            "legacy.failed",
            ("legacy", key),
            f"A legacy backup could not be brought in. {message}",
            outcome="failed",
        )
        raise


def _note_made(ctx: Context, actor: Actor, backup: LegacyBackup, made: Manifest) -> None:
    audit.note(
        ctx,
        actor,
        "legacy.adopted",
        ("snapshot", made.id),
        f"Made the snapshot {made.id} of the legacy backup {backup.main.key}",
        details={"sources": made.extra["legacy"]},
    )


def _prove(
    ctx: Context, handle: jobs.JobHandle, actor: Actor, job: jobs.Job, made: Manifest
) -> dict[str, Any]:
    """Restore it aside, from the store, and keep the evidence as any drill does."""
    from services.knowledge.rehearsal import reimport
    from services.protection.proving import records
    from services.protection.proving.evidence import Drill
    from services.protection.proving.prove import Borrowed, prove
    from services.protection.workspace import workspace

    store = open_store(ctx.settings)
    with workspace(ctx, handle.id) as folder:
        evidence = prove(ctx, store, handle, made, folder, Borrowed(reimport), (0.6, 1.0))
    drill = Drill(
        id=job.id,
        snapshot_id=made.id,
        instance=ctx.settings.instance_id,
        place=records.STORE,
        at=ctx.now(),
        seconds=round(evidence.seconds, 3),
        passed=evidence.passed,
        host=ctx.host,
        asked_by=job.actor_name,
        error=None if evidence.passed else evidence.error or "A step could not be done.",
        steps=evidence.steps,
    )
    records.keep(ctx, drill, actor)
    if not records.send(ctx, store, drill):
        handle.say("The evidence could not be written to the store: it is kept here alone.")
    if not drill.passed:
        raise Broken(
            f"The legacy backup is here as {made.id}, but its test restore failed. {drill.error}",
            "It counts as damaged. Choose another one.",
        )
    return {"passed": True, "recovery_seconds": drill.seconds}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return terminal.main(_parser(), arguments, terminal.on_a_desk(_command))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python services/legacy.py",
        description="List the backups of the shop's old scripts, or make a snapshot of one.",
        epilog=terminal.CODES,
    )
    parser.add_argument("key", nargs="?", help="which, as the list names it; none: list them")
    parser.add_argument("--no-drill", action="store_true", help="without restoring it aside")
    terminal.add_json(parser)
    parser.add_argument("--job", metavar="ID", help=argparse.SUPPRESS)
    return parser


def _command(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    if options.key or options.job:
        _command_adopt(ctx, options, answer)
    else:
        _command_list(ctx, answer, options.json)


def _command_adopt(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    if options.job:
        spawning.give_way()
        job = terminal.queued(ctx, options.job)
    else:
        job = _create(ctx, command_line_actor(), options.key, not options.no_drill)
    answer["job"] = job.id
    ended = _run(ctx, job, lambda _text, _fraction: None)
    answer |= {"state": ended.state.value, **(ended.result or {})}
    if not options.json and not options.job:
        proven = "and was restored as a test" if answer.get("passed") else "not verified yet"
        print(f"It is the snapshot {answer['snapshot']} now, {proven}.")
        print(*answer["notes"], sep="\n")


def _command_list(ctx: Context, answer: dict[str, Any], as_json: bool) -> None:
    found = legacy(ctx, command_line_actor())
    answer["remarks"] = list(found.remarks)
    answer["backups"] = [
        {
            "key": each.key,
            "at": each.at.isoformat(),
            "database": each.database.key if each.database else None,
            "vectors": each.vectors.key if each.vectors else None,
            "bytes": each.size,
            "remarks": list(each.remarks),
            "unusable": each.unusable or None,
            "snapshot": each.snapshot_id or None,
        }
        for each in found.backups
    ]
    if found.problem is not None:
        print(*found.problem, file=sys.stderr)
    if as_json:
        return
    for each in found.backups:
        known = each.snapshot_id or "not verified"
        print(f"{each.key}  {each.at:%Y-%m-%d %H:%M:%S} UTC  {each.size / 1e6:8,.1f} MB  {known}")
    print(*found.remarks, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
