"""How long a page of the desk takes to run again: quiet, and while a backup runs."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("overview", "backups", "monitoring", "knowledge")
QUIET_RUNS = 15
GOAL = 2.0
_PASSWORD = "seven odd ducks swim"


def compare(environment: dict[str, str]) -> int:
    """Measure every page both ways and print the ratios.

    Args:
        environment: names a desk whose shop takes some seconds to back up.
    """
    os.environ |= environment
    apps = _open()
    quiet = {name: [app.again() for _ in range(QUIET_RUNS)] for name, app in apps.items()}
    busy: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(3):
        running = _started()
        while running():
            for name, app in apps.items():
                took = app.again()
                if running():
                    busy[name].append(took)
    print(f"\nRerun of a page, median (slowest), milliseconds; {os.cpu_count()} cores")
    print(f"{'page':14}{'quiet':>16}{'during a backup':>20}{'ratio':>8}")
    worst = 0.0
    for name in apps:
        before, during = statistics.median(quiet[name]), statistics.median(busy[name])
        worst = max(worst, during / before)
        print(
            f"{name:14}{_shown(before, quiet[name]):>16}{_shown(during, busy[name]):>20}"
            f"{during / before:8.2f}"
        )
    verdict = "met" if worst <= GOAL else "NOT met"
    print(f"\nslowest page beside its quiet time: {worst:.2f}, goal at most {GOAL:g}: {verdict}")
    return 0


def _started() -> Callable[[], bool]:
    """Press the button; tells whether the backup still runs."""
    from services import backup
    from services.core import jobs
    from services.core.access import command_line_actor
    from ui import session

    job = backup.start(session.context(), command_line_actor("bench"))
    return lambda: not jobs.get(session.context(), job.id).state.ended


def _shown(median: float, times: list[float]) -> str:
    return f"{median * 1000:.0f} ({max(times) * 1000:.0f})"


def _open() -> dict[str, _Page]:
    from streamlit.testing.v1 import app_test

    from services import backup
    from services.core.access import command_line_actor
    from services.people import accounts, sign_in, tickets
    from tests.pages.people import TakenOver, browser_with, open_app
    from ui import session

    app_test.PagesManager = TakenOver
    tickets.open_window()  # as server.py does; without it AppTest has no cookies
    ctx, root = session.context(), command_line_actor("bench")
    accounts.create(ctx, root, "bench", "Bench", "admin", password=_PASSWORD)
    signed = sign_in.sign_in(ctx, "bench", _PASSWORD)
    assert isinstance(signed, sign_in.SignedIn)
    backup.run(ctx, root, "benchmark")
    apps = {}
    for name in PAGES:
        with browser_with(signed.token):
            app = open_app(name)
        if app.exception or not app.title or app.title[0].value == "InsightShop Admin":
            raise RuntimeError(f"{name} did not open: {app!r}"[:3000])
        apps[name] = _Page(app, signed.token)
    return apps


class _Page:
    """A page as somebody who is signed in has it open."""

    def __init__(self, app: Any, token: str) -> None:
        self._app = app
        self._token = token

    def again(self) -> float:
        """Run it again; seconds."""
        from tests.pages.people import browser_with

        with browser_with(self._token):
            begun = time.perf_counter()
            self._app.run()
            return time.perf_counter() - begun
