"""The history, going back and the bin on the page: found, seen before, and agreed to as seen."""

from __future__ import annotations

from datetime import timedelta

import pytest
from streamlit.testing.v1 import AppTest

from services.core.access import system_actor
from services.knowledge import changes, history, recycling, rollback
from services.knowledge.changes import Add, Delete, Edit
from tests.conftest import person
from tests.knowledge_base import COLOURS, FABRICS, named, state
from tests.pages.people import browser_with, knowledge_desk, open_app, said, token_of
from tests.pages.test_knowledge_views import choose
from tests.services.publishing import publish

EDITOR = person("editor")
ZOE = system_actor("Zoe")


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch):
    """A small knowledge base, and somebody in each role."""
    yield from knowledge_desk(ctx, monkeypatch)


def at_view(view: str) -> AppTest:
    app = open_app("knowledge")
    app.segmented_control(key="view").set_value(view).run()
    assert not app.exception
    return app


def say(desk, text, where=COLOURS, key="navy", by=EDITOR, reason="", name="text"):
    entry = named(desk, by, where, key)
    edit = Edit(entry.id, entry.version, {name: entry.cells[name]}, {name: text})
    return changes.save(desk, by, [edit], reason)


def listed(app: AppTest) -> list[str]:
    """Who did what and why, as the table says it."""
    if not app.dataframe:
        return []
    table = app.dataframe[0].value
    return [f"{row['Who']}: {row['What']}: {row['Why']}" for _n, row in table.iterrows()]


def alerts(app: AppTest) -> str:
    kinds = (*app.error, *app.warning, *app.info)
    return "\n".join(f"{e.proto.title} {e.value}" for e in kinds).replace("\\", "")


def test_the_history_is_narrowed_by_every_filter_and_one_button_shows_all_again(desk):
    say(desk, "A.", reason="Autumn <b>words</b>")
    say(desk, "Boil it.", FABRICS, "linen", by=ZOE, reason="Washing", name="care")
    changes.save(desk, EDITOR, [Add(COLOURS, "teal", {"text": "Teal."})])
    with browser_with(token_of("manager")):
        app = at_view("history")
        assert len(listed(app)) == 4
        app.text_input(key="kb_history_text").set_value("AUTUMN").run()
        assert listed(app) == ["Editor: Edit: 1 changed: Autumn <b>words</b>"]
        app.button(key="kb_history_clear").click().run()
        app.selectbox(key="kb_history_author").set_value("Zoe").run()
        assert listed(app) == ["Zoe: Edit: 1 changed: Washing"]
        app.button(key="kb_history_clear").click().run()
        app.selectbox(key="kb_history_section").set_value(FABRICS).run()
        assert [one.partition(":")[0] for one in listed(app)] == ["Zoe", "system"]
        app.selectbox(key="kb_history_kind").set_value("restore").run()
        assert len(listed(app)) == 1
        app.button(key="kb_history_clear").click().run()
        tomorrow = desk.now().date() + timedelta(days=2)
        app.date_input(key="kb_history_since").set_value(tomorrow).run()
        assert listed(app) == [] and "No change fits this search." in said(app)
        app.button(key="kb_history_clear").click().run()
        assert len(listed(app)) == 4 and not app.exception


def test_a_long_history_has_pages_and_a_filter_begins_on_the_first(desk):
    for number in range(history.PAGE_ROWS + 3):
        say(desk, f"Text {number}.", reason=f"Turn {number}", by=ZOE if number == 0 else EDITOR)
    with browser_with(token_of("manager")):
        app = at_view("history")
        assert len(listed(app)) == history.PAGE_ROWS and "24 changes" in said(app)
        app.session_state["kb_history_page"] = 2
        app.run()
        assert [one.rpartition(" ")[2] for one in listed(app)][:3] == ["2", "1", "0"]
        app.selectbox(key="kb_history_author").set_value("Zoe").run()
        assert [one.rpartition(" ")[2] for one in listed(app)] == ["0"]


def test_those_who_only_read_open_a_change_and_can_take_nothing_back(desk):
    say(desk, "# <b>A</b>")
    with browser_with(token_of("manager")):
        app = choose(at_view("history"))
        shown = "".join(str(one.proto.body) for one in app.get("html"))
        assert "**navy** changed" in said(app)
        assert "&lt;b&gt;" in shown and "<b>A</b>" not in shown
        keys = {str(button.key) for button in app.button}
        assert not any(key.startswith(("kb_undo", "kb_rollback")) for key in keys)


def test_going_back_with_everything_asks_for_the_word_and_does_what_was_shown(desk):
    then = history.recent(desk, EDITOR).change_sets[0]
    before = state(desk)
    say(desk, "A.")
    changes.save(desk, EDITOR, [Add(COLOURS, "teal", {"text": "Teal."})])
    with browser_with(token_of("editor")):
        app = choose(at_view("history"), 2)
        app.button(key=f"kb_rollback_{then.id}").click().run()
        assert "1 entry as it was" in said(app) and "1 entry goes to the bin" in said(app)
        assert app.button(key="kb_rollback_do").disabled
        app.text_input(key="kb_rollback_typed").set_value("go").run()
        assert app.button(key="kb_rollback_do").disabled
        app.text_input(key="kb_rollback_typed").set_value(rollback.WORD).run()
        app.button(key="kb_rollback_do").click().run()
        assert not app.exception
    assert state(desk) == before
    assert history.recent(desk, EDITOR).change_sets[0].kind == "rollback"


def test_a_part_goes_back_without_a_word_and_the_rest_stays(desk):
    then = history.recent(desk, EDITOR).change_sets[0]
    say(desk, "A.")
    say(desk, "Boil it.", FABRICS, "linen", name="care")
    with browser_with(token_of("editor")):
        app = choose(at_view("history"), 2)
        app.button(key=f"kb_rollback_{then.id}").click().run()
        app.selectbox(key="kb_rollback_where").set_value(FABRICS).run()
        assert not [one for one in app.text_input if one.key == "kb_rollback_typed"]
        app.button(key="kb_rollback_do").click().run()
        assert not app.exception
    assert named(desk, EDITOR, FABRICS, "linen").cells["care"] == "Wash warm, iron damp."
    assert named(desk, EDITOR, COLOURS, "navy").body == "A."


def test_what_is_saved_becomes_what_a_release_says(desk):
    publish(desk, person("admin"))
    before = state(desk)
    say(desk, "A.")
    with browser_with(token_of("editor")):
        app = choose(at_view("releases"))
        app.button(key="kb_rollback_release").click().run()
        assert "as it was in release 1" in said(app)
        app.text_input(key="kb_rollback_typed").set_value(rollback.WORD).run()
        app.button(key="kb_rollback_do").click().run()
        assert not app.exception
    assert state(desk) == before


def test_what_somebody_saves_while_the_dialog_is_open_is_shown_before_it_goes_back(desk):
    then = history.recent(desk, EDITOR).change_sets[0]
    say(desk, "A.")
    with browser_with(token_of("editor")):
        app = choose(at_view("history"), 1)
        app.button(key=f"kb_rollback_{then.id}").click().run()
        app.text_input(key="kb_rollback_typed").set_value(rollback.WORD).run()
        say(desk, "Boil it.", FABRICS, "linen", by=ZOE, name="care")
        app.button(key="kb_rollback_do").click().run()
        assert "Somebody changed these entries since you looked" in alerts(app)
        assert named(desk, EDITOR, FABRICS, "linen").cells["care"] == "Boil it."
        assert "2 entries as they were" in said(app)
        app.button(key="kb_rollback_do").click().run()
        assert not app.exception
    assert named(desk, EDITOR, FABRICS, "linen").cells["care"] == "Wash warm, iron damp."


def test_what_somebody_saves_while_a_change_is_taken_back_is_not_taken_back_unseen(desk):
    done = say(desk, "A.")
    with browser_with(token_of("editor")):
        app = choose(at_view("history"))
        app.button(key=f"kb_undo_{done.id}").click().run()
        say(desk, "B.", by=ZOE)
        app.button(key="kb_undo_do").click().run()
        assert "Nothing is left to take back" in alerts(app) and not app.exception
    assert named(desk, EDITOR, COLOURS, "navy").body == "B."


def test_a_time_before_everything_or_one_that_is_not_chosen_changes_nothing(desk):
    before = state(desk)
    with browser_with(token_of("editor")):
        app = at_view("history")
        app.button(key="kb_rollback_time").click().run()
        assert "Choose a day and a time" in said(app)
        app.date_input(key="kb_rollback_day").set_value(desk.now().date()).run()
        assert not app.exception
        app.button(key="kb_rollback_cancel").click().run()
    assert state(desk) == before


def test_the_bin_is_searched_and_what_has_no_place_any_more_stays_and_says_why(desk):
    for key in ("rust", "moss"):
        entry = named(desk, EDITOR, COLOURS, key)
        changes.save(desk, EDITOR, [Delete(entry.id, entry.version)], "<i>old</i>")
    changes.save(desk, EDITOR, [Add(COLOURS, "moss", {"text": "Another."})])
    with browser_with(token_of("editor")):
        app = at_view("bin")
        assert len(app.dataframe[0].value) == 2
        app.text_input(key="kb_bin_find").set_value("nothing says this").run()
        assert "Nothing in the bin says that." in said(app)
        app.text_input(key="kb_bin_find").set_value("CAMEL").run()
        assert list(app.dataframe[0].value["Key"]) == ["moss"]
        choose(app)
        app.button(key="kb_bin_back").click().run()
        assert not app.exception
        told = "".join(one.value for one in app.toast).replace("\\", "")
        assert "moss stays in the bin" in told
    assert named(desk, EDITOR, COLOURS, "moss").body == "Another."
    assert recycling.deleted(desk, EDITOR).total == 2


def test_purging_asks_for_the_word_and_leaves_no_text_behind(desk):
    entry = named(desk, EDITOR, COLOURS, "rust")
    changes.save(desk, EDITOR, [Delete(entry.id, entry.version)])
    with browser_with(token_of("admin")):
        app = choose(at_view("bin"))
        app.button(key="kb_bin_purge").click().run()
        assert app.button(key="kb_purge_do").disabled
        app.text_input(key="kb_purge_typed").set_value(recycling.PURGE_WORD).run()
        app.button(key="kb_purge_do").click().run()
        assert not app.exception and "The bin is empty" in alerts(app)
        app.segmented_control(key="view").set_value("history").run()
        choose(app, 1)
        shown = "".join(str(one.proto.body) for one in app.get("html"))
        assert "Rust likes" not in shown and not app.exception
