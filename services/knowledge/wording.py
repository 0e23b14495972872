"""What changed between two texts, word by word. Pure; the pages only colour the pieces."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from difflib import SequenceMatcher

_WORDS = re.compile(r"\s+|[^\W_]+|[\W_]", re.UNICODE)
_LINES = re.compile(r"[^\n]*\n|[^\n]+")

_MAX_PIECES = 4000
_ALIKE = 0.3
"""Texts that share less than this are shown as old and new: crumbs in common only confuse."""


class Mark(enum.StrEnum):
    """What became of a piece of text."""

    SAME = "same"
    GONE = "gone"
    NEW = "new"


@dataclass(frozen=True)
class Piece:
    """A stretch of text with one mark."""

    mark: Mark
    text: str


def compare(before: str, after: str) -> tuple[Piece, ...]:
    """The two texts as one run of pieces: same, gone and new.

    Long texts are compared line by line, very long ones as a whole: a page must not wait
    for a comparison whose time grows with the square of the length.
    """
    for pattern in (_WORDS, _LINES):
        one, two = pattern.findall(before), pattern.findall(after)
        if len(one) + len(two) <= _MAX_PIECES:
            return _pieces(one, two)
    return _whole(before, after)


def _whole(before: str, after: str) -> tuple[Piece, ...]:
    if before == after:
        return (Piece(Mark.SAME, before),)
    pieces = (Piece(Mark.GONE, before), Piece(Mark.NEW, after))
    return tuple(piece for piece in pieces if piece.text)


def _pieces(one: list[str], two: list[str]) -> tuple[Piece, ...]:
    found: list[Piece] = []
    matcher = SequenceMatcher(None, one, two, autojunk=False)
    if _shared(matcher, one) < _ALIKE * max(len("".join(one)), len("".join(two)), 1):
        return _whole("".join(one), "".join(two))
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            found.append(Piece(Mark.SAME, "".join(one[i1:i2])))
            continue
        gone, new = "".join(one[i1:i2]), "".join(two[j1:j2])
        found += [Piece(mark, text) for mark, text in ((Mark.GONE, gone), (Mark.NEW, new)) if text]
    return tuple(found)


def _shared(matcher: SequenceMatcher[str], one: list[str]) -> int:
    """Letters of the words that both have."""
    blocks = matcher.get_matching_blocks()
    return sum(len(w) for a, _b, n in blocks for w in one[a : a + n] if len(w) > 1 and w.strip())
