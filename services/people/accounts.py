"""Accounts: who may sign in, and as what. Run as a module it is the way back in.

    python -m services.people.accounts create ada --name "Ada Novak" --role admin

Whatever changes an account revokes its sign-ins and is audited in the same transaction.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from db.control import accounts, desk_state
from db.engine import read, write
from services.core import audit
from services.core.access import ROLES, Actor, ActorKind, Permission, require
from services.core.context import Context
from services.core.errors import Conflict, Denied, Invalid, Refused
from services.people import guards, passwords, sessions, setup, throttle
from services.people.model import Account, actor_of, check_names, from_row

SECRET_LIFETIME = timedelta(hours=72)
"""How long a one-time secret may be used."""
_FIRST = "first_administrator"


def first_start(ctx: Context) -> bool:
    """Whether no account exists yet."""
    with read(ctx.control) as connection:
        return connection.execute(select(accounts.c.id).limit(1)).first() is None


def create_first(
    ctx: Context, code: str, username: str, display_name: str, password: str, address: str = ""
) -> Account:
    """Create the first administrator for whoever knows the setup code.

    Args:
        code: from the server's console, or `DESK_SETUP_CODE`.
        password: their own.
        address: of the browser, for the throttle.

    Raises:
        Conflict: somebody was faster, by browser or by command line.
        Refused: the code is wrong, or was wrong too often.
        Invalid: a name or the password can't be used.
    """
    taken = Conflict(
        "The first administrator has been created already; nothing was changed.",
        "Sign in, or ask that administrator for an account.",
    )
    if not first_start(ctx):
        raise taken
    username, display_name = check_names(username, display_name)
    passwords.check_new(password, username)
    attempt = throttle.begin(ctx, throttle.SETUP, address)
    if not setup.is_setup_code(ctx, code):
        if not first_start(ctx):
            # Somebody was faster, the code is gone, and asking for it has made another.
            setup.forget_setup_code(ctx)
            raise taken
        throttle.failed(ctx, throttle.SETUP, address, "setup.failed")
        raise Refused(
            "This is not the setup code; nothing was created.",
            "It is printed in the server's console, and kept in instance/setup-code there.",
        )
    hashed = passwords.make_hash(password)
    with write(ctx.control) as connection:
        if connection.scalar(select(func.count()).select_from(accounts)):
            raise taken
        try:
            # The key is the referee where transactions may overlap (PostgreSQL).
            connection.execute(insert(desk_state).values(key=_FIRST, value=ctx.now().isoformat()))
        except IntegrityError as error:
            raise taken from error
        throttle.succeeded(connection, attempt)
        account_id = _insert(
            connection,
            ctx,
            username,
            display_name,
            "admin",
            created_by="first start",
            opening={"password_hash": hashed},
        )
        account = _get(connection, account_id)
        _record(connection, ctx, actor_of(account), "create", account, "as first administrator")
    setup.forget_setup_code(ctx)
    return account


def list_accounts(ctx: Context, actor: Actor) -> tuple[Account, ...]:
    """Every account, by name.

    Raises:
        Denied: without `accounts.manage`.
    """
    require(actor, Permission.ACCOUNTS_MANAGE)
    with read(ctx.control) as connection:
        return tuple(
            from_row(row)
            for row in connection.execute(select(accounts).order_by(accounts.c.username))
        )


def create(
    ctx: Context,
    actor: Actor,
    username: str,
    display_name: str,
    role: str,
    *,
    password: str | None = None,
) -> tuple[Account, str]:
    """Make an account that its owner opens with a one-time secret and a password of their own.

    Args:
        username: what they sign in with; kept in lower case.
        display_name: what others see.
        role: one of `ROLES`, and nothing that `actor` does not hold.
        password: set at once instead of a secret; on the command line only.

    Returns:
        The account, and the secret: it is shown once and kept nowhere. Empty with `password`.

    Raises:
        Denied: without `accounts.manage`, or the role may more than the actor.
        Invalid: a name is malformed or taken, or there is no such role.
    """
    require(actor, Permission.ACCOUNTS_MANAGE)
    username, display_name = check_names(username, display_name)
    guards.require_grantable(actor, role)
    secret, opening = _opening(ctx, actor, username, password)
    with write(ctx.control) as connection:
        account_id = _insert(
            connection, ctx, username, display_name, role, created_by=actor.name, opening=opening
        )
        account = _get(connection, account_id)
        _record(connection, ctx, actor, "create", account, f"as {role}", {"role": role})
    setup.forget_setup_code(ctx)
    return account, secret


def set_role(ctx: Context, actor: Actor, account_id: str, role: str, version: int) -> Account:
    """Give an account another role; it takes effect at once and its sign-ins end.

    Args:
        version: of the account that the caller looked at.

    Raises:
        Denied: not allowed, one's own account, or more than the actor holds.
        Conflict: the account has changed since, or would be the last administrator lost.
    """
    require(actor, Permission.ACCOUNTS_MANAGE)
    guards.require_grantable(actor, role)
    with write(ctx.control) as connection:
        before = guards.locked(connection, actor, account_id, version, "change the role of")
        if before.role == role:
            return before
        if Permission.ACCOUNTS_MANAGE not in ROLES[role]:
            guards.require_other_administrator(connection, before)
        _change(connection, ctx, account_id, "role changed", role=role)
        details = {"from": before.role, "to": role}
        _record(connection, ctx, actor, "role", before, f"{before.role} to {role}", details)
        return _get(connection, account_id)


def disable(ctx: Context, actor: Actor, account_id: str, version: int) -> Account:
    """Shut an account: its sign-ins end at once, and it can't sign in until enabled.

    Raises:
        Denied: not allowed, or one's own account.
        Conflict: the account has changed since, or is the last administrator.
    """
    return _set_enabled(ctx, actor, account_id, version, False)


def enable(ctx: Context, actor: Actor, account_id: str, version: int) -> Account:
    """Open a disabled account again; its password is the same as before.

    Raises:
        Denied: not allowed.
        Conflict: the account has changed since.
    """
    return _set_enabled(ctx, actor, account_id, version, True)


def reset(
    ctx: Context, actor: Actor, account_id: str, version: int, *, password: str | None = None
) -> tuple[Account, str]:
    """Take the password away and give a new one-time secret; pauses for the name end too.

    Args:
        version: of the account that the caller looked at.
        password: set at once instead of a secret; on the command line only.

    Returns:
        The account, and the secret: it is shown once and kept nowhere. Empty with `password`.

    Raises:
        Denied: not allowed, or one's own account (change the password instead).
        Conflict: the account has changed since, or nobody else could sign in as administrator.
    """
    require(actor, Permission.ACCOUNTS_MANAGE)
    with write(ctx.control) as connection:
        before = guards.locked(connection, actor, account_id, version, "reset")
        secret, opening = _opening(ctx, actor, before.username, password)
        if actor.kind is not ActorKind.COMMAND_LINE:
            guards.require_other_administrator(connection, before)
        _change(
            connection,
            ctx,
            account_id,
            "password reset",
            **opening,
        )
        # Failed guesses of somebody else must not keep the person from the new secret.
        throttle.forget(connection, before.username)
        said = "(new one-time secret)" if secret else "(new password)"
        _record(connection, ctx, actor, "reset", before, said)
        return _get(connection, account_id), secret


def find(ctx: Context, actor: Actor, username: str) -> Account:
    """One account by the name it signs in with.

    Raises:
        Denied: without `accounts.manage`.
        Invalid: there is none.
    """
    require(actor, Permission.ACCOUNTS_MANAGE)
    with read(ctx.control) as connection:
        row = connection.execute(
            select(accounts).where(accounts.c.username == username.strip().lower())
        ).first()
    if row is None:
        raise Invalid(f"There is no account named {username!r}; nothing was changed.")
    return from_row(row)


def _opening(
    ctx: Context, actor: Actor, username: str, password: str | None
) -> tuple[str, dict[str, Any]]:
    """What lets somebody in: a secret and the columns that keep it, or a password's columns."""
    if password is not None:
        if actor.kind is not ActorKind.COMMAND_LINE:
            raise Denied("Only the owner of an account chooses its password; nothing was changed.")
        passwords.check_new(password, username)
        return "", {
            "password_hash": passwords.make_hash(password),
            "invite_hash": None,
            "invite_expires_at": None,
        }
    secret = setup.new_code(4, 5)
    return secret, {
        "password_hash": None,
        "invite_hash": setup.fingerprint(secret),
        "invite_expires_at": ctx.now() + SECRET_LIFETIME,
    }


def _insert(
    connection: Connection,
    ctx: Context,
    username: str,
    display_name: str,
    role: str,
    *,
    created_by: str,
    opening: dict[str, Any],
) -> str:
    taken = connection.execute(
        select(accounts.c.username).where(
            (accounts.c.username == username)
            | (func.lower(accounts.c.display_name) == display_name.lower())
        )
    ).first()
    if taken is not None:
        same = "user name" if taken.username == username else "displayed name"
        raise Invalid(
            f"An account with this {same} exists already; nothing was created.",
            "Choose another one, so that the audit log can tell two people apart.",
        )
    account_id, now = secrets.token_hex(8), ctx.now()
    connection.execute(
        insert(accounts).values(
            id=account_id,
            username=username,
            display_name=display_name,
            role=role,
            enabled=True,
            valid_after=now,
            created_at=now,
            created_by=created_by[:120],
            version=1,
            **opening,
        )
    )
    return account_id


def _set_enabled(
    ctx: Context, actor: Actor, account_id: str, version: int, enabled: bool
) -> Account:
    require(actor, Permission.ACCOUNTS_MANAGE)
    verb = "enable" if enabled else "disable"
    with write(ctx.control) as connection:
        before = guards.locked(connection, actor, account_id, version, verb)
        if before.enabled == enabled:
            return before
        if enabled:
            guards.require_grantable(actor, before.role)
        else:
            guards.require_other_administrator(connection, before)
        _change(connection, ctx, account_id, f"account {verb}d", enabled=enabled)
        _record(connection, ctx, actor, verb, before)
        return _get(connection, account_id)


def _get(connection: Connection, account_id: str) -> Account:
    return from_row(connection.execute(select(accounts).where(accounts.c.id == account_id)).one())


def _change(connection: Connection, ctx: Context, account_id: str, why: str, **values: Any) -> None:
    now = ctx.now()
    connection.execute(
        update(accounts)
        .where(accounts.c.id == account_id)
        .values(valid_after=now, version=accounts.c.version + 1, **values)
    )
    sessions.revoke_all(connection, ctx, account_id, why)


def _record(
    connection: Connection,
    ctx: Context,
    actor: Actor,
    verb: str,
    account: Account,
    more: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    words = {"create": "Created", "role": "Changed the role of", "reset": "Reset"}
    said = words.get(verb, f"{verb.title()}d")
    audit.record(
        connection,
        ctx,
        actor,
        f"account.{verb}",
        ("account", account.id),
        f"{said} {account.username} {more}".strip(),
        details={"username": account.username, **(details or {})},
    )


if __name__ == "__main__":
    from services.people.command_line import main

    raise SystemExit(main())
