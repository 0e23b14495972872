"""Import on the page: a preview that is a contract, ticks by row and cell, and how it went."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.core.access import system_actor
from services.knowledge import changes, entries, history, transfer
from services.knowledge.changes import Edit
from services.knowledge.document import canonical
from services.knowledge.exchange import job
from services.knowledge.writing import to_module
from tests.knowledge_base import COLOURS, load, named, small_kb
from tests.pages.people import browser_with, knowledge_desk, open_alone, open_app, said, token_of

NEW = b'{"dress_codes": {"casual": "Relaxed."}}'


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch):
    """A small knowledge base, and somebody in each role."""
    yield from knowledge_desk(ctx, monkeypatch)


@pytest.fixture
def editor_app(desk):
    with browser_with(token_of("editor")):
        yield open_app("knowledge")


def upload(app, name, data):
    app.segmented_control(key="view").set_value("transfer").run()
    return app.file_uploader[0].upload(name, data).run()


def messages(app):
    """Alerts with their titles, and everything that is text."""
    alerts = [f"{e.proto.title} {e.value}" for e in (*app.error, *app.warning, *app.info)]
    return "\n".join([said(app), *alerts]).replace("\\", "")


def filters(app):
    return app.segmented_control(key="kb_plan_filter")


def ticks(app, beginning="kb_take_"):
    return [box for box in app.checkbox if box.key.startswith(beginning)]


def write(ctx, key, text):
    """Somebody else saves a text."""
    actor = system_actor("Zoe")
    entry = named(ctx, actor, COLOURS, key)
    edit = Edit(entry.id, entry.version, {"text": entry.body}, {"text": text})
    changes.save(ctx, actor, [edit], reason="spring")


def click(app, key):
    app.button(key=key).click().run()
    assert not app.exception
    return app


def test_a_file_is_previewed_then_imported_and_its_change_set_can_be_taken_back(ctx, editor_app):
    app = upload(editor_app, "fashion_kb.py", to_module({"dress_codes": {"casual": "Relaxed."}}))
    assert filters(app).options == ["All (1)", "New (1)"]
    assert "dress_codes" not in entries.document(ctx.shop)
    click(app, "kb_import_do")
    assert entries.document(ctx.shop)["dress_codes"] == {"casual": "Relaxed."}
    assert "Imported: 1 added, 0 changed, 0 deleted" in said(app)
    done = history.recent(ctx, system_actor()).change_sets[0]
    assert app.button(key=f"kb_undo_{done.id}")


def test_replacing_everything_waits_for_the_typed_word(ctx, editor_app):
    app = upload(editor_app, "kb.json", b'{"fabric_pairing": "Alone."}')
    app.segmented_control(key="kb_import_mode").set_value("replace").run()
    assert app.button(key="kb_import_do").disabled
    app.text_input(key="kb_import_typed").set_value("replace").run()
    click(app, "kb_import_do")
    assert entries.document(ctx.shop) == {"fabric_pairing": "Alone."}


def test_a_row_and_a_cell_that_are_not_ticked_stay_as_they_are(ctx, editor_app):
    file = {
        "occasions": {"gala": "Long.", "job_interview": "New."},
        "fabric_guide": {"linen": {"care": "Cold.", "best_for": "Heat"}},
    }
    app = upload(editor_app, "kb.json", canonical(file))
    gala = next(box for box in ticks(app) if "gala" in box.label)
    gala.uncheck().run()
    care = next(box for box in ticks(app, "kb_cell_") if box.label == "Care")
    care.uncheck().run()
    assert "Import 2 of 3 changes" in [button.label for button in app.button]
    click(app, "kb_import_do")
    held = entries.document(ctx.shop)
    assert held["occasions"] == {"job_interview": "New."}
    linen = small_kb()["fabric_guide"]["linen"]
    assert held["fabric_guide"]["linen"] == {**linen, "best_for": "Heat"}


def test_all_of_a_kind_are_rejected_at_once(ctx, editor_app):
    file = {"occasions": {"gala": "Long.", "job_interview": "New."}}
    app = upload(editor_app, "kb.json", canonical(file))
    filters(app).set_value("changed").run()
    click(app, "kb_plan_reject")
    assert [box.value for box in ticks(app)] == [False]
    click(app, "kb_import_do")
    assert entries.document(ctx.shop)["occasions"] == {
        "job_interview": "Plain and pressed.",
        "gala": "Long.",
    }


def test_a_thousand_items_put_a_page_of_them_on_the_page(ctx, editor_app):
    file = {"occasions": {f"day_{number}": "x" for number in range(1000)}}
    app = upload(editor_app, "kb.json", canonical(file))
    assert filters(app).options == ["All (1,000)", "New (1,000)"]
    assert len(ticks(app)) == 25


def test_what_can_not_be_taken_is_listed_with_its_place_and_the_rest_is(ctx, editor_app):
    app = upload(editor_app, "kb.json", b'{"occasions": {"a": 1, "gala": "Long."}}')
    filters(app).set_value("invalid").run()
    assert "/occasions/a" in messages(app) and "found a number" in messages(app)
    click(app, "kb_import_do")
    assert entries.document(ctx.shop)["occasions"]["gala"] == "Long."


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("kb.py", b"FASHION_KNOWLEDGE_BASE = {'a': eval('1')}", "calls a function"),
        ("kb.json", b"{", "not valid JSON"),
        ("kb.py", b"x" * 70_000_000, "too large"),
    ],
)
def test_a_bad_file_is_refused_on_the_page_and_nothing_changes(ctx, editor_app, name, data, told):
    app = upload(editor_app, name, data)
    assert told in messages(app)
    assert "Nothing was imported" in messages(app)
    assert entries.document(ctx.shop) == small_kb()


def test_an_import_that_comes_too_late_tells_who_was_faster_and_keeps_the_ticks(ctx, editor_app):
    file = {"color_matching": {"by_color": {"navy": "New.", "rust": "New."}}}
    app = upload(editor_app, "kb.json", canonical(file))
    next(box for box in ticks(app) if "rust" in box.label).uncheck().run()
    write(ctx, "navy", "Theirs.")
    click(app, "kb_import_do")
    assert "changed since this preview" in messages(app)
    click(app, "kb_import_again")
    assert "Zoe: Edit, 1 entry (spring)" in [button.label for button in app.button]
    assert filters(app).options[0] == "Look again (1)"
    click(app, "kb_import_do")
    held = entries.document(ctx.shop)["color_matching"]["by_color"]
    assert (held["navy"], held["rust"]) == ("New.", "Rust likes cream.")


def test_an_empty_knowledge_base_offers_the_shops_own_module(ctx, desk):
    load(ctx, {})
    path = Path(ctx.settings.shop_kb_module)
    path.parent.mkdir()
    path.write_bytes(to_module(small_kb()))
    with browser_with(token_of("admin")):
        app = open_app("knowledge")
        assert "The knowledge base is empty" in messages(app)
        click(app, "kb_import_shop")
        click(app, "kb_import_do")
    assert transfer.canonical_json(ctx.shop) == canonical(small_kb())


def test_markup_of_a_file_is_shown_as_text(ctx, editor_app):
    bad = "<script>alert(1)</script> ![x](http://evil.example/x.png) :red[r]"
    app = upload(editor_app, f"{bad}.json", canonical({"occasions": {bad: bad}, bad: {bad: bad}}))
    assert not app.exception
    shown = "\n".join([said(app), *(box.label for box in app.checkbox)])
    assert "![x](" not in shown and ":red[" not in shown
    assert all("<script" not in html.proto.body for html in app.get("html"))


def test_a_large_file_is_left_to_a_process_of_its_own(ctx, editor_app, monkeypatch):
    begun = []
    monkeypatch.setattr(job, "LARGE", 0)
    monkeypatch.setattr(
        "services.exchange.doors.begin", lambda *args: begun.append(args) or args[1]
    )
    app = upload(editor_app, "kb.json", NEW)
    click(app, "kb_import_do")
    assert "kb.json is being imported" in messages(app)
    assert "dress_codes" not in entries.document(ctx.shop)
    ended = job.work_off(ctx, begun[0][1], lambda _text, _fraction: None)
    app.run()
    assert ended.result["added"] == 1
    assert "Imported: 1 added" in said(app)


def test_an_import_that_was_cut_off_is_told_and_gone_on_with(ctx, editor_app, monkeypatch):
    monkeypatch.setattr(job, "LARGE", 0)
    monkeypatch.setattr("services.exchange.doors.begin", lambda _ctx, queued, _door: queued)
    app = upload(editor_app, "kb.json", NEW)
    click(app, "kb_import_do")
    click(app, "kb_import_call_off")
    with pytest.raises(Exception, match="called off"):
        job.work_off(ctx, job.running(ctx), lambda _text, _fraction: None)
    app.run()
    assert "Nothing of kb.json was imported" in messages(app)
    click(app, "kb_import_resume")
    monkeypatch.setattr(job, "LARGE", 2_000)
    click(app, "kb_import_do")
    assert entries.document(ctx.shop)["dress_codes"] == {"casual": "Relaxed."}


def test_a_table_that_names_no_section_asks_for_it(ctx, editor_app):
    app = upload(editor_app, "spring.csv", b"key,text\nteal,Teal.\n")
    assert filters(app).options == ["Invalid (1)"]
    app.selectbox(key="kb_import_part").set_value(COLOURS).run()
    assert filters(app).options == ["All (1)", "New (1)"]
    click(app, "kb_import_do")
    assert named(ctx, system_actor(), COLOURS, "teal").body == "Teal."


def test_blank_cells_empty_a_text_only_when_that_is_ticked(ctx, editor_app):
    data = b"section,key,description,care\n/fabric_guide,linen,,Cold.\n"
    app = upload(editor_app, "kb.csv", data)
    assert "Import 1 change" in [button.label for button in app.button]
    app.checkbox(key="kb_import_blanks").check().run()
    click(app, "kb_import_do")
    linen = entries.document(ctx.shop)["fabric_guide"]["linen"]
    assert (linen["description"], linen["care"]) == ("", "Cold.")
    assert linen["best_for"] == "Summer"


def test_the_change_set_of_an_import_is_one_click_away_and_keeps_its_address(ctx, editor_app):
    app = upload(editor_app, "kb.json", NEW)
    click(app, "kb_import_do")
    done = history.recent(ctx, system_actor()).change_sets[0]
    write(ctx, "navy", "Saved since.")
    click(app, "kb_import_see")
    assert app.query_params["view"] == "history" and app.query_params["change"] == done.id
    assert app.button(key=f"kb_undo_{done.id}") and "Import by Editor" in said(app)
    app.segmented_control(key="view").set_value("transfer").run()
    assert "change" not in app.query_params


def test_an_address_names_a_change_set_and_one_that_is_not_there_names_nothing(ctx, desk):
    write(ctx, "navy", "First of two.")
    first = history.recent(ctx, system_actor()).change_sets[0]
    write(ctx, "navy", "Second of two.")
    with browser_with(token_of("editor")):
        app = open_alone("knowledge", view="history", change=first.id)
        assert app.button(key=f"kb_undo_{first.id}")
        app = open_alone("knowledge", view="history", change="<script>")
    assert not [one for one in app.button if (one.key or "").startswith("kb_undo_")]
    assert "change" not in app.query_params


def test_what_others_changed_since_a_preview_opens_in_the_history_and_the_preview_stays(
    ctx, editor_app
):
    app = upload(editor_app, "kb.json", NEW)
    write(ctx, "navy", "Theirs.")
    theirs = history.recent(ctx, system_actor()).change_sets[0]
    click(app, "kb_import_do")
    click(app, "kb_import_again")
    click(app, f"kb_meanwhile_{theirs.id}")
    assert app.query_params["change"] == theirs.id and "Edit by Zoe" in said(app)
    app.segmented_control(key="view").set_value("transfer").run()
    click(app, "kb_import_do")
    assert entries.document(ctx.shop)["dress_codes"] == {"casual": "Relaxed."}


def test_the_changes_are_searched_by_key_and_text_and_only_those_are_rejected(ctx, editor_app):
    file = {"occasions": {f"day_{number}": f"Text {number}." for number in range(60)}}
    file["occasions"]["day_7"] = "Crème and sand."
    app = upload(editor_app, "kb.json", canonical(file))
    app.text_input(key="kb_plan_find").set_value(" CREME ").run()
    assert [box.label for box in ticks(app)] == ["Occasions / **day\\_7**"]
    click(app, "kb_plan_reject")
    app.text_input(key="kb_plan_find").set_value("day_5").run()
    assert len(ticks(app)) == 11 and all(box.value for box in ticks(app))
    app.text_input(key="kb_plan_find").set_value("<script>").run()
    assert not ticks(app) and "No change says this" in said(app)
    app.text_input(key="kb_plan_find").set_value("").run()
    click(app, "kb_import_do")
    assert len(entries.document(ctx.shop)["occasions"]) == 59 + len(small_kb()["occasions"])
