"""Drafts on the page: offered at the next visit, merged with the work of others, never lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
import streamlit as st

from services.core.access import system_actor
from services.core.context import Context
from services.knowledge import changes, entries, moving
from services.knowledge.changes import Add, Delete, Edit
from services.knowledge.drafting import keeping, offering
from tests.conftest import database_file
from tests.knowledge_base import COLOURS, FABRICS, named
from tests.pages.people import browser_with, knowledge_desk, member, open_app, said, token_of
from ui import kb_presence, session

ZOE = system_actor("Zoe")


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch):
    """A small knowledge base, and two people who may edit it."""
    for found in knowledge_desk(ctx, monkeypatch):
        member("second", "editor")
        yield found


class Tab:
    """A browser tab of somebody on the knowledge page."""

    def __init__(self, who: str, section: str = "color_matching") -> None:
        self.token = token_of(who)
        with browser_with(self.token):
            self.app = open_app("knowledge")
        self.click(f"kb_section_{section}")

    def run(self):
        with browser_with(self.token):
            self.app.run()
        assert not self.app.exception
        return self

    def click(self, key: str):
        with browser_with(self.token):
            next(b for b in self.app.button if b.key.startswith(key)).click().run()
        assert not self.app.exception
        return self

    def has(self, key: str) -> bool:
        return any(b.key.startswith(key) for b in self.app.button)

    def open(self, entry):
        self.app.session_state["kb_opened"] = entry.id
        return self.run()

    def area(self, name: str = "kb_cell_"):
        return next(one for one in self.app.text_area if one.key.startswith(name))

    def type(self, text: str, name: str = "kb_cell_"):
        with browser_with(self.token):
            self.area(name).input(text).run()
        assert not self.app.exception
        return self

    @property
    def said(self) -> str:
        alerts = [f"{e.proto.title} {e.value}" for e in (*self.app.error, *self.app.warning)]
        toasts = [one.value for one in self.app.toast]
        return "\n".join([said(self.app), *alerts, *toasts]).replace("\\", "")

    @property
    def drafts(self):
        return self.app.session_state["kb_drafts"]


def entry(ctx, key="navy", where=COLOURS):
    return named(ctx, ZOE, where, key)


def writes(ctx, found, **cells):
    """Somebody else saves."""
    before = {name: found.cells[name] for name in cells}
    return changes.save(ctx, ZOE, [Edit(found.id, found.version, before, cells)])


def typed(ctx, text="Navy, typed.", key="navy"):
    return Tab("editor").open(entry(ctx, key)).type(text)


def test_what_was_typed_and_left_is_offered_to_the_same_person_in_a_new_tab_and_goes_on(ctx):
    typed(ctx)
    assert "unsaved change" not in Tab("second").said
    tab = Tab("editor")
    assert "You have 1 unsaved change from today" in tab.said
    tab.click("kb_offer_take_").open(entry(ctx))
    assert tab.area().value == "Navy, typed."
    assert "You have" not in tab.said
    tab.click("kb_save")
    assert entry(ctx).body == "Navy, typed."
    assert "You have" not in Tab("editor").said


def test_the_tab_that_another_one_took_over_from_lets_go_and_keeps_what_was_typed_since(ctx):
    first = typed(ctx)
    Tab("editor").click("kb_offer_take_")
    first.run()
    assert "went on in another tab" in first.said
    assert first.drafts.count == 0
    second = typed(ctx, "Rust, typed.", "rust")
    Tab("editor").click("kb_offer_take_")
    second.open(entry(ctx, "moss")).type("Moss, typed since.")
    assert [one.base.key for one in second.drafts.entries.values()] == ["moss"]


def test_an_offer_can_be_looked_at_put_off_and_discarded(ctx):
    typed(ctx, "<b>Navy</b>, *typed*.")
    tab = Tab("editor").click("kb_offer_shown_")
    assert any("&lt;b&gt;" in one.proto.body for one in tab.app.get("html"))
    tab.click("kb_offer_later_")
    assert "You have" not in tab.said
    tab = Tab("editor").click("kb_offer_drop_do_")
    assert "You have" not in tab.said
    assert offering.mine(session.context(), _editor()) == ()
    assert entry(ctx).body == "Navy likes sand and white."


def _editor():
    from services.people import sessions

    return sessions.check(session.context(), token_of("editor")).actor


def test_sign_out_leaves_the_draft_on_the_server_and_nothing_in_the_tab_for_who_comes_next(ctx):
    tab = typed(ctx)
    tab.token = token_of("second")  # the same tab, somebody else's sign-in
    tab.run()
    assert tab.drafts.count == 0
    assert "unsaved" not in tab.said
    assert "You have 1 unsaved change" in Tab("editor").said


def test_a_save_clears_the_draft_and_the_change_set_has_the_name_that_was_noted_down(
    ctx, monkeypatch
):
    tab = typed(ctx)
    named_before = []
    real = keeping.begin_save

    def noted(*args):
        named_before.append(real(*args))
        return named_before[-1]

    monkeypatch.setattr(keeping, "begin_save", noted)
    tab.click("kb_save")
    with closing(sqlite3.connect(database_file(ctx.settings.shop_database_url))) as raw:
        assert raw.execute(
            "SELECT count(*) FROM kb_change_sets WHERE id = ?", named_before
        ).fetchone() == (1,)
    assert offering.mine(session.context(), _editor()) == ()


def test_a_draft_that_says_what_is_stored_by_now_ends_as_nothing_to_save(ctx):
    tab = typed(ctx)
    tab.click("kb_all").click("kb_section_color_matching")
    writes(ctx, entry(ctx), text="Navy, typed.")
    tab.click("kb_save")
    assert "already says exactly this" in tab.said
    assert tab.drafts.count == 0 and not tab.drafts.server.kept


def test_two_people_who_change_different_cells_both_get_what_they_wrote(ctx):
    linen = entry(ctx, "linen", FABRICS)
    one, two = (Tab(who, "fabric_guide").open(linen) for who in ("editor", "second"))
    one.type("Washed often.", f"kb_cell_{linen.id}_care")
    two.type("Airy.", f"kb_cell_{linen.id}_description")
    one.click("kb_save")
    two.run()
    assert "Your save will merge both" in two.said
    two.click("kb_save")
    now = entry(ctx, "linen", FABRICS).cells
    assert (now["care"], now["description"]) == ("Washed often.", "Airy.")
    assert "merged with what" in two.said


def test_an_entry_that_was_only_moved_meanwhile_is_saved_without_a_word_of_a_merge(ctx):
    tab = typed(ctx)
    moving.step(ctx, _editor(), {entry(ctx).id: entry(ctx).version}, moving.Step.END)
    tab.run()
    assert "changed this" not in tab.said
    tab.click("kb_save")
    assert entry(ctx).body == "Navy, typed." and "merged with" not in tab.said


def test_two_people_who_change_the_same_text_are_shown_both_and_a_text_of_both(ctx):
    one = typed(ctx, "Navy loves sand and white.")
    two = Tab("second").open(entry(ctx)).type("Navy likes sand and cream.")
    one.click("kb_save")
    two.run()
    assert "your save will ask" in two.said
    two.click("kb_save")
    assert "Editor changed the same while you were editing" in two.said
    assert "both are in it" in two.said
    assert two.area("kb_merged_").value == "Navy loves sand and cream."
    two.type("Navy loves sand, white and cream.", "kb_merged_").click("kb_clash_0_merged")
    two.click("kb_save")
    assert entry(ctx).body == "Navy loves sand, white and cream."


def test_words_that_both_changed_stand_in_the_proposal_twice(ctx):
    two = typed(ctx, "Navy likes sand and cream.")
    writes(ctx, entry(ctx), text="Navy likes sand and ivory.")
    two.click("kb_save")
    assert two.area("kb_merged_").value == "Navy likes sand and ivory cream."
    assert "In one place you both changed the same words" in two.said


def test_deciding_one_cell_does_not_overwrite_another_that_was_not_decided(ctx):
    linen = entry(ctx, "linen", FABRICS)
    tab = Tab("editor", "fabric_guide").open(linen)
    tab.type("Mine.", f"kb_cell_{linen.id}_care").type("Me.", f"kb_cell_{linen.id}_description")
    writes(ctx, linen, care="Theirs.", description="They.")
    tab.click("kb_save").click("kb_clash_0_mine").click("kb_save")
    now = entry(ctx, "linen", FABRICS)
    assert (now.cells["care"], now.cells["description"]) == ("Theirs.", "They.")
    assert len(tab.drafts.clashes) == 1


@pytest.mark.parametrize(("which", "text"), [("mine", "Mine."), ("theirs", "Theirs.")])
def test_many_clashes_are_settled_at_once(ctx, which, text):
    tab = Tab("editor")
    for key in ("navy", "rust"):
        tab.open(entry(ctx, key)).type("Mine.")
    for key in ("navy", "rust"):
        writes(ctx, entry(ctx, key), text="Theirs.")
    tab.click("kb_save").click(f"kb_clash_all_{which}")
    assert not tab.drafts.clashes
    if which == "mine":
        tab.click("kb_save")
    assert [entry(ctx, key).body for key in ("navy", "rust")] == [text, text]


def test_an_edit_of_what_was_deleted_is_one_question_and_can_stay_as_a_new_entry(ctx):
    linen = entry(ctx, "linen", FABRICS)
    tab = Tab("editor", "fabric_guide").open(linen)
    tab.type("Mine.", f"kb_cell_{linen.id}_care").type("Me.", f"kb_cell_{linen.id}_description")
    changes.save(ctx, ZOE, [Delete(linen.id, linen.version)])
    tab.click("kb_save")
    assert "was deleted by Zoe" in tab.said
    assert tab.has("kb_clash_0_mine") and not tab.has("kb_clash_1_mine")
    tab.click("kb_clash_0_mine").click("kb_save")
    assert entry(ctx, "linen", FABRICS).cells["care"] == "Mine."


def test_a_deletion_of_what_was_edited_shows_what_changed_and_can_be_let_be(ctx):
    navy = entry(ctx)
    tab = Tab("editor").open(navy).click("kb_delete_")
    writes(ctx, navy, text="Navy, by Zoe.")
    tab.click("kb_save")
    assert "you deleted it, and Zoe changed it" in tab.said
    tab.click("kb_clash_0_theirs")
    assert tab.drafts.count == 0
    assert entry(ctx).body == "Navy, by Zoe."


def test_two_new_names_for_one_entry_are_shown_and_decided(ctx):
    navy = entry(ctx)
    tab = Tab("editor").open(navy)
    with browser_with(tab.token):
        next(one for one in tab.app.text_input if one.key.startswith("kb_key_")).input("ink").run()
    changes.save(ctx, ZOE, [Edit(navy.id, 1, key_before="navy", key_after="midnight")])
    tab.click("kb_save").click("kb_clash_0_mine").click("kb_save")
    assert entries.entry(ctx, ZOE, navy.id).key == "ink"


def test_who_else_has_the_section_open_is_said_and_nobody_is_kept_from_saving(ctx, monkeypatch):
    monkeypatch.setattr(kb_presence, "_SELDOM", timedelta(0))  # as if 15 s had gone by
    one = typed(ctx)
    two = Tab("second").open(entry(ctx, "rust"))
    assert "**Editor** (navy) is editing this section too" in two.said
    assert "editing this section" not in Tab("admin", "fabric_guide").said
    two.type("Rust, too.").click("kb_save")
    assert entry(ctx, "rust").body == "Rust, too."
    assert one.run().drafts.count == 1


def test_one_tab_writes_its_presence_at_most_every_fifteen_seconds(ctx, monkeypatch):
    from services.knowledge.drafting import presence

    told = []
    monkeypatch.setattr(presence, "here", lambda *args: told.append(args))
    tab = Tab("editor")
    for _n in range(3):
        tab.run()
    assert len(told) == 1


def test_a_role_that_was_taken_away_shows_and_writes_no_presence(ctx):
    tab = typed(ctx)
    with closing(sqlite3.connect(database_file(ctx.settings.control_url))) as raw:
        raw.execute("UPDATE accounts SET role = 'manager' WHERE username = 'editor'")
        raw.execute("DELETE FROM kb_presence")
        raw.commit()
        tab.run()
        assert raw.execute("SELECT count(*) FROM kb_presence").fetchone() == (0,)
    assert "unsaved" not in tab.said


def test_a_database_that_takes_no_draft_is_said_and_the_page_goes_on_and_saves(ctx, monkeypatch):
    tab = Tab("editor").open(entry(ctx))
    with closing(sqlite3.connect(database_file(ctx.settings.control_url))) as raw:
        raw.execute(
            "CREATE TRIGGER full BEFORE INSERT ON kb_draft_entries "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        raw.commit()
        tab.type("Navy, typed.")
        assert "in this tab alone, so leave it open" in tab.said
        assert "disk is full" in tab.said
        assert tab.drafts.unkept == 1
        raw.execute("DROP TRIGGER full")
        raw.commit()
    tab.run()
    assert tab.drafts.unkept == 1  # not asked again at once
    later = replace(session.context(), clock=_in_a_minute(session.context()))
    monkeypatch.setattr(session, "context", lambda: later)
    tab.run()
    assert tab.drafts.unkept == 0
    tab.click("kb_save")
    assert entry(ctx).body == "Navy, typed."


def _in_a_minute(ctx: Context):
    return lambda: ctx.clock() + timedelta(minutes=1)


def test_a_database_that_was_lost_while_one_typed_gets_all_of_the_draft_again(ctx):
    tab = typed(ctx).open(entry(ctx, "rust")).type("Rust, typed.")
    for left in ("Moss, typed.", "Moss, typed on."):
        with closing(sqlite3.connect(database_file(ctx.settings.control_url))) as raw:
            raw.execute("DELETE FROM kb_draft_entries")
            raw.execute("DELETE FROM kb_drafts")
            raw.commit()
        tab.open(entry(ctx, "moss")).type(left)
        assert [one.entries for one in offering.mine(session.context(), _editor())] == [3]


def test_a_cell_of_a_megabyte_is_kept_as_a_draft_and_refused_when_it_is_saved(ctx):
    tab = typed(ctx, "x" * 1_000_000)
    assert tab.drafts.unkept == 0
    tab.click("kb_save")
    assert "at most 100,000 fit" in tab.said
    assert "You have 1 unsaved change" in Tab("editor").said


def test_what_a_hand_made_message_says_in_the_name_of_the_typing_frame_changes_nothing(ctx):
    tab = typed(ctx)
    frame = SimpleNamespace(unkept=-5, run="x" * 1000)
    tab.app.session_state["kb_typing_frame"] = frame
    tab.run()
    assert tab.drafts.count == 1 and tab.drafts.unkept == 0


def test_line_ends_of_a_stored_text_do_not_set_the_field_anew_while_one_types(ctx):
    changes.save(ctx, ZOE, [Add(COLOURS, "teal", {"text": "one\r\ntwo"})])
    tab = Tab("editor").open(entry(ctx, "teal"))
    tab.type("one\ntwo\nthree")
    assert tab.area().value == "one\ntwo\nthree"  # as the browser has it: nothing was set
    tab.click("kb_save")
    assert entry(ctx, "teal").body == "one\r\ntwo\r\nthree"


def test_new_entries_are_offered_again_and_do_not_take_the_number_of_one_begun_here(ctx):
    first = Tab("editor").click("kb_add")
    first.type("Written before.")
    second = Tab("editor").click("kb_add")
    second.type("Written since.").click("kb_offer_take_")
    texts = sorted(one.cells["text"] for one in second.drafts.new.values())
    assert texts == ["Written before.", "Written since."]
    assert second.drafts.unkept == 0


@pytest.fixture(autouse=True)
def _fresh():
    yield
    st.cache_resource.clear()
