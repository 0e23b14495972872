"""What was broken on purpose, and what survived: gathered over a whole run, shown at its end.

Every fault test says what it tried: `with matrix.cell("killed while it restores", SQLITE): ...`.
What ends without an error survived. Workers of one run write small files into one folder;
the summary adds them up. With `DESK_FAULTS=long` (`make faults`) more is tried, and the table is
also written to docs/faults.md.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = "DESK_FAULTS_RECORDS"
"""Variable that names the folder of this run; workers inherit it."""
LONG = os.environ.get("DESK_FAULTS") == "long"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "faults.md"

LOCAL, S3 = "folder", "S3"
SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
COLUMNS = (LOCAL, S3, SQLITE, POSTGRESQL)
"""Stores and databases; what is tried on SQLite with a folder says which of the two matters."""


def times(usual: int, long: int) -> int:
    """How often something is tried: in every run, and in the long one."""
    return long if LONG else usual


def record(row: str, column: str, survived: bool) -> None:
    """Note that a fault was tried once."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    assert column in COLUMNS, column
    file = Path(folder) / f"{secrets.token_hex(8)}.json"
    file.write_text(json.dumps({"row": row, "column": column, "survived": survived}))


@contextmanager
def cell(row: str, column: str, count: int = 1) -> Iterator[None]:
    """Try a fault, or look at what so many left: survived when the block ends without an error."""
    survived = False
    try:
        yield
        survived = True
    finally:
        for _ in range(count):
            record(row, column, survived)


Table = dict[str, dict[str, tuple[int, int]]]


def gathered(folder: Path) -> Table:
    """Row -> column -> (survived, total)."""
    table: Table = {}
    for file in sorted(folder.glob("*.json")):
        found = json.loads(file.read_text())
        cells = table.setdefault(found["row"], {})
        survived, total = cells.get(found["column"], (0, 0))
        cells[found["column"]] = (survived + found["survived"], total + 1)
    return dict(sorted(table.items()))


def markdown(table: Table) -> str:
    """The table for docs/faults.md."""
    lines = [
        "| fault | " + " | ".join(COLUMNS) + " |",
        "|---|" + "---:|" * len(COLUMNS),
        *(
            f"| {row} | " + " | ".join(_shown(cells.get(column)) for column in COLUMNS) + " |"
            for row, cells in table.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _shown(counts: tuple[int, int] | None) -> str:
    return f"{counts[0]}/{counts[1]}" if counts else ""


def document(table: Table) -> str:
    """All of docs/faults.md."""
    tried = sum(total for cells in table.values() for _survived, total in cells.values())
    survived = sum(ok for cells in table.values() for ok, _total in cells.values())
    kills = sum(
        total
        for row, cells in table.items()
        for _survived, total in cells.values()
        if row.startswith("killed")
    )
    return (
        "# What was broken on purpose\n\n"
        "`make faults` tries all of this and writes this page; `make test` tries a smaller part "
        "each time.\nSurvived means: live data is wholly old or wholly new, every backup that is "
        "listed can be restored,\nno job hangs, no lock is held, nothing large is left behind; a "
        "store that can't work is said so,\nwithin its deadline. Numbers are tries that survived, "
        "of all tries.\n\n"
        f"The last run tried {tried:,} faults, {kills:,} of them `kill -9`; {survived:,} "
        f"survived.\n\n{markdown(table)}"
    )


# ---- the plugin


def pytest_configure(config: Any) -> None:
    """Make the folder, in the process that starts the workers."""
    if FOLDER not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="fault-records-")
        config.stash_faults_owner = True


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Show the table at the end of a run that broke something."""
    if hasattr(config, "workerinput"):
        return
    folder = Path(os.environ.get(FOLDER, ""))
    table = gathered(folder) if folder.is_dir() else {}
    if table:
        width = max(len(row) for row in table)
        terminalreporter.section("faults: survived/tried")
        head = "".join(f"{column:>12}" for column in COLUMNS)
        terminalreporter.write_line(f"{'':{width}}{head}")
        for row, cells in table.items():
            shown = "".join(f"{_shown(cells.get(column)):>12}" for column in COLUMNS)
            terminalreporter.write_line(f"{row:{width}}{shown}")
    if LONG and table and not config.option.keyword:
        DOCUMENT.write_text(document(table), "utf-8")


def pytest_unconfigure(config: Any) -> None:
    """Remove the folder that this run made."""
    if getattr(config, "stash_faults_owner", False):
        shutil.rmtree(os.environ.pop(FOLDER, ""), ignore_errors=True)
