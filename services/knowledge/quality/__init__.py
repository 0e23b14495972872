"""What is wrong, missing or doubtful in the knowledge base. Pure: no database, no clock.

A check is a function from `Facts` to findings, and one entry in `CHECKS`. Nothing here stops
anybody from saving: what can't be saved at all is in `validation`. All of it, in ten lines:

    def shouting(facts: Facts) -> Iterator[Finding]:
        for cell in facts.cells:
            if len(cell.text) > 20 and cell.text.isupper():
                yield found(cell.entry, cell.name, "shouts: it is all in capitals.")

    CHECKS += (
        Check("shouting", "Texts in capitals", "Read as shouting by customers.", shouting),
    )

The page then lists it, opens its cells, and lets people dismiss what they mean to leave; the
grid finds its entries under "has findings". `facts.cells` are all texts, `facts.by_section`
the entries of each section in their order; a check looks at each a fixed number of times, for
there may be a hundred thousand. What is told apart by more than its cell (the other entry, the
word) says so in `about`. A check that does not depend on the text has `of_text=False`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from services.knowledge.quality import keys, near, texts
from services.knowledge.quality.model import (
    Alike,
    Cell,
    Check,
    Completeness,
    Facts,
    Finding,
    found,
)
from services.knowledge.quality.texts import LONG_TEXT, STALE

__all__ = [
    "CHECKS",
    "LONG_TEXT",
    "STALE",
    "Alike",
    "Cell",
    "Check",
    "Completeness",
    "Facts",
    "Finding",
    "check_named",
    "completeness",
    "findings",
    "found",
]

CHECKS: tuple[Check, ...] = (
    Check(
        "twin-keys", "Keys that mean the same", "off-shoulder and off_shoulder.", keys.twins,
        of_text=False,
    ),
    Check("empty", "Empty cells", "A record or text with nothing in it.", texts.empty_cells),
    Check(
        "unknown-colour", "Colours without an entry",
        "Named in advice; a customer who asks on gets the general sentence.",
        texts.unknown_colours,
    ),
    Check(
        "unknown-category", "Formulas for no product", "Key words no category has.",
        keys.unknown_categories, of_text=False,
    ),
    Check(
        "near-duplicate", "Texts that say the same",
        "Twice the work for whoever keeps them, and the two may drift apart.",
        near.near_duplicates,
    ),
    Check("long", "Too long or too short", "Hard on the prompt, or no answer.", texts.lengths),
    Check(
        "markup", "Markup in a text", "Shown as it stands here; the shop may do otherwise.",
        texts.markup,
    ),
    Check(
        "invisible", "Characters that nobody sees",
        "They come in by copying, and keep equal texts from being equal.", texts.invisible,
    ),
    Check(
        "hidden-key", "Keys with invisible characters", "Nobody can type them in a question.",
        texts.hidden_in_keys, of_text=False,
    ),
    Check(
        "key-style", "Mixed keys", "Written unlike their neighbours.", keys.style, of_text=False,
    ),
    Check(
        "never-read", "Texts the shop never reads", "Keys its code does not name.",
        keys.never_read, of_text=False,
    ),
    Check("stale", "Not touched for a year", "Perhaps out of date.", texts.stale),
)  # fmt: skip
"""Every check, in the order in which a page shows them."""


def check_named(name: str) -> Check | None:
    """The check with this name, if there is one (any more)."""
    return next((check for check in CHECKS if check.name == name), None)


def findings(facts: Facts) -> tuple[Finding, ...]:
    """Everything that the checks find, check by check."""
    return tuple(replace(one, check=check.name) for check in CHECKS for one in check.find(facts))


def completeness(facts: Facts) -> tuple[Completeness, ...]:
    """For every part that a record or a text belongs to, what is written and what is not."""
    cells: defaultdict[str, int] = defaultdict(int)
    empty: defaultdict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for cell in facts.cells:
        where = cell.part.pointer if cell.part else cell.entry.section
        cells[where] += 1
        if not cell.text or cell.text.isspace():
            empty[where].append((cell.entry.id, cell.entry.key, cell.name))
    return tuple(
        Completeness(where, count - len(empty[where]), count, tuple(empty[where]))
        for where, count in cells.items()
    )
