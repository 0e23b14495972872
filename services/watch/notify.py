"""Delivery: every change of an alert is told once, and what could not be told is tried again.

A change is claimed in a transaction before it is sent, so that of two processes one sends it.
A process that dies while it sends leaves its claim; that runs out, and the change is sent
again: rather twice than never.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    LABEL_STYLE_TABLENAME_PLUS_COL,
    ColumnElement,
    Connection,
    func,
    select,
    update,
)

from db.control import alert_changes, alerts
from db.engine import read, write
from services.core import audit
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.errors import Misconfigured
from services.core.remembered import recall, remember
from services.watch import targets
from services.watch.alerts import DELIVERED, DUE, GIVEN_UP, NONE, SENDING
from services.watch.posture import Tone
from services.watch.rules import named
from services.watch.targets import Message, Outcome

log = logging.getLogger("desk.alerts")

CLAIM = timedelta(minutes=2)
"""So long a change is one process's alone; longer than any message takes."""
OLDEST = timedelta(hours=24)
"""A change that could not be told for so long is told no more: the pages show it."""
LONGEST_WAIT = timedelta(hours=1)
DELIVER_SECONDS = 60.0
"""What is not sent by then waits for the next time: a job must end."""
_HEARTBEAT = "heartbeat"
_WORDS = {Tone.BAD: "At risk", Tone.WARNING: "Warning", Tone.NOTE: "Note"}


@dataclass(frozen=True)
class Delivery:
    """What one round of messages came to."""

    delivered: int = 0
    failed: int = 0
    error: str = ""  # of the last that failed


class Beat(enum.Enum):
    """What the dead man's switch is told; the value is what follows its address."""

    START = "/start"
    SUCCESS = ""
    FAILURE = "/fail"


@dataclass(frozen=True)
class Heartbeat:
    """The last that the dead man's switch was told, or could not be."""

    at: datetime
    beat: Beat
    error: str


@dataclass(frozen=True)
class _Claimed:
    """A change that this process, and no other, is to tell."""

    id: int
    attempts: int
    reached: tuple[str, ...]
    message: Message


def deliver(ctx: Context, seconds: float = DELIVER_SECONDS) -> Delivery:
    """Tell what is due. The oldest change of an alert comes first: an end is not told before
    the beginning was.

    Args:
        seconds: no further message is begun after that.
    """
    addresses = ctx.settings.alert_addresses
    delivered, failed, error = 0, 0, ""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (claimed := _claim(ctx)) is not None:
        outcomes = targets.send(addresses, claimed.message, claimed.reached)
        wrong = "; ".join(f"{each.name}: {each.error}" for each in outcomes if each.error)
        _settle(ctx, claimed, outcomes, wrong)
        if wrong:
            failed, error = failed + 1, wrong
            log.warning("an alert could not be delivered: %s", wrong)
        else:
            delivered += 1
    return Delivery(delivered, failed, error)


def deliver_aside(ctx: Context) -> None:
    """The same beside the caller: a page does not wait for a mail server."""
    with read(ctx.control) as connection:
        waiting = connection.execute(select(alert_changes.c.id).where(_waits(ctx)).limit(1)).first()
    if waiting is not None:
        threading.Thread(target=_deliver_quietly, args=(ctx,), daemon=True, name="alerts").start()


def _deliver_quietly(ctx: Context) -> None:
    try:
        deliver(ctx)
    except Exception:  # nobody is there to hear of it; the changes are still due
        log.exception("alerts could not be delivered")


def send_test(ctx: Context, actor: Actor) -> tuple[Outcome, ...]:
    """Send a message to every target, and say what came back from each.

    Raises:
        Denied: without `alert.manage`.
        Misconfigured: there is no target.
    """
    require(actor, Permission.ALERT_MANAGE)
    addresses = ctx.settings.alert_addresses
    if not addresses:
        raise Misconfigured(
            "ALERT_URLS is not set: there is nobody to send a message to. Nothing was sent.",
            "docs/alerts.md says which addresses there are.",
        )
    message = Message(
        f"Test message ({_installation(ctx)})",
        f"{actor.name} sent this to see whether alerts arrive. They do.",
        Tone.NOTE,
    )
    found = targets.send(addresses, message)
    wrong = "; ".join(f"{each.name}: {each.error}" for each in found if each.error)
    taken = sum(not each.error for each in found)
    audit.note(
        ctx,
        actor,
        "alert.test",
        ("alert", "test"),
        f"Sent a test message: {taken} of {len(found)} targets took it"
        + (f". {wrong}" if wrong else ""),
        outcome="failed" if wrong else "done",
    )
    return found


def beat(ctx: Context, what: Beat) -> None:
    """Tell the dead man's switch, where there is one; what goes wrong is only kept."""
    secret = ctx.settings.heartbeat_url
    if secret is None:
        return
    error = targets.ping(secret.get_secret_value(), what.value)
    if error:
        log.warning("the dead man's switch was not told (%s): %s", what.name.lower(), error)
    told = {"at": ctx.now().isoformat(), "beat": what.value, "error": error}
    with write(ctx.control) as connection:
        remember(connection, ctx, _HEARTBEAT, told)


def last_beat(ctx: Context, actor: Actor) -> Heartbeat | None:
    """The last that the dead man's switch was told; None where it never was.

    Raises:
        Denied: without `monitoring.view`.
    """
    require(actor, Permission.MONITORING_VIEW)
    with read(ctx.control) as connection:
        told = recall(connection, ctx, _HEARTBEAT)
    if not told:
        return None
    return Heartbeat(datetime.fromisoformat(told["at"]), Beat(told["beat"]), told["error"])


def _waits(ctx: Context) -> ColumnElement[bool]:
    """Changes that are to be told now: due, or left by a process that died while sending."""
    mine = select(alerts.c.id).where(alerts.c.instance == ctx.settings.instance_id)
    return (
        alert_changes.c.delivery.in_((DUE, SENDING))
        & (alert_changes.c.next_try_at <= ctx.now())
        & alert_changes.c.alert_id.in_(mine)
    )


def _claim(ctx: Context) -> _Claimed | None:
    """Take the oldest change that waits, and let nobody else have it."""
    now = ctx.now()
    # Only the oldest that is not told yet of each alert.
    first = (
        select(func.min(alert_changes.c.id))
        .where(alert_changes.c.delivery.in_((DUE, SENDING)))
        .group_by(alert_changes.c.alert_id)
    )
    with write(ctx.control) as connection:
        _give_up(ctx, connection)
        row = connection.execute(
            select(alert_changes, alerts)
            .join(alerts, alerts.c.id == alert_changes.c.alert_id)
            .where(_waits(ctx), alert_changes.c.id.in_(first))
            .order_by(alert_changes.c.id)
            .limit(1)
            .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
        ).first()
        if row is None:
            return None
        taken = _Claimed(
            row.alert_changes_id,
            row.alert_changes_attempts + 1,
            tuple(row.alert_changes_reached),
            _message(ctx, row),
        )
        connection.execute(
            update(alert_changes)
            .where(alert_changes.c.id == taken.id)
            .values(delivery=SENDING, attempts=taken.attempts, next_try_at=now + CLAIM)
        )
    return taken


def _give_up(ctx: Context, connection: Connection) -> None:
    if not ctx.settings.alert_addresses:
        connection.execute(update(alert_changes).where(_waits(ctx)).values(delivery=NONE))
        return
    too_old = alert_changes.c.at < ctx.now() - OLDEST
    connection.execute(update(alert_changes).where(_waits(ctx), too_old).values(delivery=GIVEN_UP))


def _settle(ctx: Context, claimed: _Claimed, outcomes: tuple[Outcome, ...], wrong: str) -> None:
    now = ctx.now()
    reached = [*claimed.reached, *(each.key for each in outcomes if not each.error)]
    values: dict[str, Any] = {"reached": reached}
    if wrong:
        wait = min(timedelta(minutes=2 ** min(claimed.attempts - 1, 6)), LONGEST_WAIT)
        values |= {"delivery": DUE, "next_try_at": now + wait, "delivery_error": wrong}
    else:
        values |= {
            "delivery": DELIVERED,
            "next_try_at": None,
            "delivered_at": now,
            "delivery_error": None,
        }
    # Whoever claimed it since, because this took too long, says how it ended.
    mine = (alert_changes.c.id == claimed.id) & (alert_changes.c.attempts == claimed.attempts)
    with write(ctx.control) as connection:
        connection.execute(update(alert_changes).where(mine).values(**values))


def _message(ctx: Context, row: Any) -> Message:
    over = row.alert_changes_what == "resolved"
    tone = None if over else Tone(row.alerts_severity)
    word = "Resolved" if tone is None else _WORDS[tone]
    lines = [row.alerts_message]
    if over:
        ended = row.alerts_resolved_at or row.alert_changes_at
        lines = [
            "This is over: " + row.alerts_message,
            f"From {_time(row.alerts_since)} to {_time(ended)}.",
        ]
    else:
        lines += [row.alert_changes_note, row.alerts_hint, f"Since {_time(row.alerts_since)}."]
    if ctx.settings.desk_url:
        lines.append(f"{ctx.settings.desk_url.rstrip('/')}/monitoring")
    lines.append(f"{_installation(ctx)}, alert {row.alerts_id}.{row.alert_changes_id}")
    return Message(
        f"{word}: {named(row.alerts_rule).title} ({_installation(ctx)})",
        "\n".join(line for line in lines if line),
        tone,
    )


def _installation(ctx: Context) -> str:
    return f"{ctx.settings.instance_id}, {ctx.settings.app_env}, {ctx.host}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
