"""Door: bring a copy of every snapshot to the second store, and say what lies there.

The browser calls these functions; cron or an operator runs the file
(`python services/replication.py`) or the module (`python -m services.replication`).
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python puts services/ first on the path, ahead of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
from typing import Any

from services.core import doors, jobs, terminal
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context
from services.protection.index import catalog
from services.protection.model import PROTECTION_LOCK
from services.protection.replication import job as copying
from services.protection.replication import listing as listed
from services.protection.replication.model import CopyRow, CopyStatus
from services.protection.replication.status import status as known_status
from services.protection.stores import open_store
from services.protection.stores.places import COPY

LOCK = PROTECTION_LOCK
KIND = copying.KIND
MISSING, ALL = copying.MISSING, copying.ALL


def status(ctx: Context, actor: Actor) -> CopyStatus:
    """How far the second copy is, from the desk's own records; no store is asked."""
    require(actor, Permission.BACKUP_VIEW)
    return known_status(ctx)


def listing(ctx: Context, actor: Actor) -> tuple[CopyRow, ...]:
    """What lies in the second store, newest first, told by that store alone.

    Raises:
        Misconfigured: there is no second store, or it can't be used.
        Transient: it does not answer.
    """
    require(actor, Permission.BACKUP_VIEW)
    return listed.copies(ctx, open_store(ctx.settings, place=COPY), copying.first_ids_or_none(ctx))


def start(ctx: Context, actor: Actor, what: str = MISSING) -> jobs.Job:
    """Copy in a process of its own, which outlives the browser and the server.

    Args:
        what: `missing`: what has no copy yet; `all`: everything, and everything that lies
            over there is read and compared; or the id of one snapshot, the same way.

    Raises:
        Invalid: there is no such snapshot.
        Misconfigured: there is no second store, or it is the first one.
        Busy: a backup, a restore or another copy is running; names it.
    """
    require(actor, Permission.BACKUP_CREATE)
    return doors.begin(ctx, copying.queue(ctx, what, actor), "replication")


def run(
    ctx: Context,
    actor: Actor,
    what: str = MISSING,
    watcher: doors.Watcher = doors.unwatched,
) -> jobs.Job:
    """The same in this process, for a terminal.

    Raises:
        what `start` raises, and after the job's row was written
        Broken: some could not be copied; the others were.
        Transient, Misconfigured: a store can't be used.
    """
    require(actor, Permission.BACKUP_CREATE)
    return copying.work_off(ctx, copying.queue(ctx, what, actor), watcher)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return terminal.main(_parser(), arguments, terminal.on_a_desk(_command))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python services/replication.py",
        description="Bring a copy of every backup to the second store (BACKUP_COPY_URL).",
        epilog=terminal.CODES,
    )
    terminal.add_json(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("snapshot", nargs="?", help="an id, or latest: copy it, or prove its copy")
    what.add_argument("--missing", action="store_true", help="what has no copy yet (the default)")
    what.add_argument(
        "--all", action="store_true", help="everything; what lies there is read and compared"
    )
    what.add_argument("--list", action="store_true", help="what lies in the second store")
    what.add_argument("--job", metavar="ID", help=argparse.SUPPRESS)
    return parser


def _command(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    if options.list:
        _command_list(ctx, answer, options.json)
    else:
        _command_copy(ctx, options, answer)


def _command_copy(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    if options.job:
        job = doors.taken_up(ctx, options.job)
    else:
        # A machine set up anew knows no snapshot: the store does.
        catalog.refresh(ctx, open_store(ctx.settings))
        what = options.snapshot or (ALL if options.all else MISSING)
        job = copying.queue(ctx, what, command_line_actor())
    answer["job"] = job.id
    ended = copying.work_off(ctx, job, doors.unwatched)
    answer |= {"state": ended.state.value, **(ended.result or {})}
    if not options.json and not options.job and sys.stdout.isatty():
        print(f"{len(answer['copied'])} backups copied, {answer['already']} objects were there.")


def _command_list(ctx: Context, answer: dict[str, Any], as_json: bool) -> None:
    rows = listing(ctx, command_line_actor())
    answer["copies"] = [
        {
            "id": row.id,
            "complete": row.complete,
            "missing": list(row.missing),
            "error": row.error,
            "only_here": row.only_here,
        }
        for row in rows
    ]
    if as_json:
        return
    for row in rows:
        lacks = f"lacks {', '.join(row.missing[:3])}" if row.missing else row.error
        print(f"{row.id}  {'complete' if row.complete else lacks}", end="")
        print("  only in the second store" if row.only_here else "")


if __name__ == "__main__":
    sys.exit(main())
