"""Backup and restore of a shop-like SQLite database beside other tools, as ratios.

`make bench`, or `python -m benchmarks.backup [--mb 500] [--rounds 3] [--pages]`. Every round
runs each contestant once, in turn, so that a busy moment of the machine hits all alike; the
median counts. `--pages` measures instead how long a page of the desk takes to run again,
quiet and while a backup runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Failed, Usage, measure
from benchmarks.shopdata import make_shop

ROOT = Path(__file__).resolve().parents[1]
BARE = "bare pipeline"
OURS = "this desk: backup"
RESTIC = "restic, first backup"
SHELL = "sqlite3 .backup + zstd -3 -T2"
RESTORE = "this desk: restore"

GOAL_BARE = 1.25
GOAL_RESTIC = 0.5
GOAL_BYTES = 250_000_000


class Bench:
    """One database, one desk beside it, and a fresh place to write to each time."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self.database = folder / "shop" / "instance" / "insightshop.db"
        make_shop(self.database, megabytes)
        self.environment = {
            "DESK_HOME": str(folder / "desk"),
            "SHOP_ROOT": str(folder / "shop"),
            "BACKUP_STORE_URL": f"file:{self.out}",
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_REPOSITORY": str(self.out / "restic"),
            "RESTIC_CACHE_DIR": str(folder / "cache"),
        }

    @property
    def out(self) -> Path:
        """Where the contestants write."""
        return self.folder / "out"

    def fresh(self) -> None:
        """An empty place to write to; everything written so far is on the disk."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        os.sync()

    def bare(self) -> Usage:
        """The limit."""
        command = [sys.executable, "-m", "benchmarks.bare"]
        return self._run([*command, str(self.database), str(self.out / "out.zst")])

    def ours(self) -> Usage:
        """What cron runs: every check included, read back in full."""
        return self._run([sys.executable, str(ROOT / "services" / "backup.py"), "--json"])

    def restore(self) -> Usage:
        """What an operator runs; brings its own safety snapshot."""
        self.ours()
        script = str(ROOT / "services" / "restore.py")
        return self._run([sys.executable, script, "latest", "--only", "database", "--yes"])

    def restic(self) -> Usage:
        """A first backup of the file as it lies there (nobody writes to it here)."""
        self._run(["restic", "init", "--quiet"])
        return self._run(["restic", "backup", "--quiet", str(self.database)])

    def shell(self) -> Usage:
        """What an administrator would type."""
        copy = self.out / "copy.db"
        line = f"sqlite3 '{self.database}' \".backup '{copy}'\" && zstd -q -3 -T2 --rm '{copy}'"
        return self._run(["sh", "-c", line])

    def _run(self, command: list[str]) -> Usage:
        return measure(command, self.environment)


def main() -> int:
    """Measure and print."""
    options = _options()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="desk-bench-", dir=options.folder) as folder:
        print(f"Making a shop database of {options.mb} MB ...", flush=True)
        bench = Bench(Path(folder), options.mb)
        if options.pages:
            from benchmarks.pages import compare

            bench.fresh()
            return compare(bench.environment)
        return _contest(bench, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mb", type=int, default=500, help="size of the database")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pages", action="store_true", help="measure pages instead")
    parser.add_argument("--folder", help="on which disk; the system's temporary folder otherwise")
    return parser.parse_args()


def _contest(bench: Bench, options: argparse.Namespace) -> int:
    contestants: dict[str, Callable[[], Usage]] = {BARE: bench.bare, OURS: bench.ours}
    for name, program, run in (
        (RESTIC, "restic", bench.restic),
        (SHELL, "sqlite3 zstd", bench.shell),
    ):
        if all(shutil.which(one) for one in program.split()):
            contestants[name] = run
        else:
            print(f"left out, not installed here: {program}")
    if (ROOT / "services" / "restore.py").is_file():
        contestants[RESTORE] = bench.restore
    bench.fresh()
    bench.ours()  # the desk's own tables are made once
    found: dict[str, list[Usage]] = {name: [] for name in contestants}
    for number in range(options.rounds):
        print(f"Round {number + 1} of {options.rounds}, load {os.getloadavg()[0]:.1f}", flush=True)
        for name, run in contestants.items():
            bench.fresh()
            try:
                found[name].append(run())
            except Failed as error:
                print(f"{name} failed: {error}")
    _print_steps(found[OURS])
    _print(found, options.mb)
    return 0


def _print(found: dict[str, list[Usage]], megabytes: int) -> None:
    base = _median(found[BARE])
    print(f"\n{megabytes} MB, median of the rounds (fastest in brackets); {os.cpu_count()} cores")
    print(f"{'':32}{'seconds':>16}{'x bare':>8}{'CPU s':>8}{'peak MB':>9}")
    for name, usages in found.items():
        if not usages:
            continue
        seconds = _median(usages)
        fastest = min(usage.seconds for usage in usages)
        cpu = statistics.median(usage.cpu_seconds for usage in usages)
        peak = max(usage.peak_bytes for usage in usages) / 1e6
        print(
            f"{name:32}{f'{seconds:.2f} ({fastest:.2f})':>16}{seconds / base:8.2f}{cpu:8.1f}"
            f"{peak:9.0f}"
        )
    ours, peak = _median(found[OURS]), max(usage.peak_bytes for usage in found[OURS])
    print()
    _goal("time beside the bare pipeline", ours / base, GOAL_BARE)
    if found.get(RESTIC):
        _goal("time beside restic's first backup", ours / _median(found[RESTIC]), GOAL_RESTIC)
    _goal("peak memory, MB", peak / 1e6, GOAL_BYTES / 1e6)


def _print_steps(usages: list[Usage]) -> None:
    fastest = min(usages, key=lambda usage: usage.seconds)
    steps = json.loads(fastest.output.splitlines()[-1])["steps"]
    shown = ", ".join(f"{name} {took:.2f}" for name, took in steps.items() if took >= 0.005)
    print(f"steps of the fastest backup, seconds: {shown}")


def _goal(what: str, value: float, goal: float) -> None:
    print(f"{what}: {value:.2f}, goal at most {goal:g}: {'met' if value <= goal else 'NOT met'}")


def _median(usages: list[Usage]) -> float:
    return statistics.median(usage.seconds for usage in usages)


if __name__ == "__main__":
    sys.exit(main())
