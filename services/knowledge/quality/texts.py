"""Checks of texts: what is missing, doubtful, or not what it looks like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from services.knowledge.entries import TEXT
from services.knowledge.quality.model import Cell, Facts, Finding, found
from services.knowledge.validation import KEY

COLOURS = "/color_matching/by_color"
FABRICS = "/fabric_guide"

STALE = timedelta(days=365)
LONG_TEXT = 4_000
"""Characters; the whole knowledge base goes into the assistant's prompt."""
SHORT_TEXT = 12

_COLOURS = """
    beige black blue blush bronze brown burgundy camel charcoal chocolate cobalt copper coral
    cream crimson cyan emerald fuchsia gold gray green grey indigo ivory khaki lavender lilac
    lime magenta maroon mauve mint moss mustard navy ochre olive orange peach pink plum purple
    red rose ruby rust sage salmon sand sapphire scarlet silver tan taupe teal turquoise violet
    white wine yellow
"""
COLOUR_WORDS = frozenset(_COLOURS.split())
"""Words that a text of colour advice means as a colour."""
_SAME_COLOUR = {"grey": "gray"}
_WORD = re.compile(r"[a-z]+")


def empty_cells(facts: Facts) -> Iterator[Finding]:
    """Cells in which nothing stands."""
    for cell in facts.cells:
        if cell.text and not cell.text.isspace():
            continue
        care = cell.entry.section == FABRICS and cell.name == "care"
        message = (
            "has no care: customers ask how to wash it."
            if care
            else f"has nothing in {_title(cell).lower()}."
            if cell.name != TEXT
            else "is empty."
        )
        yield found(cell.entry, cell.name, message)


def _title(cell: Cell) -> str:
    fields = cell.part.fields if cell.part else ()
    return next((field.title for field in fields if field.name == cell.name), cell.name)


def unknown_colours(facts: Facts) -> Iterator[Finding]:
    """Colours that advice names, and that have no entry of their own."""
    held = facts.by_section.get(COLOURS, ())
    there = {word for entry in held for word in _colours_in(entry.key.replace("_", " "))}
    there |= {_SAME_COLOUR.get(entry.key, entry.key) for entry in held}
    for entry in held:
        for word in sorted(_colours_in(entry.cells.get(TEXT, "")) - there):
            yield found(entry, TEXT, f"names {word}, which has no entry of its own.", word)


def _colours_in(text: str) -> set[str]:
    words = COLOUR_WORDS.intersection(_WORD.findall(text.lower()))
    return {_SAME_COLOUR.get(word, word) for word in words}


def lengths(facts: Facts) -> Iterator[Finding]:
    """Texts that weigh on every question, or hardly answer one."""
    for cell in facts.cells:
        text = cell.text.strip()
        if len(text) > LONG_TEXT:
            yield found(
                cell.entry,
                cell.name,
                f"has {len(text):,} characters: the assistant reads all of it with every "
                "question. Shorten it or split it.",
            )
        elif 0 < len(text) < SHORT_TEXT and cell.name in (TEXT, "description"):
            yield found(cell.entry, cell.name, f"says only “{text}”, which is hardly an answer.")


_MARKUP = re.compile(
    r"<\s*/?\s*[a-z][\w-]*(?:\s[^<>]*)?/?>|<!--|<!doctype|\bjavascript\s*:|&(?:#\d+|#x[0-9a-f]+|amp|lt|gt|quot|apos|nbsp);",
    re.IGNORECASE,
)


def markup(facts: Facts) -> Iterator[Finding]:
    """Markup and scripts: the desk shows them as text; the shop's pages may not."""
    for cell in facts.cells:
        if "<" not in cell.text and "&" not in cell.text and "avascript" not in cell.text.lower():
            continue
        if there := _MARKUP.search(cell.text):
            piece = " ".join(there.group().split())[:40]
            yield found(
                cell.entry,
                cell.name,
                f"holds markup (“{piece}”): customers may see it as it stands here, or their "
                "browser may follow it.",
            )


_INVISIBLE = {
    **dict.fromkeys("\u200b\u2060\ufeff\u00ad\u180e", "an invisible space or hyphen"),
    **dict.fromkeys("\u200e\u200f\u061c", "an invisible mark of direction"),
    **dict.fromkeys(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
        "an order to show text in another direction than it is written",
    ),
    **dict.fromkeys("\u2028\u2029", "a line break that not every program shows"),
}
_HIDDEN = re.compile(f"[{''.join(_INVISIBLE)}\U000e0000-\U000e007f]")


def invisible(facts: Facts) -> Iterator[Finding]:
    """Characters that nobody sees and that make two equal texts differ."""
    for cell in facts.cells:
        if not cell.text.isascii() and (there := _HIDDEN.search(cell.text)):
            character = there.group()
            line = cell.text.count("\n", 0, there.start()) + 1
            what = _INVISIBLE.get(character, "an invisible letter")
            yield found(
                cell.entry,
                cell.name,
                f"holds {what} (U+{ord(character):04X}) in line {line}. It often comes in by "
                "copying; write the place anew.",
            )
        elif _ends_in_space(cell.text):
            yield found(cell.entry, cell.name, "ends with a space that nobody sees.")


def _ends_in_space(text: str) -> bool:
    """The shop's own long texts do, which is how its code is laid out: those are left alone."""
    return text.endswith((" ", "\t", "\xa0")) and "\n" not in text and not text.isspace()


def hidden_in_keys(facts: Facts) -> Iterator[Finding]:
    """Invisible characters in keys: nobody could type them in a question."""
    for held in facts.by_section.values():
        for entry in held:
            if not entry.key.isascii() and (there := _HIDDEN.search(entry.key)):
                yield found(
                    entry,
                    KEY,
                    f"holds an invisible character (U+{ord(there.group()):04X}): nobody can type "
                    "this key. Write it anew.",
                )


def stale(facts: Facts) -> Iterator[Finding]:
    """What nobody touched for a year; dismissed, it is asked about again a year later."""
    limit = facts.now - STALE
    for held in facts.by_section.values():
        for entry in held:
            if entry.updated_at < limit:
                age = facts.now - entry.updated_at
                yield found(
                    entry,
                    next(iter(entry.cells), TEXT),
                    f"was not touched for {age.days:,} days.",
                    str(age // STALE),
                )
