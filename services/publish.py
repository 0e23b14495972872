"""Door: publish the knowledge base from a terminal, and what is scheduled from cron.

The pages call the functions in services/knowledge/releasing; this file runs them without a
browser: `python services/publish.py --due` every five minutes is what schedules need.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python puts services/ first on the path, ahead of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from services.core import terminal
from services.core.access import Actor, ActorKind, Permission, command_line_actor, system_actor
from services.core.context import Context
from services.core.errors import EXIT_DONE, EXIT_FAILED, Invalid
from services.knowledge.releasing import activating, comparing, releases, schedule
from services.knowledge.releasing.model import (
    SHOWN,
    Activation,
    Comparison,
    Folder,
    FolderState,
    ScheduleState,
)
from services.people import accounts
from services.people.model import actor_of

_BAD = (FolderState.BEHIND, FolderState.EDITED, FolderState.UNUSABLE)
_SAVED = "saved"


def run_due(ctx: Context) -> tuple[schedule.Done, ...]:
    """Make current what is due; the accounts say who may still publish."""
    return schedule.run_due(ctx, lambda author: why_not(ctx, author))


def why_not(ctx: Context, author: Actor) -> str:
    """Why somebody who scheduled a release may not publish it any more; empty when they may."""
    if author.kind is not ActorKind.ACCOUNT:
        return ""  # whoever has a shell holds the files
    everybody = accounts.list_accounts(ctx, system_actor("schedule"))
    found = next((one for one in everybody if one.id == author.id), None)
    if found is None:
        return f"The account of {author.name} is gone."
    if not found.enabled:
        return f"The account of {author.name} was disabled."
    if not actor_of(found).may(Permission.KB_PUBLISH):
        return f"{author.name} may not publish any more ({found.role})."
    return ""


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return terminal.main(_parser(), arguments, terminal.on_a_desk(_command))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python services/publish.py",
        description="Publish the knowledge base, and see how the folder stands from which the "
        "shop reads it (KB_PUBLISH_DIR). Without an option: --status.",
        epilog=terminal.CODES,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--status", action="store_true", help="how releases and the folder stand")
    what.add_argument("--due", action="store_true", help="publish what is scheduled and due")
    what.add_argument("--notes", help="publish what is saved, with these notes")
    what.add_argument("--list", action="store_true", help="the newest releases")
    what.add_argument("--again", type=int, metavar="N", help="make release N current again")
    what.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help=f"two releases by number; B may be “{_SAVED}”",
    )
    what.add_argument("--write", action="store_true", help="write the current release again")
    parser.add_argument(
        "--offset",
        type=int,
        default=0,
        metavar="N",
        help=f"leave out the first N changes; for --compare, which tells {SHOWN} at a time",
    )
    parser.add_argument("--reason", default="", help="why; for --again")
    parser.add_argument(
        "--over-hand-edits",
        action="store_true",
        help="replace what was changed by hand in the folder",
    )
    terminal.add_json(parser)
    return parser


def _command(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> int:
    if options.due:
        return _due(ctx, options, answer)
    if options.list:
        return _list(ctx, options, answer)
    if options.compare:
        return _compare(ctx, options, answer)
    actor = command_line_actor()
    if options.notes is not None:
        plan = releases.preview(ctx, actor)
        return _activate(
            partial(releases.publish, ctx, actor, plan, options.notes), options, answer
        )
    if options.again is not None:
        again = partial(activating.make_current, ctx, actor, options.again, options.reason)
        return _activate(again, options, answer)
    if options.write:
        return _activate(partial(activating.write_again, ctx, actor), options, answer)
    return _status(ctx, options, answer)


def _activate(
    act: Callable[..., Activation], options: argparse.Namespace, answer: dict[str, Any]
) -> int:
    with terminal.bar() as watcher:
        made = act(over_hand_edits=options.over_hand_edits, watcher=watcher)
    return _activated(made, options, answer)


def _activated(made: Activation, options: argparse.Namespace, answer: dict[str, Any]) -> int:
    answer |= {"state": "failed" if made.problem else "succeeded", "release": made.release}
    answer |= {"problem": made.problem, "folder": made.folder}
    answer |= {"commit": made.commit, "tag": made.tag}
    if not options.json:
        print(f"Release {made.release} is current.")
        if made.written_at is not None:
            print(f"It is written to {made.folder}.")
        if made.commit is not None:
            print(f"Commit {made.commit[:12]}, tag {made.tag}.")
    if made.problem:
        print(made.problem, file=sys.stderr)
        return EXIT_FAILED
    return EXIT_DONE


def _due(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> int:
    done = run_due(ctx)
    answer["done"] = [
        {
            "release": one.schedule.release,
            "state": one.schedule.state.value,
            "problem": one.schedule.problem or (one.activation.problem if one.activation else None),
        }
        for one in done
    ]
    failed = False
    for one in done:
        is_done = one.schedule.state is ScheduleState.DONE
        problem = one.activation.problem if one.activation else one.schedule.problem
        failed = failed or not is_done or bool(problem)
        if is_done and sys.stdout.isatty():  # cron mails whatever is said
            print(f"Release {one.schedule.release} is current, as {one.schedule.author} scheduled.")
        if problem:
            print(f"Release {one.schedule.release}: {problem}", file=sys.stderr)
    answer["state"] = "failed" if failed else "succeeded"
    return EXIT_FAILED if failed else EXIT_DONE


def _list(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> int:
    page = releases.recent(ctx, command_line_actor())
    answer |= {"state": "succeeded", "total": page.total}
    answer["releases"] = [
        {
            "number": one.number,
            "at": one.at.isoformat(),
            "author": one.author,
            "notes": one.notes,
            "entries": one.entries,
            "added": one.added,
            "edited": one.edited,
            "deleted": one.deleted,
            "is_current": one.is_current,
        }
        for one in page.releases
    ]
    if not options.json:
        for one in page.releases:
            sign = "*" if one.is_current else " "
            counts = f"+{one.added} ~{one.edited} -{one.deleted}"
            print(f"{sign} {one.number:>4}  {one.at:%Y-%m-%d %H:%M} UTC  {counts:<16} {one.author}")
            print(f"        {' '.join(one.notes.split())}")
        if not page.releases:
            print("Nothing was published yet.")
    return EXIT_DONE


def _compare(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> int:
    first, second = options.compare
    before, after = _number(first), None if second == _SAVED else _number(second)
    actor = command_line_actor()
    found = comparing.compare(ctx, actor, before, after)
    changes = found.changes
    if options.offset:
        changes = comparing.more(ctx, actor, before, after, options.offset)
    answer |= {"state": "succeeded", **_counts(found)}
    answer["changes"] = [
        {
            "section": one.section,
            "key": one.key,
            "action": one.action,
            "fields": {field.field: [field.before, field.after] for field in one.fields},
        }
        for one in changes
    ]
    if not options.json:
        print(_told(found))
        for change in changes:
            print(f"{change.action:<6} {change.section}/{change.key}")
    return EXIT_DONE


def _number(text: str) -> int:
    if not text.isdecimal():
        raise Invalid(f"{text[:40]!r} is no number of a release.", "See --list.")
    return int(text)


def _counts(found: Comparison) -> dict[str, int]:
    return {
        "added": found.added,
        "edited": found.edited,
        "deleted": found.deleted,
        "moved": found.moved,
        "answers_changed": len(found.answers),
    }


def _told(found: Comparison) -> str:
    counts = f"{found.added} new, {found.edited} changed, {found.deleted} deleted"
    moved = f", {found.moved} moved" if found.moved else ""
    answers = f"; {len(found.answers)} of {found.asked} golden questions are answered otherwise"
    return f"{counts}{moved}{answers if found.asked else ''}."


def _status(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> int:
    actor = command_line_actor()
    plan = releases.preview(ctx, actor)
    folder = plan.folder
    current = plan.comparison.before
    waiting = [
        one
        for one in schedule.schedules(ctx, actor)
        if one.state in (ScheduleState.WAITING, ScheduleState.FAILED)
    ]
    bad = folder.state in _BAD and current is not None
    answer |= {
        "state": "failed" if bad else "succeeded",
        "release": current,
        "waiting_to_be_published": _counts(plan.comparison),
        "folder": folder.state.value,
        "message": folder.message,
        "scheduled": [
            {
                "release": one.release,
                "due_at": one.due_at.isoformat(),
                "state": one.state.value,
                "is_overdue": one.is_overdue,
                "problem": one.problem,
            }
            for one in waiting
        ],
    }
    if not options.json:
        print("Nothing was published yet." if current is None else f"Release {current} is current.")
        print(f"Saved since: {_told(plan.comparison)}")
        print(_folder_told(folder))
        for one in waiting:
            late = " (overdue)" if one.is_overdue else ""
            print(f"Scheduled: release {one.release}, {one.due_at:%Y-%m-%d %H:%M} UTC, ", end="")
            print(f"{one.state.value}{late} {one.problem or ''}".rstrip())
    return EXIT_FAILED if bad else EXIT_DONE


def _folder_told(folder: Folder) -> str:
    if folder.state is FolderState.NOT_SET:
        return "KB_PUBLISH_DIR names no folder: releases stay in the desk."
    said = f"Folder {folder.path}: {folder.state.value}. {folder.message}".strip()
    return f"{said} {folder.hint}".strip()


if __name__ == "__main__":
    sys.exit(main())
