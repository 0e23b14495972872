"""What is wrong, missing or doubtful in the knowledge base. Pure: no database, no clock.

A check is a function from `Facts` to findings, and one line in `CHECKS`. Nothing here stops
anybody from saving: what can't be saved at all is in `validation`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.knowledge.document import Kind
from services.knowledge.entries import TEXT, Entry
from services.knowledge.sections import KEY_PATTERN, Part, Shape, part_of_entry, title_of
from services.knowledge.validation import KEY, skeleton, suggest_key

COLOURS = "/color_matching/by_color"
FABRICS = "/fabric_guide"
FORMULAS = "/outfit_formulas/by_primary_category"

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


@dataclass(frozen=True)
class Finding:
    """Something to look at, in one cell."""

    check: str  # name in `CHECKS`
    entry_id: int
    section: str
    key: str
    field: str
    message: str  # goes on after the key: "navy" "is empty."
    about: str = ""  # what else tells it apart: the other entry, the word

    @property
    def id(self) -> str:
        """The same on every run while the same thing is wrong; what a dismissal names."""
        return "|".join((self.check, str(self.entry_id), self.field, self.about))


@dataclass(frozen=True)
class Facts:
    """What checks may look at."""

    entries: Sequence[Entry]
    now: datetime
    categories: frozenset[str] = frozenset()  # of the shop's products, in lower case
    by_section: Mapping[str, Sequence[Entry]] = field(init=False)

    def __post_init__(self) -> None:
        grouped: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            if entry.kind is not Kind.GROUP:
                grouped[entry.section].append(entry)
        object.__setattr__(self, "by_section", dict(grouped))


@dataclass(frozen=True)
class Check:
    """One thing to look for."""

    name: str
    title: str
    about: str
    find: Callable[[Facts], Iterable[Finding]]


@dataclass(frozen=True)
class Completeness:
    """How much of a section is written."""

    section: str  # pointer of the part
    filled: int
    cells: int
    empty: tuple[tuple[int, str, str], ...]  # (entry id, key, field)

    @property
    def share(self) -> float:
        """0 to 1; a section without a cell is complete."""
        return self.filled / self.cells if self.cells else 1.0


def findings(facts: Facts) -> tuple[Finding, ...]:
    """Everything that the checks find, check by check."""
    return tuple(
        replace(found, check=check.name) for check in CHECKS for found in check.find(facts)
    )


def completeness(facts: Facts) -> tuple[Completeness, ...]:
    """For every part that a record or a text belongs to, what is written and what is not."""
    cells: defaultdict[str, int] = defaultdict(int)
    empty: defaultdict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for entry, part, name, text in _cells(facts):
        where = part.pointer if part else entry.section
        cells[where] += 1
        if not text.strip():
            empty[where].append((entry.id, entry.key, name))
    return tuple(
        Completeness(where, count - len(empty[where]), count, tuple(empty[where]))
        for where, count in cells.items()
    )


def _cells(facts: Facts) -> Iterator[tuple[Entry, Part | None, str, str]]:
    for entry in facts.entries:
        if entry.kind not in (Kind.TEXT, Kind.RECORD):
            continue
        part = part_of_entry(entry.section, entry.key)
        names = dict.fromkeys(entry.cells)
        if part is not None and part.shape is Shape.RECORDS:
            names = dict.fromkeys([*part.field_names, *names])
        for name in names:
            yield entry, part, name, entry.cells.get(name, "")


def _found(entry: Entry, field_name: str, message: str, about: str = "") -> Finding:
    return Finding("", entry.id, entry.section, entry.key, field_name, message, about)


def _twins(facts: Facts) -> Iterator[Finding]:
    for held in facts.by_section.values():
        alike: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in held:
            alike[skeleton(entry.key)].append(entry)
        for same in alike.values():
            for entry in same[1:]:
                first = same[0].key
                yield _found(
                    entry,
                    KEY,
                    f"differs from {first} only by how it is written: the shop takes them for two. "
                    "Keep one.",
                    first,
                )


def _empty_cells(facts: Facts) -> Iterator[Finding]:
    for entry, part, name, text in _cells(facts):
        if text.strip():
            continue
        title = next((f.title for f in part.fields if f.name == name), name) if part else name
        care = entry.section == FABRICS and name == "care"
        message = (
            "has no care: customers ask how to wash it."
            if care
            else f"has nothing in {title.lower()}."
            if name != TEXT
            else "is empty."
        )
        yield _found(entry, name, message)


def _unknown_colours(facts: Facts) -> Iterator[Finding]:
    held = facts.by_section.get(COLOURS, ())
    there = {word for entry in held for word in _colours_in(entry.key.replace("_", " "))}
    there |= {_SAME_COLOUR.get(entry.key, entry.key) for entry in held}
    for entry in held:
        for word in sorted(_colours_in(entry.cells.get(TEXT, "")) - there):
            yield _found(
                entry,
                TEXT,
                f"names {word}, which has no entry of its own.",
                word,
            )


def _colours_in(text: str) -> set[str]:
    words = set(_WORD.findall(text.lower())) & COLOUR_WORDS
    return {_SAME_COLOUR.get(word, word) for word in words}


def _unknown_categories(facts: Facts) -> Iterator[Finding]:
    if not facts.categories:
        return  # no products: nothing to compare with
    for entry in facts.by_section.get(FORMULAS, ()):
        words = [word for word in entry.key.split("_") if len(word) > 2]
        for word in words:
            stem = word.removesuffix("s")
            if not any(stem in category for category in facts.categories):
                yield _found(
                    entry,
                    KEY,
                    f"finds no product: no category says “{word}”.",
                    word,
                )


def _lengths(facts: Facts) -> Iterator[Finding]:
    for entry, _part, name, text in _cells(facts):
        length = len(text.strip())
        if length > LONG_TEXT:
            yield _found(
                entry,
                name,
                f"has {length:,} characters: the assistant reads all of it with every question. "
                "Shorten it or split it.",
            )
        elif 0 < length < SHORT_TEXT and name in (TEXT, "description"):
            yield _found(entry, name, f"says only “{text.strip()}”, which is hardly an answer.")


def _key_style(facts: Facts) -> Iterator[Finding]:
    for section, held in facts.by_section.items():
        hyphens = [entry for entry in held if "-" in entry.key]
        joined = [entry for entry in held if "_" in entry.key]
        if hyphens and joined:
            fewer, other = (hyphens, "_") if len(hyphens) <= len(joined) else (joined, "-")
            for entry in fewer:
                yield _found(
                    entry,
                    KEY,
                    f"is joined unlike its neighbours in {title_of(section)}, which use {other}.",
                )
        for entry in held:
            part = part_of_entry(section, entry.key)
            findable = part is None or part.shape is Shape.TEXT or KEY_PATTERN.fullmatch(entry.key)
            if not findable:
                better = suggest_key(entry.key)
                yield _found(
                    entry,
                    KEY,
                    "would not be found by the shop" + (f"; try {better}." if better else "."),
                )


def _stale(facts: Facts) -> Iterator[Finding]:
    for held in facts.by_section.values():
        for entry in held:
            age = facts.now - entry.updated_at
            if age > STALE:
                name = next(iter(entry.cells), TEXT)
                yield _found(entry, name, f"was not touched for {age.days:,} days.")


_PROMPTED = {
    "/style_advice": (
        "fit",
        "layering",
        "proportions",
        "texture_mixing",
        "formality_levels",
        "style_archetypes",
    ),
    "/styling_tips": ("build_wardrobe", "accessories", "seasonal_transitions"),
}
"""The keys that the shop's prompt reads in sections that no look-up reads."""


def _never_read(facts: Facts) -> Iterator[Finding]:
    for section, known in _PROMPTED.items():
        for entry in facts.by_section.get(section, ()):
            if entry.key not in known:
                yield _found(
                    entry,
                    KEY,
                    f"is never read: the shop knows fixed keys of {title_of(section)}, and nobody "
                    "sees this text until its code names the key.",
                )


CHECKS: tuple[Check, ...] = (
    Check("twin-keys", "Keys that mean the same", "off-shoulder and off_shoulder.", _twins),
    Check("empty", "Empty cells", "A record or text with nothing in it.", _empty_cells),
    Check(
        "unknown-colour", "Colours without an entry",
        "Named in advice; a customer who asks on gets the general sentence.", _unknown_colours,
    ),
    Check(
        "unknown-category", "Formulas for no product", "Key words no category has.",
        _unknown_categories,
    ),
    Check("long", "Too long or too short", "Hard on the prompt, or no answer.", _lengths),
    Check("key-style", "Mixed keys", "Written unlike their neighbours.", _key_style),
    Check("never-read", "Texts the shop never reads", "Keys its code does not name.", _never_read),
    Check("stale", "Not touched for a year", "Perhaps out of date.", _stale),
)  # fmt: skip
"""Every check, in the order in which a page shows them."""
