"""Twelve months of backups, day by day: what there is, what is proven, what will go and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, tzinfo

from services.protection.model import DayMark, DayState
from services.protection.retention.model import Decision, PrunePlan


@dataclass(frozen=True)
class CalendarDay:
    """One day, with what retention decided about its snapshots."""

    day: date
    mark: DayMark
    decisions: tuple[Decision, ...] = ()  # oldest snapshot first
    errors: tuple[str, ...] = ()  # of failed backups, for a person

    @property
    def verified(self) -> int:
        """Snapshots that a drill restored and found equal."""
        return sum(each.row.verified_at is not None for each in self.decisions)

    @property
    def damaged(self) -> int:
        """Snapshots with which something is wrong."""
        return sum(each.row.verify_error is not None for each in self.decisions)

    @property
    def pinned(self) -> int:
        """Snapshots that somebody pinned."""
        return sum(each.row.pin is not None for each in self.decisions)

    @property
    def going(self) -> int:
        """Snapshots that will go."""
        return sum(not each.keep for each in self.decisions)


@dataclass(frozen=True)
class Calendar:
    """A plan, and its days."""

    plan: PrunePlan
    days: tuple[CalendarDay, ...]  # oldest first, none left out


def first_day(today: date, months: int) -> date:
    """The first of the month with which so many months, this one among them, begin."""
    count = today.year * 12 + today.month - 1 - (max(1, months) - 1)
    return date(count // 12, count % 12 + 1, 1)


def calendar(plan: PrunePlan, states: Sequence[DayState], zone: tzinfo = UTC) -> Calendar:
    """Lay the decisions of a plan over the days.

    Args:
        zone: in which the days were counted.
    """
    made: dict[date, list[Decision]] = defaultdict(list)
    for decision in reversed(plan.decisions):
        made[decision.row.created_at.astimezone(zone).date()].append(decision)
    return Calendar(
        plan,
        tuple(
            CalendarDay(state.day, state.mark, tuple(made.get(state.day, ())), state.errors)
            for state in states
        ),
    )
