"""What may stand in the knowledge base: one rule set for grids, forms and imports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from db.knowledge import plain_letters, skeleton
from services.core.errors import Invalid
from services.knowledge.sections import KEY_PATTERN, Part, part_of_entry

__all__ = [
    "KEY",
    "MAX_KEY",
    "MAX_POINTER",
    "MAX_REASON",
    "MAX_TEXT",
    "NotValid",
    "Problem",
    "cell_problems",
    "key_problem",
    "plain_letters",
    "skeleton",
    "suggest_key",
    "text_problem",
]

MAX_TEXT = 100_000
"""Characters of one text; the longest of the shop's own has about 1,500."""

MAX_KEY = 120
MAX_POINTER = 400
MAX_REASON = 500

KEY = "key"
"""The name under which problems speak of an entry's key."""

# Controls but for line ends and tabs, and half characters.
_UNWANTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Problem:
    """What is wrong with one cell, and how to put it right."""

    ref: int  # entry id; negative for an entry that is being added
    section: str
    key: str
    field: str
    message: str


class NotValid(Invalid):
    """Some cells can't be saved as they are; nothing was."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        count = len(problems)
        what = "One cell" if count == 1 else f"{count} cells"
        super().__init__(
            f"{what} can't be saved as they are; nothing was saved."
            if count > 1
            else f"{what} can't be saved as it is; nothing was saved.",
            "Correct what is listed and save again; your changes are still here.",
        )
        self.problems = problems


def text_problem(text: object) -> str:
    """What keeps this from being a text of the knowledge base; empty when nothing does."""
    if not isinstance(text, str):
        return f"Only text can stand here, not {type(text).__name__}."
    if len(text) > MAX_TEXT:
        return (
            f"The text has {len(text):,} characters; at most {MAX_TEXT:,} fit. "
            "Shorten it or split it into several entries."
        )
    if unwanted := _UNWANTED.search(text):
        line = text.count("\n", 0, unwanted.start()) + 1
        return (
            f"Line {line} holds an invisible control character (U+{ord(unwanted[0]):04X}). "
            "Remove it; it often comes in by copying from another program."
        )
    return ""


def key_problem(part: Part | None, key: object) -> str:
    """What keeps this from being a new key in this part; empty when nothing does."""
    if not isinstance(key, str) or not key.strip():
        return "The key is empty. Give the entry a short name, such as navy or smart_casual."
    if len(key) > MAX_KEY:
        return f"The key has {len(key):,} characters; at most {MAX_KEY} fit."
    if problem := text_problem(key):
        return problem
    if part is not None and not KEY_PATTERN.fullmatch(key):
        suggestion = suggest_key(key)
        better = f" Try {suggestion}." if suggestion else ""
        return (
            "The shop looks keys up in lower case, with words joined by _ or -; "
            f"it would never find this one.{better}"
        )
    return ""


def suggest_key(key: str) -> str:
    """The nearest key that the shop can find; empty when there is none."""
    words = "".join(c if c.isalnum() and c.isascii() else " " for c in plain_letters(key))
    return "_".join(words.split())


def cell_problems(
    ref: int,
    section: str,
    key: str,
    cells: Mapping[str, str],
    changed: Mapping[str, object],
    allowed: frozenset[str],
) -> Iterator[Problem]:
    """Everything wrong with the changed cells of one entry.

    Args:
        cells: the whole entry as it would be.
        changed: the cells that differ from what is stored.
        allowed: names of the cells this entry may have.
    """
    sound = True
    for field, text in changed.items():
        known = field in allowed
        message = text_problem(text) if known else "This section has no such field."
        if message:
            sound = False
            yield Problem(ref, section, key, field, message)
    if not sound:
        return
    if changed and not any(text.strip() for text in cells.values()):
        field = next(iter(changed))
        yield Problem(
            ref, section, key, field, "The entry would be empty. Write a text, or delete the entry."
        )
    part = part_of_entry(section, key)
    for check in part.checks if part else ():
        for message in check(key, cells):
            yield Problem(ref, section, key, KEY, message)
