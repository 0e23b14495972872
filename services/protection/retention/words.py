"""How retention names days, weeks and months, and where each begins. UTC throughout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.protection.model import SnapshotRow
from services.protection.retention.model import Policy


@dataclass(frozen=True)
class Bucket:
    """One of the three lengths of time of a policy."""

    word: str
    start: Callable[[datetime], datetime]  # of the period that a moment lies in
    name: Callable[[datetime, datetime], str]  # (start, now) -> for a person
    kept: Callable[[Policy], int]


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _monday(at: datetime) -> datetime:
    return _midnight(at) - timedelta(days=at.weekday())


def _first(at: datetime) -> datetime:
    return _midnight(at).replace(day=1)


def _day_name(start: datetime, now: datetime) -> str:
    return f"{start:%A} {on_day(start, now)}"


def _week_name(start: datetime, now: datetime) -> str:
    year, week, _day = start.isocalendar()
    return f"week {week}" + ("" if year == now.isocalendar().year else f" of {year}")


def _month_name(start: datetime, _now: datetime) -> str:
    return f"{start:%B %Y}"


BUCKETS = (
    Bucket("day", _midnight, _day_name, lambda policy: policy.days),
    Bucket("week", _monday, _week_name, lambda policy: policy.weeks),
    Bucket("month", _first, _month_name, lambda policy: policy.months),
)


def on_day(at: datetime, now: datetime) -> str:
    """`3 November`, with its year where that is not this one."""
    return f"{at.day} {at:%B}" + ("" if at.year == now.year else f" {at.year}")


def day_of(row: SnapshotRow, now: datetime) -> str:
    """The day on which a snapshot was made."""
    return on_day(row.created_at, now)


def clock(row: SnapshotRow, beside: SnapshotRow) -> str:
    """The time of day of a snapshot, as exact as it takes to tell it from another."""
    near = abs(row.created_at - beside.created_at) < timedelta(minutes=1)
    return f"{row.created_at:%H:%M:%S}" if near else f"{row.created_at:%H:%M}"


def count(number: int, noun: str) -> str:
    """`1 day`, `30 days`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
