"""Checking what is saved."""

from __future__ import annotations

import pytest

from services.core.errors import Denied
from services.knowledge import inspecting
from tests.conftest import person
from tests.knowledge_base import load


def test_formulas_are_held_to_what_the_shop_sells(ctx, shop, editor):
    load(ctx, {"outfit_formulas": {"by_primary_category": {"spacesuit_helmet": "Add a tether."}}})
    found = [one for one in inspecting.report(ctx, editor).findings if "category" in one.check]
    assert {one.about for one in found} == {"spacesuit", "helmet"}


def test_an_empty_knowledge_base_has_nothing_to_report(ctx, shop, editor):
    assert inspecting.report(ctx, editor) == inspecting.Report((), ())


def test_nobody_without_the_permission_asks_or_checks(ctx, shop):
    nobody = person("operator")
    nobody = type(nobody)(nobody.id, nobody.name, nobody.kind, frozenset())
    with pytest.raises(Denied):
        inspecting.report(ctx, nobody)
