"""What an account is: the row without its secrets, and what it lets a person do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.core.access import ROLES, Actor, ActorKind
from services.core.errors import Invalid

_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@-]{1,63}")


@dataclass(frozen=True)
class Account:
    """Somebody who may sign in, as the row stands. Holds no secret."""

    id: str
    username: str
    display_name: str
    role: str
    enabled: bool
    has_password: bool
    invite_expires_at: datetime | None
    valid_after: datetime
    created_at: datetime
    created_by: str
    last_sign_in_at: datetime | None
    seen_audit_id: int | None
    version: int

    def state(self, now: datetime) -> str:
        """One word for a list: active, disabled, invited, or expired (the one-time secret)."""
        if not self.enabled:
            return "disabled"
        if self.has_password:
            return "active"
        usable = self.invite_expires_at is not None and self.invite_expires_at > now
        return "invited" if usable else "expired"


def actor_of(account: Account) -> Actor:
    """What an account may do, by its role; a role that no longer exists gives nothing."""
    granted = ROLES.get(account.role, frozenset())
    return Actor(account.id, account.display_name, ActorKind.ACCOUNT, granted, account.role)


def from_row(row: Any) -> Account:
    """An account from its row; the hashes stay behind."""
    values = dict(row._mapping)
    values["has_password"] = values.pop("password_hash") is not None
    values.pop("invite_hash")
    return Account(**values)


def as_typed(name: str) -> str:
    """A name that somebody typed, fit to be looked up and recorded.

    Half of a surrogate pair, which a hand-made request can hold, is in no name and would be
    refused by the database as a bug; so would a zero byte, by PostgreSQL.
    """
    sound = name.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
    return sound.strip().lower()


def check_names(username: str, display_name: str) -> tuple[str, str]:
    """Both names as they are kept.

    Raises:
        Invalid: one of them can't be used; says why.
    """
    username, display_name = as_typed(username), " ".join(display_name.split())
    if not _USERNAME.fullmatch(username):
        raise Invalid(
            "A user name has 2 to 64 letters, digits or . _ - @, and begins with a letter or "
            "digit. Nothing was created.",
            "An email address works too.",
        )
    if not display_name or len(display_name) > 120 or not display_name.isprintable():
        raise Invalid(
            "The name that others see needs 1 to 120 printable characters. Nothing was created."
        )
    return username, display_name
