"""The sidebar: which pages there are, who sees which, and who is signed in."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from services.core.access import Permission
from services.people.sessions import Session
from services.shop.sample_state import is_sample
from ui import dialogs, sample_data, session, sign_in
from ui.format import plain, viewer_zone
from ui.messages import say_what_was_kept


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
    Room("retention", "Retention", ":material/event_repeat:", "Protection", Permission.BACKUP_VIEW),
    Room("store", "Store", ":material/database:", "Protection", Permission.BACKUP_VIEW),
    Room("monitoring", "Monitoring", ":material/monitoring:", "Watch", Permission.MONITORING_VIEW),
    Room("accounts", "Accounts", ":material/badge:", "People", Permission.ACCOUNTS_MANAGE),
    Room("audit", "Audit log", ":material/receipt_long:", "People", Permission.AUDIT_VIEW),
)

_FRONT = "front"
"""What the default page reserves: its own address is empty, and "overview" leads to it."""

_NO_ROOM = "There is no such page"
_UNKNOWN = "desk_asked_for"

_HERE = Path(__file__).parent
_visited: set[str] = set()


def reserve() -> str:
    """Register every address without its page, for somebody who is not signed in yet.

    Streamlit forgets an address that is not registered in a tab's first run; and once
    `st.navigation` has run, a server no longer runs pages/*.py by themselves.

    Returns:
        The title of the page that the address names; empty for the front page.
    """
    pages = [_page(room, _nothing) for room in ROOMS]
    named = st.navigation(
        [*pages, _front_by_name(_nothing), *_no_room(_nothing)], position="hidden"
    )
    return "" if named.title == ROOMS[0].title else named.title


def open_room(person: Session) -> None:
    """Draw the sidebar for whoever is signed in, and run the page that the address names."""
    mode = st.context.theme.type or "light"
    st.logo(str(_HERE / f"logo-{mode}.svg"), icon_image=str(_HERE / "icon.svg"))
    groups: dict[str, list[st.Page]] = {}
    for room in ROOMS:
        if person.actor.may(room.permission):
            page = _page(room, f"pages/{room.address}.py")
        else:
            page = _page(room, _refusal(person, room), visibility="hidden")
        groups.setdefault(room.group, []).append(page)
    front = groups[ROOMS[0].group][0]
    groups[ROOMS[0].group].append(_front_by_name(lambda: st.switch_page(front)))
    groups[ROOMS[0].group].extend(_no_room(_say_no_room(front)))
    named = st.navigation(groups)
    dialogs.close_unless_on(named.title)
    with st.sidebar:
        _foot(person)
    if dialogs.is_open("change password"):
        sign_in.change_password_dialog(person.actor)
    named.run()
    if named.title not in _visited:
        # Streamlit collects garbage after every rerun; what the page has just imported is
        # there to stay, and looking through it each time costs a tenth of a second.
        _visited.add(named.title)
        gc.collect()
        gc.freeze()


def _page(room: Room, source: str | Callable[[], None], visibility: str = "visible") -> st.Page:
    return st.Page(
        source,
        title=room.title,
        icon=room.icon,
        url_path=_FRONT if room is ROOMS[0] else room.address,
        default=room is ROOMS[0],
        visibility=visibility,
    )


def _front_by_name(source: Callable[[], None]) -> st.Page:
    """The front page's own address: Streamlit gives the default page an empty one."""
    room = ROOMS[0]
    return st.Page(source, title=room.title, url_path=room.address, visibility="hidden")


def _no_room(source: Callable[[], None]) -> list[st.Page]:
    """A page for the address that was asked for, where there is none: Streamlit's own answer
    is a dialog about files, over the front page."""
    run = get_script_run_ctx()
    if run is not None and not run.pages_manager.intended_page_script_hash:
        st.session_state[_UNKNOWN] = run.pages_manager.intended_page_name or ""
    asked = st.session_state.get(_UNKNOWN, "").strip("/ ")
    if not asked or "/" in asked or asked in {_FRONT, *(room.address for room in ROOMS)}:
        return []
    return [st.Page(source, title=_NO_ROOM, url_path=asked, visibility="hidden")]


def _say_no_room(front: st.Page) -> Callable[[], None]:
    def say() -> None:
        session.head(_NO_ROOM)
        st.caption("The address may be mistyped, or from an older version of the desk.")
        if st.button("Go to the Overview", icon=":material/shield:", key="to_front"):
            st.switch_page(front)

    return say


def _nothing() -> None:
    """Stands for a page until somebody is signed in."""


def _refusal(person: Session, room: Room) -> Callable[[], None]:
    def refused() -> None:
        session.head(room.title)
        session.refuse(session.context(), person.actor, room.permission)

    return refused


def _foot(person: Session) -> None:
    ctx = session.context()
    settings, actor = ctx.settings, person.actor
    zone = f"{ctx.now().astimezone(viewer_zone()):%Z}"
    st.caption(
        f"Signed in as **{plain(actor.name)}** · {plain(actor.role)}  \nTimes in {plain(zone)}"
    )
    with st.container(horizontal=True, gap="small"):
        if st.button("Sign out", key="sign_out", type="tertiary", icon=":material/logout:"):
            session.forget()
            st.rerun()
        st.button(
            "Change password",
            key="change_password",
            type="tertiary",
            icon=":material/key:",
            on_click=dialogs.open_dialog,
            args=("change password",),
        )
    with st.container(horizontal=True, gap="small"):
        if is_sample(ctx):
            st.badge(
                "Sample data",
                icon=":material/science:",
                color="orange",
                help="A made-up shop to try the desk with. Name a real one in the settings.",
            )
        if settings.app_env != "production":
            st.badge(settings.app_env.capitalize(), color="gray", help="APP_ENV of this desk")
        if settings.instance_id != "default":
            st.badge(plain(settings.instance_id), color="gray", help="INSTANCE_ID of this desk")
    sample_data.offer(ctx, actor)
    sign_in.leave_when_signed_out()
    sign_in.deliver_cookie()
    say_what_was_kept()
