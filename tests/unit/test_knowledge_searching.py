"""Folding a text for a search, and finding back where its words stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.errors import Invalid
from services.knowledge.searching.folding import LONGEST, fold, ranges, words_of
from services.knowledge.validation import plain_letters

# Letters that fold to none, to two or three, that join with what stands before, and that are
# wide; among plain ones, so that words occur twice.
_LETTERS = st.sampled_from(
    "abAB ßﬁİıſΣςΐŉǰẞ㎏㈱ＡＢ０½Åéé́̈ͅ가힣각ㄱあガ。\u200b\ufeff\x00\ud800😀👩‍🎤\n\t"
)
_TEXTS = st.text(st.one_of(_LETTERS, st.characters()), max_size=30)


@given(_TEXTS)
def test_a_text_is_folded_letter_by_letter_and_as_plain_letters_folds_it(text):
    assert fold(text) == "".join(fold(letter) for letter in text)
    sound = "".join(c for c in text if c != "\x00" and not "\ud800" <= c <= "\udfff")
    assert fold(sound) == plain_letters(sound)


@given(_TEXTS, st.data())
def test_what_is_marked_folds_to_what_was_looked_for_and_nothing_is_left_out(text, data):
    folded = fold(text)
    at = data.draw(st.integers(0, len(folded)))
    word = folded[at : at + data.draw(st.integers(1, 4))]
    found = ranges(text, [word])
    assert bool(found) == bool(word)
    before, rest = 0, []
    for start, end in found:
        assert before <= start < end <= len(text)  # in order and inside
        assert word in fold(text[start:end])
        rest.append(text[before:start])
        before = end
    assert not word or all(word not in fold(piece) for piece in [*rest, text[before:]])


@pytest.mark.parametrize(
    ("text", "typed", "marked"),
    [
        ("Crème brûlée", "BRULEE", ["brûlée"]),
        ("Die Straße", "strasse", ["Straße"]),
        ("ﬁne wool", "i", ["ﬁ"]),
        ("é and e\u0301!", "e", ["é", "e\u0301"]),
        ("ＮＡＶＹ navy", "navy", ["ＮＡＶＹ", "navy"]),
        ("navy navy", "navy a", ["navy", "navy"]),
        ("nav", "navy", []),
        ("İstanbul", "istanbul", ["İstanbul"]),
    ],
)
def test_the_place_of_a_word_is_that_of_its_letters_as_they_are_written(text, typed, marked):
    assert [text[a:b] for a, b in ranges(text, words_of(typed))] == marked


def test_words_are_folded_told_once_and_no_novel_is_taken():
    assert words_of("  Navy navy ＮＡＶＹ\tSilk ") == ("navy", "silk")
    assert words_of("x" * LONGEST)
    with pytest.raises(Invalid, match="at most"):
        words_of("x" * (LONGEST + 1))
