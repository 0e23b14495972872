"""Search the whole knowledge base: every section at once, each hit with where its words stand.

By words, through the desk's own full text index (FTS5 of SQLite, for shops on PostgreSQL too);
by meaning where Chroma's model is there, else by words, and why is said.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from sqlalchemy import Connection

from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.knowledge.entries import Entry, by_id
from services.knowledge.searching import index, meaning
from services.knowledge.searching.folding import fold, ranges, words_of
from services.knowledge.validation import KEY

PAGE_HITS = 20
_SNIPPET = 240
"""Characters of a text that a hit shows."""
_BEFORE = 70
_SUGGESTED = 5
_SIMILAR = 0.6


class How(enum.StrEnum):
    """What a search goes by."""

    WORDS = "words"
    MEANING = "meaning"


@dataclass(frozen=True)
class Hit:
    """An entry that was found, and the place in it that shows why."""

    entry_id: int
    section: str
    key: str
    key_ranges: tuple[tuple[int, int], ...]  # of the key that fit: (start, end)
    field: str  # the cell it was found in; `key` where only the key fits
    snippet: str  # of that cell, or of the first where only the key fits; as it is written
    ranges: tuple[tuple[int, int], ...]  # of the snippet that fit
    before: bool  # the text goes on before the snippet
    after: bool
    likeness: float | None = None  # by meaning: 1.0 is the same


@dataclass(frozen=True)
class Results:
    """A page of what was found."""

    hits: tuple[Hit, ...]
    total: int
    how: How  # what the search went by
    why: str = ""  # why not by meaning, though that was asked for
    suggestions: tuple[str, ...] = ()  # what else to look for, where nothing was found


def find(
    ctx: Context,
    actor: Actor,
    words: str,
    *,
    how: str = How.WORDS,
    page: int = 1,
    rows: int = PAGE_HITS,
) -> Results:
    """A page of the entries that fit, the best first.

    Args:
        words: as a person typed them. By words, each must stand in the entry, in whatever
            case, with whatever accents; by meaning, they may be a question.
        how: `words` or `meaning`; without the model, by words all the same.
        page: from 1.
        rows: hits a page, at most 100.

    Raises:
        Denied: without `kb.view`.
        Invalid: more was typed than anybody searches for.
    """
    require(actor, Permission.KB_VIEW)
    wanted = words_of(words)
    rows = max(1, min(rows, 100))
    skip = (max(page, 1) - 1) * rows
    why = ""
    with read_shop(ctx) as connection:
        if how == How.MEANING and wanted:
            asked = meaning.ask(ctx, connection, words)
            if not isinstance(asked, str):
                ids = [number for number, _likeness in asked[skip : skip + rows]]
                there = by_id(connection, ids)
                hits = tuple(
                    _hit(there[number], wanted, likeness)
                    for number, likeness in asked[skip : skip + rows]
                    if number in there
                )
                return Results(hits, len(asked), How.MEANING)
            why = asked
        found = index.ranked(ctx, connection, words, rows, skip)
        there = by_id(connection, found.ids)
        hits = tuple(_hit(there[number], wanted) for number in found.ids)
        suggestions = () if found.total else _suggestions(ctx, connection, wanted)
    return Results(hits, found.total, How.WORDS, why, suggestions)


def _hit(entry: Entry, wanted: Sequence[str], likeness: float | None = None) -> Hit:
    name, text = _best_cell(entry, wanted)
    there = ranges(text, wanted)
    start, end = _window(text, there)
    inside = tuple(
        (max(a, start) - start, min(b, end) - start) for a, b in there if a < end and b > start
    )
    in_key = ranges(entry.key, wanted)
    return Hit(
        entry.id,
        entry.section,
        entry.key,
        in_key,
        KEY if in_key and not there else name,
        text[start:end],
        inside,
        start > 0,
        end < len(text),
        likeness,
    )


def _best_cell(entry: Entry, wanted: Sequence[str]) -> tuple[str, str]:
    """The cell that holds the most of the words; the first among equals."""
    best, most = ("", ""), -1
    for name, text in entry.cells.items():
        folded = fold(text)
        count = sum(word in folded for word in wanted)
        if count > most:
            best, most = (name, text), count
    return best


def _window(text: str, there: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Which part of a text shows most of what fits: from a word's beginning to a word's end."""
    if len(text) <= _SNIPPET:
        return 0, len(text)
    firsts = [start for start, _end in there] or [0]
    first = max(
        firsts, key=lambda at: sum(at <= other < at + _SNIPPET - _BEFORE for other in firsts)
    )
    start = max(0, min(first - _BEFORE, len(text) - _SNIPPET))
    end = min(len(text), start + _SNIPPET)
    if start and (space := text.find(" ", start, first)) >= 0:
        start = space + 1
    if end < len(text) and (space := text.rfind(" ", first + 1, end)) > end - _BEFORE:
        end = space
    return start, end


def _suggestions(ctx: Context, connection: Connection, wanted: Sequence[str]) -> tuple[str, ...]:
    """Keys that are written nearly like it, then those of the words that stand somewhere."""
    typed = {*wanted, "_".join(wanted)}
    near = by_id(connection, index.like_keys(ctx, connection, wanted)).values()
    likely = {
        entry.key: max(SequenceMatcher(None, fold(entry.key), word).ratio() for word in typed)
        for entry in near
    }
    close = sorted(likely, key=lambda key: -likely[key])
    alone = wanted[:_SUGGESTED] if len(wanted) > 1 else ()
    return tuple(
        dict.fromkeys(
            [
                *(key for key in close if likely[key] >= _SIMILAR),
                *(word for word in alone if index.occurs(ctx, connection, word)),
            ]
        )
    )[:_SUGGESTED]
