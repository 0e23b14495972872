"""Alerts as they are kept: opened, ended, and everything that happened to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from db.control import alert_changes, alerts
from db.engine import read, write
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.watch.alerting import Alert, AlertState, Change, Condition, Transition, judge
from services.watch.posture import Tone

_TOUCH_AFTER = timedelta(minutes=5)
OPEN = (AlertState.PENDING.value, AlertState.FIRING.value)

NONE, DUE, SENDING, DELIVERED, GIVEN_UP = "none", "due", "sending", "delivered", "given up"
"""Whether people are told of a change, and how far that is."""


@dataclass(frozen=True)
class AlertChange:
    """One thing that happened to an alert, and whether people were told."""

    id: int
    alert_id: int
    at: datetime
    what: Change
    who: str
    note: str
    delivery: str
    attempts: int
    next_try_at: datetime | None
    delivered_at: datetime | None
    delivery_error: str | None
    reached: int  # targets that took the message


def observe(
    ctx: Context,
    standing: Iterable[Condition],
    rules: Collection[str] | None = None,
    *,
    ends: bool = True,
) -> tuple[Transition, ...]:
    """Hold the trouble that is there now against the alerts that are open, and keep what changed.

    Judged anew inside one write transaction: two processes that look at once open one alert,
    and one of them tells. Where nothing changed, nothing is written.

    Args:
        standing: every trouble of these rules that is there now.
        rules: the names of those that were looked at; None: all.
        ends: whether what is not among `standing` is over.
    """
    now, seen = ctx.now(), tuple(standing)
    with read(ctx.control) as connection:
        known = _open(connection, ctx)
    if not judge(seen, known, now, rules, ends=ends) and not _stale(seen, known, now):
        return ()
    with write(ctx.control) as connection:
        known = _open(connection, ctx)
        found = judge(seen, known, now, rules, ends=ends)
        for transition in found:
            _apply(connection, ctx, transition, now)
        _touch(connection, seen, known, now)
    return found


def standing(ctx: Context, actor: Actor) -> tuple[Alert, ...]:
    """The alerts that are open now, the worst and newest first; pending ones last.

    Raises:
        Denied: without `overview.view`.
    """
    require(actor, Permission.OVERVIEW_VIEW)
    with read(ctx.control) as connection:
        found = _open(connection, ctx)
    tones = list(Tone)
    return tuple(
        sorted(
            found,
            key=lambda alert: (
                alert.state is AlertState.PENDING,
                tones.index(alert.severity),
                -alert.opened_at.timestamp(),
            ),
        )
    )


def past(ctx: Context, actor: Actor, *, page: int = 1, rows: int = 20) -> tuple[list[Alert], int]:
    """Alerts that fired and ended, the last ended first, and how many there are in all.

    Raises:
        Denied: without `monitoring.view`.
    """
    require(actor, Permission.MONITORING_VIEW)
    wanted = ours(ctx).where(
        alerts.c.state == AlertState.RESOLVED.value, alerts.c.fired_at.is_not(None)
    )
    query = wanted.order_by(alerts.c.resolved_at.desc(), alerts.c.id.desc())
    with read(ctx.control) as connection:
        total = connection.scalar(select(func.count()).select_from(wanted.subquery())) or 0
        found = connection.execute(query.limit(rows).offset((max(page, 1) - 1) * rows))
        return [alert_of(row) for row in found], total


def changes(
    ctx: Context, actor: Actor, alert_ids: Collection[int]
) -> dict[int, tuple[AlertChange, ...]]:
    """What happened to some alerts, oldest first.

    Raises:
        Denied: without `monitoring.view`.
    """
    require(actor, Permission.MONITORING_VIEW)
    query = (
        select(alert_changes)
        .join(alerts, alerts.c.id == alert_changes.c.alert_id)
        .where(
            alerts.c.instance == ctx.settings.instance_id, alert_changes.c.alert_id.in_(alert_ids)
        )
        .order_by(alert_changes.c.id)
    )
    found: dict[int, tuple[AlertChange, ...]] = {}
    with read(ctx.control) as connection:
        for row in connection.execute(query):
            found[row.alert_id] = (*found.get(row.alert_id, ()), _change(row))
    return found


def _apply(connection: Connection, ctx: Context, change: Transition, now: datetime) -> None:
    muted = change.alert is not None and change.alert.is_muted(now)
    if change.alert is None:
        alert_id, muted = _open_one(connection, ctx, change, now)
    else:
        alert_id = change.alert.id
        put(connection, alert_id, _becomes(change, now))
    # Whoever never heard of it need not hear of its end.
    tells = change.tells and not muted and bool(ctx.settings.alert_addresses)
    if change.to is AlertState.RESOLVED:
        tells = tells and _was_told(connection, alert_id)
    note(connection, ctx, alert_id, Change(change.to.value), note=change.note, tells=tells)


def _becomes(change: Transition, now: datetime) -> dict[str, Any]:
    if change.to is AlertState.RESOLVED:
        return {"state": change.to.value, "resolved_at": now}
    values: dict[str, Any] = {"state": change.to.value, "muted_until": None, "muted_by": None}
    if change.alert is not None and change.alert.is_muted(now):
        del values["muted_until"], values["muted_by"]
    if change.alert is not None and change.alert.fired_at is None:
        values["fired_at"] = now
    else:  # it got worse, or the silence ended: somebody has to look at it anew
        values |= {"acknowledged_at": None, "acknowledged_by": None, "comment": None}
    return values


def _open_one(
    connection: Connection, ctx: Context, change: Transition, now: datetime
) -> tuple[int, bool]:
    """Open an alert; what was muted stays so when the same trouble comes back.

    Returns:
        Its id, and whether it is muted.
    """
    each = change.condition
    if each is None:
        raise ValueError("an alert about nothing")
    before = connection.execute(
        ours(ctx)
        .where(alerts.c.rule == each.rule, alerts.c.subject == each.subject[:200])
        .order_by(alerts.c.id.desc())
        .limit(1)
    ).first()
    muted = before is not None and before.muted_until is not None and before.muted_until > now
    row = connection.execute(
        insert(alerts)
        .values(
            instance=ctx.settings.instance_id,
            rule=each.rule,
            subject=each.subject[:200],
            state=change.to.value,
            severity=each.severity.value,
            message=each.message,
            hint=each.hint,
            since=each.since or now,
            opened_at=now,
            seen_at=now,
            fired_at=now if change.to is AlertState.FIRING else None,
            muted_until=before.muted_until if before is not None and muted else None,
            muted_by=before.muted_by if before is not None and muted else None,
        )
        .returning(alerts.c.id)
    )
    return int(row.scalar_one()), muted


def _stale(seen: tuple[Condition, ...], known: tuple[Alert, ...], now: datetime) -> bool:
    there = {each.key for each in seen}
    return any(alert.key in there and now - alert.seen_at >= _TOUCH_AFTER for alert in known)


def _touch(
    connection: Connection, seen: tuple[Condition, ...], known: tuple[Alert, ...], now: datetime
) -> None:
    """Write down that trouble was seen again, and how it is put into words now."""
    there = {each.key: each for each in seen}
    for alert in known:
        each = there.get(alert.key)
        if each is None:
            continue
        values: dict[str, Any] = {"seen_at": now}
        if not each.held:
            values |= {
                "message": each.message,
                "hint": each.hint,
                "severity": each.severity.value,
            }
        put(connection, alert.id, values)


def note(
    connection: Connection,
    ctx: Context,
    alert_id: int,
    what: Change,
    *,
    who: str = "",
    note: str = "",
    tells: bool = False,
) -> None:
    """Write down what happened to an alert, in the caller's transaction."""
    connection.execute(
        insert(alert_changes).values(
            alert_id=alert_id,
            at=ctx.now(),
            what=what.value,
            who=who,
            note=note,
            delivery=DUE if tells else NONE,
            next_try_at=ctx.now() if tells else None,
            reached=[],
        )
    )


def _was_told(connection: Connection, alert_id: int) -> bool:
    told = select(alert_changes.c.id).where(
        alert_changes.c.alert_id == alert_id, alert_changes.c.delivery != NONE
    )
    return connection.execute(told.limit(1)).first() is not None


def ours(ctx: Context) -> Select[Any]:
    """The alerts of this tenant."""
    return select(alerts).where(alerts.c.instance == ctx.settings.instance_id)


def _open(connection: Connection, ctx: Context) -> tuple[Alert, ...]:
    query = ours(ctx).where(alerts.c.state.in_(OPEN)).order_by(alerts.c.id)
    return tuple(alert_of(row) for row in connection.execute(query))


def put(connection: Connection, alert_id: int, values: dict[str, Any]) -> None:
    """Change an alert, in the caller's transaction."""
    connection.execute(update(alerts).where(alerts.c.id == alert_id).values(**values))


def alert_of(row: Row[Any]) -> Alert:
    """A row of the table as an alert."""
    values = dict(row._mapping)
    values.pop("instance")
    values["state"], values["severity"] = AlertState(row.state), Tone(row.severity)
    return Alert(**values)


def _change(row: Row[Any]) -> AlertChange:
    values = dict(row._mapping)
    values["what"], values["reached"] = Change(row.what), len(row.reached)
    return AlertChange(**values)
