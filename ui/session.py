"""What every page begins with: the context, who asks, and whether they may."""

from __future__ import annotations

import logging

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from services.core import audit, jobs
from services.core.access import Actor, Permission
from services.core.context import Context, open_context
from services.core.errors import DeskError, Refused, describe
from services.desk import bring_up_to_date
from services.knowledge.relay import relay
from services.people import sessions
from services.protection.rescue import journal
from ui import cookies
from ui.messages import say_what_was_kept, show_error

log = logging.getLogger("desk")

_OWN = "desk_signed_in_as"
_REFUSED = "desk_refused"


def context() -> Context:
    """The one context of this server process, opened and put in order at first use.

    In a page, what is wrong with the settings is shown and the page ends there.

    Raises:
        Misconfigured: a setting is wrong or the desk's folder can't be written.
    """
    try:
        return _context()
    except DeskError as error:
        if get_script_run_ctx(suppress_warning=True) is None:
            raise
        show_error(error)
        st.stop()


@st.cache_resource(show_spinner=False)
def _context() -> Context:
    ctx = open_context()
    jobs.reap(ctx)
    _recover(ctx)
    try:
        bring_up_to_date(ctx, log.info)
    except DeskError as error:
        # The desk opens without a shop: a lost database is when it is needed.
        log.warning("the shop is not attached: %s", error)
    else:
        relay(ctx)
        _warm(ctx)
    return ctx


def _recover(ctx: Context) -> None:
    """Finish or take back a restore that was killed; the desk opens whatever comes of it."""
    try:
        if next(journal.pending(ctx), None) is None:
            return
        from services import restore  # only now: the usual start does without its imports

        for recovery in restore.recover(ctx):
            log.warning("%s %s", recovery.message, recovery.hint)
    except Exception as error:
        message, hint, _error_id = describe(error)
        log.error("a killed restore could not be put in order: %s %s", message, hint)


def _warm(ctx: Context) -> None:
    from services.knowledge import warming  # only now: most pages do without its imports

    warming.warm(ctx)


def take_over() -> None:
    """See to it that app.py, and only app.py, runs the pages.

    A fresh server takes `pages/` for its own: until `st.navigation` was called once, it runs
    the page that an address names without app.py, and app.py itself as a page, whose widgets
    the next run does not know again.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()


def token() -> str:
    """The sign-in token of this tab: its own, else the browser's cookie; empty without one."""
    own = st.session_state.get(_OWN)
    return cookies.read(context()) if own is None else str(own)


def keep(new_token: str) -> None:
    """Let this tab, and the browser after a reload, be signed in with a token."""
    st.session_state[_OWN] = new_token
    cookies.keep(context(), new_token)


def forget() -> None:
    """Sign this browser out: the row is revoked, so every other tab follows."""
    sessions.end(context(), token())
    for name in [name for name in st.session_state if name != _OWN]:
        del st.session_state[name]
    st.session_state[_OWN] = ""


def current(*, touch: bool = True) -> sessions.Session | None:
    """The sign-in of this browser, read anew from the control database, or None."""
    held = token()
    return sessions.check(context(), held, touch=touch) if held else None


def current_actor(*, touch: bool = True) -> Actor | None:
    """Who is signed in in this browser, as the control database says now."""
    session = current(touch=touch)
    return session.actor if session else None


def address() -> str:
    """Where the browser is, as far as the server knows."""
    return st.context.ip_address or "this machine"


def guard(permission: Permission, *, touch: bool = True) -> tuple[Context, Actor]:
    """Let the page or fragment go on only for somebody who holds `permission`.

    Every page and every fragment calls this first: Streamlit runs both without app.py.

    Args:
        touch: note that the person was seen; not for a fragment that runs by itself as long
            as a tab is open, or nobody who left one would ever be signed out.
    """
    take_over()
    ctx, actor = context(), current_actor(touch=touch)
    if actor is None:
        show_error(Refused("Sign in to see this page.", "Open the desk's first page."))
        st.stop()
    if not actor.may(permission):
        refuse(ctx, actor, permission)
    return ctx, actor


def refuse(ctx: Context, actor: Actor, permission: Permission) -> None:
    """Say that this page is not for `actor`, record it once per session, and stop."""
    noted = st.session_state.setdefault(_REFUSED, set())
    if permission not in noted:
        noted.add(permission)
        audit.note(
            ctx,
            actor,
            "access.refused",
            ("permission", permission.value),
            f"{actor.name} ({actor.role}) opened a page that needs {permission.value}",
            outcome="refused",
        )
    show_error(
        Refused(
            f"Your role ({actor.role}) does not include this page.",
            "Ask an administrator for a role that does. This visit was recorded.",
        )
    )
    st.stop()


def head(title: str) -> None:
    """Write a page's heading, and its name into the browser's tab."""
    st.set_page_config(page_title=f"{title} · InsightShop Admin")
    st.title(title, anchor=False)


def open_page(title: str, permission: Permission, *, lead: str = "") -> tuple[Context, Actor]:
    """Guard a page and write its heading.

    Args:
        title: the page's heading, in our own words.
        permission: what it takes to see the page.
        lead: one sentence below the heading.

    Returns:
        What every service call needs first.
    """
    ctx, actor = guard(permission)
    head(title)
    if lead:
        st.caption(lead)
    say_what_was_kept()
    return ctx, actor
