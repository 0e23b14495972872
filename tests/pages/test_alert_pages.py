"""Alerts on Overview and Monitoring: who sees them, who may respond, what a test message says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
import streamlit as st
from pydantic import SecretStr
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest, app_test

from services.core.access import command_line_actor
from services.core.context import Context
from services.core.settings import PROJECT_ROOT
from services.people import passwords
from services.watch import alerts, notify, responses
from services.watch.targets import Outcome
from tests.pages.people import TakenOver, context_of, member, said, token_of
from tests.services.test_watch import add_job
from ui import session

ROOT = command_line_actor("root")


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch) -> Context:
    """Pages find this desk: its last backup failed, and nobody is told."""
    for name, value in context_of(ctx).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(passwords, "COST", 4)
    monkeypatch.setattr(app_test, "PagesManager", TakenOver)
    monkeypatch.setattr(session, "token", lambda: st.session_state.get("test_token", ""))
    st.cache_resource.clear()
    add_job(ctx, "bad", "failed", ctx.now(), error="No *space* left.")
    yield session.context()
    st.cache_resource.clear()


def seen(page: str, role: str) -> AppTest:
    app = AppTest.from_file(str(PROJECT_ROOT / "pages" / f"{page}.py"), default_timeout=30)
    member(role, role)
    app.session_state["test_token"] = token_of(role)
    return app.run()


def button(app: AppTest, key: str):
    return next(each for each in app.button if (each.key or "").startswith(key))


def test_the_overview_counts_open_alerts_and_offers_a_response_to_whoever_may(desk):
    app = seen("overview", "operator")
    (figure,) = [metric for metric in app.metric if metric.label == "Open alerts"]
    assert not app.exception and figure.value == "1" and "nobody is told of them" in said(app)
    next(each for each in app.text_input if each.key.startswith("comment_")).input("On it")
    button(app, "acknowledge_").click().run()
    (alert,) = [a for a in alerts.standing(desk, ROOT) if a.rule == "backup.failed"]
    assert alert.acknowledged_by == "Operator" and alert.comment == "On it"
    assert "acknowledged by Operator" in said(app) and "On it" in said(app)
    button(app, "mute_").click().run()
    until = next(a for a in alerts.standing(desk, ROOT) if a.id == alert.id).muted_until
    assert timedelta(hours=7) < until - desk.now() <= timedelta(hours=8)
    button(app, "unmute_").click().run()
    assert not alerts.standing(desk, ROOT)[0].is_muted(desk.now())


@pytest.mark.parametrize("page", ["overview", "monitoring"])
def test_who_may_not_respond_sees_the_alert_and_no_button(desk, page):
    app = seen(page, "manager")
    keys = {each.key or "" for each in app.button}
    assert not app.exception and r"No \*space\* left" in said(app)
    assert not {key for key in keys if key.startswith(("acknowledge_", "mute_", "test_message"))}


def test_the_monitoring_page_tells_the_history_of_open_and_past_alerts(desk):
    app = seen("monitoring", "admin")
    assert "1 open" in said(app) and "Nobody is told" in said(app)
    assert button(app, "test_message").disabled
    (alert,) = [a for a in alerts.standing(desk, ROOT) if a.rule == "backup.failed"]
    responses.acknowledge(desk, ROOT, alert.id, "A *new* disk")
    app.run()
    assert r"Acknowledged by root: A \*new\* disk" in said(app)
    alerts.observe(desk, [], ["backup.failed"])
    add_job(desk, "good", "succeeded", desk.now())
    app.run()
    assert "No alert is open" in said(app)
    assert any(each.label == "Past alerts (1)" for each in app.expander)


def test_until_when_an_alert_is_muted_is_told_in_the_zone_of_whoever_looks(desk, monkeypatch):
    seen("overview", "manager")  # the alert opens as somebody looks
    (alert,) = [a for a in alerts.standing(desk, ROOT) if a.rule == "backup.failed"]
    until = desk.now() + timedelta(hours=3)
    responses.mute(desk, ROOT, alert.id, until)
    monkeypatch.setattr(ContextProxy, "timezone", "Asia/Kathmandu")
    lines = [line for line in said(seen("monitoring", "admin")).split("\n") if "Muted by" in line]
    (told,) = [line.replace("\\", "") for line in lines]
    assert f"{until.astimezone(ZoneInfo('Asia/Kathmandu')):%H:%M}" in told
    assert f"{until:%H:%M}" not in told and "T" not in told.partition("until")[2]


def test_a_test_message_says_on_the_page_what_came_back(desk, monkeypatch):
    settings = desk.settings.model_copy(update={"alert_urls": SecretStr("json://a,json://b")})
    monkeypatch.setattr(session, "context", lambda: replace(desk, settings=settings))
    monkeypatch.setattr(notify, "deliver_aside", lambda _ctx: None)
    came_back = (Outcome("1", "JSON (target 1)", ""), Outcome("2", "JSON (target 2)", "No."))
    monkeypatch.setattr(notify.targets, "send", lambda *_what: came_back)
    app = seen("monitoring", "operator")
    button(app, "test_message").click().run()
    assert r"JSON (target 1) took it." in said(app).replace("\\", "")
    assert "JSON (target 2): No." in said(app).replace("\\", "")
    app.run()
    assert "took it" not in said(app), "it is said once"
