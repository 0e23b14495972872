"""Releases that are made current at a time: frozen now, published then, exactly once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update

from db.knowledge import activations, releases
from db.knowledge import schedules as table
from services.core import audit
from services.core.access import Actor, ActorKind, Permission, require, system_actor
from services.core.context import Context
from services.core.databases import read_shop, write_shop
from services.core.errors import Busy, Conflict, DeskError, Invalid, Transient
from services.knowledge.releasing.activating import (
    activate,
    wanted_release,
)
from services.knowledge.releasing.model import Activation, ReleasePlan, Schedule, ScheduleState
from services.knowledge.releasing.published import current_release
from services.knowledge.releasing.releases import add_release, drafted, require_unmoved
from services.knowledge.releasing.words import sound_words

OVERDUE = timedelta(minutes=15)
"""Runners come every five minutes: later than this, none does."""

LONGEST = timedelta(days=366)
SHOWN = 100

MayPublish = Callable[[Actor], str]
"""Says why somebody may not publish any more; nothing when they may."""


@dataclass(frozen=True)
class Done:
    """What came of a schedule that was due."""

    schedule: Schedule
    activation: Activation | None


def schedule(
    ctx: Context, actor: Actor, release: int | ReleasePlan, due_at: datetime, notes: str = ""
) -> Schedule:
    """Have a release made current at a time.

    What a plan saw becomes a release now, and nothing that is saved later changes it.

    Args:
        release: the number of one that was made, or a plan.
        due_at: aware; in the future, within a year.
        notes: of the release that the plan becomes; required there.

    Raises:
        Denied: without `kb.publish`.
        Conflict: the knowledge base changed since the plan; nothing was scheduled.
        Invalid: the time is past, there is no such release, nothing to publish, no notes.
    """
    require(actor, Permission.KB_PUBLISH)
    _require_future(ctx, due_at)
    if isinstance(release, ReleasePlan):
        plan, notes = release, sound_words(notes, "notes", "scheduled")
        if plan.is_empty:
            raise Invalid(
                "There is nothing to publish: the current release says all of this already.",
                "Save a change first, or schedule a release that was made.",
            )
        draft = drafted(ctx, plan)
        with write_shop(ctx) as connection:
            require_unmoved(connection, plan)
            number = add_release(connection, actor, ctx.now(), notes, draft)
            made = _insert(connection, ctx, actor, number, due_at)
    else:
        number = release
        with write_shop(ctx) as connection:
            _require_release(connection, number)
            made = _insert(connection, ctx, actor, number, due_at)
    audit.note(
        ctx,
        actor,
        "release.schedule",
        ("release", str(number)),
        f"Scheduled release {number} of the knowledge base for {due_at:%d %B %Y %H:%M %Z}",
        details={"schedule": made, "due_at": due_at.isoformat()},
    )
    return _one(ctx, made)


def _require_future(ctx: Context, due_at: datetime) -> None:
    if due_at.tzinfo is None:
        raise Invalid("The time has no zone; nothing was scheduled.", "Say it in UTC, say.")
    if not ctx.now() < due_at < ctx.now() + LONGEST:
        raise Invalid(
            "The time is past, or more than a year away; nothing was scheduled.",
            "Choose a time in the next twelve months, or publish now.",
        )


def _require_release(connection: Connection, number: int) -> None:
    query = select(func.count()).select_from(releases).where(releases.c.number == number)
    if not connection.scalar(query):
        raise Invalid(
            f"There is no release {number}; nothing was scheduled.",
            "The list of releases shows those there are.",
        )


def _insert(connection: Connection, ctx: Context, by: Actor, number: int, due_at: datetime) -> int:
    waiting = (table.c.release == number) & (table.c.state == ScheduleState.WAITING)
    if connection.scalar(select(func.count()).select_from(table).where(waiting)):
        raise Conflict(
            f"Release {number} is scheduled already; nothing was changed.",
            "Cancel that schedule first to choose another time.",
        )
    values = insert(table).values(
        release=number,
        due_at=due_at,
        author_id=by.id,
        author=by.name,
        author_kind=by.kind.value,
        made_at=ctx.now(),
        state=ScheduleState.WAITING.value,
    )
    return int(connection.scalar(values.returning(table.c.id)) or 0)


def cancel(ctx: Context, actor: Actor, schedule_id: int) -> Schedule:
    """Have a release not made current after all; the release itself stays.

    Raises:
        Denied: without `kb.publish`.
        Conflict: it was done, cancelled or has failed meanwhile.
    """
    require(actor, Permission.KB_PUBLISH)
    with write_shop(ctx) as connection:
        ended = connection.execute(
            _waiting(schedule_id).values(state=ScheduleState.CANCELLED.value, ended_at=ctx.now())
        )
        if not ended.rowcount:
            raise Conflict(
                "This schedule is not waiting any more; nothing was changed.",
                "Look at the list again.",
            )
    found = _one(ctx, schedule_id)
    audit.note(
        ctx,
        actor,
        "release.unschedule",
        ("release", str(found.release)),
        f"Cancelled release {found.release} of the knowledge base, scheduled by {found.author}",
        details={"schedule": found.id, "due_at": found.due_at.isoformat()},
    )
    return found


def schedules(ctx: Context, actor: Actor) -> tuple[Schedule, ...]:
    """What waits, soonest first; then what ended, newest first, at most 100 in all.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    is_waiting = table.c.state == ScheduleState.WAITING
    with read_shop(ctx) as connection:
        waiting = connection.execute(select(table).where(is_waiting).order_by(table.c.due_at))
        ended = connection.execute(
            select(table).where(~is_waiting).order_by(table.c.id.desc()).limit(SHOWN)
        )
        found = (*waiting, *ended)[:SHOWN]
        settled = settled_at(connection)
    return tuple(_schedule(ctx, row, settled) for row in found)


def settled_at(connection: Connection) -> datetime | None:
    """When somebody last saw to what the shop gets: a failure before that is history."""
    is_anew = table.c.state.in_([ScheduleState.WAITING, ScheduleState.DONE])
    made = connection.scalar(select(func.max(activations.c.at)))
    anew = connection.scalar(select(func.max(table.c.made_at)).where(is_anew))
    return max((at for at in (made, anew) if at is not None), default=None)


def run_due(ctx: Context, may_publish: MayPublish) -> tuple[Done, ...]:
    """Make current what is due, the earliest first. Run by `services/publish.py --due`.

    A desk that was off does it late and says so. What is passing (a locked database, another
    publisher at work) is tried again by the next runner; anything else fails it for good.

    Args:
        may_publish: asks the accounts; whoever scheduled it may have lost the right since.
    """
    with read_shop(ctx) as connection:
        due = (table.c.state == ScheduleState.WAITING) & (table.c.due_at <= ctx.now())
        rows = connection.execute(select(table).where(due).order_by(table.c.due_at, table.c.id))
        found = list(rows)
    return tuple(done for row in found if (done := _run(ctx, row, may_publish)) is not None)


def _run(ctx: Context, row: Any, may_publish: MayPublish) -> Done | None:
    author = Actor(row.author_id, row.author, ActorKind(row.author_kind))
    try:
        if why_not := may_publish(author):
            raise Invalid(f"{why_not} Nothing was published.", "Publish it under another account.")
        activation = _activate(ctx, row, author)
    except _Taken:
        return None
    except _CurrentAlready:
        with write_shop(ctx) as connection:
            told = "It was current already: somebody made it so before."
            done = _waiting(row.id).values(
                state=ScheduleState.DONE.value, ended_at=ctx.now(), problem=told
            )
            connection.execute(done)
        return Done(_one(ctx, row.id), None)
    except (Transient, Busy) as error:
        return Done(_schedule(ctx, row), None) if _note_delay(ctx, row, error) else None
    except DeskError as error:
        _fail(ctx, row, error)
        return Done(_one(ctx, row.id), None)
    return Done(_one(ctx, row.id), activation)


class _Taken(DeskError):
    """Another runner did it, or somebody cancelled it."""


class _CurrentAlready(DeskError):
    """Somebody made it current before its time."""


def _activate(ctx: Context, row: Any, author: Actor) -> Activation:
    late = ctx.now() - row.due_at
    reason = f"Scheduled for {row.due_at:%d %B %Y %H:%M} UTC"
    if late > OVERDUE:
        reason += f", done {_hours(late)} late: no runner came before"

    def record(connection: Connection) -> int:
        # The state goes with the activation: with two runners at once, one finds it done.
        note = reason if late > OVERDUE else None
        done = _waiting(row.id).values(
            state=ScheduleState.DONE.value, ended_at=ctx.now(), problem=note
        )
        if not connection.execute(done).rowcount:
            raise _Taken("")
        if current_release(connection) == row.release:
            raise _CurrentAlready("")
        return int(row.release)

    return activate(ctx, author, wanted_release(ctx, row.release), record, reason)


def _hours(late: timedelta) -> str:
    minutes = int(late.total_seconds() // 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"


def _note_delay(ctx: Context, row: Any, error: DeskError) -> bool:
    with write_shop(ctx) as connection:
        told = f"Tried, and to be tried again: {error}"
        return bool(connection.execute(_waiting(row.id).values(problem=told)).rowcount)


def _fail(ctx: Context, row: Any, error: DeskError) -> None:
    with write_shop(ctx) as connection:
        ended = connection.execute(
            _waiting(row.id).values(
                state=ScheduleState.FAILED.value, ended_at=ctx.now(), problem=str(error)
            )
        )
    if ended.rowcount:
        audit.note(
            ctx,
            system_actor("schedule"),
            "release.scheduled",
            ("release", str(row.release)),
            f"Release {row.release}, scheduled by {row.author}, was not published: {error}",
            details={"schedule": row.id, "due_at": row.due_at.isoformat()},
            outcome="failed",
        )


def _waiting(schedule_id: int) -> Any:
    is_waiting = table.c.state == ScheduleState.WAITING
    return update(table).where(table.c.id == schedule_id, is_waiting)


def _one(ctx: Context, schedule_id: int) -> Schedule:
    query: Select[Any] = select(table).where(table.c.id == schedule_id)
    with read_shop(ctx) as connection:
        return _schedule(ctx, connection.execute(query).one())


def _schedule(ctx: Context, row: Any, settled: datetime | None = None) -> Schedule:
    state = ScheduleState(row.state)
    return Schedule(
        row.id,
        row.release,
        row.due_at,
        row.author,
        row.made_at,
        state,
        row.ended_at,
        row.problem,
        state is ScheduleState.WAITING and ctx.now() - row.due_at > OVERDUE,
        state is ScheduleState.FAILED and (settled is None or row.ended_at > settled),
    )
