"""What people do about an alert: they take it up, and they mute it for a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from db.control import alert_changes, alerts
from db.engine import write
from services.core import audit
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.errors import Conflict, Invalid
from services.watch.alerting import Alert, Change
from services.watch.alerts import DELIVERED, DUE, NONE, OPEN, alert_of, note, ours, put

LONGEST_MUTE = timedelta(days=30)
"""Longer than this nobody remembers that something is muted."""
LONGEST_COMMENT = 500


def acknowledge(ctx: Context, actor: Actor, alert_id: int, comment: str = "") -> Alert:
    """Say that somebody has taken an alert up, and what they know.

    Raises:
        Denied: without `alert.manage`.
        Invalid: there is no such alert, or the comment is too long.
        Conflict: it has ended meanwhile.
    """
    require(actor, Permission.ALERT_MANAGE)
    said = comment.replace("\x00", "\ufffd").strip()
    if len(said) > LONGEST_COMMENT:
        raise Invalid(
            f"A comment has {LONGEST_COMMENT} characters at most, this one {len(said)}. "
            "Nothing was changed.",
            "Shorten it.",
        )
    with write(ctx.control) as connection:
        alert = _one_open(connection, ctx, alert_id)
        values = {
            "acknowledged_at": ctx.now(),
            "acknowledged_by": actor.name,
            "comment": said or None,
        }
        put(connection, alert.id, values)
        note(connection, ctx, alert.id, Change.ACKNOWLEDGED, who=actor.name, note=said)
        summary = f"Acknowledged the alert “{alert.title}”" + (f": {said}" if said else "")
        audit.record(
            connection,
            ctx,
            actor,
            "alert.acknowledge",
            _subject(alert),
            summary,
            details=_of(alert),
        )
        return _one_open(connection, ctx, alert_id)


def mute(ctx: Context, actor: Actor, alert_id: int, until: datetime) -> Alert:
    """Send nothing about an alert until a time; if it is still open then, it is told again.

    Raises:
        Denied: without `alert.manage`.
        Invalid: there is no such alert, or the time is past or too far away.
        Conflict: it has ended meanwhile.
    """
    require(actor, Permission.ALERT_MANAGE)
    now = ctx.now()
    if not now < until <= now + LONGEST_MUTE:
        raise Invalid(
            "An alert can be muted until a time within the next "
            f"{LONGEST_MUTE.days} days. Nothing was changed.",
            "Choose another time.",
        )
    with write(ctx.control) as connection:
        alert = _one_open(connection, ctx, alert_id)
        put(connection, alert.id, {"muted_until": until, "muted_by": actor.name})
        _silence(connection, alert.id, now)
        told = until.isoformat(timespec="minutes")
        note(connection, ctx, alert.id, Change.MUTED, who=actor.name, note=told)
        audit.record(
            connection,
            ctx,
            actor,
            "alert.mute",
            _subject(alert),
            f"Muted the alert “{alert.title}” until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            details={**_of(alert), "until": until.isoformat()},
        )
        return _one_open(connection, ctx, alert_id)


def unmute(ctx: Context, actor: Actor, alert_id: int) -> Alert:
    """Let messages about an alert go out again.

    Raises:
        Denied: without `alert.manage`.
        Invalid: there is no such alert.
        Conflict: it has ended meanwhile.
    """
    require(actor, Permission.ALERT_MANAGE)
    with write(ctx.control) as connection:
        alert = _one_open(connection, ctx, alert_id)
        put(connection, alert.id, {"muted_until": None, "muted_by": None})
        note(connection, ctx, alert.id, Change.UNMUTED, who=actor.name)
        audit.record(
            connection,
            ctx,
            actor,
            "alert.unmute",
            _subject(alert),
            f"Ended the silence about the alert “{alert.title}”",
            details=_of(alert),
        )
        return _one_open(connection, ctx, alert_id)


def _silence(connection: Connection, alert_id: int, now: datetime) -> None:
    """Send no more of what is due; what some have heard of counts as told."""
    waiting = (alert_changes.c.alert_id == alert_id) & (alert_changes.c.delivery == DUE)
    for row in connection.execute(select(alert_changes).where(waiting)).all():
        values = {"delivery": DELIVERED, "delivered_at": now} if row.reached else {"delivery": NONE}
        connection.execute(
            update(alert_changes).where(alert_changes.c.id == row.id).values(**values)
        )


def _one_open(connection: Connection, ctx: Context, alert_id: int) -> Alert:
    row = connection.execute(ours(ctx).where(alerts.c.id == alert_id)).first()
    if row is None:
        raise Invalid("There is no such alert. Nothing was changed.")
    if row.state not in OPEN:
        raise Conflict(
            "This alert has ended meanwhile: what it was about is over. Nothing was changed.",
            "Look at the list again.",
        )
    return alert_of(row)


def _subject(alert: Alert) -> tuple[str, str]:
    return "alert", str(alert.id)


def _of(alert: Alert) -> dict[str, Any]:
    return {"rule": alert.rule, "subject": alert.subject}
