"""A restore on a terminal: the plan as text, a progress bar, the typed word."""

from __future__ import annotations

import sys

from services.core.errors import Invalid
from services.protection.model import SnapshotRow
from services.protection.rescue.plan import RestorePlan
from services.protection.rescue.space import megabytes

_BAR = 24
_SIGNS = {"lost": "-", "back": "+", "changed": "~", "note": " "}


def plan_text(plan: RestorePlan) -> str:
    """The plan as lines of text."""
    lines = [
        f"Backup {plan.snapshot_id} of {plan.snapshot_at:%Y-%m-%d %H:%M:%S} UTC",
        f"Puts back: {', '.join(sorted(plan.parts))}",
        *(f"  {_SIGNS[line.tone]} {line.text}" for line in plan.lines),
    ]
    if plan.writer:
        lines.append(f"Warning: {plan.writer}")
    lines.append(
        f"Needs {megabytes(plan.bytes_needed)} of free disk and about {plan.seconds:.0f} s. "
        "A safety snapshot of today is taken first, so this can be undone."
    )
    if plan.restart:
        lines.append("The shop has to start again afterwards.")
    return "\n".join(lines)


def rows_text(rows: tuple[SnapshotRow, ...]) -> str:
    """Snapshots as a table, newest first."""
    lines = [f"{'id':24} {'taken (UTC)':19} {'size':>10}  {'verified':8} reason"]
    for row in rows:
        verified = "damaged" if row.verify_error else "yes" if row.read_back_at else "no"
        lines.append(
            f"{row.id:24} {row.created_at:%Y-%m-%d %H:%M:%S} {megabytes(row.plain_bytes):>10}  "
            f"{verified:8} {row.reason}"
        )
    return "\n".join(lines)


def watcher(text: str, fraction: float | None) -> None:
    """A progress bar on a terminal; nothing where there is none."""
    if not sys.stderr.isatty():
        return
    done = round(_BAR * (fraction or 0.0))
    sys.stderr.write(f"\r\x1b[K[{'#' * done}{'.' * (_BAR - done)}] {text}")
    sys.stderr.flush()


def watcher_end() -> None:
    """Leave the line of the progress bar."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")


def ask(word: str) -> str:
    """Have the person at the terminal type the word.

    Raises:
        Invalid: nobody is there to type it.
    """
    if not sys.stdin.isatty():
        raise Invalid(
            "A restore over live data has to be confirmed; nothing was started.",
            "Run it at a terminal, or add --yes.",
        )
    sys.stderr.write(f"Type {word} to restore: ")
    sys.stderr.flush()
    return sys.stdin.readline()
