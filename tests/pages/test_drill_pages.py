"""Proof on the pages: the button, the evidence, and what the first screen says of it."""

from __future__ import annotations

import dataclasses

import pytest
import streamlit as st
from streamlit.testing.v1 import app_test

from services import backup, drill
from services.core import jobs
from services.core.errors import Broken
from services.core.jobs import JobState
from services.core.settings import Settings
from services.people import passwords
from services.protection.index import catalog
from services.protection.model import Manifest, VectorMatch
from services.protection.proving.evidence import Step
from services.protection.proving.prove import MATCH
from tests.conftest import person
from tests.drills import desk_settings, flip, furnished_desk, stored
from tests.pages.people import TakenOver, context_of, said
from tests.pages.test_front import ROOT, alerts, keys, seen, wait_for_the_job
from ui import session, snapshot_panel


@pytest.fixture
def made(tmp_path, tmp_path_factory) -> Manifest:
    return furnished_desk(tmp_path, tmp_path_factory, vectors=False)


@pytest.fixture
def settings(made, tmp_path) -> Settings:
    return desk_settings(tmp_path)


@pytest.fixture(autouse=True)
def desk(ctx, monkeypatch):
    """Pages find the test's desk, which has a shop and a backup."""
    from tests.pages import test_front

    for name, value in context_of(ctx).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(passwords, "COST", 4)
    monkeypatch.setattr(app_test, "PagesManager", TakenOver)
    monkeypatch.setattr(session, "token", lambda: st.session_state.get("test_token", ""))
    test_front._tokens.clear()
    st.cache_resource.clear()
    yield session.context()
    st.cache_resource.clear()


def figures(app) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_a_new_desk_is_offered_one_drill_which_proves_it(desk, made):
    app = seen("overview", "operator")
    assert "Safe" in said(app) and "Not proven yet" in said(app)
    assert figures(app)["Last proof"] == "none yet"
    (button,) = [button for button in app.button if button.label == "Run a drill"]
    button.click().run()
    assert not app.exception
    assert wait_for_the_job(desk, "drill").state is JobState.SUCCEEDED
    after = seen("overview", "manager")
    assert "Proven by a full test restore just now" in said(after)
    assert figures(after)["Last proof"] == "just now"
    assert figures(after)["Recovery time"].endswith("s")
    assert "Not proven yet" not in said(after)


def test_who_may_not_drill_sees_the_proof_and_no_button(desk, made):
    drill.run(desk, ROOT, made.id)
    assert not [b for b in seen("overview", "manager").button if b.label == "Run a drill"]
    app = seen("backups", "manager", snapshot=made.id)
    assert not app.exception and "drill" not in keys(app)
    assert "every count and digest as recorded" in said(app) and "Passed" in said(app)
    assert "drill" in keys(seen("backups", "operator", snapshot=made.id))


def test_the_panel_starts_a_drill_shows_it_running_and_then_the_evidence(desk, made):
    app = seen("backups", "operator", snapshot=made.id)
    assert "Not proven yet" in said(app)
    assert list(app.dataframe[0].value["State"][0]) == ["read back"]
    app.button(key="drill").click().run()
    assert not app.exception
    assert wait_for_the_job(desk, "drill").state is JobState.SUCCEEDED
    after = seen("backups", "operator", snapshot=made.id)
    for step in ("Manifest", "Objects", "Database", "Knowledge base", "Pictures"):
        assert step in said(after)
    assert list(after.dataframe[0].value["State"][0]) == ["verified"]
    assert len(seen("backups", "operator", state="verified").dataframe[0].value) == 1
    assert "No backup matches" in said(seen("backups", "operator", state="damaged"))


def test_a_running_drill_is_shown_and_blocks_the_button(desk, made):
    jobs.create(desk, person("operator"), "drill", lock=drill.LOCK, params={"snapshot": made.id})
    app = seen("backups", "operator", snapshot=made.id)
    assert "Restoring aside, as a test" in said(app) and app.button(key="drill").disabled
    assert not app.button(key="back_up").disabled, "a backup may run beside a drill"
    assert "Restoring aside, as a test" in said(seen("overview", "manager"))


def test_a_failed_drill_is_the_first_thing_said_and_leads_to_what_was_found(desk, made):
    drill.run(desk, ROOT, made.id)
    flip(stored(desk, made.components[0].key))
    with pytest.raises(Broken):
        drill.run(desk, ROOT, made.id)
    front = seen("overview", "operator")
    assert "At risk" in said(front) and made.components[0].name in said(front).replace("\\", "")
    assert "The test restore of the backup of" in alerts(seen("backups", "operator"))
    app = seen("backups", "operator", snapshot=made.id)
    assert "The test restore of" not in alerts(app), "what its own panel says was said twice"
    assert list(app.dataframe[0].value["State"][0]) == ["damaged"]
    assert "Not looked at" in said(app) and "Failed" in said(app)
    assert "1 earlier drill" in str([box.label for box in app.expander])


def test_what_evidence_says_is_shown_and_never_rendered(desk, made, monkeypatch):
    from services.protection.proving import prove

    def odd(_restored, _manifest):
        raise Broken("![x](http://evil.example/p.png) :red[boo]")

    monkeypatch.setattr(prove.aside, "compare", odd)
    with pytest.raises(Broken):
        drill.run(desk, ROOT, made.id)
    for app in (seen("overview"), seen("backups", snapshot=made.id)):
        assert not app.exception
        shown = said(app) + "".join(box.proto.title + box.value for box in app.error)
        assert "evil" in shown and "![x](" not in shown and ":red[boo]" not in shown


def test_what_all_backups_have_is_said_once_and_only_differences_are_marked(desk, made):
    backup.refresh(desk, ROOT)
    first = catalog.find(desk, made.id)
    signed = dataclasses.replace(first, signed=True)
    sealed = dataclasses.replace(first, signed=True, encrypted=True)
    assert snapshot_panel.marks_of_list((signed, sealed)) == ([[], ["encrypted"]], ["signed"])
    assert snapshot_panel.marks_of_list((sealed,)) == ([["encrypted", "signed"]], [])


def test_a_mismatch_of_vectors_that_is_as_it_was_recorded_has_no_green_check(
    desk, made, monkeypatch
):
    step = Step(MATCH, True, "1 product has no vector", 0.1)
    drills = drill.history
    drill.run(desk, ROOT, made.id)
    monkeypatch.setattr(
        drill,
        "history",
        lambda *a: [dataclasses.replace(each, steps=(step,)) for each in drills(*a)],
    )
    assert f":green[:material/check_circle:] {MATCH}" in said(seen("backups", snapshot=made.id))
    match = VectorMatch(products=9, vectors=8, missing=1)
    monkeypatch.setattr(backup, "manifest", lambda *_: dataclasses.replace(made, match=match))
    shown = said(seen("backups", snapshot=made.id))
    assert f":orange[:material/warning:] {MATCH}" in shown
