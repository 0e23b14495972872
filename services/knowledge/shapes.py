"""What an imported document must look like: known sections in their shape, storable texts.

Sections that the registry does not know may hold anything; they are kept as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.core.errors import Invalid
from services.knowledge.sections import SECTIONS, Part, Shape, pointer, title_of
from services.knowledge.validation import MAX_POINTER, text_problem

Place = tuple[str, ...]

_MAX_SHOWN = 120


class NotImportable(Invalid):
    """The file can't be read as a knowledge base; nothing was changed.

    `places` lists every place found: (line or pointer, what is wrong there).
    """

    def __init__(
        self, message: str, hint: str = "", places: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(f"{message} Nothing was imported.", hint)
        self.places = places


def place(path: Place) -> str:
    """A path as a person reads it in a message: a pointer, shortened, printable."""
    where = "".join(c if c.isprintable() else "\ufffd" for c in pointer(path))
    if len(where) > _MAX_SHOWN:
        where = where[:_MAX_SHOWN] + "…"
    return where or "The knowledge base"


def check_shapes(document: dict[str, Any]) -> None:
    """Refuse a document whose known sections are not what the shop reads there.

    Raises:
        NotImportable: lists every place, what is expected there, and what was found.
    """
    wrong = list(_wrong(document))
    if not wrong:
        return
    first_place, first = wrong[0]
    more = f" There are {len(wrong) - 1} more such places." if len(wrong) > 1 else ""
    raise NotImportable(
        f"{first_place}: {first}.{more}",
        "Correct the file; everything listed is checked before anything is imported.",
        tuple(wrong),
    )


def _wrong(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for section in SECTIONS:
        if section.key not in document:
            continue
        held = document[section.key]
        if not section.is_one_part and not isinstance(held, dict):
            wanted = f"expected the parts of {section.title}"
            yield place((section.key,)), f"{wanted}, found {_found(held)}"
            continue
        for part in section.parts:
            value: Any = document
            for key in part.path:
                value = value.get(key, _ABSENT)
                if value is _ABSENT:
                    break
            if value is not _ABSENT:
                yield from _wrong_part(part, value)
    yield from _unstorable(document)


_ABSENT: Any = object()


def _wrong_part(part: Part, value: Any) -> Iterator[tuple[str, str]]:
    where = place(part.path)
    if part.shape is Shape.TEXT:
        if not isinstance(value, str):
            yield where, f"expected a text, found {_found(value)}"
        return
    if not isinstance(value, dict):
        yield where, f"expected named entries ({title_of(part.pointer)}), found {_found(value)}"
        return
    for key, body in value.items():
        here = place((*part.path, key))
        if part.shape is Shape.TEXTS:
            if not isinstance(body, str):
                yield here, f"expected a text, found {_found(body)}"
        elif not isinstance(body, dict):
            wanted = ", ".join(part.field_names)
            yield here, f"expected a record ({wanted}), found {_found(body)}"
        else:
            for field, text in body.items():
                if not isinstance(text, str):
                    yield place((*part.path, key, field)), f"expected a text, found {_found(text)}"


def _unstorable(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    waiting: list[tuple[Place, Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            for key, inner in value.items():
                here = (*path, key)
                if problem := text_problem(key):
                    yield place(path), f"a key can't be stored: {_sentence(problem)}"
                elif len(pointer(here)) > MAX_POINTER:
                    yield place(here), f"the path is longer than {MAX_POINTER} characters"
                waiting.append((here, inner))
        elif isinstance(value, list):
            waiting.extend((path, item) for item in value)
        elif isinstance(value, str) and (problem := text_problem(value)):
            yield place(path), _sentence(problem)


def _sentence(problem: str) -> str:
    return problem[0].lower() + problem[1:].rstrip(".")


def _found(value: Any) -> str:
    if isinstance(value, str):
        return "a text"
    if isinstance(value, dict):
        return "a dict"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing (null)"
    return "true or false" if isinstance(value, bool) else "a number"
