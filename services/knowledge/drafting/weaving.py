"""Two versions of one text, woven into one: what only one person changed is taken as it is.

Where both changed the same words the proposal has both, theirs before mine, and says so: a
person decides, and no word that somebody wrote is dropped unseen. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

_WORDS = re.compile(r"\s+|[^\W_]+|[\W_]", re.UNICODE)
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_MAX_TOKENS = 1500
"""A comparison takes time with the square of the length; where more lies between the first
and the last change it goes by lines."""


@dataclass(frozen=True)
class Woven:
    """A proposal for a text that two people changed."""

    text: str
    collisions: int  # places that both changed, each in their own way; they hold both

    @property
    def is_clean(self) -> bool:
        """Whether nobody has to decide anything."""
        return self.collisions == 0


@lru_cache(maxsize=32)  # a page shows it run after run
def weave(base: str, theirs: str, mine: str) -> Woven:
    """A text that holds what both changed in `base`."""
    if mine in (theirs, base):
        return Woven(theirs, 0)
    if theirs == base:
        return Woven(mine, 0)
    for pattern in (_WORDS, _LINES):
        split = [pattern.findall(text) for text in (base, theirs, mine)]
        head = _alike(split)
        tail = _alike([words[head:][::-1] for words in split])
        inside = [words[head : len(words) - tail] for words in split]
        if max(map(len, inside)) <= _MAX_TOKENS:
            woven = _weave(*inside)
            first, last = split[0][:head], split[0][len(split[0]) - tail :]
            return Woven("".join(first) + woven.text + "".join(last), woven.collisions)
    return Woven(_both(theirs, mine), 1)


def _alike(split: list[list[str]]) -> int:
    """With how many words all of them begin alike."""
    count = 0
    for words in zip(*split, strict=False):
        if len(set(words)) > 1:
            break
        count += 1
    return count


def _weave(base: list[str], theirs: list[str], mine: list[str]) -> Woven:
    text: list[str] = []
    collisions = 0
    for old, one, two in _stretches(base, theirs, mine):
        if one == two or two == old:
            text += one
        elif one == old:
            text += two
        else:
            collisions += 1
            text.append(_both("".join(one), "".join(two)))
    return Woven("".join(text), collisions)


def _both(theirs: str, mine: str) -> str:
    if not theirs or not mine:
        return theirs or mine
    apart = theirs[-1].isspace() or mine[0].isspace()
    return theirs + ("" if apart else "\n" if "\n" in theirs + mine else " ") + mine


def _stretches(
    base: list[str], theirs: list[str], mine: list[str]
) -> Iterator[tuple[list[str], list[str], list[str]]]:
    """The three texts cut at the words that all of them kept, in their order."""
    one, two = _kept(base, theirs), _kept(base, mine)
    b = t = m = 0
    for at in range(len(base)):
        if at not in one or at not in two:
            continue
        if (b, t, m) != (at, one[at], two[at]):
            yield base[b:at], theirs[t : one[at]], mine[m : two[at]]
        yield base[at : at + 1], base[at : at + 1], base[at : at + 1]
        b, t, m = at + 1, one[at] + 1, two[at] + 1
    yield base[b:], theirs[t:], mine[m:]


def _kept(base: list[str], other: list[str]) -> dict[int, int]:
    """Which word of `base` is which in the other text; both rise together."""
    matcher = SequenceMatcher(None, base, other, autojunk=False)
    return {a + i: b + i for a, b, size in matcher.get_matching_blocks() for i in range(size)}
