"""The sidebar: which pages there are, who sees which, and who is signed in."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from services.core.access import Actor, Permission


@dataclass(frozen=True)
class Room:
    """One entry of the sidebar."""

    address: str
    title: str
    icon: str
    group: str
    permission: Permission


ROOMS = (
    Room("overview", "Overview", ":material/shield:", "", Permission.OVERVIEW_VIEW),
    Room("knowledge", "Entries", ":material/menu_book:", "Knowledge base", Permission.KB_VIEW),
    Room("backups", "Backups", ":material/backup:", "Protection", Permission.BACKUP_VIEW),
    Room("monitoring", "Monitoring", ":material/monitoring:", "Watch", Permission.MONITORING_VIEW),
    Room("accounts", "Accounts", ":material/badge:", "People", Permission.ACCOUNTS_MANAGE),
    Room("audit", "Audit log", ":material/receipt_long:", "People", Permission.AUDIT_VIEW),
)


def show(actor: Actor) -> st.Page:
    """Build the sidebar for `actor` and give the page that the address names."""
    groups: dict[str, list[st.Page]] = {}
    for room in ROOMS:
        if actor.may(room.permission):
            page = st.Page(
                f"pages/{room.address}.py",
                title=room.title,
                icon=room.icon,
                url_path=room.address,
                default=room.address == "overview",
            )
            groups.setdefault(room.group, []).append(page)
    return st.navigation(groups)
