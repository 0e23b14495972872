"""A door as a command: words for a person, one JSON object for a machine, an exit code for cron."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from services.core.context import Context, open_context
from services.core.doors import Watcher
from services.core.errors import (
    EXIT_DONE,
    EXIT_USAGE,
    Refused,
    describe,
    exit_code,
)

Answer = dict[str, Any]
"""What `--json` prints."""
Command = Callable[[argparse.Namespace, Answer], int | None]
DeskCommand = Callable[[Context, argparse.Namespace, Answer], int | None]

CODES = "Exit codes: 0 done, 1 failed, 2 network, 3 configuration or usage, 4 bug."
_WENT_WELL = (None, "succeeded", "passed")
_WIDTH = 90


def main(parser: argparse.ArgumentParser, arguments: list[str] | None, command: Command) -> int:
    """Parse, do it, and say how it ended.

    Args:
        command: fills the answer; gives the exit code where it is not 0.

    Returns:
        The exit code. With `--json` the last line of standard output is one JSON object with
        `state`, `seconds` and `exit_code`; everything else is said on standard error.
    """
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return EXIT_USAGE if stop.code else EXIT_DONE
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    begun = time.monotonic()
    answer: Answer = {}
    try:
        code = command(options, answer) or EXIT_DONE
    except (Exception, KeyboardInterrupt) as error:
        code = failed(error, answer)
    if options.json:
        seconds = round(time.monotonic() - begun, 3)
        answer = {"seconds": seconds} | answer | {"exit_code": code}
        print(json.dumps(answer, sort_keys=True, ensure_ascii=False), flush=True)
    return code


def on_a_desk(command: DeskCommand) -> Command:
    """A command that needs the desk, which is opened before it and closed after it."""

    def opened(options: argparse.Namespace, answer: Answer) -> int | None:
        ctx = open_context(patient=True)
        try:
            return command(ctx, options, answer)
        finally:
            ctx.close()

    return opened


def failed(error: BaseException, answer: Answer) -> int:
    """Say an error on standard error and in the answer; gives its exit code."""
    if isinstance(error, KeyboardInterrupt):
        error = Refused("Stopped at the keyboard.", "Start it again when you are ready.")
    message, hint, error_id = describe(error)
    answer |= {"error": message, "hint": hint, "error_id": error_id}
    if answer.get("state") in _WENT_WELL:
        answer["state"] = "failed"
    print(f"{message} {hint}".strip(), file=sys.stderr)
    return exit_code(error)


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option that every command has."""
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")


@contextmanager
def bar() -> Iterator[Watcher]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _text, _fraction: None
        return

    def draw(text: str, fraction: float | None) -> None:
        done = round(30 * (fraction or 0))
        percent = "    " if fraction is None else f"{fraction:4.0%}"
        line = f"\r[{'#' * done}{'.' * (30 - done)}] {percent}  {text}"
        print(f"{line:<{_WIDTH}}"[:_WIDTH], end="", file=sys.stderr, flush=True)

    try:
        yield draw
    finally:
        print(file=sys.stderr)
