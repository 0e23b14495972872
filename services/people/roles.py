"""The built-in roles in words, for whoever has to choose one."""

from __future__ import annotations

from services.core.access import ROLES

WORDS = {
    "admin": "Everything: accounts, audit log, knowledge base, backups and restores.",
    "editor": "Edits the knowledge base. Sees Overview and Monitoring.",
    "operator": "Makes, downloads and restores backups. Sees everything but accounts and "
    "the audit log; can't edit.",
    "manager": "Looks only: Overview, Monitoring, the knowledge base and the list of backups.",
}
"""One sentence a role; a test holds them against `ROLES`."""

ORDER = tuple(role for role in WORDS if role in ROLES)
"""As a person would choose: the most powerful first."""
