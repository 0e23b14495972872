"""What no change of an account may do, by whatever path: the rules, inside its transaction."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from db.control import accounts
from services.core.access import ROLES, Actor, Permission
from services.core.errors import Conflict, Denied, Invalid
from services.people.model import Account, from_row

_AGAIN = "Look at the list as it is now, then try again."


def locked(
    connection: Connection, actor: Actor, account_id: str, version: int, verb: str
) -> Account:
    """The account that is to be changed, locked, as the caller looked at it.

    Args:
        version: that the caller looked at.
        verb: what is to be done with it, for the message.

    Raises:
        Denied: it is the actor's own.
        Conflict: it is gone, or somebody has changed it since.
    """
    # Every row that can sign in as administrator is locked with it, so that two people who
    # shut each other out at the same moment wait for each other (SQLite locks all anyway).
    rows = connection.execute(select(accounts).order_by(accounts.c.id).with_for_update())
    found = next((row for row in rows if row.id == account_id), None)
    if found is None:
        raise Conflict("This account is gone; nothing was changed.", _AGAIN)
    account = from_row(found)
    if account.id == actor.id:
        raise Denied(
            f"Nobody may {verb} their own account; nothing was changed.",
            "Ask another administrator. Your own password you change at the foot of the sidebar.",
        )
    if account.version != version:
        raise Conflict(
            f"Somebody else has changed {account.username} meanwhile; nothing was changed.", _AGAIN
        )
    return account


def require_grantable(actor: Actor, role: str) -> None:
    """Nobody gives a role that may more than they may.

    Raises:
        Invalid: there is no such role.
        Denied: it may more than the actor.
    """
    if role not in ROLES:
        raise Invalid(
            f"There is no role {role!r}; nothing was changed.", f"Roles: {', '.join(ROLES)}."
        )
    if not ROLES[role] <= actor.permissions:
        raise Denied(
            f"{actor.name} can't give the role {role}: it may more than they may. "
            "Nothing was changed.",
            "Ask an administrator.",
        )


def require_other_administrator(connection: Connection, account: Account) -> None:
    """Somebody else can still sign in and manage accounts once this one is lost.

    Raises:
        Conflict: nobody could.
    """
    manages = [name for name, granted in ROLES.items() if Permission.ACCOUNTS_MANAGE in granted]
    others = connection.scalar(
        select(func.count())
        .select_from(accounts)
        .where(
            accounts.c.id != account.id,
            accounts.c.role.in_(manages),
            accounts.c.enabled,
            # Somebody who was only invited may never come.
            accounts.c.password_hash.is_not(None),
        )
    )
    if account.role in manages and not others:
        raise Conflict(
            f"{account.username} is the last administrator who can sign in; nothing was changed.",
            "Give somebody else the role admin first, and let them sign in once.",
        )
