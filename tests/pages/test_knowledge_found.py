"""Searching all sections and working through findings, on the page."""

from __future__ import annotations

import pytest

from services.knowledge import dismissing, inspecting
from services.knowledge.searching import meaning
from services.knowledge.searching.file import path_of_index
from tests.conftest import person
from tests.knowledge_base import load
from tests.pages.people import browser_with, knowledge_desk, open_app, said, token_of
from ui import kb_quality, kb_where


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch):
    """A small knowledge base, and somebody in each role."""
    yield from knowledge_desk(ctx, monkeypatch)


def searched(words):
    app = open_app("knowledge")
    app.session_state[kb_where.FIND] = words
    app.run()
    assert not app.exception
    return app


def markup(app):
    return "".join(str(one.proto.body) for one in app.get("html"))


def at_quality():
    app = open_app("knowledge")
    app.segmented_control(key="view").set_value("quality").run()
    assert not app.exception
    return app


def shades(ctx, count):
    """So many entries with one finding each, and no other."""
    texts = {f"shade_{n:03}": f"Number {n} likes turquoise most of all." for n in range(count)}
    load(ctx, {"color_matching": {"by_color": texts}})


def test_a_hit_is_marked_shown_as_text_and_opens_its_entry(desk):
    load(desk, {"style_advice": {"fit": "A <script>x</script> for **Lïnen** & more."}})
    with browser_with(token_of("editor")):
        app = searched("linen")
        shown = markup(app)
        assert "&lt;script&gt;x&lt;/script&gt; for **<mark" in shown
        assert ">Lïnen</mark>** &amp; more." in shown
        app.button(key="kb_hit_open_0").click().run()
        assert not app.exception
        assert app.session_state[kb_where.SECTION] == "style_advice"
        assert any("Lïnen" in str(area.value) for area in app.text_area)


def test_a_typing_error_is_answered_with_the_key_that_was_meant(desk):
    with browser_with(token_of("manager")):
        app = searched("linnen")
        assert "No entry holds" in said(app)
        app.button(key="kb_found_try_0").click().run()
        assert not app.exception
        assert "linen" in markup(app)


def test_without_the_model_the_page_says_where_it_belongs(desk, monkeypatch, tmp_path):
    monkeypatch.setattr(meaning.Path, "home", lambda: tmp_path)
    with browser_with(token_of("manager")):
        app = searched("linen")
        assert "is not on this machine" in said(app)
        assert not [one for one in app.segmented_control if one.key == "kb_found_how"]


def test_where_the_model_is_one_may_search_by_meaning_and_nobody_waits_for_it(desk, monkeypatch):
    monkeypatch.setattr(meaning, "missing", lambda _ctx: "")
    monkeypatch.setattr(meaning, "load_model", lambda: lambda texts: [[len(t), 1] for t in texts])
    try:
        with browser_with(token_of("manager")):
            app = searched("linen")
            app.segmented_control(key="kb_found_how").set_value("meaning").run()
            assert "being worked out" in said(app) and "linen" in markup(app)
            meaning.wait(desk, 60)
            app.run()
            assert not app.exception
            assert "the nearest first" in said(app)
    finally:
        meaning._keepers.pop(path_of_index(desk)).close()


def test_a_finding_is_dismissed_with_a_reason_and_brought_back(desk):
    shades(desk, 1)
    with browser_with(token_of("editor")):
        app = at_quality()
        app.button(key="kb_dismiss_0").click().run()
        app.button(key="kb_dismiss_do").click().run()
        assert "Say in a few words why" in said(app)
        app.text_input(key="kb_dismiss_reason").set_value("It <b>may</b> stay.").run()
        app.button(key="kb_dismiss_do").click().run()
        assert not app.exception
        assert "Nothing is wrong" in said(app)
        app.segmented_control(key="kb_quality_which").set_value("dismissed").run()
        assert "may" in said(app)
        app.button(key="kb_left_back_0").click().run()
        assert not app.exception
    report = inspecting.report(desk, person("editor"))
    assert len(report.findings) == 1 and report.dismissed == ()


def test_many_findings_come_in_pages_and_all_that_a_filter_leaves_are_dismissed_at_once(desk):
    shades(desk, 1000)
    with browser_with(token_of("editor")):
        app = at_quality()
        rows = [one for one in app.button if str(one.key).startswith("kb_finding_")]
        assert len(rows) == kb_quality.PAGE_ROWS
        app.selectbox(key="kb_quality_check").set_value("unknown-colour").run()
        app.button(key="kb_dismiss_all").click().run()
        app.text_input(key="kb_dismiss_reason").set_value("No turquoise this year.").run()
        app.button(key="kb_dismiss_do").click().run()
        assert not app.exception
    report = inspecting.report(desk, person("editor"))
    assert len(report.dismissed) == 1000
    assert not [one for one in report.findings if one.check == "unknown-colour"]


def test_who_only_reads_sees_findings_and_what_was_dismissed_and_changes_neither(desk):
    shades(desk, 2)
    editor = person("editor")
    one = inspecting.report(desk, editor).findings[0]
    dismissing.dismiss(desk, editor, [one], "Known.")
    with browser_with(token_of("manager")):
        app = at_quality()
        app.segmented_control(key="kb_quality_which").set_value("dismissed").run()
        assert "Known." in said(app).replace("\\", "")
        keys = {str(button.key) for button in app.button}
        assert not [key for key in keys if key.startswith(("kb_dismiss", "kb_left_back"))]
