"""What the shop would answer: its own look-ups, over any document of the knowledge base. Pure.

The shop's module has these look-ups as functions; they are told again here, so that a draft
can be asked without running anybody's code. A property test holds them to the functions of
the sample shop's module, word for word.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.knowledge.sections import pointer


class LookUp(enum.StrEnum):
    """One of the shop's questions to its knowledge base."""

    COLOUR = "colour"
    FABRIC = "fabric"
    OCCASION = "occasion"
    DRESS_CODE = "dress code"
    OUTFIT = "outfit"


class Found(enum.StrEnum):
    """How an answer came about."""

    ENTRY = "entry"
    GENERAL = "general"  # the shop answers with a fixed sentence of its own code
    NOTHING = "nothing"


@dataclass(frozen=True)
class Answer:
    """What one look-up gives for a question."""

    look_up: LookUp
    found: Found
    section: str = ""  # where the entry lies, as an RFC 6901 pointer
    key: str = ""
    texts: tuple[tuple[str, str], ...] = ()  # (field or "text", what it says), in order


@dataclass(frozen=True)
class _Place:
    path: tuple[str, ...]
    find: Callable[[Mapping[str, Any], str], str | None]
    otherwise: Found


def ask(document: Mapping[str, Any], question: str) -> tuple[Answer, ...]:
    """The shop's answers to a question, one per look-up.

    Args:
        document: a knowledge base; sections may be missing.
        question: what a customer would type, as the shop gets it.
    """
    return tuple(_answer(document, question, look_up, place) for look_up, place in _PLACES.items())


def differing(one: tuple[Answer, ...], other: tuple[Answer, ...]) -> tuple[LookUp, ...]:
    """The look-ups whose answers a customer would see change."""
    return tuple(
        mine.look_up
        for mine, theirs in zip(one, other, strict=True)
        if (mine.found, mine.texts) != (theirs.found, theirs.texts)
    )


def _answer(document: Mapping[str, Any], question: str, look_up: LookUp, place: _Place) -> Answer:
    held: Any = document
    for step in place.path:
        held = held.get(step) if isinstance(held, Mapping) else None
    if not isinstance(held, Mapping):
        return Answer(look_up, place.otherwise)
    key = place.find(held, question)
    if key is None:
        return Answer(look_up, place.otherwise)
    return Answer(look_up, Found.ENTRY, pointer(place.path), key, _texts(held[key]))


def _texts(value: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(value, Mapping):
        return tuple((str(name), str(text)) for name, text in value.items())
    return (("text", str(value)),)


def _by_name(held: Mapping[str, Any], question: str) -> str | None:
    wanted = question.lower()
    return wanted if wanted in held else None


def _by_words(held: Mapping[str, Any], question: str) -> str | None:
    return _by_name(held, question.lower().replace(" ", "_"))


def _by_likeness(held: Mapping[str, Any], question: str) -> str | None:
    wanted = question.lower()
    return next((key for key in held if wanted in key or key in wanted), None)


def _by_keywords(held: Mapping[str, Any], question: str) -> str | None:
    wanted = question.lower()
    return next((key for key in held if any(word in wanted for word in key.split("_"))), None)


_PLACES: dict[LookUp, _Place] = {
    LookUp.COLOUR: _Place(("color_matching", "by_color"), _by_name, Found.GENERAL),
    LookUp.FABRIC: _Place(("fabric_guide",), _by_likeness, Found.NOTHING),
    LookUp.OCCASION: _Place(("occasions",), _by_words, Found.GENERAL),
    LookUp.DRESS_CODE: _Place(("dress_codes",), _by_words, Found.NOTHING),
    LookUp.OUTFIT: _Place(("outfit_formulas", "by_primary_category"), _by_keywords, Found.NOTHING),
}
