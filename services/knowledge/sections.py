"""The registry of the knowledge base's sections: titles, shapes and checks.

A new section is one entry in `SECTIONS`. What no entry here describes is kept, shown under
its own name and exported again; see `document`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

KEY_PATTERN = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
"""What the shop's look-ups can find: they lower-case the question and join words by `_`."""

Check = Callable[[str, Mapping[str, str]], Iterable[str]]
"""Takes an entry's key and its cells, and yields what is wrong with them."""


class Shape(enum.StrEnum):
    """What a part of a section is made of."""

    TEXT = "text"
    TEXTS = "texts"
    RECORDS = "records"


@dataclass(frozen=True)
class Field:
    """One text of a record."""

    name: str
    title: str


@dataclass(frozen=True)
class Part:
    """One editable thing in a section: a single text, or a table of entries."""

    path: tuple[str, ...]
    title: str
    about: str
    shape: Shape
    fields: tuple[Field, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def pointer(self) -> str:
        """Where it lies in the document, as an RFC 6901 pointer."""
        return pointer(self.path)

    @property
    def is_table(self) -> bool:
        """Whether it holds entries, and is not one text."""
        return self.shape is not Shape.TEXT

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of a record's fields, in order."""
        return tuple(field.name for field in self.fields)


@dataclass(frozen=True)
class Section:
    """One key at the top of the knowledge base."""

    key: str
    title: str
    about: str
    parts: tuple[Part, ...]

    @property
    def is_one_part(self) -> bool:
        """Whether the section itself is the text or the table."""
        return len(self.parts) == 1 and self.parts[0].path == (self.key,)


def pointer(path: Iterable[str]) -> str:
    """A path of keys as an RFC 6901 pointer; the root is the empty text."""
    return "".join(["/" + key.replace("~", "~0").replace("/", "~1") for key in path])


def path_of(where: str) -> tuple[str, ...]:
    """The keys of an RFC 6901 pointer."""
    keys = where.split("/")[1:]
    return tuple(key.replace("~1", "/").replace("~0", "~") for key in keys)


def _keywords(key: str, _cells: Mapping[str, str]) -> Iterator[str]:
    # The shop takes the first category of whose key any part occurs in the question, so a
    # part of one or two letters matches nearly everything.
    short = [word for word in key.split("_") if len(word) < 3]
    if short:
        yield (
            f"The word “{short[0]}” in the key is too short: the shop would find it inside "
            "other words. Use whole words, joined by _."
        )


_FABRIC = (
    Field("description", "Description"),
    Field("care", "Care"),
    Field("best_for", "Best for"),
    Field("characteristics", "Characteristics"),
)
_STYLE = (
    Field("description", "Description"),
    Field("best_for", "Best for"),
    Field("occasions", "Occasions"),
)


def _text(title: str, about: str, *path: str) -> Part:
    return Part(path, title, about, Shape.TEXT)


def _texts(title: str, about: str, *path: str, checks: tuple[Check, ...] = ()) -> Part:
    return Part(path, title, about, Shape.TEXTS, checks=checks)


def _records(title: str, about: str, fields: tuple[Field, ...], *path: str) -> Part:
    return Part(path, title, about, Shape.RECORDS, fields)


def _single(part: Part) -> Section:
    return Section(part.path[0], part.title, part.about, (part,))


SECTIONS: tuple[Section, ...] = (
    Section(
        "color_matching",
        "Colours",
        "Which colours go together.",
        (
            _texts(
                "By colour",
                "Advice for one colour; the shop looks it up by its exact name.",
                "color_matching",
                "by_color",
            ),
            _text("Basics", "The rules for all colours.", "color_matching", "basics"),
        ),
    ),
    _single(_texts("Style advice", "Fit, layering, proportions and the like.", "style_advice")),
    _single(_texts("Occasions", "What to wear to what.", "occasions")),
    _single(_texts("Dress codes", "What an invitation means.", "dress_codes")),
    _single(
        _records(
            "Fabrics", "What a fabric is like and how to care for it.", _FABRIC, "fabric_guide"
        )
    ),
    _single(_text("Fabric pairing", "Which fabrics go together.", "fabric_pairing")),
    Section(
        "dress_styles",
        "Styles",
        "Necklines, cuts and what they suit.",
        (
            _records("Necklines", "Shapes of a neckline.", _STYLE, "dress_styles", "necklines"),
            _records(
                "Dress features",
                "Cuts, lengths and details of a dress.",
                _STYLE,
                "dress_styles",
                "dress_features",
            ),
            _records(
                "Men's styles", "Collars and shapes for men.", _STYLE, "dress_styles", "men_styles"
            ),
        ),
    ),
    _single(_texts("Styling tips", "Wardrobe, accessories, seasons.", "styling_tips")),
    Section(
        "outfit_formulas",
        "Outfit formulas",
        "What completes an outfit.",
        (
            _texts(
                "By category",
                "What goes with an article; the key lists the words that find it, joined by _.",
                "outfit_formulas",
                "by_primary_category",
                checks=(_keywords,),
            ),
            _text("Description", "When to use the formulas.", "outfit_formulas", "description"),
            _text("Colour logic", "Colours of an outfit.", "outfit_formulas", "color_logic"),
            _text(
                "Formality logic", "How formal an outfit is.", "outfit_formulas", "formality_logic"
            ),
            _text("Season logic", "What suits a season.", "outfit_formulas", "season_logic"),
        ),
    ),
    Section(
        "pattern_rules",
        "Patterns",
        "How to mix patterns.",
        (
            _text("Basics", "The rules for patterns.", "pattern_rules", "basics"),
            _text("Avoid", "What does not work.", "pattern_rules", "avoid"),
        ),
    ),
    _single(
        _text(
            "Recommendation priority",
            "What comes first when the shop suggests a match.",
            "recommendation_priority",
        )
    ),
)
"""The sections in the shop's order."""

# The order of keys inside a section that holds several parts matters to the shop's prompt;
# the parts above stand in the order in which a person reads them.
_ORDER: dict[tuple[str, ...], tuple[str, ...]] = {
    (): tuple(section.key for section in SECTIONS),
    ("color_matching",): ("basics", "by_color"),
    ("dress_styles",): ("necklines", "dress_features", "men_styles"),
    ("outfit_formulas",): (
        "description",
        "by_primary_category",
        "color_logic",
        "formality_logic",
        "season_logic",
    ),
    ("pattern_rules",): ("basics", "avoid"),
}

_BY_KEY = {section.key: section for section in SECTIONS}
_BY_POINTER = {part.pointer: part for section in SECTIONS for part in section.parts}


def section_of(key: str) -> Section | None:
    """The registered section with this key at the top of the document."""
    return _BY_KEY.get(key)


def part_at(where: str) -> Part | None:
    """The registered part at a pointer."""
    return _BY_POINTER.get(where)


def part_of_entry(section: str, key: str) -> Part | None:
    """The part an entry belongs to: the table that holds it, or the text that it is."""
    part = part_at(section)
    if part is not None and part.shape is not Shape.TEXT:
        return part
    own = part_at(section + pointer((key,)))
    return own if own is not None and own.shape is Shape.TEXT else None


def rank(section: str, key: str) -> int | None:
    """Where a registered key stands among its neighbours, or None where that is free."""
    order = _ORDER.get(path_of(section), ())
    return order.index(key) if key in order else None


def title_of(where: str) -> str:
    """How a person calls the place at a pointer, for example `Colours / By colour`."""
    path = path_of(where)
    if not path:
        return "Knowledge base"
    section = section_of(path[0])
    if section is None:
        return " / ".join(path)
    part = part_at(where)
    if part is None:
        return " / ".join((section.title, *path[1:]))
    return section.title if section.is_one_part else f"{section.title} / {part.title}"
