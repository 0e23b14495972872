"""How a sign-in survives a reload: two ways to keep its token in the browser.

Under server.py a route sets an HttpOnly cookie in exchange for a one-time ticket. Under
plain `streamlit run app.py` there is no route, so streamlit-authenticator's signed cookie
carries the token instead; scripts of the page could read it, which is why the desk starts
through server.py. Either way the token means nothing without its row in the control database.
"""

from __future__ import annotations

import hashlib
import time
from datetime import timedelta
from typing import Any

import streamlit as st

from services.core.context import Context
from services.people import setup, tickets

ROUTE = "/desk/cookie"
_TICKET = "desk_ticket"
_SIGNED = "desk_signed_cookie"
_AGAIN_SECONDS = 8.0
"""The component's frame loads late and a rerun loses it, so it is drawn for so long."""
_DAYS = 3
"""Of the signed cookie, far longer than a session: with less than a day some time zones get
none at all, as its expiry is a naive local time. The session's row decides."""


def cookie_name(ctx: Context) -> str:
    """Two desks on one host, on two ports, share the browser's cookies: each has its own."""
    which = f"{ctx.settings.instance_id}:{ctx.settings.desk_home.resolve()}"
    return f"desk_{hashlib.sha256(which.encode()).hexdigest()[:10]}"


def read(ctx: Context) -> str:
    """The token that the browser brought when this tab was opened; empty without one."""
    brought = st.context.cookies.get(cookie_name(ctx), "")
    if not brought or tickets.window_is_open():
        return brought
    return str(_signed(ctx).token_of_browser())


def keep(ctx: Context, token: str) -> None:
    """Have the browser keep a token; `deliver` brings it there on this and the next runs."""
    if tickets.window_is_open():
        st.session_state[_TICKET] = tickets.issue(token, ctx.now())
    else:
        st.session_state[_SIGNED] = (_signed(ctx).encode(token), time.monotonic())


def deliver(ctx: Context) -> None:
    """Draw the invisible frame that sets the cookie, until it is set."""
    ticket = st.session_state.get(_TICKET)
    if ticket:
        if tickets.is_waiting(ticket, ctx.now()):
            base = str(st.get_option("server.baseUrlPath") or "").strip("/")
            prefix = f"/{base}" if base else ""
            address = f"{prefix}{ROUTE}?ticket={ticket}"
            st.iframe(address, width=1, height=1, tab_index=-1, alt="Keeps you signed in")
        else:
            del st.session_state[_TICKET]
    signed = st.session_state.get(_SIGNED)
    if signed:
        value, since = signed
        if time.monotonic() - since < _AGAIN_SECONDS:
            _signed(ctx).draw(value)
        else:
            del st.session_state[_SIGNED]


def _signed(ctx: Context) -> Any:
    # Imported only where it is needed: it brings in a captcha and a mail client.
    import jwt
    from extra_streamlit_components import CookieManager
    from streamlit_authenticator.models import CookieModel

    class SignedCookie(CookieModel):
        """The library's cookie with our random token in it instead of a user name."""

        def __init__(self) -> None:
            # Its own __init__ would draw a frame on every rerun.
            self.cookie_name = cookie_name(ctx)
            self.cookie_key = setup.secret_key(ctx)
            self.cookie_expiry_days = _DAYS
            self.token: Any = None
            self.exp_date = self._set_exp_date()

        def token_of_browser(self) -> str:
            st.session_state.setdefault("logout", None)
            try:
                found = self.get_cookie()
            except (jwt.PyJWTError, KeyError, TypeError):
                return ""
            return str(found["username"]) if found else ""

        def encode(self, token: str) -> str:
            payload = {"username": token, "exp_date": self.exp_date}
            return jwt.encode(payload, self.cookie_key, algorithm="HS256")

        def draw(self, value: str) -> None:
            CookieManager(key="desk_cookie_get").set(
                self.cookie_name,
                value,
                key="desk_cookie_set",
                expires_at=ctx.now() + timedelta(days=_DAYS),
            )

    return SignedCookie()
