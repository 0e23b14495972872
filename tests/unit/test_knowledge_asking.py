"""Asking a draft gives what the shop's own functions would give."""

from __future__ import annotations

import copy

from hypothesis import example, given
from hypothesis import strategies as st

from services.knowledge.asking import Asker, Found, LookUp, ask, differing
from services.shop.sample import fashion_kb as module
from tests.knowledge_base import small_kb

_KB = module.FASHION_KNOWLEDGE_BASE
_KEYS = sorted(
    {
        key
        for held in (
            _KB["color_matching"]["by_color"],
            _KB["fabric_guide"],
            _KB["occasions"],
            _KB["dress_codes"],
            _KB["outfit_formulas"]["by_primary_category"],
        )
        for key in held
    }
)
_ASKER = Asker(_KB)
QUESTIONS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(_KEYS),
    st.sampled_from(_KEYS).map(str.upper),
    st.sampled_from(_KEYS).map(lambda key: key.replace("_", " ")),
    st.tuples(st.sampled_from(_KEYS), st.text(max_size=5)).map(" ".join),
)


def _said(answer):
    return answer.texts[0][1] if answer.found is Found.ENTRY else None


@given(QUESTIONS)
@example("")
@example("Silk Blouse")
@example("JOB interview")
def test_every_look_up_says_what_the_shops_own_function_says(question):
    answers = {answer.look_up: answer for answer in ask(_KB, question)}
    colour, occasion = answers[LookUp.COLOUR], answers[LookUp.OCCASION]
    assert (_said(colour) or module.GENERAL_COLOR) == module.get_color_advice(question)
    assert (_said(occasion) or module.GENERAL_OCCASION) == module.get_occasion_advice(question)
    assert _said(answers[LookUp.DRESS_CODE]) == module.get_dress_code(question)
    assert _said(answers[LookUp.OUTFIT]) == module.get_outfit_formula(question)
    fabric = answers[LookUp.FABRIC]
    record = dict(fabric.texts) if fabric.found is Found.ENTRY else None
    assert record == module.get_fabric_info(question)


_ODD_KEYS = st.text(alphabet="ab_ A\nİß", max_size=4)


@given(
    st.dictionaries(_ODD_KEYS, st.just("said"), max_size=6),
    st.text(alphabet="abAB_ \nİß", max_size=6),
)
@example({"a": "said", "b": "said"}, "a\nb")
@example({"": "said"}, "")
@example({"a__b": "said"}, "")
def test_many_questions_at_once_get_the_answers_that_each_gets_alone(held, question):
    document = {
        "color_matching": {"by_color": held},
        "fabric_guide": held,
        "occasions": held,
        "dress_codes": held,
        "outfit_formulas": {"by_primary_category": held},
    }
    assert Asker(document).ask(question) == ask(document, question)
    assert Asker({}).ask(question) == ask({}, question)


@given(QUESTIONS)
def test_the_sample_answers_many_questions_as_it_answers_one(question):
    assert _ASKER.ask(question) == ask(_KB, question)


@given(st.text(max_size=5))
def test_a_knowledge_base_without_sections_answers_with_what_the_shop_says_then(question):
    for document in ({}, {"color_matching": "a text", "fabric_guide": None}):
        assert {answer.found for answer in ask(document, question)} == {
            Found.GENERAL,
            Found.NOTHING,
        }


def test_only_answers_that_a_customer_would_see_change_are_named():
    before = small_kb()
    after = copy.deepcopy(before)
    after["color_matching"]["by_color"]["navy"] = "Navy likes red."
    after["style_advice"]["fit"] = "Nobody asks for this."
    assert differing(ask(before, "Navy"), ask(after, "Navy")) == (LookUp.COLOUR,)
    assert differing(ask(before, "rust"), ask(after, "rust")) == ()
