"""Ten thousand snapshots beside fifty: the list, a search, the calendar, a first look.

`python -m benchmarks.snapshots [--count 10000]`. Each is measured in one process, in turn,
several times; the median counts. "first look" is what an empty control database has to read.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.history import fill, manifest_at
from services import backup, retention
from services.core.access import Actor, system_actor
from services.core.context import Context, open_context
from services.core.loading import load_settings

FEW = 50
GOAL_SECONDS = 1.0
"""The page lists the newest fifty of ten thousand in less."""


def main() -> int:
    """Measure and print; fails when the page misses its goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        few = _measured(Path(folder) / "few", FEW, options.rounds)
        many = _measured(Path(folder) / "many", options.count, options.rounds)
    print(f"{'':34}{FEW:>10,}{options.count:>12,}   ratio")
    for name, seconds in many.items():
        ratio = seconds / few[name]
        print(f"{name:34}{few[name] * 1000:8.1f} ms{seconds * 1000:9.1f} ms  {ratio:6.1f}x")
    return int(many["page of the newest 50"] >= GOAL_SECONDS)


def _measured(home: Path, count: int, rounds: int) -> dict[str, float]:
    settings = load_settings(env_file=home / "none.env", desk_home=home, shop_root=home)
    newest = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    fill(
        settings.instance_dir / "backups",
        (manifest_at(newest - timedelta(hours=4 * back), back) for back in range(count)),
        data=False,
    )
    ctx, actor = open_context(settings), system_actor("benchmark")
    first = _seconds(lambda: backup.refresh(ctx, actor))
    timed = {name: _median(work, rounds) for name, work in _work(ctx, actor).items()}
    ctx.close()
    return {"first look: read every manifest": first} | timed


def _work(ctx: Context, actor: Actor) -> dict[str, Callable[[], object]]:
    month = f"{ctx.now() - timedelta(days=5):%B %Y}"
    return {
        "page of the newest 50": lambda: backup.snapshots(ctx, actor),
        "search for a month": lambda: backup.snapshots(ctx, actor, search=month),
        "search for a word": lambda: backup.snapshots(ctx, actor, search="cron"),
        "listing the store again": lambda: backup.refresh(ctx, actor),
        "plan of retention": lambda: retention.plan(ctx, actor),
        "calendar of 12 months": lambda: retention.calendar(ctx, actor),
    }


def _median(work: Callable[[], object], rounds: int) -> float:
    work()
    return statistics.median(_seconds(work) for _ in range(rounds))


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
