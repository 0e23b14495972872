"""Saves: nobody's edit is overwritten, nothing is half saved, every write is told."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest

from services.core import audit
from services.core.errors import Conflict, Denied, Invalid, Transient
from services.knowledge import changes, entries, history, moving, relay
from services.knowledge.changes import Add, Delete, Edit, EditConflict
from services.knowledge.document import canonical
from services.knowledge.exchange import applying
from services.knowledge.validation import MAX_TEXT, NotValid
from tests.knowledge_base import COLOURS, FABRICS, load, named, small_kb, state


def test_a_save_adds_edits_renames_and_deletes_in_one_change_set(ctx, shop, editor, clock):
    load(ctx)
    navy, rust, moss = (named(ctx, editor, COLOURS, key) for key in ("navy", "rust", "moss"))
    done = changes.save(
        ctx,
        editor,
        [
            Edit(
                navy.id,
                navy.version,
                {"text": navy.body},
                {"text": "Navy likes red."},
                "navy",
                "midnight",
            ),
            Delete(rust.id, rust.version),
            Add(COLOURS, "teal", {"text": "Teal likes sand."}),
        ],
        "spring",
    )
    assert (done.added, done.edited, done.deleted, done.reason) == (1, 1, 1, "spring")
    assert entries.document(ctx.shop)["color_matching"]["by_color"] == {
        "midnight": "Navy likes red.",
        "moss": moss.body,
        "teal": "Teal likes sand.",
    }
    after = entries.entry(ctx, editor, navy.id)
    assert (after.version, after.updated_by) == (2, "Editor")


def test_two_entries_can_swap_their_keys(ctx, shop, editor):
    load(ctx)
    navy, rust = (named(ctx, editor, COLOURS, key) for key in ("navy", "rust"))
    changes.save(
        ctx,
        editor,
        [
            Edit(navy.id, navy.version, key_before="navy", key_after="rust"),
            Edit(rust.id, rust.version, key_before="rust", key_after="navy"),
        ],
    )
    held = entries.document(ctx.shop)["color_matching"]["by_color"]
    assert held["rust"] == navy.body
    assert held["navy"] == rust.body


def test_a_first_entry_makes_its_section_where_the_registry_has_it(ctx, shop, editor):
    load(ctx, {"dress_codes": {"casual": "Relaxed."}, "pattern_rules": {"avoid": "Clashes."}})
    changes.save(
        ctx,
        editor,
        [
            Add(FABRICS, "silk", {"description": "Smooth."}),
            Add("/pattern_rules", "basics", {"text": "One pattern."}, -2),
            Add("", "recommendation_priority", {"text": "Fit first."}, -3),
        ],
    )
    document = entries.document(ctx.shop)
    order = ["dress_codes", "fabric_guide", "pattern_rules", "recommendation_priority"]
    assert list(document) == order
    assert list(document["pattern_rules"]) == ["basics", "avoid"]
    assert document["fabric_guide"]["silk"] == {
        "description": "Smooth.",
        "care": "",
        "best_for": "",
        "characteristics": "",
    }


def test_every_problem_of_a_save_is_told_at_once_and_nothing_is_saved(ctx, shop, editor):
    load(ctx)
    before = state(ctx)
    navy, linen = named(ctx, editor, COLOURS, "navy"), named(ctx, editor, FABRICS, "linen")
    with pytest.raises(NotValid) as caught:
        changes.save(
            ctx,
            editor,
            [
                Edit(navy.id, 1, {"text": navy.body}, {"text": "x" * 1_000_000}),
                Edit(linen.id, 1, dict(linen.cells), {"care": "a\x00b", "price": "9"}),
                Add(COLOURS, "", {"text": "No name."}, -1),
                Add(COLOURS, "Deep Blue", {"text": "Loud."}, -2),
                Add(COLOURS, "rust", {"text": "Again."}, -3),
                Add(COLOURS, "teal", {"text": "   "}, -4),
                Add("/outfit_formulas/by_primary_category", "t_shirt", {"text": "Jeans."}, -5),
            ],
        )
    told = {(p.ref, p.field): p.message for p in caught.value.problems}
    assert f"at most {MAX_TEXT:,}" in told[(navy.id, "text")]
    assert "U+0000" in told[(linen.id, "care")]
    assert "no such field" in told[(linen.id, "price")]
    assert "empty" in told[(-1, "key")]
    assert "deep_blue" in told[(-2, "key")]
    assert "already an entry rust" in told[(-3, "key")]
    assert "would be empty" in told[(-4, "text")]
    assert "too short" in told[(-5, "key")]
    assert state(ctx) == before
    assert history.recent(ctx, editor).total == 1


@pytest.mark.parametrize("key", ["off_shoulder", "OFF-SHOULDER", "óff-shoulder", "ｏff-shoulder"])
def test_a_key_that_differs_only_by_case_width_accent_or_joint_is_refused(ctx, shop, editor, key):
    part = "/dress_styles/necklines"
    load(ctx, {"dress_styles": {"necklines": {"off-shoulder": {"description": "Wide."}}}})
    with pytest.raises(NotValid):
        changes.save(ctx, editor, [Add(part, key, {"description": "Same."})])
    assert entries.page(ctx, editor, part).total == 1


@pytest.mark.parametrize("key", ["v-neck", "a-line", "shirt_blouse_top_tee", "size42"])
def test_keys_in_the_shops_own_style_are_taken(ctx, shop, editor, key):
    load(ctx, {})
    changes.save(ctx, editor, [Add("/styling_tips", key, {"text": "Fine."})])
    assert entries.page(ctx, editor, "/styling_tips").total == 1


def test_existing_texts_keep_every_byte_when_another_cell_is_edited(ctx, shop, editor):
    text = "\r\n  <b>bold</b> =1+1 \t🧵 \u202eabc\u202c\n    "
    load(ctx, {"fabric_guide": {"Odd Key": {"description": text, "care": "x"}}})
    odd = named(ctx, editor, FABRICS, "Odd Key")
    changes.save(ctx, editor, [Edit(odd.id, 1, {"care": "x"}, {"care": "y"})])
    held = entries.document(ctx.shop)["fabric_guide"]["Odd Key"]
    assert held == {"description": text, "care": "y"}


def test_the_same_cell_by_two_people_is_refused_with_base_theirs_and_mine(ctx, shop, editor, admin):
    load(ctx)
    navy = named(ctx, editor, COLOURS, "navy")
    edit = {"text": navy.body}
    changes.save(ctx, admin, [Edit(navy.id, navy.version, edit, {"text": "Theirs."})])
    before = state(ctx)
    with pytest.raises(EditConflict, match="Admin changed navy") as caught:
        changes.save(
            ctx,
            editor,
            [
                Edit(navy.id, navy.version, edit, {"text": "Mine."}),
                Add(COLOURS, "teal", {"text": "Teal."}),
            ],
        )
    clash = caught.value.clashes[0]
    assert (clash.base, clash.theirs, clash.mine) == (navy.body, "Theirs.", "Mine.")
    assert (clash.who, clash.field) == ("Admin", "text")
    assert state(ctx) == before


def test_different_cells_by_two_people_are_merged_with_a_note(ctx, shop, editor, admin):
    load(ctx)
    linen = named(ctx, editor, FABRICS, "linen")
    cells = linen.cells
    changes.save(ctx, admin, [Edit(linen.id, 1, {"care": cells["care"]}, {"care": "Cold."})])
    done = changes.save(
        ctx, editor, [Edit(linen.id, 1, {"best_for": "Summer"}, {"best_for": "June"})]
    )
    assert done.notes == ("linen: merged with what Admin changed in the meantime.",)
    held = named(ctx, editor, FABRICS, "linen").cells
    assert (held["care"], held["best_for"]) == ("Cold.", "June")


def test_a_merge_is_told_only_where_somebody_changed_what_the_entry_says(ctx, shop, editor, admin):
    load(ctx)
    navy, linen = named(ctx, editor, COLOURS, "navy"), named(ctx, editor, FABRICS, "linen")
    mine = [
        Edit(navy.id, 1, {"text": navy.body}, {"text": "Mine."}, seen=navy),
        Edit(linen.id, 1, {"best_for": "Summer"}, {"best_for": "June"}, seen=linen),
    ]
    moving.step(ctx, admin, {navy.id: 1}, moving.Step.END)
    theirs = Edit(linen.id, 1, key_before="linen", key_after="flax", seen=linen)
    changes.save(ctx, admin, [theirs])
    done = changes.save(ctx, editor, mine)
    assert done.notes == ("flax: merged with what Admin changed in the meantime.",)
    assert [one.key for one in entries.page(ctx, editor, COLOURS).entries][-1] == "navy"
    assert named(ctx, editor, COLOURS, "navy").body == "Mine."


def test_a_rename_alone_is_told_as_merged_where_the_text_became_another(ctx, shop, editor, admin):
    load(ctx)
    navy = named(ctx, editor, COLOURS, "navy")
    changes.save(ctx, admin, [Edit(navy.id, 1, {"text": navy.body}, {"text": "Theirs."})])
    rename = Edit(navy.id, 1, key_before="navy", key_after="midnight", seen=navy)
    assert "merged with what Admin" in changes.save(ctx, editor, [rename]).notes[0]


def test_an_entry_deleted_by_somebody_else_is_told_with_who_did_it(ctx, shop, editor, admin):
    load(ctx)
    navy = named(ctx, editor, COLOURS, "navy")
    changes.save(ctx, admin, [Delete(navy.id, navy.version)])
    with pytest.raises(EditConflict, match="Admin") as caught:
        changes.save(ctx, editor, [Edit(navy.id, 1, {"text": navy.body}, {"text": "Mine."})])
    assert caught.value.clashes[0].theirs is None
    with pytest.raises(Invalid, match="nothing to save"):
        changes.save(ctx, editor, [Delete(navy.id, navy.version)])


def test_deleting_what_somebody_else_has_changed_is_refused(ctx, shop, editor, admin):
    load(ctx)
    navy = named(ctx, editor, COLOURS, "navy")
    changes.save(ctx, admin, [Edit(navy.id, 1, {"text": navy.body}, {"text": "Theirs."})])
    with pytest.raises(EditConflict):
        changes.save(ctx, editor, [Delete(navy.id, 1)])
    assert named(ctx, editor, COLOURS, "navy").body == "Theirs."


def test_saving_what_is_already_there_says_so(ctx, shop, editor):
    load(ctx)
    navy = named(ctx, editor, COLOURS, "navy")
    with pytest.raises(Invalid, match="nothing to save"):
        changes.save(ctx, editor, [Edit(navy.id, 1, {"text": navy.body}, {"text": navy.body})])


def test_a_save_into_a_place_that_is_no_section_is_refused(ctx, shop, editor):
    load(ctx)
    for place in ("/nowhere", "", "/fabric_pairing", "/color_matching/by_color/navy"):
        with pytest.raises(Invalid, match="no such section"):
            changes.save(ctx, editor, [Add(place, "x1", {"text": "y"})])
    assert state(ctx) == canonical(small_kb())


def test_a_group_and_a_value_are_neither_edited_nor_deleted_cell_by_cell(ctx, shop, editor):
    load(ctx, {"houses": {"one": {"a": "x"}, "count": 3}})
    with closing(sqlite3.connect(shop)) as database:
        ids = dict(database.execute("SELECT key, id FROM kb_entries"))
    with pytest.raises(NotValid):
        changes.save(ctx, editor, [Delete(ids["one"], 1)])
    with pytest.raises(NotValid):
        changes.save(ctx, editor, [Edit(ids["count"], 1, {}, {"text": "4"})])


@pytest.mark.parametrize("role", ["operator", "manager", "nobody"])
def test_only_editors_and_administrators_may_save(request, ctx, shop, role):
    load(ctx)
    actor = request.getfixturevalue(role)
    with pytest.raises(Denied):
        changes.save(ctx, actor, [Add(COLOURS, "teal", {"text": "Teal."})])
    with pytest.raises(Denied):
        applying.preview(ctx, actor, "kb.json", b"{}")
    assert state(ctx) == canonical(small_kb())


def test_a_change_set_reaches_the_audit_log_exactly_once(ctx, shop, editor, admin):
    load(ctx)
    changes.save(ctx, editor, [Add(COLOURS, "teal", {"text": "Teal."})], "spring")
    with closing(sqlite3.connect(shop)) as database, database:
        # As after a restore to the moment before the relay had been noted.
        database.execute("UPDATE kb_change_sets SET relayed = 0")
    assert relay.relay(ctx) == 0
    log = audit.events(ctx, admin, audit.AuditFilter(actions=("knowledge.edit",)))
    assert log.total == 1
    assert log.events[0].summary == "Knowledge base: 1 added: spring"
    assert log.events[0].details["entries"] == ["Colours / By colour / teal"]
    assert log.events[0].actor_name == "Editor"


def test_a_save_stands_while_the_audit_log_is_locked_and_is_told_later(ctx, shop, editor, admin):
    load(ctx)
    path = ctx.settings.instance_dir / "control.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        changes.save(ctx, editor, [Add(COLOURS, "teal", {"text": "Teal."})])
        other.execute("ROLLBACK")
    assert audit.events(ctx, admin, audit.AuditFilter(actions=("knowledge.edit",))).total == 0
    assert relay.relay(ctx) == 1
    assert audit.events(ctx, admin, audit.AuditFilter(actions=("knowledge.edit",))).total == 1


def test_a_locked_shop_database_is_said_and_nothing_is_saved(ctx, shop, editor):
    load(ctx)
    with closing(sqlite3.connect(shop, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Transient, match="locked"):
            changes.save(ctx, editor, [Add(COLOURS, "teal", {"text": "Teal."})])
        other.execute("ROLLBACK")
    assert state(ctx) == canonical(small_kb())


def test_no_save_of_many_people_at_once_is_lost(ctx, shop, editor):
    load(ctx, {"color_matching": {"by_color": {f"c{n}": "0" for n in range(4)}}})
    refused = []

    def work(name: int) -> None:
        for turn in range(10):
            cell = named(ctx, editor, COLOURS, f"c{turn % 4}")
            text = f"{cell.body} {name}.{turn}"
            edit = Edit(cell.id, cell.version, {"text": cell.body}, {"text": text})
            try:
                changes.save(ctx, editor, [edit])
            except Conflict:
                refused.append(f"{name}.{turn}")

    people = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    held = " ".join(entries.document(ctx.shop)["color_matching"]["by_color"].values()).split()
    wanted = {f"{name}.{turn}" for name in range(4) for turn in range(10)} - set(refused)
    assert sorted(held) == sorted([*wanted, "0", "0", "0", "0"])
