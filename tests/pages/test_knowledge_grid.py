"""Choosing, filtering, moving and writing on the knowledge page: by id, seen first, as text."""

from __future__ import annotations

import pytest

from services.core.access import system_actor
from services.knowledge import changes, entries, history
from services.knowledge.changes import Delete, Edit
from tests.knowledge_base import COLOURS, load, named, small_kb, state
from tests.pages.people import browser_with, knowledge_desk, open_alone, open_app, said, token_of


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch):
    """A small knowledge base, and somebody in each role."""
    yield from knowledge_desk(ctx, monkeypatch)


@pytest.fixture
def app(desk):
    """The table of colours, as an editor sees it."""
    with browser_with(token_of("editor")):
        page = open_app("knowledge")
        yield page.button(key="kb_section_color_matching").click().run()


def tick(app, *positions):
    """What the browser sends when boxes of the table are ticked."""
    cells = {at: {"select": True} for at in positions}
    state = {"edited_rows": cells, "added_rows": [], "deleted_rows": []}
    app.session_state[app.session_state["kb_grid"].name] = state
    return app.run()


def colours(ctx):
    return entries.document(ctx.shop)["color_matching"]["by_color"]


def order(ctx):
    return [one.key for one in entries.page(ctx, system_actor(), COLOURS).entries]


def told(app):
    """Alerts with their titles, and everything that is text."""
    alerts = [f"{e.proto.title} {e.value}" for e in (*app.error, *app.warning, *app.info)]
    return "\n".join([said(app), *alerts]).replace("\\", "")


def shown(app):
    """What stands on the page as differences and texts."""
    return " ".join(str(one.proto.body) for one in app.get("html"))


def test_ticked_entries_are_changed_together_after_a_look_at_each(ctx, app):
    tick(app, 0, 2)
    assert "2 entries chosen" in said(app)
    assert "unsaved" not in said(app)
    app.button(key="kb_bulk_replace").click().run()
    app.text_input(key="kb_bulk_find").set_value("LIKES").run()
    app.text_input(key="kb_bulk_by").set_value("<b>loves</b>").run()
    assert "2 places" in said(app)
    assert "&lt;b&gt;" in shown(app)
    assert "<b>loves" not in shown(app)
    app.button(key="kb_bulk_do").click().run()
    assert not app.exception
    assert colours(ctx)["navy"] == "Navy <b>loves</b> sand and white."
    assert colours(ctx)["rust"] == small_kb()["color_matching"]["by_color"]["rust"]
    newest = history.recent(ctx, system_actor()).change_sets[0]
    assert (newest.kind, newest.edited, newest.author) == ("bulk", 2, "Editor")
    assert "chosen" not in said(app)


def test_a_tick_stays_with_its_entry_when_somebody_deletes_a_row_above(ctx, app):
    tick(app, 1)
    first = entries.page(ctx, system_actor(), COLOURS).entries[0]
    changes.save(ctx, system_actor("Zoe"), [Delete(first.id, first.version)])
    app.run()
    app.button(key="kb_bulk_delete").click().run()
    assert "1 entry" in said(app)
    app.button(key="kb_bulk_do").click().run()
    assert list(colours(ctx)) == ["moss"]


def test_the_names_of_sections_and_parts_stay_when_entries_come_and_go(ctx, app):
    # The browser sends names back, and a name it does not know any more loses the place.
    before = (app.selectbox(key="section").options, app.segmented_control(key="part").options)
    app.button(key="kb_choose_all").click().run()
    app.button(key="kb_bulk_delete").click().run()
    app.button(key="kb_bulk_do").click().run()
    assert colours(ctx) == {}
    after = (app.selectbox(key="section").options, app.segmented_control(key="part").options)
    assert [str(one) for one in after] == [str(one) for one in before]
    assert "No entry here yet" in said(app)


def test_what_somebody_wrote_since_the_preview_is_not_overwritten(ctx, app):
    app.button(key="kb_choose_all").click().run()
    app.button(key="kb_bulk_set").click().run()
    app.checkbox(key="kb_bulk_empty").set_value(False).run()
    app.text_area(key="kb_bulk_text").set_value("The same for all.").run()
    navy = named(ctx, system_actor(), COLOURS, "navy")
    edit = Edit(navy.id, navy.version, {"text": navy.body}, {"text": "Theirs."})
    changes.save(ctx, system_actor("Zoe"), [edit])
    before = state(ctx)
    app.button(key="kb_bulk_do").click().run()
    assert "Zoe changed navy since you looked; nothing was changed" in told(app)
    assert state(ctx) == before


def test_nothing_is_changed_by_a_click_on_what_was_not_shown(ctx, app):
    app.button(key="kb_choose_all").click().run()
    app.button(key="kb_bulk_replace").click().run()
    app.text_input(key="kb_bulk_find").set_value("likes").run()
    before = state(ctx)
    # The browser sends a text that is left and a click on the button together.
    app.text_input(key="kb_bulk_by").set_value("loves")
    app.button(key="kb_bulk_do").click().run()
    assert state(ctx) == before
    app.button(key="kb_bulk_do").click().run()
    assert colours(ctx)["rust"] == "Rust loves cream."


def test_what_could_not_be_saved_is_listed_and_has_no_button(ctx, app):
    tick(app, 0)
    app.button(key="kb_bulk_set").click().run()
    app.checkbox(key="kb_bulk_empty").set_value(False).run()
    assert "could not be saved like this" in told(app)
    assert not [b for b in app.button if b.key == "kb_bulk_do"]


def test_a_filter_that_hides_everything_is_named_and_cleared(ctx, app):
    app.text_input(key="find").set_value("cream").run()
    app.selectbox(key="by").set_value("system").run()
    assert "1 entry found" in said(app)
    app.text_input(key="find").set_value("<script>").run()
    assert "No entry here fits:" in told(app)
    assert "<script>" in told(app)
    assert app.button(key="kb_without_0").label.endswith("3 entries")
    app.button(key="kb_without_0").click().run()
    assert app.selectbox(key="by").value == "system"
    assert "3 entries found" in said(app)
    app.button(key="kb_clear").click().run()
    assert "3 entries in all" in said(app)


def test_filters_stand_in_the_address_and_nonsense_there_is_passed_over(ctx, desk):
    address = {
        "section": "color_matching",
        "find": "likes",
        "since": "2020-02-31",
        "until": "0001-01-01",
        "only": "unpublished,nonsense",
        "by": "system",
    }
    with browser_with(token_of("editor")):
        page = open_alone("knowledge", **address)
        assert not page.exception
        assert page.session_state["only"] == ["unpublished"]
        assert (page.session_state["since"], page.session_state["until"]) == (None, None)
        assert page.query_params["only"] == "unpublished"
        assert "since" not in page.query_params
        assert "3 entries found" in said(page)  # without a release, nothing is published


def test_an_entry_is_moved_in_its_panel_and_several_together(ctx, app):
    moss = named(ctx, system_actor(), COLOURS, "moss")
    app.selectbox(key="kb_open").set_value(moss.id).run()
    app.button(key="kb_place_up").click().run()
    assert order(ctx) == ["navy", "moss", "rust"]
    app.button(key="kb_place_top").click().run()
    assert order(ctx) == ["moss", "navy", "rust"]
    app.button(key="kb_place_top").click().run()
    assert "They stand there already" in told(app)
    app.text_input(key="kb_place_other").set_value("rust").run()
    app.button(key="kb_place_before").click().run()
    assert order(ctx) == ["navy", "moss", "rust"]
    tick(app, 0, 1)
    app.button(key="kb_bulk_move").click().run()
    app.button(key="kb_bulk_place_end").click().run()
    assert order(ctx) == ["rust", "navy", "moss"]
    assert not app.exception


def test_a_duplicate_has_a_free_key_and_says_the_same(ctx, app):
    navy = named(ctx, system_actor(), COLOURS, "navy")
    app.selectbox(key="kb_open").set_value(navy.id).run()
    app.button(key=f"kb_duplicate_{navy.id}").click().run()
    app.button(key="kb_save").click().run()
    assert colours(ctx)["navy_2"] == navy.body


def test_a_long_text_is_written_beside_what_it_changes_and_shown_as_text(ctx, app):
    navy = named(ctx, system_actor(), COLOURS, "navy")
    app.selectbox(key="kb_open").set_value(navy.id).run()
    app.button(key="kb_write").click().run()
    area = next(one for one in app.text_area if one.key.startswith("kb_cell_full_"))
    area.set_value("# Navy\n<img src=x> likes sand.").run()
    assert "# Navy\n&lt;img src=x&gt; likes sand." in shown(app)
    app.segmented_control(key="kb_write_view").set_value("What changes").run()
    assert "<del" in shown(app)
    app.button(key="kb_write_done").click().run()
    assert "1 unsaved change" in said(app)
    app.button(key="kb_save").click().run()
    assert colours(ctx)["navy"] == "# Navy\n<img src=x> likes sand."


def test_one_change_of_an_entry_is_taken_back_from_its_own_history(ctx, app):
    both = [named(ctx, system_actor(), COLOURS, key) for key in ("navy", "rust")]
    edits = [Edit(one.id, one.version, {"text": one.body}, {"text": "New."}) for one in both]
    done = changes.save(ctx, system_actor("Zoe"), edits)
    app.selectbox(key="kb_open").set_value(both[0].id).run()
    app.button(key=f"kb_undo_{done.id}_{both[0].id}").click().run()
    app.button(key="kb_undo_do").click().run()
    assert not app.exception
    assert colours(ctx)["navy"] == both[0].body
    assert colours(ctx)["rust"] == "New."


def test_a_list_for_narrow_screens_opens_an_entry_in_full(ctx, app):
    load(ctx, {"color_matching": {"by_color": {"navy": "![x](http://evil.example) " * 20}}})
    app.run()
    navy = named(ctx, system_actor(), COLOURS, "navy")
    rows = app.radio(key="kb_list")
    assert rows.options == ["navy"]
    assert "![x](" not in rows.proto.captions[0]
    rows.set_value(navy.id).run()
    assert app.selectbox(key="kb_open").value == navy.id
    assert [one for one in app.text_area if one.key.startswith(f"kb_cell_{navy.id}")]


def test_those_who_only_read_search_and_filter_and_change_nothing(desk):
    with browser_with(token_of("manager")):
        page = open_app("knowledge")
        page.button(key="kb_section_color_matching").click().run()
        page.text_input(key="find").set_value("cream").run()
        assert "1 entry found" in said(page)
        keys = {one.key for one in page.button}
        assert not [
            key for key in keys if key and key.startswith(("kb_bulk", "kb_choose", "kb_place"))
        ]
        rust = named(desk, system_actor(), COLOURS, "rust")
        page.selectbox(key="kb_open").set_value(rust.id).run()
        assert not page.exception
        assert not page.text_area


def test_a_search_over_all_sections_opens_what_it_finds(ctx, desk):
    with browser_with(token_of("manager")):
        page = open_app("knowledge")
        page.text_input(key="find").set_value("cream").run()
        assert not page.exception
        assert "<mark" in shown(page)
        page.button(key="kb_hit_open_0").click().run()
        assert "Advice for one colour" in said(page)
        assert "1 entry found" in said(page)


def test_a_phones_list_chooses_entries_that_the_table_then_shows_as_chosen_too(ctx, app):
    navy, rust = (named(ctx, system_actor(), COLOURS, key) for key in ("navy", "rust"))
    app.toggle(key="kb_several").set_value(True).run()
    app.checkbox(key=f"kb_tick_{navy.id}").check().run()
    app.checkbox(key=f"kb_tick_{rust.id}").check().run()
    assert "2 entries chosen" in said(app)
    held = app.session_state["kb_grid"]
    chosen = {n for n, row in zip(held.ids, held.rows, strict=True) if row["select"]}
    assert chosen == {navy.id, rust.id}
    app.checkbox(key=f"kb_tick_{navy.id}").uncheck().run()
    app.button(key="kb_bulk_delete").click().run()
    app.button(key="kb_bulk_do").click().run()
    assert "rust" not in colours(ctx) and "navy" in colours(ctx)
