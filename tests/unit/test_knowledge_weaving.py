"""Two versions of a text become one, and no word that somebody wrote is dropped unseen."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.knowledge.drafting.weaving import Woven, weave

WORDS = st.lists(st.sampled_from(["navy", "likes", "sand", "and", "white", "\n", " ", ", ", "→"]))
TEXTS = st.one_of(WORDS.map(" ".join), st.text(max_size=40))


def words(text):
    return Counter(re.findall(r"[^\W_]+", text))


@pytest.mark.parametrize(
    ("base", "theirs", "mine", "woven", "collisions"),
    [
        ("Navy likes sand.", "Navy loves sand.", "Navy likes grey.", "Navy loves grey.", 0),
        ("a b c", "a b c d", "z a b c", "z a b c d", 0),
        ("a b c", "a c", "a b c!", "a c!", 0),
        ("one two three", "one 2 three", "one zwei three", "one 2 zwei three", 1),
        ("a\nb\nc\n", "a\nB\nc\n", "a\nb\nc\nd\n", "a\nB\nc\nd\n", 0),
        ("", "theirs", "mine", "theirs mine", 1),
        ("gone", "", "gone too", "gone too", 1),
        ("x y z", "x z", "x Y z", "x Y z", 1),
    ],
)
def test_what_only_one_changed_is_taken_and_what_both_changed_is_there_twice(
    base, theirs, mine, woven, collisions
):
    assert weave(base, theirs, mine) == Woven(woven, collisions)


@settings(max_examples=400, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_every_word_that_somebody_added_is_in_the_woven_text(base, theirs, mine):
    woven = words(weave(base, theirs, mine).text)
    for changed in (theirs, mine):
        for word, count in (words(changed) - words(base)).items():
            # (Two words grow together where each person took one of two signs between them.)
            assert woven[word] >= count or word in weave(base, theirs, mine).text


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS)
def test_a_text_that_only_one_changed_is_theirs_and_two_equal_changes_are_one(base, changed):
    assert weave(base, changed, base) == Woven(changed, 0)
    assert weave(base, base, changed) == Woven(changed, 0)
    assert weave(base, changed, changed) == Woven(changed, 0)


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS, WORDS, WORDS)
def test_changes_at_both_ends_of_a_text_never_meet(head, tail, one, two):
    middle = " kept #1 and #2 as they were "
    base = "".join(head) + middle + "".join(tail)
    woven = weave(base, "".join(one) + base, base + "".join(two))
    assert woven.text == "".join(one) + base + "".join(two)
    assert woven.is_clean


def test_who_takes_a_word_away_that_another_changed_is_no_silent_merge():
    assert not weave("keep the cat", "keep", "keep the dog").is_clean


def test_texts_of_a_megabyte_are_put_together_line_by_line_or_as_a_whole():
    lines = [f"line {n} of a long text with several words in it\n" for n in range(2_500)]
    base = "".join(lines)
    theirs = base.replace("line 7 ", "LINE 7 ")
    mine = base.replace("line 900 ", "LINE 900 ")
    assert weave(base, theirs, mine) == Woven(theirs.replace("line 900 ", "LINE 900 "), 0)
    long = "word " * 200_000
    whole = weave(long, long + "a", "b " + long)
    assert whole.collisions == 1
    assert long + "a" in whole.text and "b " + long in whole.text
