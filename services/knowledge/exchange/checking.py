"""What can't be taken from a file: entries in a shape the shop does not read, or not storable.

One rule set for every format; it looks at one entry and leaves the rest alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from services.knowledge.document import Kind
from services.knowledge.exchange.model import Fault
from services.knowledge.sections import SECTIONS, Part, Shape, part_at, pointer, title_of
from services.knowledge.shapes import NotImportable
from services.knowledge.validation import KEY, MAX_POINTER, text_problem

TEXT = "text"
"""Name of the only cell of a text."""

MAX_FAULTS = 100_000

_AS_TEXT = "Write a text there; in JSON, Python and YAML, in quotes."


@dataclass(frozen=True)
class Wrong:
    """Why an entry can't be taken, and how to put it right."""

    field: str  # of the record; `text` or `key` otherwise
    message: str
    fix: str


def require_few(faults: Sequence[Fault]) -> None:
    """Refuse a file in which hardly anything is right, before its mistakes fill the memory.

    Raises:
        NotImportable: there are too many; tells the first.
    """
    if len(faults) > MAX_FAULTS:
        raise NotImportable(
            f"The file has more than {MAX_FAULTS:,} mistakes, the first: {faults[0].message}",
            f"Is this the right file? {faults[0].fix}",
        )


def wrong_with(section: str, key: str, kind: Kind, value: Any) -> Iterator[Wrong]:
    """Everything that keeps one entry out of the knowledge base.

    Args:
        value: what it holds; of a group, all that is in it.
    """
    if problem := text_problem(key):
        yield Wrong(KEY, f"The key can't be stored: {_inner(problem)}", "Give it another key.")
    elif len(section) + len(key) > MAX_POINTER // 2 and (
        len(section + pointer((key,))) > MAX_POINTER
    ):
        yield Wrong(
            KEY,
            f"The path to this entry is longer than {MAX_POINTER} characters.",
            "Give it, or what it lies in, a shorter key.",
        )
    part = part_at(section)
    if part is not None:
        yield from _in_part(part, kind, value)
    elif section in HOLDERS:
        yield from _in_section(section, key, kind, value)
    else:
        yield from _unstorable(kind, value)


def _in_part(part: Part, kind: Kind, value: Any) -> Iterator[Wrong]:
    if part.shape is Shape.RECORDS:
        if kind is Kind.RECORD:
            for name, text in value.items():
                if problem := text_problem(name):
                    yield Wrong(
                        name,
                        f"The name of a field can't be stored: {_inner(problem)}",
                        "Give the field another name.",
                    )
                if problem := text_problem(text):
                    yield Wrong(name, problem, _fix(problem))
            return
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                if not isinstance(inner, str):
                    yield Wrong(name, f"Expected a text, found {found(inner)}.", _AS_TEXT)
            return
        names = ", ".join(part.field_names)
        yield Wrong(
            TEXT,
            f"Expected a record ({names}), found {found(value)}.",
            "Write each of its texts into its field.",
        )
    elif part.shape is Shape.TEXTS:
        yield from _as_text(title_of(part.pointer), kind, value)
    else:
        yield Wrong(KEY, f"{title_of(part.pointer)} is one text; nothing lies in it.", _AS_TEXT)


def _in_section(section: str, key: str, kind: Kind, value: Any) -> Iterator[Wrong]:
    own = part_at(section + pointer((key,)))
    if own is not None and own.shape is Shape.TEXT:
        yield from _as_text(title_of(own.pointer), kind, value)
    elif (own is not None or section + pointer((key,)) in HOLDERS) and kind is not Kind.GROUP:
        title = title_of(section + pointer((key,)))
        wanted = f"named entries ({title})" if own is not None else f"the parts of {title}"
        yield Wrong(
            TEXT,
            f"Expected {wanted}, found {found(value)}.",
            "Write the entries under it, each with its key.",
        )
    else:
        yield from _unstorable(kind, value)


def _as_text(title: str, kind: Kind, value: Any) -> Iterator[Wrong]:
    if kind is not Kind.TEXT:
        yield Wrong(TEXT, f"Expected a text ({title}), found {found(value)}.", _AS_TEXT)
    elif problem := text_problem(value):
        yield Wrong(TEXT, problem, _fix(problem))


def _unstorable(kind: Kind, value: Any) -> Iterator[Wrong]:
    if kind is Kind.GROUP:
        return  # what is in it is looked at by itself
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            waiting += [*inner, *inner.values()]
        elif isinstance(inner, list):
            waiting += inner
        elif isinstance(inner, str) and (problem := text_problem(inner)):
            yield Wrong(TEXT, problem, _fix(problem))
            return


def _fix(problem: str) -> str:
    return "Shorten it." if "at most" in problem else "Write the text anew in a plain editor."


def _inner(problem: str) -> str:
    return problem[0].lower() + problem[1:]


def found(value: Any) -> str:
    """How a person calls what stands in a place."""
    if isinstance(value, str):
        return "a text"
    if isinstance(value, dict):
        return "a dict"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing (null)"
    return "true or false" if isinstance(value, bool) else "a number"


def _holders() -> frozenset[str]:
    paths = (part.path for section in SECTIONS for part in section.parts)
    return frozenset(pointer(path[:-1]) for path in paths)


HOLDERS = _holders()
"""Pointers of what holds parts: the root, and sections of several parts."""
