"""Accounts and audit log as an administrator works with them."""

from __future__ import annotations

import re

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from services.core import audit
from services.people import accounts, passwords, sessions, sign_in, tickets
from tests.pages.people import (
    GOOD,
    OWNER,
    browser_with,
    context_of,
    member,
    open_alone,
    said,
    token_of,
)
from ui import session


@pytest.fixture(autouse=True)
def desk(ctx, monkeypatch):
    """Pages find the test's desk, and Ada, an administrator, is signed in."""
    for name, value in context_of(ctx).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(passwords, "COST", 4)
    monkeypatch.setattr(tickets, "_window", tickets._Window(open=True))
    st.cache_resource.clear()
    member("ada", "admin")
    with browser_with(token_of("ada")):
        yield session.context()
    st.cache_resource.clear()


def select_account(app: AppTest, desk, username: str) -> AppTest:
    everybody = accounts.list_accounts(desk, OWNER)
    key = f"accounts_table_{'-'.join(account.id for account in everybody)}"
    row = [account.username for account in everybody].index(username)
    app.session_state[key] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    return app.run()


def find(desk, username: str):
    return accounts.find(desk, OWNER, username)


def test_a_desk_with_one_account_says_what_to_do_next():
    app = open_alone("accounts")
    assert not app.exception
    assert "You are the only one here" in said(app)
    assert "second administrator" in said(app)


def test_a_new_account_shows_its_secret_once_and_keeps_it_nowhere(desk):
    app = open_alone("accounts")
    app.button(key="account_new").click().run()
    app.text_input(key="account_name").set_value("Otto")
    app.text_input(key="account_username").set_value("otto")
    app.radio(key="account_role").set_value("operator")
    app.button(key="account_create").click().run()
    secret = app.code[0].value
    assert re.fullmatch(r"(\w{5}-){3}\w{5}", secret)
    assert sign_in.sign_in(desk, "otto", secret) == sign_in.FirstPassword("otto", "Otto")
    assert secret not in str(app.session_state._state.filtered_state)
    again = open_alone("accounts")
    assert not again.code
    assert list(again.dataframe[0].value["User name"]) == ["ada", "otto"]


def test_a_name_that_is_taken_is_said_and_creates_nothing(desk):
    app = open_alone("accounts")
    app.button(key="account_new").click().run()
    app.text_input(key="account_username").set_value("ada")
    app.button(key="account_create").click().run()
    assert "exists already" in str(app.warning[0].proto)
    assert len(accounts.list_accounts(desk, OWNER)) == 1


def test_disable_and_enable_from_the_panel(desk):
    member("otto", "operator")
    token = token_of("otto")
    app = select_account(open_alone("accounts"), desk, "otto")
    app.button(key="account_disable").click().run()
    assert not find(desk, "otto").enabled
    assert sessions.check(desk, token) is None
    app = select_account(open_alone("accounts"), desk, "otto")
    assert "Can't sign in" in said(app)
    app.button(key="account_enable").click().run()
    assert find(desk, "otto").enabled


def test_another_role_is_explained_before_it_is_given(desk):
    otto = member("otto", "operator")
    app = select_account(open_alone("accounts"), desk, "otto")
    app.selectbox(key=f"account_role_{otto.id}_{otto.version}").set_value("manager").run()
    assert "Looks only" in said(app)
    app.button(key="account_role_save").click().run()
    assert find(desk, "otto").role == "manager"


def test_a_reset_asks_first_and_shows_the_new_secret_once(desk):
    member("otto", "operator")
    app = select_account(open_alone("accounts"), desk, "otto")
    app.button(key="account_reset").click().run()
    assert "signed out everywhere" in said(app)
    assert find(desk, "otto").has_password
    app.button(key="account_reset_now").click().run()
    assert isinstance(sign_in.sign_in(desk, "otto", app.code[0].value), sign_in.FirstPassword)


def test_ones_own_account_offers_no_way_to_lock_oneself_out(desk):
    app = select_account(open_alone("accounts"), desk, "ada")
    assert "This is you" in said(app)
    offered = {button.key for button in app.button}
    assert offered == {"account_new"}


def test_a_colleagues_change_in_between_is_said(desk):
    otto = member("otto", "operator")
    app = select_account(open_alone("accounts"), desk, "otto")
    choice = app.selectbox(key=f"account_role_{otto.id}_{otto.version}").set_value("manager")
    accounts.set_role(desk, OWNER, otto.id, "editor", otto.version)
    choice.run()
    # The panel is drawn from the account as it is now; the old choice is not applied to it.
    assert find(desk, "otto").role == "editor"
    assert "account_role_save" not in {button.key for button in app.button}


def test_the_search_of_accounts_narrows_the_list_and_says_when_nothing_fits():
    member("otto", "operator")
    app = open_alone("accounts")
    app.text_input(key="q").set_value("OPER").run()
    assert list(app.dataframe[0].value["User name"]) == ["otto"]
    app.text_input(key="q").set_value("zebra").run()
    assert "No account matches" in said(app)


def test_the_audit_log_filters_by_words_action_person_and_outcome(desk):
    otto = member("otto", "operator")
    accounts.disable(desk, OWNER, otto.id, otto.version)
    audit.note(desk, OWNER, "backup.create", ("snapshot", "x1"), "Backed up", outcome="failed")
    app = open_alone("audit")
    everything = len(app.dataframe[0].value)
    app.text_input(key="q").set_value("backed").run()
    assert list(app.dataframe[0].value["What"]) == ["Backed up"]
    app.text_input(key="q").set_value("").run()
    app.multiselect(key="action").set_value(["account.disable"]).run()
    assert list(app.dataframe[0].value["What"]) == ["Disabled otto"]
    app.multiselect(key="action").set_value([]).run()
    app.selectbox(key="outcome").set_value("failed").run()
    assert list(app.dataframe[0].value["What"]) == ["Backed up"]
    assert app.query_params["outcome"] == "failed", "a token, whatever the choice is called"
    app.selectbox(key="outcome").set_value(None).run()
    app.selectbox(key="who").set_value("Ada").run()
    assert set(app.dataframe[0].value["Who"]) == {"Ada"}
    app.selectbox(key="who").set_value(None).run()
    app.selectbox(key="when").set_value("day").run()
    assert len(app.dataframe[0].value) == everything
    assert app.query_params["when"] == "day" and "outcome" not in app.query_params


@pytest.mark.parametrize(("named", "chosen"), [("week", "week"), ("Last 7 days", "any")])
def test_an_address_chooses_by_token_and_what_is_none_is_passed_over(desk, named, chosen):
    app = open_alone("audit", when=named)
    assert not app.exception and app.selectbox(key="when").value == chosen


def test_the_audit_log_pages_on_the_server(desk):
    for number in range(120):
        audit.note(desk, OWNER, "kb.edit", ("entry", str(number)), f"Edit {number}")
    app = open_alone("audit")
    assert app.dataframe[0].value["What"][0] == "Edit 119"
    assert len(app.dataframe[0].value) == 50
    app.session_state["page"] = 2
    app.run()
    assert app.dataframe[0].value["What"][0] == "Edit 69"
    app.text_input(key="q").set_value("Edit 11").run()
    assert list(app.dataframe[0].value["What"]) == [
        *(f"Edit {number}" for number in range(119, 109, -1)),
        "Edit 11",
    ]


def test_an_address_with_filters_shows_what_they_say(desk):
    audit.note(desk, OWNER, "backup.create", ("snapshot", "x1"), "Backed up")
    app = AppTest.from_file("../../pages/audit.py", default_timeout=20)
    app.query_params["q"] = "backed"
    app.run()
    assert list(app.dataframe[0].value["What"]) == ["Backed up"]


def test_an_address_with_a_page_number_opens_that_page(desk):
    for number in range(120):
        audit.note(desk, OWNER, "kb.edit", ("entry", str(number)), f"Edit {number}")
    app = AppTest.from_file("../../pages/audit.py", default_timeout=20)
    app.query_params["page"] = "2"
    app.run()
    assert app.dataframe[0].value["What"][0] == "Edit 69"


def test_a_page_number_from_the_address_that_does_not_exist_is_put_right():
    for nonsense in ("99", "0", "-1", "x", "9" * 40):
        app = AppTest.from_file("../../pages/audit.py", default_timeout=20)
        app.query_params["page"] = nonsense
        app.run()
        assert not app.exception, nonsense
        assert len(app.dataframe[0].value) == 2, nonsense


def test_details_are_shown_as_code_and_never_as_markdown(desk):
    audit.note(
        desk, OWNER, "kb.edit", ("entry", "![x](http://evil/)"), "**bold** ![y](http://evil/)",
        details={"before": "![z](http://evil/)"},
    )  # fmt: skip
    app = open_alone("audit")
    newest = audit.events(desk, OWNER, audit.AuditFilter()).events
    key = f"audit_table_1_{newest[0].id}_{newest[-1].id}_{len(newest)}"
    app.session_state[key] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.run()
    assert '"before": "![z](http://evil/)"' in app.code[0].value
    markdown = "\n".join(str(element.value) for element in (*app.markdown, *app.caption))
    assert "![" not in markdown


def test_nothing_found_says_what_to_do():
    app = open_alone("audit")
    app.text_input(key="q").set_value("zebra").run()
    assert "Nothing matches" in said(app)


def test_the_page_is_refused_to_a_signed_out_browser(desk):
    with browser_with(""):
        assert not open_alone("accounts").dataframe
    assert GOOD not in said(open_alone("accounts"))
