"""Guessing made slow: failed attempts are counted in the control database.

By name and by address, whether or not the name exists, so that a pause tells nothing.
An attempt counts from before it is checked: guesses sent all at once don't slip through.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select, update

from db.control import audit_log, sign_in_attempts
from db.engine import write
from services.core import audit
from services.core.access import Actor, ActorKind
from services.core.context import Context
from services.core.errors import Refused
from services.people.model import as_typed

SETUP = "(setup code)"
"""Stands where a user name would for the first-administrator form; no user name looks so."""
PAUSE = timedelta(minutes=15)
NAME_LIMIT = 5
ADDRESS_LIMIT = 20
"""A whole office may share one address, so it may fail more often than one name."""
_KEPT = timedelta(days=30)


class TooManyAttempts(Refused):
    """Too many failed attempts; says when to try again, not whether the name exists."""

    def __init__(self, wait: timedelta) -> None:
        seconds = math.ceil(wait.total_seconds())
        time = f"{seconds} s" if seconds < 90 else f"{math.ceil(seconds / 60)} minutes"
        super().__init__(
            "Too many attempts failed; this one was not looked at.", f"Try again in {time}."
        )
        self.wait = wait


def begin(ctx: Context, name: str, address: str) -> int:
    """Let an attempt go on, counted as failed until it succeeds.

    Args:
        name: as typed.
        address: of the browser; empty when unknown.

    Returns:
        The attempt's number, for `succeeded`.

    Raises:
        TooManyAttempts: not now.
    """
    name, address, now = _name(name), address[:64], ctx.now()
    with write(ctx.control) as connection:
        until = _paused_until(connection, name, address, now)
        if until is None or until <= now:
            connection.execute(delete(sign_in_attempts).where(sign_in_attempts.c.at < now - _KEPT))
            return int(
                connection.execute(
                    insert(sign_in_attempts)
                    .values(at=now, username=name, address=address, succeeded=False)
                    .returning(sign_in_attempts.c.id)
                ).scalar_one()
            )
        _note_refusal(connection, ctx, name, address, now)
    raise TooManyAttempts(until - now)


def succeeded(connection: Connection, attempt: int) -> None:
    """Mark an attempt as good, in the caller's transaction; the name's failures count no more."""
    connection.execute(
        update(sign_in_attempts).where(sign_in_attempts.c.id == attempt).values(succeeded=True)
    )


def forget(connection: Connection, name: str) -> None:
    """Drop the attempts for a name, in the caller's transaction."""
    connection.execute(delete(sign_in_attempts).where(sign_in_attempts.c.username == _name(name)))


def failed(ctx: Context, name: str, address: str, action: str = "sign_in.failed") -> None:
    """Audit an attempt that failed: the name as typed, never what was typed as the secret."""
    with write(ctx.control) as connection:
        _record(connection, ctx, action, name, address, "Failed attempt", "failed")


def _paused_until(
    connection: Connection, name: str, address: str, now: datetime
) -> datetime | None:
    table = sign_in_attempts
    last_good = (
        select(func.coalesce(func.max(table.c.id), 0))
        .where(table.c.username == name, table.c.succeeded)
        .scalar_subquery()
    )
    recent = (~table.c.succeeded, table.c.at > now - PAUSE)
    counted = select(func.count(), func.max(table.c.at)).select_from(table)
    by_name = connection.execute(
        counted.where(table.c.username == name, table.c.id > last_good, *recent)
    ).one()
    by_address = connection.execute(counted.where(table.c.address == address, *recent)).one()
    ends = []
    if by_name[1] is not None:
        ends.append(by_name[1] + _wait(by_name[0]))
    if by_address[0] >= ADDRESS_LIMIT and address:
        ends.append(by_address[1] + PAUSE)
    return max(ends, default=None)


def _wait(failures: int) -> timedelta:
    """After the second failure 2 s, then 4, 8, and from the fifth on a quarter of an hour."""
    if failures >= NAME_LIMIT:
        return PAUSE
    return timedelta(seconds=2 ** (failures - 1)) if failures > 1 else timedelta()


def _note_refusal(
    connection: Connection, ctx: Context, name: str, address: str, now: datetime
) -> None:
    # Once a minute is enough to see it; a flood of guesses must not flood the log.
    noted = connection.scalar(
        select(audit_log.c.id)
        .where(
            audit_log.c.action == "sign_in.refused",
            audit_log.c.subject_id == name,
            audit_log.c.at > now - timedelta(minutes=1),
        )
        .limit(1)
    )
    if noted is None:
        what = "Attempt refused, too many failed before:"
        _record(connection, ctx, "sign_in.refused", name, address, what, "refused")


def _record(
    connection: Connection,
    ctx: Context,
    action: str,
    name: str,
    address: str,
    what: str,
    outcome: str,
) -> None:
    audit.record(
        connection,
        ctx,
        Actor("", "Somebody", ActorKind.ACCOUNT),
        action,
        ("sign-in name", _name(name)),
        f"{what} as {_name(name)} from {address or 'an unknown address'}",
        details={"address": address},
        outcome=outcome,
    )


def _name(name: str) -> str:
    return as_typed(name)[:64]
