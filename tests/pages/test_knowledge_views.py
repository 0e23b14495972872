"""History, bin, quality and questions on the knowledge page: seen first, done once, as text."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from services.knowledge import changes, recycling
from services.knowledge.changes import Delete, Edit
from tests.conftest import person
from tests.knowledge_base import COLOURS, load, named, state
from tests.pages.people import (
    browser_with,
    knowledge_desk,
    open_app,
    said,
    token_of,
)


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch):
    """A small knowledge base, and somebody in each role."""
    yield from knowledge_desk(ctx, monkeypatch)


def deleted(ctx, key="rust"):
    entry = named(ctx, person("editor"), COLOURS, key)
    return changes.save(ctx, person("editor"), [Delete(entry.id, entry.version)])


def at_view(view: str) -> AppTest:
    app = open_app("knowledge")
    app.segmented_control(key="view").set_value(view).run()
    assert not app.exception
    return app


def choose(app: AppTest, row: int = 0) -> AppTest:
    """A row of the table, as the browser says it."""
    key = app.dataframe[0].proto.id.split("-", 2)[2]  # $$ID-<hash>-<key>
    app.session_state[key] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    return app.run()


def test_a_deleted_entry_is_found_in_the_bin_and_comes_back(desk):
    before = state(desk)
    deleted(desk)
    with browser_with(token_of("editor")):
        app = at_view("bin")
        choose(app)
        app.button(key="kb_bin_back").click().run()
        assert not app.exception
    assert state(desk) == before


def test_an_empty_bin_says_what_would_be_in_it(desk):
    with browser_with(token_of("editor")):
        assert "waits here, with all its texts" in said(at_view("bin"))


def test_only_an_administrator_is_offered_to_purge(desk):
    deleted(desk)
    for role, offered in (("editor", False), ("admin", True), ("manager", False)):
        with browser_with(token_of(role)):
            app = at_view("bin")
            choose(app)
            keys = {button.key for button in app.button}
            assert ("kb_bin_purge" in keys) is offered
            assert ("kb_bin_back" in keys) is (role != "manager")
    assert recycling.deleted(desk, person("admin")).total == 1


def test_what_taking_back_would_change_is_shown_before_it_is_done(desk):
    navy = named(desk, person("editor"), COLOURS, "navy")
    done = changes.save(
        desk, person("editor"), [Edit(navy.id, navy.version, {"text": navy.body}, {"text": "A."})]
    )
    with browser_with(token_of("editor")):
        app = at_view("history")
        choose(app)
        app.button(key=f"kb_undo_{done.id}").click().run()
        assert not app.exception
        assert said(app).count("**navy** changed") == 2  # what it did, and what would be
        app.button(key="kb_undo_do").click().run()
        assert not app.exception
    assert named(desk, person("editor"), COLOURS, "navy").body == navy.body


def test_a_finding_leads_to_its_cell(desk):
    load(desk, {"fabric_guide": {"wool": {"description": "Warm and springy."}}})
    with browser_with(token_of("editor")):
        app = at_view("quality")
        assert "has no care" in said(app)
        app.button(key="kb_finding_empty_0").click().run()
        assert not app.exception
        assert app.text_area(key=opened_cell(app, "care")).value == ""


def opened_cell(app: AppTest, name: str) -> str:
    return next(area.key for area in app.text_area if f"_{name}_" in area.key)


def test_a_question_is_answered_on_the_page_and_shown_as_text(desk):
    load(desk, {"color_matching": {"by_color": {"navy": "# <b>Navy</b> likes *sand*."}}})
    with browser_with(token_of("manager")):
        app = at_view("try")
        app.button(key="kb_try_navy").click().run()
        assert not app.exception
        assert "As a colour" in said(app) and "Nothing: no entry fits." in said(app)
        shown = "".join(str(one.proto.body) for one in app.get("html"))
        assert "# &lt;b&gt;Navy&lt;/b&gt; likes *sand*." in shown
