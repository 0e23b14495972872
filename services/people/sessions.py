"""Who is signed in where. The row decides; the browser only holds a random token.

Every rerun asks `check`, so what is revoked is gone at once, in every tab.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from db.control import accounts, auth_sessions
from db.engine import read, write
from services.core import audit
from services.core.access import Actor
from services.core.context import Context
from services.people.model import Account, actor_of, from_row

LIFETIME = timedelta(hours=12)
"""A working day; then one signs in again."""
log = logging.getLogger("desk.people")

_TOUCH = timedelta(minutes=1)
_KEPT = timedelta(days=30)


@dataclass(frozen=True)
class Session:
    """Somebody who is signed in, as the control database says now."""

    account: Account
    actor: Actor
    created_at: datetime
    expires_at: datetime


def token_hash(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def begin(connection: Connection, ctx: Context, account_id: str) -> str:
    """Write a session into the caller's transaction.

    Args:
        connection: a write transaction on the control database.

    Returns:
        The token for the browser; it is kept nowhere else.
    """
    now = ctx.now()
    connection.execute(delete(auth_sessions).where(auth_sessions.c.expires_at < now - _KEPT))
    token = secrets.token_urlsafe(32)
    connection.execute(
        insert(auth_sessions).values(
            token_hash=token_hash(token),
            account_id=account_id,
            created_at=now,
            expires_at=now + LIFETIME,
            last_seen_at=now,
        )
    )
    return token


def check(ctx: Context, token: str, *, touch: bool = True) -> Session | None:
    """Who holds `token`, or None: unknown, revoked, expired, disabled or outdated.

    Args:
        token: from the browser; any text.
        touch: note that the person was seen, at most once a minute.
    """
    if not token or len(token) > 200:
        return None
    now, key = ctx.now(), token_hash(token)
    with read(ctx.control) as connection:
        row = connection.execute(
            select(auth_sessions).where(
                auth_sessions.c.token_hash == key,
                auth_sessions.c.revoked_at.is_(None),
                auth_sessions.c.expires_at > now,
            )
        ).first()
        if row is None:
            return None
        account = from_row(
            connection.execute(select(accounts).where(accounts.c.id == row.account_id)).one()
        )
    if not account.enabled or row.created_at < account.valid_after:
        return None
    if touch and now - row.last_seen_at >= _TOUCH:
        _touch(ctx, key)
    return Session(account, actor_of(account), row.created_at, row.expires_at)


def _touch(ctx: Context, key: str) -> None:
    # Only a note: a full disk must not keep people from the page that says so.
    try:
        with write(ctx.control) as connection:
            connection.execute(
                update(auth_sessions)
                .where(auth_sessions.c.token_hash == key)
                .values(last_seen_at=ctx.now())
            )
    except SQLAlchemyError as error:
        log.warning("could not note that somebody was seen: %s", error)


def revoke_all(connection: Connection, ctx: Context, account_id: str, why: str) -> None:
    """End every sign-in of an account, in the caller's transaction."""
    connection.execute(
        update(auth_sessions)
        .where(auth_sessions.c.account_id == account_id, auth_sessions.c.revoked_at.is_(None))
        .values(revoked_at=ctx.now(), revoked_why=why)
    )


def end(ctx: Context, token: str) -> None:
    """Sign out: the token counts no more, in whichever tab it is held."""
    session = check(ctx, token, touch=False)
    with write(ctx.control) as connection:
        ended = connection.execute(
            update(auth_sessions)
            .where(
                auth_sessions.c.token_hash == token_hash(token),
                auth_sessions.c.revoked_at.is_(None),
            )
            .values(revoked_at=ctx.now(), revoked_why="signed out")
        )
        if session is not None and ended.rowcount:
            audit.record(
                connection,
                ctx,
                session.actor,
                "session.sign_out",
                ("account", session.account.id),
                f"{session.account.username} signed out",
            )
