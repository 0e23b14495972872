"""People of the desk for tests: accounts that can sign in, and what is kept of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import select

from db.control import accounts as accounts_table
from db.control import audit_log, auth_sessions
from db.engine import read
from services.core import audit
from services.core.access import command_line_actor
from services.core.context import Context
from services.core.errors import Refused
from services.people import accounts, sign_in, throttle
from services.people.model import Account

GOOD = "seven odd ducks swim"
OTHER = "green paper boats"


def member(desk: Context, username: str, role: str = "admin", password: str = GOOD) -> Account:
    """An account that can sign in."""
    account, _none = accounts.create(
        desk, command_line_actor("root"), username, username.title(), role, password=password
    )
    return account


def log_of(desk: Context, *actions: str) -> list[audit.AuditEvent]:
    """What the audit log says of these actions."""
    owner = command_line_actor("root")
    return list(audit.events(desk, owner, audit.AuditFilter(actions=actions)).events)


def everything_kept(desk: Context) -> str:
    """All text in the control database's people and audit tables."""
    with read(desk.control) as connection:
        tables = (accounts_table, audit_log, auth_sessions, throttle.sign_in_attempts)
        return "\n".join(str(row) for table in tables for row in connection.execute(select(table)))


def token_of(desk: Context, username: str, password: str = GOOD) -> str:
    """A sign-in of theirs."""
    signed = sign_in.sign_in(desk, username, password)
    assert isinstance(signed, sign_in.SignedIn)
    return signed.token


def both(*calls: Callable[[], Any]) -> list[Any]:
    """Run calls at the same moment; gives what each returned or raised."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return call()
        except Refused as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
