"""The knowledge desk at 1,000 and at 100,000 entries: `python -m benchmarks.knowledge`.

Every action is given as a ratio to the same one in the small knowledge base, and where bare
SQLite statements do the same rows, as a ratio to those in the same run. Then the pages, as
`benchmarks.knowledge_pages` mixes them; Django's admin and its like are not at hand to be
measured beside.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import knowledge_pages

SIZES = (1_000, 100_000)
_SECTION = "/color_matching/by_color"


@dataclass(frozen=True)
class Timed:
    """An action, how long it took at best, and what bare SQLite took for the same rows."""

    name: str
    seconds: float
    bare: float | None = None


def main() -> int:
    """Measure every action at every size, then the pages of the largest."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=SIZES[-1], help="of the large one")
    parser.add_argument("--import-rows", type=int, default=50_000)
    options = parser.parse_args()
    sizes = (SIZES[0], options.entries)
    found: dict[int, dict[str, Timed]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="desk-kb-") as folder:
            ctx = desk(Path(folder), size)
            found[size] = {one.name: one for one in _actions(ctx, options.import_rows)}
            ctx.close()
    small, large = (found[size] for size in sizes)
    print(f"\nAction, milliseconds; {os.cpu_count()} cores")
    print(f"{'':32}{sizes[0]:>10,}{sizes[1]:>10,}{'ratio':>8}{'beside bare SQLite':>22}")
    for name, one in large.items():
        bare = f"{one.seconds / one.bare:.1f} ({one.bare * 1000:.1f})" if one.bare else "-"
        print(
            f"{name:32}{small[name].seconds * 1000:10.1f}{one.seconds * 1000:10.1f}"
            f"{one.seconds / small[name].seconds:8.1f}{bare:>22}"
        )
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="desk-kb-") as folder:
            spent = knowledge_pages.measure(Path(folder), size)
        knowledge_pages.tell(size, spent)
    return 0


def desk(folder: Path, entries: int) -> Any:
    """A desk of its own with so many entries: its context."""
    from benchmarks import kbdata
    from services.core.context import open_context
    from services.core.loading import load_settings
    from services.shop.attach import attach
    from tests.shops import build_shop

    os.environ |= _environment(folder)
    settings = load_settings(env_file=folder / "none.env")
    ctx = open_context(settings)
    assert settings.shop_sqlite_path is not None
    build_shop(settings.shop_sqlite_path)
    attach(ctx)
    kbdata.fill(ctx, entries)
    return ctx


def _environment(folder: Path) -> dict[str, str]:
    return {"DESK_HOME": str(folder / "desk"), "SHOP_ROOT": str(folder / "shop")}


def _actions(ctx: Any, rows: int) -> list[Timed]:
    from benchmarks import kbdata
    from services.core.access import command_line_actor
    from services.knowledge import changes, entries, history, rollback, undoing
    from services.knowledge.comparing import Mode
    from services.knowledge.document import canonical
    from services.knowledge.exchange import applying
    from services.knowledge.exchange.planning import Options
    from services.knowledge.releasing import releases
    from services.knowledge.rollback import Moment

    by = command_line_actor("bench")
    path = str(ctx.settings.shop_sqlite_path)

    def newest() -> Any:
        return entries.page(ctx, by, _SECTION, rows=1).entries[0]

    def save() -> Any:
        one = newest()
        after = {"text": f"Text {time.perf_counter()}"}
        return changes.save(ctx, by, [changes.Edit(one.id, one.version, one.cells, after)])

    def undo_one() -> None:
        undoing.undo(ctx, by, undoing.preview(ctx, by, last.id))

    page = "SELECT * FROM kb_entries WHERE section = ? ORDER BY position, id LIMIT 50"
    write = "UPDATE kb_entries SET position = position WHERE id = (SELECT min(id) FROM kb_entries)"
    look = "SELECT * FROM kb_entries WHERE section = ? AND body LIKE '%silk%' LIMIT 50"
    known = "SELECT * FROM kb_change_sets ORDER BY number DESC LIMIT 20"
    told = [
        Timed("open the list of sections", _best(lambda: entries.sections(ctx, by))),
        Timed(
            "open a grid",
            _best(lambda: entries.page(ctx, by, _SECTION)),
            _bare(path, page, _SECTION),
        ),
        Timed("save one cell", _best(save), _bare(path, write)),
        Timed(
            "search a section",
            _best(lambda: entries.page(ctx, by, _SECTION, search="silk")),
            _bare(path, look, _SECTION),
        ),
        Timed("history, first page", _best(lambda: history.recent(ctx, by)), _bare(path, known)),
    ]
    last = save()
    told.append(Timed("take one cell back", _best(undo_one, 1)))
    before = history.recent(ctx, by, rows=1).change_sets[0]
    release: list[Any] = []
    told += [
        Timed("look at publishing", _best(lambda: release.append(releases.preview(ctx, by)), 1)),
        Timed("publish", _best(lambda: releases.publish(ctx, by, release[0], "First"), 1)),
    ]
    data = canonical(kbdata.document(rows, seed=1))
    plan: list[Any] = []
    done: list[Any] = []
    told += [
        Timed(
            f"look at an import of {rows:,}",
            _best(
                lambda: plan.append(
                    applying.preview(ctx, by, "kb.json", data, Options(Mode.MERGE))
                ),
                1,
            ),
        ),
        Timed(
            f"import {rows:,}",
            _best(lambda: done.append(applying.apply_import(ctx, by, plan[0])), 1),
        ),
    ]
    undo = [undoing.preview(ctx, by, done[0].id)]
    told.append(Timed(f"take {rows:,} back", _best(lambda: undoing.undo(ctx, by, undo[0]), 1)))
    moment = Moment(before.id)
    told.append(Timed("look at going back", _best(lambda: rollback.preview(ctx, by, moment), 1)))
    return told


def _best(act: Callable[[], Any], rounds: int = 5) -> float:
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        act()
        times.append(time.perf_counter() - begun)
    return min(times)


def _bare(path: str, statement: str, *values: str) -> float:
    """The same rows by a statement alone, committed where it writes."""
    with closing(sqlite3.connect(path)) as connection:

        def act() -> None:
            connection.execute(statement, values).fetchall()
            connection.commit()

        return _best(act)


if __name__ == "__main__":
    sys.exit(main())
