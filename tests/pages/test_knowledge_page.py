"""The knowledge page: what is typed is kept, saved under its row, and never lost by a clash."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
import streamlit as st

from services.core import audit
from services.core.access import system_actor
from services.knowledge import changes, entries, history
from services.knowledge.changes import Edit
from services.knowledge.document import canonical
from tests.knowledge_base import load, small_kb
from tests.pages.people import (
    browser_with,
    knowledge_desk,
    open_app,
    said,
    token_of,
)
from ui import session

COLOURS = "/color_matching/by_color"


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch):
    """A small knowledge base, and somebody in each role."""
    yield from knowledge_desk(ctx, monkeypatch)


@pytest.fixture
def editor_app(desk):
    with browser_with(token_of("editor")):
        yield at(open_app("knowledge"), "color_matching")


@pytest.fixture
def reader_app(desk):
    with browser_with(token_of("manager")):
        yield at(open_app("knowledge"), "color_matching")


def at(app, section):
    assert not app.exception
    return app.button(key=f"kb_section_{section}").click().run()


def type_into_grid(app, edited=None):
    """What the browser sends when cells are edited: positions, not ids."""
    state = {"edited_rows": edited or {}, "added_rows": [], "deleted_rows": []}
    app.session_state[app.session_state["kb_grid"].name] = state
    return app.run()


def delete(app, entry_id):
    """Open an entry and mark it as deleted."""
    app.selectbox(key="kb_open").set_value(entry_id).run()
    return app.button(key=f"kb_delete_{entry_id}").click().run()


def colours(ctx):
    return entries.document(ctx.shop)["color_matching"]["by_color"]


def write(ctx, key, text):
    """Somebody else saves a text."""
    actor = system_actor("Zoe")
    page = entries.page(ctx, actor, COLOURS).entries
    entry = next(one for one in page if one.key == key)
    edit = Edit(entry.id, entry.version, {"text": entry.body}, {"text": text})
    changes.save(ctx, actor, [edit])


def area(app, key):
    """The text area of an entry that is opened in full."""
    return next(one for one in app.text_area if one.key.startswith(key))


def messages(app):
    """Alerts with their titles, and everything that is text."""
    alerts = [f"{e.proto.title} {e.value}" for e in (*app.error, *app.warning, *app.info)]
    return "\n".join([said(app), *alerts]).replace("\\", "")


def test_the_list_tells_every_section_and_its_count(desk):
    with browser_with(token_of("manager")):
        app = open_app("knowledge")
    assert len([b for b in app.button if b.key.startswith("kb_section_")]) == 11
    assert "4 entries" in said(app)


def test_a_cell_typed_into_the_grid_is_saved_under_its_own_row(ctx, editor_app):
    app = type_into_grid(editor_app, {1: {"cell:text": "Rust likes teal."}})
    assert "1 unsaved change" in said(app)
    app.button(key="kb_save").click().run()
    assert not app.exception
    assert colours(ctx)["rust"] == "Rust likes teal."
    assert colours(ctx)["navy"] == small_kb()["color_matching"]["by_color"]["navy"]
    assert "unsaved" not in said(app)


def test_edits_outlive_reruns_sections_and_pages_until_they_are_saved(ctx, editor_app):
    moss = entries.page(ctx, system_actor(), COLOURS).entries[2]
    app = delete(type_into_grid(editor_app, {0: {"cell:text": "Navy, anew."}}), moss.id)
    app.button(key="kb_all").click().run()
    assert "2 unsaved" in said(app)
    app = at(app, "fabric_guide")
    app.switch_page("pages/overview.py").run()
    app.switch_page("pages/knowledge.py").run()
    assert "2 unsaved changes" in said(app)
    app.button(key="kb_save").click().run()
    assert colours(ctx) == {"navy": "Navy, anew.", "rust": "Rust likes cream."}


def test_an_edit_stays_with_its_entry_when_somebody_else_deletes_a_row_above(ctx, editor_app):
    app = type_into_grid(editor_app, {1: {"cell:text": "Mine."}})
    page = entries.page(ctx, system_actor(), COLOURS).entries
    changes.save(ctx, system_actor("Zoe"), [changes.Delete(page[0].id, page[0].version)])
    app.run()
    app.button(key="kb_save").click().run()
    assert colours(ctx) == {"rust": "Mine.", "moss": "Moss likes camel."}


def test_a_cell_typed_back_to_what_is_stored_is_no_change(ctx, editor_app):
    app = type_into_grid(editor_app, {0: {"cell:text": "x"}})
    app = type_into_grid(app, {0: {"cell:text": "Navy likes sand and white."}})
    assert "unsaved" not in said(app)


def test_discard_takes_everything_back_and_stays_so(ctx, editor_app):
    rust = entries.page(ctx, system_actor(), COLOURS).entries[1]
    app = delete(type_into_grid(editor_app, {0: {"cell:text": "x"}}), rust.id)
    app.button(key="kb_discard").click().run()
    app.run()
    assert "unsaved" not in said(app)
    assert entries.document(ctx.shop) == small_kb()


def test_a_hand_made_grid_message_changes_neither_other_columns_nor_rows_that_are_not_there(
    ctx, editor_app
):
    before = canonical(entries.document(ctx.shop))
    app = editor_app
    snapshot = app.session_state["kb_grid"]
    app.session_state[snapshot.name] = {
        "edited_rows": {0: {"changed": "yesterday, nobody", "id": 99, "version": 7}},
        "added_rows": [],
        "deleted_rows": [],
    }
    app.run()
    assert "unsaved" not in said(app)
    assert canonical(entries.document(ctx.shop)) == before


def test_a_hand_made_text_over_the_limit_is_refused_on_save_and_nothing_is_saved(ctx, editor_app):
    before = canonical(entries.document(ctx.shop))
    edited = {0: {"cell:text": "x" * 1_000_000}, 1: {"cell:text": "Fine."}, 2: {"key": ""}}
    app = type_into_grid(editor_app, edited)
    app.button(key="kb_save").click().run()
    assert "2 cells can't be saved" in messages(app)
    assert "navy**, Text: The text has 1,000,000 characters; at most 100,000 fit" in messages(app)
    assert "moss**, Key: The key is empty" in messages(app)
    assert "3 unsaved changes" in said(app)
    assert canonical(entries.document(ctx.shop)) == before


def test_two_people_saving_the_same_cell_see_both_and_choose(ctx, editor_app):
    app = type_into_grid(editor_app, {0: {"cell:text": "Mine."}})
    write(ctx, "navy", "Theirs.")
    app.button(key="kb_save").click().run()
    assert "Zoe changed the same while you were editing" in messages(app)
    assert "Nothing of yours was saved" in messages(app)
    shown = " ".join(str(one.proto.body) for one in app.get("html"))
    assert "Theirs." in shown
    assert "Mine." in shown
    assert colours(ctx)["navy"] == "Theirs."
    app.button(key="kb_clash_0_mine").click().run()
    app.button(key="kb_save").click().run()
    assert colours(ctx)["navy"] == "Mine."


def test_keeping_theirs_drops_mine(ctx, editor_app):
    app = type_into_grid(editor_app, {0: {"cell:text": "Mine."}})
    write(ctx, "navy", "Theirs.")
    app.button(key="kb_save").click().run()
    app.button(key="kb_clash_0_theirs").click().run()
    assert "unsaved" not in said(app)
    assert colours(ctx)["navy"] == "Theirs."


def test_keeping_mine_after_they_deleted_the_entry_adds_it_again(ctx, editor_app):
    app = type_into_grid(editor_app, {0: {"cell:text": "Mine."}})
    entry = entries.page(ctx, system_actor(), COLOURS).entries[0]
    changes.save(ctx, system_actor("Zoe"), [changes.Delete(entry.id, entry.version)])
    app.button(key="kb_save").click().run()
    app.button(key="kb_clash_0_mine").click().run()
    app.button(key="kb_save").click().run()
    assert not app.exception
    assert colours(ctx)["navy"] == "Mine."


def test_a_long_text_is_written_in_full_beside_the_table(ctx, editor_app):
    app = editor_app
    entry = entries.page(ctx, system_actor(), COLOURS).entries[0]
    app.selectbox(key="kb_open").set_value(entry.id).run()
    area(app, f"kb_cell_{entry.id}_text").set_value("\n  Two lines,\n  kept.\n   ").run()
    assert app.selectbox(key="kb_open").value == entry.id
    app.button(key="kb_save").click().run()
    assert colours(ctx)["navy"] == "\n  Two lines,\n  kept.\n   "


def test_line_ends_of_windows_outlive_an_edit(ctx, desk):
    load(ctx, {"fabric_pairing": "one\r\ntwo"})
    with browser_with(token_of("editor")):
        app = at(open_app("knowledge"), "fabric_pairing")
        area(app, "kb_cell_").set_value("one\ntwo\nthree").run()
        app.button(key="kb_save").click().run()
    assert entries.document(ctx.shop)["fabric_pairing"] == "one\r\ntwo\r\nthree"


def test_an_entry_is_added_with_a_key_that_fits_and_refused_with_one_that_does_not(ctx, editor_app):
    app = editor_app.button(key="kb_add").click().run()
    next(t for t in app.text_input if t.key.startswith("kb_key_")).set_value("Deep Blue").run()
    area(app, "kb_cell_").set_value("Quiet.").run()
    app.button(key="kb_save").click().run()
    assert "Try deep_blue" in messages(app)
    next(t for t in app.text_input if t.key.startswith("kb_key_")).set_value("deep_blue").run()
    app.button(key="kb_save").click().run()
    assert colours(ctx)["deep_blue"] == "Quiet."


def test_a_text_that_is_not_there_yet_can_be_written(ctx, desk):
    with browser_with(token_of("editor")):
        app = at(open_app("knowledge"), "recommendation_priority")
        area(app, "kb_cell_").set_value("Fit first.").run()
        app.button(key="kb_save").click().run()
    assert entries.document(ctx.shop)["recommendation_priority"] == "Fit first."


def test_an_entry_is_deleted_and_its_history_tells(ctx, editor_app):
    app = editor_app
    entry = entries.page(ctx, system_actor(), COLOURS).entries[0]
    app.selectbox(key="kb_open").set_value(entry.id).run()
    app.button(key=f"kb_delete_{entry.id}").click().run()
    assert "deleted when you save" in said(app)
    app.text_input(key="kb_reason_0").set_value("out of season").run()
    app.button(key="kb_save").click().run()
    assert "navy" not in colours(ctx)
    newest = history.recent(ctx, system_actor()).change_sets[0]
    assert (newest.author, newest.reason, newest.deleted) == ("Editor", "out of season", 1)


def test_those_who_only_read_have_no_editor_and_no_buttons(ctx, reader_app):
    app = reader_app
    assert not [b for b in app.button if b.key in ("kb_add", "kb_save")]
    assert not app.text_area
    assert "kb_grid" not in app.session_state
    app.segmented_control(key="view").set_value("transfer").run()
    assert not app.file_uploader
    assert len(app.get("download_button")) == 5


def test_a_readers_hand_made_drafts_are_never_saved(ctx, reader_app):
    from ui.kb_drafts import Drafts

    drafts = Drafts()
    drafts.add(COLOURS, COLOURS, ("text",), "teal")
    reader_app.session_state["kb_drafts"] = drafts
    reader_app.run()
    assert not [b for b in reader_app.button if b.key == "kb_save"]
    assert colours(ctx) == small_kb()["color_matching"]["by_color"]


def test_markup_in_texts_and_keys_is_shown_as_text_everywhere(ctx, desk):
    bad = "<script>alert(1)</script> ![x](http://evil.example/x.png) :red[r] $x$"
    load(ctx, {"color_matching": {"by_color": {"navy": bad}}, bad: {bad: bad}})
    with browser_with(token_of("editor")):
        app = at(open_app("knowledge"), "color_matching")
        entry = entries.page(ctx, system_actor(), COLOURS).entries[0]
        app.selectbox(key="kb_open").set_value(entry.id).run()
        app = type_into_grid(app, {0: {"cell:text": bad + bad, "key": bad}})
        app.button(key="kb_save").click().run()
        assert not app.exception
    marked = [e.value for kind in (app.markdown, app.caption, app.error) for e in kind]
    marked += [b.label for b in app.button] + [t.label for t in app.text_area]
    assert not [text for text in marked if "<script" in text or "![x](" in text]
    html = [str(e.proto.body) for e in app.get("html")]
    assert "&lt;script&gt;" in " ".join(html)
    assert not [text for text in html if "<script" in text]


def test_the_history_lists_change_sets_and_says_who_and_why(ctx, editor_app):
    app = type_into_grid(editor_app, {0: {"cell:text": "Anew."}})
    app.text_input(key="kb_reason_0").set_value("spring").run()
    app.button(key="kb_save").click().run()
    app.segmented_control(key="view").set_value("history").run()
    frame = app.dataframe[0].value
    assert list(frame["Who"]) == ["Editor", "system"]
    assert list(frame["What"]) == ["Edit: 1 changed", "Restore: 16 added"]
    assert list(frame["Why"]) == ["spring", "for a test"]


def test_a_shop_that_is_lost_is_said_and_the_page_still_opens(ctx, shop, desk):
    ctx.close()
    desk.close()
    shop.unlink()
    with browser_with(token_of("editor")):
        app = open_app("knowledge")
    assert not app.exception
    assert "There is no shop database" in messages(app)


def test_what_a_crash_kept_from_the_audit_log_is_told_at_the_next_start(ctx, shop, desk):
    write(ctx, "navy", "Anew.")
    with closing(sqlite3.connect(shop)) as database, database:
        database.execute("UPDATE kb_change_sets SET relayed = 0")
    with closing(sqlite3.connect(ctx.settings.instance_dir / "control.db")) as control, control:
        control.execute("DELETE FROM audit_log WHERE action LIKE 'knowledge.%'")
    st.cache_resource.clear()
    session.context()
    log = audit.events(ctx, system_actor(), audit.AuditFilter(actions=("knowledge.edit",)))
    assert [event.actor_name for event in log.events] == ["Zoe"]
