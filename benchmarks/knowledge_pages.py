"""The knowledge desk's pages as people use them: `python -m benchmarks.knowledge_pages`.

A mix of a hundred pages by chance, the same in every run: 30 look at a part, 14 search in one,
6 search all sections, 12 filter, 8 open an entry, 6 the list of sections, 6 the history, 4
findings, 4 a question tried, 4 releases, 3 the bin, 3 import and export. Before every tenth
somebody saves one cell: that save and the page after it are one figure. A press of Save on the
page is measured beside them, in the state that pages of that size leave.

One process with everything imported, as a server is after its first pages: each kind is visited
once before, told apart, and the threads that a start sets to work are waited for. Every page is a
new tab, signed in as an administrator: nothing is left of the one before. `AppTest` runs the
whole script as a browser's visit does, without the network; what it takes for a page of one line
is said as well. By itself it looks through every installed package for components at every visit,
0.2 s, which a server does once, when it starts; so does this. What a save leaves to a thread (the
checks) is not waited for: it takes its share of the processor during the pages after.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SIZES = (1_000, 100_000)
GOAL_SECONDS = 0.5
PAGES = 100
SAVE_EVERY = 10
MIX = {
    "look at a part": 30,
    "search a part": 14,
    "search all sections": 6,
    "filter a part": 12,
    "open an entry": 8,
    "list of sections": 6,
    "history": 6,
    "quality": 4,
    "try a question": 4,
    "releases": 4,
    "bin": 3,
    "import and export": 3,
}
SAVED = "save, then a page"
PRESSED = "press Save on the page"
_PASSWORD = "seven odd ducks swim"
_WORDS = ("silk", "navy", "saddle_sage", "job interview", "nothing at all", "velvet", "li")


@dataclass(frozen=True)
class Spent:
    """What a page took."""

    kind: str
    wall: float
    cpu: float  # of the whole process: threads as well


def main() -> int:
    """Measure the mix at every size and print it by kind."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, action="append", help="instead of both sizes")
    parser.add_argument("--pages", type=int, default=PAGES)
    parser.add_argument("--unpublished", action="store_true", help="without a release")
    options = parser.parse_args()
    for size in options.entries or SIZES:
        with tempfile.TemporaryDirectory(prefix="desk-kb-") as folder:
            spent = measure(Path(folder), size, options.pages, publish=not options.unpublished)
        tell(size, spent)
    return 0


def tell(size: int, spent: Sequence[Spent]) -> None:
    """Print what was measured: each kind, then all together."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\nA page of {size:,} entries, milliseconds; {os.cpu_count()} cores, load {load}")
    print(f"{'':24}{'pages':>7}{'p50':>8}{'p95':>8}{'cpu p50':>9}{'cpu p95':>9}")
    kinds = dict.fromkeys(one.kind for one in spent)
    for kind in sorted(kinds, key=[_EMPTY, _FIRST, *MIX, SAVED, PRESSED].index):
        _line(kind, [one for one in spent if one.kind == kind])
    mixed = [one for one in spent if one.kind not in (_EMPTY, _FIRST)]
    p95 = _line("all of the mix", mixed)
    verdict = "met" if p95 <= GOAL_SECONDS else "NOT met"
    print(f"goal: p95 at most {GOAL_SECONDS * 1000:.0f} ms: {verdict}")


_EMPTY = "(a page of one line)"
_FIRST = "(first of each kind)"


def _line(kind: str, spent: Sequence[Spent]) -> float:
    figures: list[float] = []
    for times in ([one.wall for one in spent], [one.cpu for one in spent]):
        figures += [statistics.median(times), _p95(times)]
    told = "".join(f"{f * 1000:{w}.0f}" for f, w in zip(figures, (8, 8, 9, 9), strict=True))
    print(f"{kind:24}{len(spent):7}{told}")
    return figures[1]


def _p95(times: Iterable[float]) -> float:
    ordered = sorted(times)
    return ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)]


def measure(folder: Path, size: int, pages: int = PAGES, *, publish: bool = True) -> list[Spent]:
    """Make a knowledge base of this size and visit so many pages of it."""
    import streamlit as st
    from streamlit.testing.v1 import app_test

    from benchmarks.knowledge import desk
    from services.core.access import command_line_actor
    from services.knowledge.releasing import releases
    from services.people import accounts, sign_in, tickets
    from tests.pages.people import TakenOver
    from ui import session

    logging.getLogger("streamlit").setLevel(logging.ERROR)
    logging.getLogger("desk").setLevel(logging.ERROR)
    desk(folder, size).close()
    app_test.PagesManager = TakenOver
    tickets.open_window()
    st.cache_resource.clear()
    ctx, root = session.context(), command_line_actor("bench")
    accounts.create(ctx, root, "bench", "Bench", "admin", password=_PASSWORD)
    signed = sign_in.sign_in(ctx, "bench", _PASSWORD)
    assert isinstance(signed, sign_in.SignedIn)
    if publish:
        releases.publish(ctx, root, releases.preview(ctx, root), "First")
    visit = _Visitor(ctx, root, signed.token)
    return visit.all(pages)


class _Visitor:
    """One process in which pages are asked for, one after the other."""

    def __init__(self, ctx: Any, actor: Any, token: str) -> None:
        from services.knowledge.sections import SECTIONS

        self.ctx, self.actor, self.token = ctx, actor, token
        self.chance = random.Random(7)
        self.tables = [
            (one.key, part.pointer) for one in SECTIONS for part in one.parts if part.is_table
        ]

    def all(self, pages: int) -> list[Spent]:
        """Every figure."""
        queries = [{}, *(self._query(kind) for kind in MIX)]
        spent = [self._timed(_FIRST, lambda query=query: self._run(query)) for query in queries]
        _wait_for_threads()
        spent += [self._timed(_EMPTY, _one_line) for _ in range(10)]
        kinds = self.chance.choices(list(MIX), list(MIX.values()), k=pages)
        for number, kind in enumerate(kinds, start=1):
            query = self._query(kind)
            if number % SAVE_EVERY:
                spent.append(self._timed(kind, lambda query=query: self._run(query)))
            else:
                spent.append(self._timed(SAVED, lambda query=query: self._save_and_run(query)))
                print(f"  then {kind}: {spent[-1].wall * 1000:.0f} ms", file=sys.stderr)
        spent += [self._pressed() for _ in range(max(pages // 20, 1))]
        return spent

    def _timed(self, kind: str, act: Callable[[], Any]) -> Spent:
        begun, used = time.perf_counter(), time.process_time()
        act()
        return Spent(kind, time.perf_counter() - begun, time.process_time() - used)

    def _query(self, kind: str) -> dict[str, str]:
        section, part = self.chance.choice(self.tables)
        place = {"section": section, "part": part}
        word = self.chance.choice(_WORDS)
        filters = [
            {"only": "unpublished"},
            {"by": "bench"},
            {"since": datetime.now(UTC).date().isoformat()},
            {"only": "findings"},
            {"find": word, "only": "unpublished"},
        ]
        chosen = self.chance.choice(filters)
        return {
            "look at a part": place,
            "search a part": {**place, "find": word},
            "search all sections": {"find": word},
            "filter a part": {**place, **chosen},
            "open an entry": {**place, "open": "first"},
            "list of sections": {},
            "history": {"view": "history"},
            "quality": {"view": "quality"},
            "try a question": {"view": "try", "ask": word},
            "releases": {"view": "releases"},
            "bin": {"view": "bin"},
            "import and export": {"view": "transfer"},
        }[kind]

    def _run(self, query: dict[str, str]) -> Any:
        from tests.pages.people import browser_with

        app = self._tab(query)
        with browser_with(self.token):
            app.run()
        self._check(app, query)
        return app

    def _tab(self, query: dict[str, str]) -> Any:
        from streamlit.testing.v1 import AppTest

        app = AppTest.from_file(str(ROOT / "pages" / "knowledge.py"), default_timeout=60)
        app._bidi_component_manager = _components()
        for name, value in query.items():
            if name == "open":
                app.session_state["kb_opened"] = self._first(query["part"]).id
            elif name == "ask":
                app.session_state["ask"] = value
            else:
                app.query_params[name] = value
        return app

    def _check(self, app: Any, query: dict[str, str]) -> None:
        if app.exception:
            raise RuntimeError(f"{query}: {app.exception[0].value}")
        if app.error:
            raise RuntimeError(f"{query}: {app.error[0].value}")

    def _first(self, part: str) -> Any:
        from services.knowledge import entries

        return entries.page(self.ctx, self.actor, part, rows=1).entries[0]

    def _save_and_run(self, query: dict[str, str]) -> Any:
        from services.knowledge import changes

        one = self._first(self.chance.choice(self.tables)[1])
        name = next(iter(one.cells))
        edit = changes.Edit(one.id, one.version, one.cells, {name: f"Text {time.time_ns()}"})
        changes.save(self.ctx, self.actor, [edit])
        return self._run(query)

    def _pressed(self) -> Spent:
        """Write into a cell in the browser's session, and press Save: two runs, one figure."""
        from tests.pages.people import browser_with
        from ui.kb_drafts import Drafts

        section, part = self.chance.choice(self.tables)
        query = {"section": section, "part": part}
        app = self._tab(query)
        one, held = self._first(part), Drafts()
        held.put(one, next(iter(one.cells)), f"Pressed {time.time_ns()}")
        app.session_state["kb_drafts"] = held
        with browser_with(self.token):
            app.run()
            self._check(app, query)
            spent = self._timed(PRESSED, lambda: app.button(key="kb_save").click().run())
        self._check(app, query)
        assert not held.count, "the save did not save"
        return spent


def _wait_for_threads() -> None:
    for thread in threading.enumerate():
        if thread.name in ("warming", "search-index", "quality-checks"):
            thread.join()


def _one_line() -> None:
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_string("import streamlit as st\nst.write('one line')")
    app._bidi_component_manager = _components()
    app.run()


@cache
def _components() -> Any:
    """What a server finds out once, when it starts: which packages bring components."""
    from streamlit.components.v2.component_manager import BidiComponentManager

    found = BidiComponentManager()
    found.discover_and_register_components(start_file_watching=False)
    return found


if __name__ == "__main__":
    sys.exit(main())
