"""Door: take a file into the knowledge base, and hand the knowledge base out as a file.

The browser calls these functions; cron or an operator runs the file
(`python services/exchange.py`) or the module (`python -m services.exchange`).
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python puts services/ first on the path, ahead of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import os
from typing import Any

from services.core import doors, jobs, terminal
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context
from services.core.errors import Broken, Invalid
from services.knowledge.comparing import ROOT, Mode
from services.knowledge.exchange import applying, exporting, job
from services.knowledge.exchange.choosing import ALL, Choice
from services.knowledge.exchange.model import Format
from services.knowledge.exchange.planning import Options, Plan

KIND, LARGE = job.KIND, job.LARGE

_MODES = {"merge": Mode.MERGE, "section": Mode.SECTION, "all": Mode.REPLACE}
_SHOWN = 20


def start(
    ctx: Context,
    actor: Actor,
    plan: Plan,
    data: bytes,
    choice: Choice = ALL,
    *,
    part: str | None = None,
    reason: str = "",
    typed: str = "",
) -> jobs.Job:
    """Import in a process of its own, which outlives the browser and the server.

    Args:
        data: the bytes that the plan was made from.
        part: with which they were read.
        typed: `replace`, as the person typed it, where the mode replaces everything.

    Raises:
        Busy: another import is running; names it.
        Invalid: the confirmation is missing.
        Broken: the disk is full, or no process could be started; nothing was imported.
    """
    require(actor, Permission.KB_EDIT)
    queued = job.queue(ctx, actor, plan, data, choice, part=part, reason=reason, typed=typed)
    return doors.begin(ctx, queued, "exchange")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return terminal.main(_parser(), arguments, terminal.on_a_desk(_command))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python services/exchange.py",
        description="Import a file into the knowledge base, or export it.",
        epilog=terminal.CODES,
    )
    terminal.add_json(parser)
    parser.add_argument("--job", metavar="ID", help=argparse.SUPPRESS)
    what = parser.add_subparsers(dest="what", metavar="import | export")
    endings = ", ".join(f".{form.value}" for form in Format)
    taking = what.add_parser("import", help="take a file in", epilog=terminal.CODES)
    terminal.add_json(taking)
    taking.add_argument("file", type=Path, help=f"its ending says what it is: {endings}")
    taking.add_argument(
        "--mode",
        choices=list(_MODES),
        default="merge",
        help="merge (the default): add and change; section: the tables of the file are exactly "
        "the file's afterwards; all: the whole knowledge base is",
    )
    taking.add_argument("--section", help="pointer of the part that a table belongs to")
    taking.add_argument("--blanks-empty", action="store_true", help="a blank cell empties a text")
    taking.add_argument("--reason", default="", help="for the history")
    taking.add_argument("--dry-run", action="store_true", help="only say what it would do")
    giving = what.add_parser("export", help="write a file", epilog=terminal.CODES)
    terminal.add_json(giving)
    giving.add_argument("format", choices=[form.value for form in Format])
    giving.add_argument("--section", default=ROOT, help="pointer of a part, such as /fabric_guide")
    giving.add_argument("--to", type=Path, metavar="FILE", help="standard output by default")
    return parser


def _command(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    if options.job:
        ended = job.work_off(ctx, doors.taken_up(ctx, options.job), doors.unwatched)
        answer |= {"job": ended.id, "state": ended.state.value, **(ended.result or {})}
    elif options.what == "import":
        _command_import(ctx, options, answer)
    elif options.what == "export":
        _command_export(ctx, options, answer)
    else:
        raise Invalid("Say what to do: import FILE or export FORMAT.", "--help tells more.")


def _command_import(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    actor = command_line_actor()
    try:
        data = options.file.read_bytes()
    except OSError as error:
        raise Invalid(
            f"{options.file} can't be read ({error.strerror}). Nothing was imported."
        ) from error
    mode = _MODES[options.mode]
    asked = Options(mode, blanks_empty=options.blanks_empty)
    plan = applying.preview(ctx, actor, options.file.name, data, asked, part=options.section)
    counts = {sort.value: count for sort, count in plan.counts.items()}
    answer |= {**counts, "unchanged": plan.unchanged, "invalid": len(plan.faults)}
    answer["problems"] = [
        {"row": fault.at.row, "column": fault.at.column or fault.field, "message": fault.message}
        for fault in plan.faults[:_SHOWN]
    ]
    for fault in plan.faults[:_SHOWN]:
        where = f"row {fault.at.row}, {fault.at.column or fault.field}"
        print(f"{where}: {fault.message} {fault.fix}", file=sys.stderr)
    if plan.is_empty or options.dry_run:
        answer["state"] = "nothing to do" if plan.is_empty else "dry run"
    else:
        with terminal.bar() as watcher:
            queued = job.queue(
                ctx,
                actor,
                plan,
                data,
                part=options.section,
                reason=options.reason,
                typed=applying.REPLACE_WORD,
            )
            ended = job.work_off(ctx, queued, watcher)
        answer |= {"job": ended.id, "state": ended.state.value, **(ended.result or {})}
    if not options.json:
        said = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        print(f"{answer['state']}: {said or 'no change'}, {plan.unchanged:,} unchanged")


def _command_export(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    made = exporting.export(ctx, command_line_actor(), Format(options.format), options.section)
    answer |= {"state": "succeeded", "entries": made.entries, "bytes": len(made.data)}
    if options.to is not None:
        _write_aside(options.to, made.data)
        answer["file"] = str(options.to)
        if not options.json:
            print(f"{made.entries:,} entries written to {options.to}")
    elif not options.json:
        sys.stdout.buffer.write(made.data)
        sys.stdout.buffer.flush()
    else:
        raise Invalid("Say where to write it: --to FILE.", "With --json, the output is the answer.")


def _write_aside(target: Path, data: bytes) -> None:
    aside = target.with_name(f".{target.name}.part")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise Broken(
            f"{target} could not be written ({error.strerror}); it is as before."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
