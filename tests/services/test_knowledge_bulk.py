"""Bulk edits: what the preview says is what happens, in one change set, or nothing does."""

from __future__ import annotations

import pytest

from services.core.errors import Denied, Invalid
from services.knowledge import browsing, bulk, changes, entries, history, recycling, undoing
from services.knowledge.bulk import Remove, Replace, SetText
from services.knowledge.changes import Edit, EditConflict
from services.knowledge.validation import MAX_TEXT, NotValid
from tests.knowledge_base import COLOURS, FABRICS, load, named, state


def _chosen(ctx, actor, where):
    return entries.page(ctx, actor, where).entries


def _texts(ctx, actor, where=COLOURS):
    return {one.key: one.body for one in _chosen(ctx, actor, where)}


def test_a_text_is_replaced_everywhere_it_stands_in_one_change_set_and_taken_back(
    ctx, shop, editor
):
    load(ctx)
    before = state(ctx)
    planned = bulk.plan(_chosen(ctx, editor, COLOURS), Replace("LIKES", "loves"))
    assert (planned.hits, planned.cells, planned.unchanged) == (3, 3, 0)
    done = bulk.apply(ctx, editor, planned)
    assert (done.kind, done.edited) == ("bulk", 3)
    assert done.reason == "Replaced “LIKES” by “loves”"
    assert _texts(ctx, editor)["navy"] == "Navy loves sand and white."
    assert history.recent(ctx, editor).change_sets[0].kind == "bulk"
    undoing.undo(ctx, editor, undoing.preview(ctx, editor, done.id))
    assert state(ctx) == before


def test_case_counts_when_asked_and_the_text_looked_for_is_no_pattern(ctx, shop, editor):
    load(ctx, {"style_advice": {"a": "Cost: $1 (a+b) A+B", "b": "aab"}})
    found = _chosen(ctx, editor, "/style_advice")
    planned = bulk.plan(found, Replace("A+B", r"\1\g<0>", match_case=True))
    assert (planned.hits, planned.unchanged) == (1, 1)
    bulk.apply(ctx, editor, planned)
    assert _texts(ctx, editor, "/style_advice") == {"a": r"Cost: $1 (a+b) \1\g<0>", "b": "aab"}


def test_only_the_named_field_is_searched(ctx, shop, editor):
    load(ctx)
    planned = bulk.plan(_chosen(ctx, editor, FABRICS), Replace("warm", "cold", "care"))
    assert [dict(one.after) for one in planned.planned] == [{"care": "Wash cold, iron damp."}]


def test_a_field_is_set_everywhere_or_only_where_it_is_empty(ctx, shop, editor):
    load(ctx, {"fabric_guide": {"a": {"description": "x", "care": ""}, "b": {"care": "Air it."}}})
    found = _chosen(ctx, editor, FABRICS)
    careful = bulk.plan(found, SetText("care", "Wash cold.", only_empty=True))
    assert [one.entry.key for one in careful.planned] == ["a"]
    assert careful.unchanged == 1
    bulk.apply(ctx, editor, bulk.plan(found, SetText("care", "Wash cold.")))
    found = _chosen(ctx, editor, FABRICS)
    cleared = bulk.plan(found, SetText("care", ""))
    assert [len(cleared.planned), len(cleared.problems)] == [2, 1]  # b would say nothing at all
    assert [one.cells["care"] for one in found] == ["Wash cold.", "Wash cold."]
    assert bulk.plan(found, SetText("care", "Wash cold.")).planned == ()


def test_entries_are_deleted_together_and_lie_in_the_bin(ctx, shop, editor):
    load(ctx)
    done = bulk.apply(ctx, editor, bulk.plan(_chosen(ctx, editor, COLOURS), Remove()), "Old")
    assert (done.deleted, done.reason) == (3, "Old")
    assert _texts(ctx, editor) == {}
    assert recycling.deleted(ctx, editor).total == 3


def test_a_plan_is_refused_when_somebody_wrote_into_one_of_its_cells_since(
    ctx, shop, editor, admin
):
    load(ctx)
    replacing = bulk.plan(_chosen(ctx, editor, COLOURS), Replace("likes", "loves"))
    deleting = bulk.plan(_chosen(ctx, editor, COLOURS), Remove())
    rust = named(ctx, editor, COLOURS, "rust")
    changes.save(ctx, admin, [Edit(rust.id, 1, {"text": rust.body}, {"text": "Rust likes me."})])
    before = state(ctx)
    for planned in (replacing, deleting):
        with pytest.raises(EditConflict):
            bulk.apply(ctx, editor, planned)
    assert state(ctx) == before


def test_what_could_not_be_saved_is_told_before_and_never_even_made(ctx, shop, editor):
    load(ctx, {"style_advice": {"a": "x" * 60_000, "b": "short"}})
    found = _chosen(ctx, editor, "/style_advice")
    planned = bulk.plan(found, Replace("x", "y" * MAX_TEXT))
    assert planned.planned == ()
    assert "6,000,000,000 characters" in planned.problems[0].message
    assert planned.unchanged == 1
    emptied = bulk.plan(found, Replace("short", ""))
    assert "would be empty" in emptied.problems[0].message
    with pytest.raises(NotValid):
        bulk.apply(ctx, editor, emptied)


@pytest.mark.parametrize(
    "operation",
    [
        SetText("text", "a\x00b"),
        Replace("", "x"),
        Replace("x", "\x07"),
        Replace("x" * 1_001, ""),
    ],
)
def test_an_operation_that_makes_no_sense_is_refused(ctx, shop, editor, operation):
    load(ctx)
    with pytest.raises(Invalid):
        bulk.plan(_chosen(ctx, editor, COLOURS), operation)


def test_more_than_ten_thousand_at_once_and_people_who_only_read_are_refused(
    ctx, shop, editor, manager
):
    load(ctx)
    found = _chosen(ctx, editor, COLOURS)
    with pytest.raises(Invalid, match="10,000"):
        bulk.plan(found * 4_000, Remove())
    with pytest.raises(Denied):
        bulk.apply(ctx, manager, bulk.plan(found, Remove()))
    assert browsing.ids_of(ctx, manager, COLOURS) == tuple(one.id for one in found)


def test_three_thousand_entries_are_changed_in_one_change_set(ctx, shop, editor):
    load(ctx, {"style_advice": {f"k{n}": f"Text {n} in grey." for n in range(3_000)}})
    ids = browsing.ids_of(ctx, editor, "/style_advice")
    planned = bulk.plan(browsing.chosen(ctx, editor, ids), Replace("grey", "gray"))
    assert bulk.apply(ctx, editor, planned).edited == 3_000
    assert entries.page(ctx, editor, "/style_advice", search="gray").total == 3_000
