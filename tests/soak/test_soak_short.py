"""A dozen people at the same section for three seconds: the short form of `make soak`."""

from __future__ import annotations

from tests.knowledge_base import load
from tests.soak.editors import edit_together, settle_accounts


def test_a_dozen_editors_of_one_section_lose_nothing_and_overwrite_nothing(ctx, shop):
    load(ctx)
    people = edit_together(ctx.settings, editors=12, seconds=3)
    counted = settle_accounts(ctx, people)
    assert counted["saves acknowledged"] > 12
    assert counted["cells written"] > 0
