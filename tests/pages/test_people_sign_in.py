"""The way in and out, through the real app.py."""

from __future__ import annotations

import time

import jwt
import pytest
import streamlit as st
from streamlit.testing.v1 import app_test

from services.core import audit
from services.core.access import ROLES
from services.people import accounts, passwords, setup, tickets
from tests.pages.people import (
    GOOD,
    OWNER,
    TakenOver,
    browser_with,
    context_of,
    member,
    open_alone,
    open_app,
    said,
    token_of,
)
from ui import session
from ui.navigation import ROOMS


@pytest.fixture(autouse=True)
def desk(ctx, monkeypatch):
    """Pages find the test's desk; no cookie, cheap bcrypt, plain `streamlit run`."""
    for name, value in context_of(ctx).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(passwords, "COST", 4)
    monkeypatch.setattr(tickets, "_window", tickets._Window())
    monkeypatch.setattr(app_test, "PagesManager", TakenOver)
    st.cache_resource.clear()
    with browser_with(""):
        yield session.context()
    st.cache_resource.clear()


def type_in(app, name, password):
    app.text_input(key="sign_in_name").set_value(name)
    app.text_input(key="sign_in_password").set_value(password)
    return app.button(key="sign_in_submit").click().run()


def signed(value: str, key: str, **more: object) -> str:
    """What streamlit-authenticator's cookie looks like."""
    payload = {"username": value, "exp_date": time.time() + 1000, **more}
    return jwt.encode(payload, key, algorithm="HS256")


def test_the_first_administrator_needs_the_setup_code_and_is_signed_in_then(desk):
    app = open_app()
    assert app.header[0].value == "Create the first administrator"
    for key, value in {
        "first_code": "0000-0000-0000",
        "first_name": "Ada Novak",
        "first_username": "ada",
        "first_password": GOOD,
        "first_again": GOOD,
    }.items():
        app.text_input(key=key).set_value(value)
    app.button(key="first_submit").click().run()
    assert "not the setup code" in app.warning[0].value + str(app.warning[0].proto)
    assert accounts.first_start(desk)
    app.text_input(key="first_code").set_value(setup.setup_code(desk))
    app.button(key="first_submit").click().run()
    assert not app.exception
    assert "Signed in as **Ada Novak** · admin" in said(app)


def test_two_passwords_that_differ_create_nothing(desk):
    app = open_app()
    app.text_input(key="first_code").set_value(setup.setup_code(desk))
    app.text_input(key="first_username").set_value("ada")
    app.text_input(key="first_password").set_value(GOOD)
    app.text_input(key="first_again").set_value(GOOD + "x")
    app.button(key="first_submit").click().run()
    assert "differ" in app.warning[0].value
    assert accounts.first_start(desk)


def test_a_browser_that_came_second_gets_the_sign_in_form(desk):
    app, code = open_app(), setup.setup_code(desk)
    accounts.create_first(desk, code, "ada", "Ada", GOOD)
    for key, value in {
        "first_code": code,
        "first_username": "eve",
        "first_password": GOOD,
        "first_again": GOOD,
    }.items():
        app.text_input(key=key).set_value(value)
    app.button(key="first_submit").click().run()
    assert app.header[0].value == "Sign in"
    assert [account.username for account in accounts.list_accounts(desk, OWNER)] == ["ada"]


def test_signing_in_through_the_form_opens_the_desk(desk):
    member("ada", "admin")
    app = type_in(open_app(), "Ada ", GOOD)
    assert not app.exception
    assert "Signed in as **Ada** · admin" in said(app)


def test_a_wrong_password_and_an_unknown_name_look_the_same(desk):
    member("ada", "admin")
    shown = set()
    for name in ("ada", "nobody"):
        app = type_in(open_app(), name, "not the password")
        shown.add(tuple((box.value, box.proto.title) for box in app.warning))
        assert "Signed in" not in said(app)
    assert len(shown) == 1
    assert "wrong" in str(shown)


def test_a_paused_name_is_told_when_to_try_again(desk):
    member("ada", "admin")
    app = open_app()
    for _ in range(3):
        type_in(app, "ada", "not the password")
    assert "Try again in" in said(app)


def test_a_one_time_secret_leads_to_an_own_password(desk):
    _otto, secret = accounts.create(desk, OWNER, "otto", "Otto", "operator")
    app = type_in(open_app(), "otto", secret)
    assert app.header[0].value == "Welcome, Otto"
    app.text_input(key="first_password_password").set_value("green paper boats")
    app.text_input(key="first_password_again").set_value("green paper boats")
    app.button(key="first_password_submit").click().run()
    assert "Signed in as **Otto** · operator" in said(app)


def test_a_cookie_of_the_server_mode_signs_in(desk, monkeypatch):
    member("ada", "admin")
    tickets.open_window()
    with browser_with(token_of("ada")):
        assert "Signed in as **Ada**" in said(open_app())


def test_a_signed_cookie_of_the_plain_mode_signs_in(desk):
    member("ada", "admin")
    with browser_with(signed(token_of("ada"), setup.secret_key(desk))):
        assert "Signed in as **Ada**" in said(open_app())


def test_forged_foreign_and_expired_cookies_are_nobody(desk):
    member("ada", "admin")
    token, key = token_of("ada"), setup.secret_key(desk)
    forged = [
        "garbage",
        token,  # the plain mode reads only what it signed
        signed(token, "another key of at least 32 bytes."),
        signed("ada", key),  # a name is no token
        signed(token, key, exp_date=time.time() - 1),
        signed(token, key, exp_date="later"),
        jwt.encode({"username": token, "exp_date": 9e9}, key, algorithm="HS512"),
        jwt.encode({"username": token, "exp_date": 9e9}, "", algorithm="none"),
        jwt.encode({"user": token}, key, algorithm="HS256"),
    ]
    for cookie in forged:
        with browser_with(cookie):
            app = open_app()
        assert not app.exception, cookie
        assert app.header[0].value == "Sign in", cookie
    tickets.open_window()
    for cookie in (token + "x", signed(token, key)):
        with browser_with(cookie):
            assert open_app().header[0].value == "Sign in"


def test_a_disabled_account_is_out_at_the_next_rerun(desk):
    ada, _boss = member("ada", "admin"), member("boss", "admin")
    app = type_in(open_app(), "ada", GOOD)
    accounts.disable(desk, OWNER, ada.id, ada.version)
    app.run()
    assert app.header[0].value == "Sign in"
    assert "You were signed out" in app.info[0].value


def test_another_role_takes_effect_at_once(desk):
    ada, _boss = member("ada", "admin"), member("boss", "admin")
    app = type_in(open_app("accounts"), "ada", GOOD)
    assert app.title[0].value == "Accounts"
    accounts.set_role(desk, OWNER, ada.id, "manager", ada.version)
    app.run()
    assert app.title[0].value == "InsightShop Admin"
    type_in(app, "ada", GOOD)
    assert "does not include this page" in said(app) + str(app.warning[0].proto)


def test_the_front_page_has_its_own_address_for_everybody_and_before_signing_in(desk):
    member("ada", "admin")
    for role in ROLES:
        member(f"a-{role}", role)
        app = type_in(open_app("overview"), f"a-{role}", GOOD)
        assert not app.exception and app.title[0].value == "Overview"
    tickets.open_window()
    with browser_with(token_of("ada")):
        app = open_app("overview")
    assert not app.exception and app.title[0].value == "Overview" and app.metric


def test_signing_out_in_one_tab_signs_the_other_out(desk):
    member("ada", "admin")
    tickets.open_window()
    with browser_with(token_of("ada")):
        here, there = open_app(), open_app()
        here.button(key="sign_out").click().run()
        assert here.header[0].value == "Sign in"
        there.run()
        assert there.header[0].value == "Sign in"
        assert open_app().header[0].value == "Sign in"


def test_changing_the_password_keeps_this_tab_and_ends_the_others(desk):
    member("ada", "admin")
    app, other = type_in(open_app(), "ada", GOOD), type_in(open_app(), "ada", GOOD)
    app.button(key="change_password").click().run()
    app.text_input(key="own_current").set_value(GOOD)
    app.text_input(key="own_password").set_value("green paper boats")
    app.text_input(key="own_again").set_value("green paper boats")
    app.button(key="own_submit").click().run()
    assert "Signed in as **Ada**" in said(app.run())
    assert other.run().header[0].value == "Sign in"


def test_data_in_a_name_is_not_markdown(desk):
    account, _none = accounts.create(
        desk, OWNER, "eve", "![x](http://evil/) **Eve**", "manager", password=GOOD
    )
    app = type_in(open_app(), "eve", GOOD)
    assert account.display_name not in said(app)
    assert r"\!\[x\]\(" in said(app)


@pytest.mark.parametrize("room", [room.address for room in ROOMS])
def test_no_page_shows_anything_to_somebody_who_is_not_signed_in(desk, room):
    member("ada", "admin")
    for app in (open_alone(room), open_app(room)):
        assert not app.exception
        assert not app.dataframe
        assert "Sign in" in said(app) + "".join(str(box.proto) for box in app.warning)


@pytest.mark.parametrize("role", [role for role in ROLES if role != "admin"])
@pytest.mark.parametrize("room", ["accounts", "audit"])
def test_a_page_beyond_ones_role_is_refused_with_and_without_app_and_recorded_once(
    desk, role, room
):
    member("ada", "admin")
    member("otto", role)
    tickets.open_window()
    with browser_with(token_of("otto")):
        for app in (open_alone(room), open_app(room)):
            app.run()
            assert not app.exception
            assert not app.dataframe and not app.code
            assert "does not include this page" in str(app.warning[0].proto)
    found = audit.events(desk, OWNER, audit.AuditFilter(actions=("access.refused",)))
    assert [(event.actor_name, event.outcome) for event in found.events] == [
        ("Otto", "refused")
    ] * 2  # two browsers' tabs, each ran twice
