"""What every page begins with: the context, who asks, and whether they may."""

from __future__ import annotations

import logging

import streamlit as st

from services.core import jobs
from services.core.access import Actor, Permission
from services.core.context import Context, open_context
from services.core.errors import DeskError
from services.shop.attach import attach

log = logging.getLogger("desk")


def context() -> Context:
    """The one context of this server process, opened and put in order at first use.

    Raises:
        Misconfigured: a setting is wrong or the desk's folder can't be written.
    """
    return _context()


@st.cache_resource(show_spinner=False)
def _context() -> Context:
    ctx = open_context()
    jobs.reap(ctx)
    try:
        attach(ctx)
    except DeskError as error:
        # The desk opens without a shop: a lost database is when it is needed.
        log.warning("the shop is not attached: %s", error)
    return ctx


def current_actor() -> Actor | None:
    """Who is signed in in this browser, read anew from the control database."""
    return None


def guard(permission: Permission) -> tuple[Context, Actor]:
    """Let the page or fragment go on only for somebody who holds `permission`.

    Every page and every fragment calls this first: Streamlit runs both without app.py.
    """
    ctx = context()
    actor = current_actor()
    if actor is None or not actor.may(permission):
        st.error("Sign in to see this page.")
        st.stop()
    return ctx, actor


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
    st.title(title)
    if lead:
        st.caption(lead)
    return ctx, actor
