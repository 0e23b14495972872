"""Door: which backups stay and which go, and why; pin one; remove what the policy lets go.

The page calls these functions; `python services/retention.py` does the same in a terminal.
The nightly backup removes old ones by itself (services/backup.py), after it succeeded.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python puts services/ first on the path, ahead of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
from datetime import UTC, tzinfo
from typing import Any

from db.engine import write
from services.core import audit, doors, jobs, terminal
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context
from services.core.errors import Conflict, Invalid, Refused
from services.protection.index import catalog
from services.protection.index.days import day_states
from services.protection.model import PROTECTION_LOCK, SnapshotRow
from services.protection.retention import facts as retention_facts
from services.protection.retention import job as prune_job
from services.protection.retention import pins, pruning
from services.protection.retention.calendar import Calendar, first_day
from services.protection.retention.calendar import calendar as lay_out
from services.protection.retention.model import Policy, PrunePlan
from services.protection.retention.plan import plan_prune
from services.protection.stores import open_store

LOCK = PROTECTION_LOCK
KIND = prune_job.KIND


def plan(ctx: Context, actor: Actor) -> PrunePlan:
    """What the policy keeps, what would go now, and what speaks against it. Changes nothing.

    The store is listed again when that was last done a minute ago; that it can't be is one
    of the plan's holds.
    """
    require(actor, Permission.BACKUP_VIEW)
    catalog.refresh_if_old(ctx)
    error = catalog.page(ctx, rows=1).store_error
    facts = retention_facts.gather(ctx, error[0] if error else "")
    return plan_prune(facts, Policy.of(ctx.settings), ctx.now())


def calendar(ctx: Context, actor: Actor, months: int = 12, zone: tzinfo = UTC) -> Calendar:
    """The plan, laid over the days of so many months, this one among them.

    Args:
        zone: whose days are laid out. The policy itself counts UTC's, on every machine alike.
    """
    made = plan(ctx, actor)
    today = ctx.now().astimezone(zone).date()
    states = day_states(ctx, (today - first_day(today, months)).days + 1, zone)
    return lay_out(made, states, zone)


def start(ctx: Context, actor: Actor, wanted: PrunePlan, typed: str = "") -> jobs.Job:
    """Remove what a plan lets go, in a process of its own. There is no way back.

    Args:
        wanted: as `plan` gave it.
        typed: what the person typed to confirm: the plan's word. Somebody who typed it has
            looked, so it also passes the holds that a person may pass.

    Raises:
        Invalid: the word is not the plan's.
        Conflict: something holds retention; says what.
        Busy: a backup, a restore or another run of retention is under way.
    """
    return doors.begin(ctx, _queue(ctx, actor, wanted, typed), "retention")


def run(
    ctx: Context,
    actor: Actor,
    wanted: PrunePlan,
    typed: str = "",
    watcher: doors.Watcher = doors.unwatched,
) -> jobs.Job:
    """The same in this process, for a terminal.

    Raises:
        what `start` raises, and what `pruning.prune` does.
    """
    return prune_job.work_off(ctx, _queue(ctx, actor, wanted, typed), watcher)


def pin(ctx: Context, actor: Actor, snapshot_id: str, note: str) -> SnapshotRow:
    """Keep a snapshot whatever the policy says, until somebody takes the pin away.

    Args:
        snapshot_id: an id, or `latest`.
        note: why; it is required, and shown wherever the snapshot is.

    Raises:
        Invalid: there is no such snapshot, or the note is empty or very long.
        Transient, Misconfigured: the store can't be written; nothing was pinned.
    """
    require(actor, Permission.BACKUP_PIN)
    pins.checked_note(note)
    row = catalog.find(ctx, snapshot_id)
    made = pins.put(ctx, open_store(ctx.settings), actor, row.id, note)
    with write(ctx.control) as connection:
        pins.record(connection, ctx, row.id, made)
        told = f"Pinned {row.id}: {made.note}"
        audit.record(connection, ctx, actor, "backup.pin", ("snapshot", row.id), told)
    return catalog.find(ctx, row.id)


def unpin(ctx: Context, actor: Actor, snapshot_id: str) -> SnapshotRow:
    """Let the policy decide again about a snapshot.

    Raises:
        Invalid: there is no such snapshot.
        Conflict: it is not pinned.
        Transient, Misconfigured: the store can't be written; the pin is still there.
    """
    require(actor, Permission.BACKUP_PIN)
    row = catalog.find(ctx, snapshot_id)
    if row.pin is None:
        raise Conflict(f"{row.id} is not pinned; nothing was changed.", "Look again.")
    pins.remove(ctx, open_store(ctx.settings), row.id)
    with write(ctx.control) as connection:
        pins.record(connection, ctx, row.id, None)
        told = f"Took the pin off {row.id} ({row.pin.by}: {row.pin.note})"
        audit.record(connection, ctx, actor, "backup.unpin", ("snapshot", row.id), told)
    return catalog.find(ctx, row.id)


def _queue(ctx: Context, actor: Actor, wanted: PrunePlan, typed: str) -> jobs.Job:
    require(actor, Permission.RETENTION_RUN)
    if not wanted.going:
        raise Invalid("There is nothing to remove.", "The policy keeps every backup there is.")
    if typed.strip() != wanted.word:
        raise Invalid(
            "What was typed is not what confirms; nothing was deleted.",
            f"Type {wanted.word} exactly.",
        )
    job = prune_job.queue(ctx, wanted, actor, confirmed=True)
    passed = [hold.message for hold in wanted.holds]
    audit.note(
        ctx,
        actor,
        "retention.start",
        ("job", job.id),
        f"Removing {len(wanted.going)} backups that the policy does not keep started",
        details={"going": len(wanted.going), "holds_passed": passed},
    )
    return job


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code. One that is held has failed."""
    return terminal.main(_parser(), arguments, terminal.on_a_desk(_command))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python services/retention.py",
        description="Remove the backups that the policy (KEEP_DAYS, KEEP_WEEKS, KEEP_MONTHS, "
        "KEEP_MINIMUM) does not keep, or see which those are.",
        epilog="Exit codes: 0 done, 1 failed or held, 2 network, 3 configuration or usage, 4 bug.",
    )
    parser.add_argument("--dry-run", action="store_true", help="show every decision, and stop")
    parser.add_argument(
        "--yes", action="store_true", help="do not ask; what needs a person's look still holds"
    )
    terminal.add_json(parser)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser


def _command(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    if not options.job:
        _headless(ctx, options, answer)
        return
    job = doors.taken_up(ctx, options.job)
    ended = prune_job.work_off(ctx, job, doors.unwatched)
    answer |= {"state": ended.state.value, **(ended.result or {})}


def _headless(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    actor = command_line_actor()
    catalog.refresh(ctx, open_store(ctx.settings))
    wanted = plan(ctx, actor)
    answer |= _told(wanted)
    quiet = options.json
    if not quiet:
        _show(wanted, every=options.dry_run)
    if options.dry_run:
        answer["state"] = "planned"
        return
    try:
        pruning.refuse_if_held(wanted.holds, confirmed=not options.yes)
    except Refused:
        answer["state"] = "held"
        raise
    if not wanted.going:
        answer["state"] = "succeeded"
        return
    typed = wanted.word if options.yes else _asked(wanted, quiet=quiet)
    ended = run(ctx, actor, wanted, typed)
    answer |= {"job": ended.id, "state": ended.state.value, **(ended.result or {})}
    if not quiet:
        print(f"Removed {answer['removed_in_all']} backups.")
        for note in answer["notes"]:
            print(note)


def _asked(wanted: PrunePlan, *, quiet: bool) -> str:
    if quiet or not sys.stdin.isatty():
        raise Invalid(
            "Nobody is there to confirm; nothing was deleted.", "Say --yes, or --dry-run to look."
        )
    print("This is final: what is removed can't be restored any more.")
    return input(f"Type {wanted.word} to go on: ")


def _told(wanted: PrunePlan) -> dict[str, Any]:
    return {
        "policy": wanted.policy.sentence,
        "holds": [hold.message for hold in wanted.holds],
        "would_go": len(wanted.going),
        "bytes_freed": wanted.bytes_freed,
        "decisions": [
            {"snapshot": each.row.id, "keep": each.keep, "why": each.words}
            for each in wanted.decisions
        ],
    }


def _show(wanted: PrunePlan, *, every: bool) -> None:
    print(wanted.policy.sentence)
    for decision in wanted.decisions if every else wanted.going:
        print(f"{'keep' if decision.keep else 'GOES'}  {decision.row.id}  {decision.words}")
    print(
        f"{len(wanted.going)} of {len(wanted.decisions)} backups would go, "
        f"{wanted.bytes_freed / 1e6:,.1f} MB."
    )
    for hold in wanted.holds:
        print(f"HOLDS: {hold.message} {hold.hint}")


if __name__ == "__main__":
    sys.exit(main())
