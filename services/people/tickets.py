"""One-time tickets: how a sign-in reaches the browser as a cookie that no script can read.

A page can't set an HttpOnly cookie, a route can. The page hands the browser a ticket, the
browser brings it to the route within a minute, and gets the cookie for it, once. Kept in
memory: a ticket never outlives the process that would redeem it.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

LIFETIME = timedelta(minutes=1)


@dataclass
class _Window:
    open: bool = False


_window = _Window()
_guard = threading.Lock()
_tickets: dict[str, tuple[str, datetime]] = {}


def open_window() -> None:
    """Say that this process has the route (server.py does)."""
    _window.open = True


def window_is_open() -> bool:
    """Whether tickets can be redeemed here; `streamlit run app.py` has no route."""
    return _window.open


def issue(token: str, now: datetime) -> str:
    """A ticket for a sign-in token."""
    ticket = secrets.token_urlsafe(32)
    with _guard:
        for old in [key for key, (_token, until) in _tickets.items() if until <= now]:
            del _tickets[old]
        _tickets[ticket] = (token, now + LIFETIME)
    return ticket


def redeem(ticket: str, now: datetime) -> str | None:
    """The token for a ticket, once and in time; else None."""
    with _guard:
        token, until = _tickets.pop(ticket, ("", now))
    return token if until > now else None


def is_waiting(ticket: str, now: datetime) -> bool:
    """Whether the browser has still to bring this ticket."""
    with _guard:
        return ticket in _tickets and _tickets[ticket][1] > now
