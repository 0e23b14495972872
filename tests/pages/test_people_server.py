"""What server.py adds: health, headers, and the cookie that no script can read."""

from __future__ import annotations

from datetime import timedelta

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

import server
from services.people import passwords, sessions, tickets
from tests.pages.people import browser_with, context_of, member, token_of
from ui import cookies, session

OWN_PAGE = {"sec-fetch-site": "same-origin"}


@pytest.fixture
def desk(ctx, monkeypatch):
    for name, value in context_of(ctx).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(passwords, "COST", 4)
    st.cache_resource.clear()
    with browser_with(""):
        yield session.context()
    st.cache_resource.clear()


@pytest.fixture
def browser(desk):
    """The routes and headers of server.py without Streamlit behind them."""
    policy = server.content_security_policy("<script>window.x = 1</script>")
    app = Starlette(
        routes=server.ROUTES, middleware=[Middleware(server.SecurityHeaders, policy=policy)]
    )
    return TestClient(app, base_url="http://desk.example")


def test_alive_and_ready(browser):
    assert browser.get("/healthz").json() == {"status": "ok"}
    assert browser.get("/readyz").json() == {"status": "ready"}


def test_not_ready_when_the_control_database_is_gone(browser, desk):
    with desk.control.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE accounts RENAME TO accounts_gone")
    answer = browser.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["why"] == "the control database does not answer"
    assert browser.get("/healthz").status_code == 200


def test_a_ticket_becomes_a_cookie_that_no_script_can_read_once(browser, desk):
    member("ada", "admin")
    token = token_of("ada")
    ticket = tickets.issue(token, desk.now())
    answer = browser.get(cookies.ROUTE, params={"ticket": ticket}, headers=OWN_PAGE)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{cookies.cookie_name(desk)}={token};")
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Secure" not in cookie
    assert f"Max-Age={int(sessions.LIFETIME.total_seconds())}" in cookie
    assert answer.headers["cache-control"] == "no-store"
    again = browser.get(cookies.ROUTE, params={"ticket": ticket}, headers=OWN_PAGE)
    assert (again.status_code, "set-cookie" in again.headers) == (403, False)


def test_the_cookie_is_secure_over_https(browser, desk):
    secure = TestClient(browser.app, base_url="https://desk.example")
    ticket = tickets.issue("token", desk.now())
    answer = secure.get(cookies.ROUTE, params={"ticket": ticket}, headers=OWN_PAGE)
    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"referer": "http://evil.example/"},
        {},
    ],
)
def test_another_site_can_not_sign_a_browser_in(browser, desk, headers):
    ticket = tickets.issue("token", desk.now())
    answer = browser.get(cookies.ROUTE, params={"ticket": ticket}, headers=headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_an_old_browser_is_known_by_its_referer(browser, desk):
    ticket = tickets.issue("token", desk.now())
    headers = {"referer": "http://desk.example/accounts"}
    assert browser.get(cookies.ROUTE, params={"ticket": ticket}, headers=headers).is_success


def test_a_made_up_or_late_ticket_gives_nothing(browser, desk):
    late = tickets.issue("token", desk.now() - timedelta(minutes=1))
    for ticket in ("", "x", late):
        answer = browser.get(cookies.ROUTE, params={"ticket": ticket}, headers=OWN_PAGE)
        assert answer.status_code == 403


def test_every_answer_carries_the_security_headers(browser):
    for path, framing in (("/healthz", "'none'"), (cookies.ROUTE, "'self'"), ("/nope", "'none'")):
        headers = browser.get(path).headers
        policy = headers["content-security-policy"]
        assert "script-src 'self' 'sha256-" in policy
        assert policy.endswith(f"frame-ancestors {framing}")
        assert "unsafe-eval" not in policy and "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_the_policy_allows_exactly_the_scripts_of_the_installed_streamlit():
    page = server._index_html()
    policy = server.content_security_policy(page)
    assert policy.count("'sha256-") == page.count("<script>")
    assert page.count("<script>") >= 1
