"""What the checks find, each on the smallest knowledge base that has it, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given

from services.knowledge.document import to_rows
from services.knowledge.entries import Entry
from services.knowledge.quality import (
    CHECKS,
    LONG_TEXT,
    STALE,
    Facts,
    completeness,
    findings,
)
from services.shop.sample.fashion_kb import FASHION_KNOWLEDGE_BASE
from tests.knowledge_base import DOCUMENTS

_NOW = datetime(2026, 6, 1, tzinfo=UTC)


def facts(document, *, age=timedelta(0), categories=()):
    rows = to_rows(document)
    entries = [
        Entry(number, row.section, row.key, row.kind, row.body, row.position, 1, _NOW - age, "Mia")
        for number, row in enumerate(rows, 1)
    ]
    return Facts(entries, _NOW, frozenset(categories))


def told(document, **more):
    return [(one.check, one.key, one.field, one.about) for one in findings(facts(document, **more))]


_ADVICE = "A text that is long enough."
_CASES = {
    "twin-keys": (
        {"dress_styles": {"necklines": {"off-shoulder": {}, "off_shoulder": {}}}},
        ("twin-keys", "off_shoulder", "key", "off-shoulder"),
    ),
    "empty": (
        {
            "fabric_guide": {
                "wool": {"description": _ADVICE, "best_for": "x", "characteristics": "y"}
            }
        },
        ("empty", "wool", "care", ""),
    ),
    "unknown-colour": (
        {"color_matching": {"by_color": {"navy": "Navy likes rust, and navy likes navy."}}},
        ("unknown-colour", "navy", "text", "rust"),
    ),
    "unknown-category": (
        {"outfit_formulas": {"by_primary_category": {"shirts_kimono": _ADVICE}}},
        ("unknown-category", "shirts_kimono", "key", "kimono"),
    ),
    "long": (
        {"fabric_pairing": "x" * (LONG_TEXT + 1)},
        ("long", "fabric_pairing", "text", ""),
    ),
    "key-style": (
        {"occasions": {"job_interview": _ADVICE, "first_date": _ADVICE, "new-year": _ADVICE}},
        ("key-style", "new-year", "key", ""),
    ),
    "near-duplicate": (
        {
            "style_advice": {
                "fit": "Shoulders first, then the waist, and the length comes last of all.",
                "layering": "Shoulders first, then the waist, and the length comes last indeed.",
            }
        },
        ("near-duplicate", "layering", "text", "2"),
    ),
    "markup": (
        {"fabric_pairing": "Rough <script>alert(1)</script> beside smooth."},
        ("markup", "fabric_pairing", "text", ""),
    ),
    "invisible": (
        {"fabric_pairing": "Rough beside\u200b smooth."},
        ("invisible", "fabric_pairing", "text", ""),
    ),
    "hidden-key": (
        {"occasions": {"job\u2060interview": _ADVICE}},
        ("hidden-key", "job\u2060interview", "key", ""),
    ),
    "never-read": (
        {"style_advice": {"fit": _ADVICE, "shoes": _ADVICE}},
        ("never-read", "shoes", "key", ""),
    ),
}


@pytest.mark.parametrize("name", _CASES)
def test_each_check_finds_what_it_is_for_and_nothing_beside(name):
    document, wanted = _CASES[name]
    found = [one for one in told(document, categories={"shirt", "dress"}) if one[0] == name]
    assert found == [wanted]


def test_what_nobody_touched_for_a_year_is_stale_and_a_day_less_is_not():
    document = {"fabric_pairing": _ADVICE}
    assert told(document, age=STALE) == []
    assert [one[0] for one in told(document, age=STALE + timedelta(seconds=1))] == ["stale"]


def test_every_check_is_tried_here():
    assert {check.name for check in CHECKS} == {*_CASES, "stale"}


@pytest.mark.parametrize(
    "text",
    [
        "Sizes < 40 and > 36, a & b, 5<6 and R&D; <3",
        "Wear it 👩‍👩‍👧 and می‌خواهم, naïve, שלום",
        "Two lines,\n    laid out as code is.\n    ",
    ],
)
def test_signs_that_only_look_like_markup_or_hidden_letters_are_left_alone(text):
    assert told({"fabric_pairing": text}) == []


def test_other_advice_in_the_same_words_is_no_duplicate_and_the_same_text_of_two_fabrics_is():
    same = "Cool to the touch, dries fast, and wears well on long and warm days."
    fabrics = {
        name: {"description": same, "care": same, "best_for": "x", "characteristics": "y"}
        for name in ("linen", "ramie")
    }
    colours = {
        "navy": "Navy likes sand, white and camel; keep black away from it, and wear brown shoes.",
        "rust": "Rust likes cream, moss and denim; it glows in the evening, so keep jewels small.",
    }
    found = told({"fabric_guide": fabrics, "color_matching": {"by_color": colours}})
    near = [one for one in found if one[0] == "near-duplicate"]
    assert [(key, field) for _check, key, field, _about in near] == [("ramie", "description")]


def test_what_is_known_by_meaning_is_told_instead_of_what_is_alike_by_words():
    document = {"style_advice": {"fit": _ADVICE, "layering": "Quite other words."}}
    held = facts(document)
    by_meaning = Facts(held.entries, held.now, alike=((3, 2, 0.93), (3, 99, 0.99)))
    found = [one for one in findings(by_meaning) if one.check == "near-duplicate"]
    assert [(one.key, one.about) for one in found] == [("layering", "2")]


def test_gray_is_grey_and_a_word_inside_another_is_no_colour():
    colours = {"gray": "Grey likes tangerine and redwood and goldsmiths.", "silver_gray": "Quiet."}
    named = [one for one in told({"color_matching": {"by_color": colours}}) if "colour" in one[0]]
    assert named == []


def test_a_finding_keeps_its_id_while_the_same_thing_is_wrong():
    document, _wanted = _CASES["unknown-colour"]
    before = {one.id for one in findings(facts(document))}
    document["color_matching"]["by_color"]["navy"] += " Still rust."
    assert {one.id for one in findings(facts(document))} == before


def test_completeness_counts_cells_that_a_record_should_have():
    (fabrics,) = completeness(facts({"fabric_guide": {"wool": {"care": "Air it."}, "silk": {}}}))
    assert (fabrics.filled, fabrics.cells, fabrics.share) == (1, 8, 0.125)
    assert len(fabrics.empty) == 7


def test_the_sample_shop_has_little_to_complain_about():
    found = findings(facts(FASHION_KNOWLEDGE_BASE))
    assert not [one for one in found if one.check in ("empty", "twin-keys", "long")]


@given(DOCUMENTS)
def test_no_document_whatever_is_in_it_stops_the_checks(document):
    for one in findings(facts(document)):
        assert one.message and one.check
    assert all(0 <= one.share <= 1 for one in completeness(facts(document)))
