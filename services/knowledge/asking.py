"""What the shop would answer: its own look-ups, over any document of the knowledge base. Pure.

The shop's module has these look-ups as functions; they are told again here, so that a draft
can be asked without running anybody's code. A property test holds them to the functions of
the sample shop's module, word for word.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.knowledge.sections import path_of, pointer


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
    prepare: Callable[[Iterable[str]], Callable[[str], str | None]] | None = None


def ask(document: Mapping[str, Any], question: str) -> tuple[Answer, ...]:
    """The shop's answers to a question, one per look-up.

    Args:
        document: a knowledge base; sections may be missing.
        question: what a customer would type, as the shop gets it.
    """
    return tuple(_answer(document, question, look_up, place) for look_up, place in _PLACES.items())


class Asker:
    """The same answers as `ask`, for many questions: the keys are put in order once.

    Asked one by one, 500 questions over 100,000 keys would be 100 million comparisons.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._finders: dict[LookUp, Callable[[str], str | None]] = {}
        for look_up, place in _PLACES.items():
            if place.prepare is not None:
                self._finders[look_up] = place.prepare(_held(document, place) or ())

    def ask(self, question: str) -> tuple[Answer, ...]:
        """The shop's answers to a question, one per look-up."""
        return tuple(
            _answer(self._document, question, look_up, place, self._finders.get(look_up))
            for look_up, place in _PLACES.items()
        )


def differing(one: tuple[Answer, ...], other: tuple[Answer, ...]) -> tuple[LookUp, ...]:
    """The look-ups whose answers a customer would see change."""
    return tuple(
        mine.look_up
        for mine, theirs in zip(one, other, strict=True)
        if (mine.found, mine.texts) != (theirs.found, theirs.texts)
    )


def _answer(
    document: Mapping[str, Any],
    question: str,
    look_up: LookUp,
    place: _Place,
    prepared: Callable[[str], str | None] | None = None,
) -> Answer:
    held = _held(document, place)
    if held is None:
        return Answer(look_up, place.otherwise)
    key = place.find(held, question) if prepared is None else prepared(question)
    if key is None:
        return Answer(look_up, place.otherwise)
    return Answer(look_up, Found.ENTRY, pointer(place.path), key, _texts(held[key]))


def _held(document: Mapping[str, Any], place: _Place) -> Mapping[str, Any] | None:
    held: Any = document
    for step in place.path:
        held = held.get(step) if isinstance(held, Mapping) else None
    return held if isinstance(held, Mapping) else None


def _texts(value: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(value, Mapping):
        return tuple((str(name), str(text)) for name, text in value.items())
    return (("text", str(value)),)


def exact_keys(questions: Iterable[str]) -> set[str]:
    """The keys that these questions look for as a whole."""
    lower = {question.lower() for question in questions}
    return lower | {question.replace(" ", "_") for question in lower}


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


class _Within:
    """Which of many words occur in a text, without looking at each of them."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self._lengths: set[int] = set()

    def add(self, word: str, place: int) -> None:
        self._first.setdefault(word, place)
        self._lengths.add(len(word))

    def first(self, text: str) -> int | None:
        """The lowest place of a word that occurs in the text."""
        places = (
            self._first.get(text[at : at + length])
            for length in self._lengths
            for at in range(len(text) - length + 1)
        )
        return min((place for place in places if place is not None), default=None)


def _prepare_likeness(held: Iterable[str]) -> Callable[[str], str | None]:
    keys = list(held)
    within = _Within()
    starts: list[int] = []
    end = 0
    for place, key in enumerate(keys):
        within.add(key, place)
        starts.append(end)
        end += len(key) + 1
    one_text = "\n".join(keys)

    def find(question: str) -> str | None:
        wanted = question.lower()
        if "\n" in wanted:  # it could be found across two keys
            return _by_likeness(dict.fromkeys(keys), question)
        holds = one_text.find(wanted) if keys else -1
        places = [within.first(wanted), bisect_right(starts, holds) - 1 if holds >= 0 else None]
        found = min((place for place in places if place is not None), default=None)
        return None if found is None else keys[found]

    return find


def _prepare_keywords(held: Iterable[str]) -> Callable[[str], str | None]:
    keys = list(held)
    within = _Within()
    for place, key in enumerate(keys):
        for word in key.split("_"):
            within.add(word, place)

    def find(question: str) -> str | None:
        place = within.first(question.lower())
        return None if place is None else keys[place]

    return find


_PLACES: dict[LookUp, _Place] = {
    LookUp.COLOUR: _Place(("color_matching", "by_color"), _by_name, Found.GENERAL),
    LookUp.FABRIC: _Place(("fabric_guide",), _by_likeness, Found.NOTHING, _prepare_likeness),
    LookUp.OCCASION: _Place(("occasions",), _by_words, Found.GENERAL),
    LookUp.DRESS_CODE: _Place(("dress_codes",), _by_words, Found.NOTHING),
    LookUp.OUTFIT: _Place(
        ("outfit_formulas", "by_primary_category"),
        _by_keywords,
        Found.NOTHING,
        _prepare_keywords,
    ),
}

ASKED = tuple(pointer(place.path) for place in _PLACES.values())
"""Where the answers lie; the rest of a knowledge base is not needed to ask."""


def document_of(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A document to ask, of nothing but these.

    Args:
        sections: by pointer; those of `ASKED`.
    """
    document: dict[str, Any] = {}
    for where, held in sections.items():
        *above, last = path_of(where)
        inside = document
        for step in above:
            inside = inside.setdefault(step, {})
        inside[last] = held
    return document


def asked_part(document: Mapping[str, Any]) -> dict[str, Any]:
    """What of a document is needed to ask it."""
    held = {pointer(place.path): _held(document, place) for place in _PLACES.values()}
    return document_of({where: found for where, found in held.items() if found is not None})
