"""Asking and checking what is saved, beside what the shop serves today."""

from __future__ import annotations

import pytest

from services.core.errors import Denied, Invalid
from services.knowledge import changes, inspecting
from services.knowledge.asking import Found, LookUp
from services.knowledge.changes import Edit
from services.knowledge.writing import to_module
from tests.conftest import person
from tests.knowledge_base import COLOURS, load, named, small_kb


@pytest.fixture
def module(ctx):
    """The shop's own module, saying what the knowledge base says."""
    load(ctx)
    path = ctx.settings.shop_kb_module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_module(small_kb()))
    return path


def test_a_saved_edit_shows_as_the_answer_that_would_change(ctx, shop, editor, module):
    assert inspecting.try_out(ctx, editor, "Navy").changed == ()
    navy = named(ctx, editor, COLOURS, "navy")
    changes.save(ctx, editor, [Edit(navy.id, navy.version, {"text": navy.body}, {"text": "Red."})])
    found = inspecting.try_out(ctx, editor, "Navy")
    assert found.changed == (LookUp.COLOUR,)
    here, theirs = found.here[0], (found.shop or ())[0]
    assert (dict(here.texts), dict(theirs.texts)) == ({"text": "Red."}, {"text": navy.body})


@pytest.mark.parametrize("content", [None, b"FASHION_KNOWLEDGE_BASE = load()\n", b"\xff\xfe{"])
def test_a_module_that_is_missing_or_no_data_is_said_and_only_the_desk_is_asked(
    ctx, shop, editor, module, content
):
    module.unlink() if content is None else module.write_bytes(content)
    found = inspecting.try_out(ctx, editor, "rust")
    assert found.shop is None and found.shop_says and found.changed == ()
    assert found.here[0].found is Found.ENTRY


def test_formulas_are_held_to_what_the_shop_sells(ctx, shop, editor):
    load(ctx, {"outfit_formulas": {"by_primary_category": {"spacesuit_helmet": "Add a tether."}}})
    found = [one for one in inspecting.report(ctx, editor).findings if "category" in one.check]
    assert {one.about for one in found} == {"spacesuit", "helmet"}


def test_a_question_of_any_length_or_kind_is_answered_or_refused(ctx, shop, editor, module):
    assert inspecting.try_out(ctx, editor, "<b>'; DROP TABLE kb_entries --").here
    with pytest.raises(Invalid, match="at most 200"):
        inspecting.try_out(ctx, editor, "x" * 201)


def test_an_empty_knowledge_base_has_nothing_to_report(ctx, shop, editor):
    assert inspecting.report(ctx, editor) == inspecting.Report((), ())
    assert all(one.found is not Found.ENTRY for one in inspecting.try_out(ctx, editor, "navy").here)


def test_nobody_without_the_permission_asks_or_checks(ctx, shop):
    nobody = person("operator")
    nobody = type(nobody)(nobody.id, nobody.name, nobody.kind, frozenset())
    for call in (
        lambda: inspecting.report(ctx, nobody),
        lambda: inspecting.try_out(ctx, nobody, "x"),
    ):
        with pytest.raises(Denied):
            call()
