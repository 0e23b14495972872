"""Signing in, the first password, and changing one's own."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from db.control import accounts, audit_log, auth_sessions
from db.engine import read, write
from services.core import audit
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Conflict, Denied, Refused
from services.people import passwords, sessions, setup, throttle
from services.people.model import Account, actor_of, as_typed, from_row

WRONG = "Name or password is wrong, or the account is disabled."


@dataclass(frozen=True)
class SignedIn:
    """It worked: the browser gets the token."""

    account: Account
    token: str


@dataclass(frozen=True)
class FirstPassword:
    """The one-time secret is right: now the person chooses a password (`accept_invite`)."""

    username: str
    display_name: str


def sign_in(
    ctx: Context, username: str, password: str, address: str = ""
) -> SignedIn | FirstPassword:
    """Check a name with its password, or with its one-time secret.

    Every failure has the same words and takes the same time, whether the name exists,
    the password is wrong or the account is disabled.

    Args:
        username: as typed.
        password: as typed.
        address: of the browser, for the throttle.

    Raises:
        TooManyAttempts: says when to try again.
        Refused: `WRONG`.
    """
    attempt = throttle.begin(ctx, username, address)
    row = _row(ctx, username)
    right = passwords.matches(password, row.password_hash if row else None)
    invited = _is_secret(ctx, row, password)
    if row is None or not row.enabled or not (right or invited):
        throttle.failed(ctx, username, address)
        raise Refused(WRONG, "Check both and try again, or ask an administrator to reset it.")
    with write(ctx.control) as connection:
        throttle.succeeded(connection, attempt)
        if not right:
            return FirstPassword(row.username, row.display_name)
        token = _begin(connection, ctx, row.id, row.version)
    return SignedIn(from_row(row), token)


def accept_invite(
    ctx: Context, username: str, secret: str, password: str, address: str = ""
) -> SignedIn:
    """Use a one-time secret up: the person's own password takes its place.

    Args:
        username: as typed.
        secret: the one-time secret.
        password: the new password.
        address: of the browser, for the throttle.

    Raises:
        Invalid: the password can't be used; the secret stays good.
        TooManyAttempts: says when to try again.
        Refused: the secret is wrong, used or expired, or the account is disabled.
    """
    passwords.check_new(password, username)
    attempt = throttle.begin(ctx, username, address)
    row = _row(ctx, username)
    if row is None or not row.enabled or not _is_secret(ctx, row, secret):
        throttle.failed(ctx, username, address)
        raise Refused(
            "This one-time secret is wrong, used or expired; nothing was changed.",
            "Ask an administrator for a new one.",
        )
    hashed = passwords.make_hash(password)
    with write(ctx.control) as connection:
        _replace_password(connection, ctx, row, hashed, accounts.c.invite_hash == row.invite_hash)
        throttle.succeeded(connection, attempt)
        _record(connection, ctx, actor_of(from_row(row)), row, "set their first password")
        token = _begin(connection, ctx, row.id, row.version + 1)
    return SignedIn(from_row(row), token)


def change_password(
    ctx: Context, actor: Actor, current: str, password: str, address: str = ""
) -> SignedIn:
    """Change one's own password; every other browser is signed out.

    Args:
        actor: whose password it is.
        current: the password so far; guesses are throttled like sign-ins.
        password: the new one.
        address: of the browser, for the throttle.

    Returns:
        A new sign-in for this browser: the old one ended with the old password.

    Raises:
        Denied: the actor has no account.
        Invalid: the new password can't be used.
        TooManyAttempts: says when to try again.
        Refused: the current password is wrong; nothing was changed.
    """
    with read(ctx.control) as connection:
        row = connection.execute(select(accounts).where(accounts.c.id == actor.id)).first()
    if row is None or not row.enabled:
        raise Denied("Only somebody who is signed in can change a password; nothing was changed.")
    passwords.check_new(password, row.username)
    attempt = throttle.begin(ctx, row.username, address)
    if not passwords.matches(current, row.password_hash):
        throttle.failed(ctx, row.username, address, "account.password_failed")
        raise Refused("The current password is wrong; nothing was changed.")
    hashed = passwords.make_hash(password)
    with write(ctx.control) as connection:
        _replace_password(
            connection, ctx, row, hashed, accounts.c.password_hash == row.password_hash
        )
        throttle.succeeded(connection, attempt)
        _record(connection, ctx, actor, row, "changed their password")
        token = _begin(connection, ctx, row.id, row.version + 1)
    return SignedIn(from_row(row), token)


def _row(ctx: Context, username: str) -> Any:
    with read(ctx.control) as connection:
        return connection.execute(
            select(accounts).where(accounts.c.username == as_typed(username))
        ).first()


def _is_secret(ctx: Context, row: Any, typed: str) -> bool:
    known = row.invite_hash if row is not None and row.invite_hash else "0" * 64
    same = hmac.compare_digest(setup.fingerprint(typed), known)
    expires = row.invite_expires_at if row is not None else None
    return same and expires is not None and expires > ctx.now()


def _replace_password(
    connection: Connection, ctx: Context, row: Any, hashed: str, unchanged: Any
) -> None:
    changed = connection.execute(
        update(accounts)
        .where(accounts.c.id == row.id, accounts.c.version == row.version, unchanged)
        .values(
            password_hash=hashed,
            invite_hash=None,
            invite_expires_at=None,
            valid_after=ctx.now(),
            version=accounts.c.version + 1,
        )
    )
    if not changed.rowcount:
        raise Conflict(
            "The account was changed meanwhile; the password was not set.",
            "Sign in again. If that fails, ask an administrator.",
        )
    sessions.revoke_all(connection, ctx, row.id, "password changed")


def _begin(connection: Connection, ctx: Context, account_id: str, version: int) -> str:
    # Between the check and here an administrator may have shut the account.
    last_seen = connection.scalar(
        select(func.max(auth_sessions.c.last_seen_at)).where(
            auth_sessions.c.account_id == account_id
        )
    )
    seen = select(func.max(audit_log.c.id))
    if last_seen is not None:
        seen = seen.where(audit_log.c.at <= last_seen)
    begun = connection.execute(
        update(accounts)
        .where(accounts.c.id == account_id, accounts.c.version == version, accounts.c.enabled)
        .values(last_sign_in_at=ctx.now(), seen_audit_id=connection.scalar(seen))
    )
    if not begun.rowcount:
        raise Refused(WRONG, "Check both and try again, or ask an administrator to reset it.")
    account = from_row(
        connection.execute(select(accounts).where(accounts.c.id == account_id)).one()
    )
    audit.record(
        connection,
        ctx,
        actor_of(account),
        "session.sign_in",
        ("account", account.id),
        f"{account.username} signed in",
    )
    return sessions.begin(connection, ctx, account_id)


def _record(connection: Connection, ctx: Context, actor: Actor, row: Any, what: str) -> None:
    audit.record(
        connection,
        ctx,
        actor,
        "account.password",
        ("account", row.id),
        f"{row.username} {what}",
    )
