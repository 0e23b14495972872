"""Texts as a search sees them: case, accents and width do not count.

Letter by letter, so that every letter of the folded text stands for exactly one of the text
itself: what is found can be shown where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from services.core.errors import Invalid
from services.knowledge.validation import plain_letters

LONGEST = 400
"""Characters of a search; whoever pastes a whole text means something else."""


class _Letters(dict[int, str]):
    """What each letter becomes, worked out once."""

    def __missing__(self, code: int) -> str:
        # Neither half a character nor a zero byte can be stored or looked for everywhere.
        halves = code == 0 or 0xD800 <= code <= 0xDFFF
        folded = "\ufffd" if halves else plain_letters(chr(code))
        self[code] = folded
        return folded


_LETTERS = _Letters()


def fold(text: str) -> str:
    """A text without case, accents and width; the same as `plain_letters`, letter by letter."""
    if text.isascii() and "\x00" not in text:
        return text.lower()  # the same, and faster
    return text.translate(_LETTERS)


def words_of(typed: str) -> tuple[str, ...]:
    """The words of a search, folded, each once.

    Raises:
        Invalid: more was typed than anybody searches for.
    """
    if len(typed) > LONGEST:
        raise Invalid(
            f"The search has {len(typed):,} characters; at most {LONGEST} are looked for.",
            "Type a few words that the entry holds.",
        )
    return tuple(dict.fromkeys(fold(typed).split()))


def ranges(text: str, words: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Where folded words stand in a text: (start, end) in the text itself, in order, apart.

    A letter of which only a part fits (the f of ﬁ) is taken whole, and so are the accents
    that follow a letter.
    """
    folded = fold(text)
    found: list[tuple[int, int]] = []
    for word in words:
        at = folded.find(word) if word else -1
        while at >= 0:
            found.append((at, at + len(word)))
            at = folded.find(word, at + len(word))
    if not found:
        return ()
    if len(folded) == len(text) and text.isascii():
        return _merged(found)
    # How much of the folded text there is before each letter, and behind the last.
    before = [0, *accumulate(len(_LETTERS[ord(letter)]) for letter in text)]
    owner = [index for index, letter in enumerate(text) for _ in _LETTERS[ord(letter)]]
    spots = []
    for start, end in found:
        last = owner[end - 1] + 1
        while last < len(text) and before[last] == before[last + 1]:
            last += 1
        spots.append((owner[start], last))
    return _merged(spots)


def _merged(found: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)
