"""A desk whose pages a test runs: real app.py, real control database, cookies by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import streamlit as st
from streamlit.runtime.context import ContextProxy
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, app_test
from streamlit.util import calc_hash

from services.core.access import command_line_actor
from services.core.context import Context
from services.core.settings import PROJECT_ROOT
from services.people import accounts, passwords, sign_in, tickets
from services.people.model import Account
from tests.knowledge_base import load
from ui import cookies, session

GOOD = "seven odd ducks swim"
OWNER = command_line_actor("root")


def member(username: str, role: str) -> Account:
    """Somebody who can sign in with `GOOD`."""
    account, _none = accounts.create(
        session.context(), OWNER, username, username.title(), role, password=GOOD
    )
    return account


def token_of(username: str) -> str:
    """A sign-in of theirs."""
    signed = sign_in.sign_in(session.context(), username, GOOD)
    assert isinstance(signed, sign_in.SignedIn)
    return signed.token


@contextmanager
def browser_with(value: str) -> Iterator[None]:
    """Every page run inside is asked for by a browser that holds this cookie."""
    jar = {cookies.cookie_name(session.context()): value} if value else {}
    with (
        patch.object(ContextProxy, "cookies", jar),
        patch.object(ContextProxy, "ip_address", "10.0.0.9"),
    ):
        yield


def open_app(page: str = "") -> AppTest:
    """Open the desk at an address; the front page by default."""
    app = AppTest.from_file(str(PROJECT_ROOT / "app.py"), default_timeout=20)
    if page:
        # What the browser sends for /page; switch_page knows only pages that are files.
        app._page_hash = calc_hash(page)
    return app.run()


def open_alone(page: str, **query: str) -> AppTest:
    """Run a page by its own file, as a fresh server does; app.py never ran.

    Args:
        query: what stands in its address.
    """
    app = AppTest.from_file(str(PROJECT_ROOT / "pages" / f"{page}.py"), default_timeout=20)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def said(app: AppTest) -> str:
    """Everything on the screen that is text."""
    kinds: tuple[Any, ...] = (
        app.title, app.header, app.subheader, app.caption, app.markdown, app.text, app.code,
        app.error, app.warning, app.info, app.success,
    )  # fmt: skip
    return "\n".join(str(element.value) for kind in kinds for element in kind)


class TakenOver(PagesManager):
    """The pages of a server on which app.py has run; AppTest begins anew with every run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        PagesManager.uses_pages_directory = False


def context_of(environment: Context) -> dict[str, str]:
    """The variables with which pages find the test's desk."""
    return environment.settings.as_environment()


def knowledge_desk(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """Pages find the test's desk, with a small knowledge base and somebody in each role."""
    for name, value in context_of(ctx).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(passwords, "COST", 4)
    monkeypatch.setattr(tickets, "_window", tickets._Window(open=True))
    monkeypatch.setattr(app_test, "PagesManager", TakenOver)
    st.cache_resource.clear()
    load(ctx)
    for role in ("admin", "editor", "manager"):
        member(role, role)
    yield session.context()
    st.cache_resource.clear()
