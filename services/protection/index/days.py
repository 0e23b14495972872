"""One mark for each day: was there a recovery point, and was it proven?"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from sqlalchemy import func, select

from db.control import accounts, jobs, snapshots
from db.engine import read
from services.core.context import Context
from services.core.jobs import JobState
from services.protection.model import DayMark, DayState


def day_states(ctx: Context, count: int, zone: tzinfo = UTC) -> tuple[DayState, ...]:
    """The last `count` days, oldest first.

    A day counts as "before" until the desk had an account, a job or a snapshot; so does
    today as long as nothing was tried: its backup may come yet.

    Args:
        zone: whose days are meant.
    """

    def day_of(moment: datetime) -> date:
        return moment.astimezone(zone).date()

    today = day_of(ctx.now())
    days = [today - timedelta(days=back) for back in range(max(1, count) - 1, -1, -1)]
    start = datetime.combine(days[0], time(), zone).astimezone(UTC)
    made: dict[date, list[Any]] = defaultdict(list)
    errors: dict[date, list[str]] = defaultdict(list)
    ours = snapshots.c.instance == ctx.settings.instance_id
    with read(ctx.control) as connection:
        for row in connection.execute(
            select(snapshots.c.id, snapshots.c.created_at, snapshots.c.verified_at)
            .where(ours, snapshots.c.created_at >= start)
            .order_by(snapshots.c.created_at, snapshots.c.id)
        ):
            made[day_of(row.created_at)].append(row)
        failed = (JobState.FAILED.value, JobState.INTERRUPTED.value)
        for job in connection.execute(
            select(jobs.c.created_at, jobs.c.error)
            .where(jobs.c.kind == "backup", jobs.c.state.in_(failed), jobs.c.created_at >= start)
            .order_by(jobs.c.created_at)
        ):
            errors[day_of(job.created_at)].append(job.error or "It failed without a word.")
        firsts = [
            connection.scalar(select(func.min(accounts.c.created_at))),
            connection.scalar(select(func.min(jobs.c.created_at))),
            connection.scalar(select(func.min(snapshots.c.created_at)).where(ours)),
        ]
    first = min((day_of(moment) for moment in firsts if moment), default=today)
    counted = range(first.toordinal(), today.toordinal())
    return tuple(_day(day, counted, made.get(day, []), tuple(errors.get(day, []))) for day in days)


def _day(day: date, counted: range, made: list[Any], errors: tuple[str, ...]) -> DayState:
    ids = tuple(row.id for row in made)
    if any(row.verified_at for row in made):
        mark = DayMark.VERIFIED
    elif made:
        mark = DayMark.MADE
    elif errors:
        mark = DayMark.FAILED
    else:
        mark = DayMark.MISSING if day.toordinal() in counted else DayMark.BEFORE
    return DayState(day, mark, ids, errors)
