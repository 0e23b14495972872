"""Contestants in turn, round by round, and a table of ratios against one of them."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.measure import Failed, Usage


@dataclass(frozen=True)
class Goal:
    """What one contestant may take beside others."""

    what: str
    name: str
    beside: tuple[str, ...]  # their sum
    most: float


@dataclass
class Contest:
    """Every round runs each contestant once, in turn, so that a busy moment of the machine
    hits all alike; the median counts."""

    title: str
    base: str
    contestants: dict[str, Callable[[], Usage]]
    fresh: Callable[[], None]  # before each
    goals: tuple[Goal, ...] = ()
    found: dict[str, list[Usage]] = field(default_factory=dict)

    def run(self, rounds: int) -> None:
        """Measure all of them."""
        self.found = {name: [] for name in self.contestants}
        for number in range(rounds):
            load = os.getloadavg()[0]
            print(f"{self.title}: round {number + 1} of {rounds}, load {load:.1f}", flush=True)
            for name, run in self.contestants.items():
                self.fresh()
                try:
                    self.found[name].append(run())
                except Failed as error:
                    print(f"{name} failed: {error}")

    def show(self) -> None:
        """Print the table, and whether each goal is met."""
        base = self.seconds(self.base)
        print(f"\n{self.title}; median (fastest), {os.cpu_count()} cores")
        print(f"{'':40}{'seconds':>16}{'ratio':>8}{'CPU s':>8}{'peak MB':>9}")
        for name, usages in self.found.items():
            if not usages:
                continue
            shown = f"{self.seconds(name):.2f} ({min(u.seconds for u in usages):.2f})"
            cpu = statistics.median(usage.cpu_seconds for usage in usages)
            peak = max(usage.peak_bytes for usage in usages) / 1e6
            ratio = self.seconds(name) / base
            print(f"{name:40}{shown:>16}{ratio:8.2f}{cpu:8.1f}{peak:9.0f}")
        print()
        for goal in self.goals:
            if all(self.found.get(name) for name in (goal.name, *goal.beside)):
                beside = sum(self.seconds(name) for name in goal.beside)
                tell(goal.what, self.seconds(goal.name) / beside, goal.most)

    def compare(self, name: str, other: str) -> None:
        """Print a ratio that nothing is demanded of."""
        if self.found.get(name) and self.found.get(other):
            ratio = self.seconds(name) / self.seconds(other)
            print(f"for comparison, {name} beside {other}: {ratio:.3g}")

    def seconds(self, name: str) -> float:
        """The median of a contestant."""
        return statistics.median(usage.seconds for usage in self.found[name])

    def peak(self, name: str) -> int:
        """The most memory that a contestant took, bytes."""
        return max(usage.peak_bytes for usage in self.found[name])


def tell(what: str, value: float, most: float) -> None:
    """One goal."""
    verdict = "met" if value <= most else "NOT met"
    print(f"{what}: {value:.3g}, goal at most {most:g}: {verdict}")
