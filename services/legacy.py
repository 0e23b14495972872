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
from typing import Any

from services.core import audit, doors, jobs, terminal
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context
from services.core.errors import Invalid
from services.protection.legacy import job as importing
from services.protection.legacy import listing
from services.protection.legacy.model import LegacyPage
from services.protection.model import PROTECTION_LOCK
from services.protection.retention import pruning
from services.protection.stores import open_store

LOCK = PROTECTION_LOCK
KIND = importing.KIND
REMOVAL = "legacy removal"


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
    return doors.begin(ctx, _create(ctx, actor, key, drill), "legacy")


def run_adopt(
    ctx: Context,
    actor: Actor,
    key: str,
    *,
    drill: bool = True,
    watcher: doors.Watcher = doors.unwatched,
) -> jobs.Job:
    """The same in this process, for a terminal.

    Raises:
        what `start_adopt` raises, and after the job's row was written
        Broken: the old backup is damaged; nothing was made of it. Or the snapshot that was
            made did not pass its test restore; the list shows it as damaged.
        Misconfigured: it is of another kind of database than the shop's.
        Transient: a store does not answer.
    """
    return _work_off(ctx, _create(ctx, actor, key, drill), watcher)


def remove(ctx: Context, actor: Actor, snapshot_id: str, typed: str) -> jobs.Job:
    """Remove a snapshot that was made of an old backup; there is no way back.

    The old backup itself stays where the old scripts put it.

    Args:
        typed: what the person typed to confirm: the snapshot's id.

    Raises:
        Invalid: there is no such snapshot, it was made here, or something else was typed.
        Conflict: it is pinned or in use, or there is no other good one.
        Busy: a backup or a restore is running; names it.
        Transient, Misconfigured: the store can't be used; retention finishes what was begun.
    """
    require(actor, Permission.RETENTION_RUN)
    row = pruning.require_removable(ctx, snapshot_id)
    if typed.strip() != row.id:
        raise Invalid(
            "What was typed is not what confirms; nothing was deleted.", f"Type {row.id} exactly."
        )
    # Not by its bare id, which would say that this job needs it.
    job = jobs.create(ctx, actor, REMOVAL, lock=LOCK, params={"removes": [row.id]})
    subject = ("snapshot", row.id)

    def work(handle: jobs.JobHandle) -> dict[str, Any]:
        handle.step("Removing the backup", 0.0)
        done = pruning.remove_adopted(ctx, open_store(ctx.settings), row.id)
        told = f"Removed {row.id}, which was made of a legacy backup"
        audit.note(ctx, actor, "legacy.remove", subject, told, details=done.to_dict())
        return done.to_dict()

    def failed(message: str) -> None:
        told = f"{row.id} was not removed. {message}"
        audit.note(ctx, actor, "legacy.remove", subject, told, outcome="failed")

    return doors.work_off(ctx, job, work, doors.unwatched, failed)


def _create(ctx: Context, actor: Actor, key: str, drill: bool) -> jobs.Job:
    require(actor, Permission.BACKUP_CREATE)
    if drill:
        require(actor, Permission.DRILL_RUN)
    backup, _place = listing.find(ctx, key)
    params = {"key": backup.key, "drill": drill}
    job = jobs.create(ctx, actor, KIND, lock=LOCK, params=params)
    audit.note(ctx, actor, "legacy.adopt", ("legacy", key), f"Began to bring in {backup.main.key}")
    return job


def _work_off(ctx: Context, job: jobs.Job, watcher: doors.Watcher) -> jobs.Job:
    from services.knowledge.rehearsal import reimport
    from services.knowledge.transfer import canonical_json
    from services.protection.proving.prove import Borrowed

    return importing.work_off(ctx, job, watcher, canonical_json, Borrowed(reimport))


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
    parser.add_argument(
        "--remove", metavar="ID", help="remove the snapshot that one became; the old backup stays"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before it is removed")
    terminal.add_json(parser)
    parser.add_argument("--job", metavar="ID", help=argparse.SUPPRESS)
    return parser


def _command(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    if options.remove:
        _command_remove(ctx, options, answer)
    elif options.key or options.job:
        _command_adopt(ctx, options, answer)
    else:
        _command_list(ctx, answer, options.json)


def _command_adopt(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    if options.job:
        job = doors.taken_up(ctx, options.job)
    else:
        job = _create(ctx, command_line_actor(), options.key, not options.no_drill)
    answer["job"] = job.id
    ended = _work_off(ctx, job, doors.unwatched)
    answer |= {"state": ended.state.value, **(ended.result or {})}
    if not options.json and not options.job:
        proven = "and was restored as a test" if answer.get("passed") else "not verified yet"
        print(f"It is the snapshot {answer['snapshot']} now, {proven}.")
        print(*answer["notes"], sep="\n")


def _command_remove(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    if not options.yes and (options.json or not sys.stdin.isatty()):
        raise Invalid("Nobody is there to confirm; nothing was deleted.", "Say --yes.")
    wanted = options.remove
    typed = wanted if options.yes else input(f"This is final. Type {wanted} to go on: ")
    ended = remove(ctx, command_line_actor(), wanted, typed)
    answer |= {"job": ended.id, "state": ended.state.value, **(ended.result or {})}
    if not options.json:
        print(f"Removed {wanted}: {answer['bytes'] / 1e6:,.1f} MB.")


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
