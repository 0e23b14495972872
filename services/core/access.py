"""Who may do what. Permissions are an enum; roles are sets of them."""

from __future__ import annotations

import enum
import getpass
import os
from dataclasses import dataclass, field

from services.core.errors import Denied


class Permission(enum.StrEnum):
    """One thing an account may do; pages and services ask for exactly these."""

    OVERVIEW_VIEW = "overview.view"
    KB_VIEW = "kb.view"
    KB_EDIT = "kb.edit"
    KB_PUBLISH = "kb.publish"
    KB_PURGE = "kb.purge"
    BACKUP_VIEW = "backup.view"
    BACKUP_CREATE = "backup.create"
    BACKUP_DOWNLOAD = "backup.download"
    BACKUP_PIN = "backup.pin"
    RESTORE = "restore.run"
    DRILL_RUN = "drill.run"
    RETENTION_RUN = "retention.run"
    STORE_MANAGE = "store.manage"
    MONITORING_VIEW = "monitoring.view"
    ALERT_MANAGE = "alert.manage"
    ACCOUNTS_MANAGE = "accounts.manage"
    AUDIT_VIEW = "audit.view"
    SAMPLE_MANAGE = "sample.manage"


_VIEW = frozenset({Permission.OVERVIEW_VIEW, Permission.KB_VIEW, Permission.MONITORING_VIEW})

ROLES: dict[str, frozenset[Permission]] = {
    "admin": frozenset(Permission),
    "editor": _VIEW | {Permission.KB_EDIT, Permission.KB_PUBLISH},
    "operator": _VIEW
    | {
        Permission.BACKUP_VIEW,
        Permission.BACKUP_CREATE,
        Permission.BACKUP_DOWNLOAD,
        Permission.BACKUP_PIN,
        Permission.RESTORE,
        Permission.DRILL_RUN,
        Permission.ALERT_MANAGE,
    },
    "manager": _VIEW | {Permission.BACKUP_VIEW},
}
"""Built-in roles (DESIGN, section 6)."""


class ActorKind(enum.StrEnum):
    """Where a call comes from."""

    ACCOUNT = "account"
    COMMAND_LINE = "command line"
    SYSTEM = "system"


@dataclass(frozen=True)
class Actor:
    """Who asks. Built from the account row on every rerun, never kept."""

    id: str
    name: str
    kind: ActorKind
    permissions: frozenset[Permission] = field(default_factory=frozenset)
    role: str = ""

    def may(self, permission: Permission) -> bool:
        """Whether this actor holds `permission`."""
        return permission in self.permissions


def require(actor: Actor, permission: Permission) -> None:
    """Stop unless `actor` holds `permission`.

    Raises:
        Denied: says what was refused and whom to ask.
    """
    if not actor.may(permission):
        raise Denied(
            f"{actor.name or 'Nobody'} may not do this ({permission.value}). Nothing was changed.",
            "Ask an administrator for a role that includes it.",
        )


def system_actor(name: str = "system") -> Actor:
    """The desk itself, for scheduled and start-up work."""
    return Actor(name, name, ActorKind.SYSTEM, frozenset(Permission))


def command_line_actor(user: str = "") -> Actor:
    """Whoever has a shell on the machine: they hold the files, so they hold every permission.

    Args:
        user: for the audit log; the operating system's user name by default.
    """
    user = user or _system_user()
    return Actor(f"cli:{user}", user, ActorKind.COMMAND_LINE, frozenset(Permission), "command line")


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in many containers
        return f"uid {os.getuid()}"
