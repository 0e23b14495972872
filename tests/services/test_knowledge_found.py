"""Searching all sections at once: what a hit shows, and what is said where nothing fits."""

from __future__ import annotations

import pytest

from services.core.errors import Denied
from services.knowledge import changes
from services.knowledge.changes import Add
from services.knowledge.searching.find import PAGE_HITS, How, find
from tests.conftest import person
from tests.knowledge_base import COLOURS, FABRICS, load


def marks(hit):
    """The pieces of a hit's text that are marked."""
    return [hit.snippet[start:end] for start, end in hit.ranges]


def test_a_hit_names_its_cell_and_marks_its_words_as_they_are_written(ctx, shop, editor):
    load(ctx)
    changes.save(
        ctx,
        editor,
        [Add(FABRICS, "organza", {"description": "Stiff.", "care": "Crème au froid."})],
    )
    (hit,) = find(ctx, editor, "CREME froid").hits
    assert (hit.section, hit.key, hit.field) == (FABRICS, "organza", "care")
    assert marks(hit) == ["Crème", "froid"] and hit.snippet == "Crème au froid."
    (hit,) = find(ctx, editor, "organ").hits
    assert hit.field == "key" and hit.key_ranges == ((0, 5),) and hit.snippet == "Stiff."


def test_hits_of_all_sections_come_in_pages_that_hold_each_once(ctx, shop, editor):
    load(ctx, {"occasions": {f"day_{n}": f"Wear tweed {n}." for n in range(PAGE_HITS + 5)}})
    pages = [find(ctx, editor, "tweed", page=number) for number in (1, 2, 3)]
    assert [len(one.hits) for one in pages] == [PAGE_HITS, 5, 0]
    assert {one.total for one in pages} == {PAGE_HITS + 5}
    assert len({hit.entry_id for one in pages for hit in one.hits}) == PAGE_HITS + 5


def test_of_a_long_text_the_place_is_shown_where_most_words_stand(ctx, shop, editor):
    filler = "and so on " * 60
    text = f"Silk first. {filler}Here silk meets wool, closely. {filler}"
    load(ctx, {"fabric_pairing": text})
    (hit,) = find(ctx, editor, "silk wool").hits
    assert hit.before and hit.after and len(hit.snippet) <= 240
    assert marks(hit) == ["silk", "wool"] and hit.snippet in text


def test_a_word_that_is_not_there_brings_keys_that_are_nearly_it(ctx, shop, editor):
    load(ctx)
    nothing = find(ctx, editor, "job intervew")
    assert nothing.total == 0 and nothing.suggestions[0] == "job_interview"
    assert "linen" in find(ctx, editor, "linnen").suggestions
    assert find(ctx, editor, "linen zzzz").suggestions == ("linen",)
    assert find(ctx, editor, "qqqq").suggestions == ()


def test_markup_is_a_text_like_any_other(ctx, shop, editor):
    load(ctx, {"fabric_pairing": "<script>alert('x')</script> and silk"})
    (hit,) = find(ctx, editor, "<script> silk").hits
    assert marks(hit) == ["<script>", "silk"]


def test_by_meaning_falls_back_to_words_and_says_why(ctx, shop, editor):
    load(ctx)
    found = find(ctx, editor, "linen", how=How.MEANING)
    assert found.how is How.WORDS and found.why and found.hits[0].key == "linen"


def test_what_is_no_text_is_found_by_its_key_and_nothing_typed_finds_nothing(ctx, shop, editor):
    load(ctx, {"numbers": 4711, "color_matching": {"by_color": {"navy": "Sand."}}})
    (hit,) = find(ctx, editor, "numbers").hits
    assert (hit.key, hit.snippet) == ("numbers", "")
    assert find(ctx, editor, "  ").hits == () and find(ctx, editor, COLOURS).total == 0


def test_who_may_not_read_may_not_search(ctx, shop):
    nobody = person("operator")
    nobody = type(nobody)(nobody.id, nobody.name, nobody.kind, frozenset())
    with pytest.raises(Denied):
        find(ctx, nobody, "navy")
