"""What was broken on purpose, and what survived: gathered over a whole run, shown at its end.

Every fault test says what it tried: `with matrix.cell(KILLED, "a restore", SQLITE): ...`, or
`@matrix.tried(...)` where the whole test is one try. What ends without an error survived.
Workers of one run write small files into one folder; the summary adds them up. With
`DESK_FAULTS=long` (`make faults`) everything is tried, and the tables are also written to
docs/faults.md; without, each run tries a part that chance picks.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

FOLDER = "DESK_FAULTS_RECORDS"
"""Variable that names the folder of this run; workers inherit it."""
LONG = os.environ.get("DESK_FAULTS") == "long"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "faults.md"

SQLITE, SQLITE_S3 = "SQLite, folder", "SQLite, S3"
POSTGRESQL, POSTGRESQL_S3 = "PostgreSQL, folder", "PostgreSQL, S3"
PLACES = (SQLITE, SQLITE_S3, POSTGRESQL, POSTGRESQL_S3)
"""The shop's database, and the store that its backups lie in."""


@dataclass(frozen=True)
class Section:
    """One table of the page.

    Args:
        words: what is done, and what surviving it means.
        corner: what its rows are.
        columns: those that it may have; what nobody tried is left out.
    """

    title: str
    words: str
    corner: str
    columns: tuple[str, ...] = PLACES


KILLED = Section(
    "Killed",
    "`kill -9` at every step and at random instants. Afterwards live data is wholly old or wholly "
    "new, every backup\nthat is listed can be restored, no job hangs, no lock is held, and the "
    "next start leaves no temporary file behind.",
    "killed during",
)
STOPPED = Section(
    "Asked to stop",
    "A stop signal (SIGTERM) at random instants. The process ends by itself and soon; its job "
    "failed with those words,\nor was past its last step and succeeded; data is wholly old or "
    "wholly new, and nothing is left behind.",
    "asked to stop during",
)
IN_A_BACKUP, IN_A_BACKUP_PG = "a backup, SQLite", "a backup, PostgreSQL"
IN_A_RESTORE, IN_A_RESTORE_PG = "a restore, SQLite", "a restore, PostgreSQL"
IN_A_RECOVERY, ONCE = "a recovery from the bucket", "once for every kind of request"
STORE = Section(
    "A store that fails",
    "On the way to a real S3 server, from a request on that chance picks. What helps is tried "
    "again (last column); where\nnothing helps, the work fails within its deadline with words "
    "that say so, nothing is listed that can't be restored,\nand nothing live was changed.",
    "the store",
    (
        IN_A_BACKUP,
        IN_A_BACKUP_PG,
        IN_A_RESTORE,
        IN_A_RESTORE_PG,
        IN_A_RECOVERY,
        ONCE,
    ),
)
DAMAGED = Section(
    "Damage in the store",
    "One bit flipped, or one byte cut off, in every stored object of a backup, one after the "
    "other. It is found before\nanything live is touched.",
    "the damage, and by what it is found",
)
FULL = Section(
    "A full disk",
    "Refused before it begins where that can be known, else a clean failure: said in words, "
    "nothing changed, nothing left.",
    "the disk",
)
BUSY = Section(
    "A shop that does not hold still",
    "It writes, or holds a lock, without pause. The work ends within its deadline; where "
    "it has to give up, it says what\nblocks it, and nothing was changed.",
    "the shop",
)
TEN_THOUSAND = "tries"
MANY = Section(
    "Ten thousand backups",
    "They lie in the store before the desk ever sees one of them. How long a page takes then is "
    "measured in benchmarks/snapshots.py.",
    "the page",
    (TEN_THOUSAND,),
)
SECTIONS = (KILLED, STOPPED, STORE, DAMAGED, FULL, BUSY, MANY)

Some = TypeVar("Some")


def times(usual: Some, long: Some) -> Some:
    """How often, or where, something is tried: in every run, and in the long one."""
    return long if LONG else usual


def some(all_of_them: Sequence[Some], usual: int) -> list[Some]:
    """What is tried: so many that chance picks, in their order; all of them in the long run."""
    if LONG:
        return list(all_of_them)
    picked = random.Random().sample(range(len(all_of_them)), usual)
    return [all_of_them[number] for number in sorted(picked)]


def record(section: Section, row: str, column: str, survived: bool) -> None:
    """Note that a fault was tried once."""
    assert column in section.columns, column
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    file = Path(folder) / f"{secrets.token_hex(8)}.json"
    file.write_text(json.dumps([section.title, row, column, survived]))


@contextmanager
def cell(section: Section, row: str, column: str, count: int = 1) -> Iterator[None]:
    """Try a fault, or look at what so many left: survived when the block ends without an error."""
    survived = False
    try:
        yield
        survived = True
    finally:
        for _ in range(count):
            record(section, row, column, survived)


def tried(section: Section, row: str, column: str) -> pytest.MarkDecorator:
    """Mark a test that is one try as a whole; wherever it lies, the long run finds it."""
    return pytest.mark.faults(section, row, column)


faults = pytest.mark.faults
"""Marks tests outside of this folder that use `cell`, so that the long run finds them."""

Cells = dict[str, tuple[int, int]]
"""Column -> (survived, tried)."""
Table = dict[str, dict[str, Cells]]
"""Title of a section -> row -> cells."""


def gathered(folder: Path) -> Table:
    """Everything that a run has noted, by section in their order."""
    table: Table = {section.title: {} for section in SECTIONS}
    for file in sorted(folder.glob("*.json")):
        title, row, column, survived = json.loads(file.read_text())
        cells = table[title].setdefault(row, {})
        ok, total = cells.get(column, (0, 0))
        cells[column] = (ok + survived, total + 1)
    return {title: dict(sorted(rows.items())) for title, rows in table.items() if rows}


def lines_of(section: Section, rows: dict[str, Cells]) -> list[list[str]]:
    """A section's table as text, its head first; with a last column for what is in all."""
    columns = [each for each in section.columns if any(each in cells for cells in rows.values())]
    more = ["in all"] if len(columns) > 1 else []
    lines = [[section.corner, *columns, *more]]
    for row, cells in rows.items():
        shown = [_shown(cells.get(column)) for column in columns]
        lines.append([row, *shown, *([_shown(_sum([cells]))] if more else [])])
    return lines


def _sum(rows: Sequence[Cells]) -> tuple[int, int]:
    counts = [count for cells in rows for count in cells.values()]
    return sum(ok for ok, _total in counts), sum(total for _ok, total in counts)


def _shown(counts: tuple[int, int] | None) -> str:
    return f"{counts[0]:,}/{counts[1]:,}" if counts else ""


def markdown(section: Section, rows: dict[str, Cells]) -> str:
    """One section of docs/faults.md."""
    head, *lines = lines_of(section, rows)
    survived, total = _sum(list(rows.values()))
    table = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    return (
        f"## {section.title}: {survived:,} of {total:,}\n\n{section.words}\n\n"
        + "\n".join(f"| {' | '.join(line)} |" for line in table)
        + "\n"
    )


def document(table: Table, today: datetime) -> str:
    """All of docs/faults.md."""
    survived, total = _sum([cells for rows in table.values() for cells in rows.values()])
    kills = _sum(list(table.get(KILLED.title, {}).values()))[1]
    head = (
        "# What was broken on purpose\n\n"
        "`make faults` tries all of this and writes this page. `make test` tries a part that "
        "chance picks, each time another.\nIn every cell: how many tries survived, of how many.\n\n"
        f"The run of {today:%-d %B %Y} tried {total:,} faults, {kills:,} of them `kill -9`; "
        f"{survived:,} survived.\n"
    )
    named = {section.title: section for section in SECTIONS}
    return "\n".join([head, *(markdown(named[title], rows) for title, rows in table.items())])


# ---- the plugin


def pytest_configure(config: Any) -> None:
    """Make the folder, in the process that starts the workers."""
    config.addinivalue_line("markers", "faults(section, row, column): a row of docs/faults.md")
    if FOLDER not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="fault-records-")
        config.stash_faults_owner = True


def pytest_collection_modifyitems(config: Any, items: list[pytest.Item]) -> None:
    """The long run is for faults alone."""
    if not LONG:
        return
    here = Path(__file__).parent
    wanted = [
        item for item in items if here in item.path.parents or item.get_closest_marker("faults")
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Note how a test ended that is one try as a whole."""
    report: Any = yield
    if call.when == "call":
        for mark in item.iter_markers("faults"):
            if mark.args:
                record(*mark.args, survived=report.passed)
    return report


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Show the tables at the end of a run that broke something."""
    if hasattr(config, "workerinput"):
        return
    folder = Path(os.environ.get(FOLDER, ""))
    table = gathered(folder) if folder.is_dir() else {}
    if not table:
        return
    terminalreporter.section("faults: survived/tried")
    for section in SECTIONS:
        if section.title in table:
            lines = lines_of(section, table[section.title])
            widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
            for first, *rest in lines:
                cells = "".join(
                    f"  {each:>{wide}}" for each, wide in zip(rest, widths[1:], strict=True)
                )
                terminalreporter.write_line(f"{first:{widths[0]}}{cells}")
            terminalreporter.write_line("")
    if LONG and not config.option.keyword:
        DOCUMENT.write_text(document(table, datetime.now(UTC)), "utf-8")


def pytest_unconfigure(config: Any) -> None:
    """Remove the folder that this run made."""
    if getattr(config, "stash_faults_owner", False):
        shutil.rmtree(os.environ.pop(FOLDER, ""), ignore_errors=True)
