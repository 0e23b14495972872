"""One thing done to many entries at once: planned, looked at, then saved as one change set.

A plan is made of the entries as they were read and holds for exactly those: where somebody
else writes into one of its cells in the meantime, saving it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.errors import Invalid
from services.knowledge import changes
from services.knowledge.changes import Change, Delete, Edit
from services.knowledge.document import Kind
from services.knowledge.entries import Entry
from services.knowledge.ledger import ChangeSet
from services.knowledge.sections import part_of_entry
from services.knowledge.validation import MAX_TEXT, Problem, cell_problems, text_problem

MAX_ENTRIES = 10_000
"""Entries that are changed at once, at most."""
MAX_FIND = 1_000


@dataclass(frozen=True)
class SetText:
    """A cell of every entry says this from now on."""

    field: str
    text: str
    only_empty: bool = False  # leave what says something already


@dataclass(frozen=True)
class Replace:
    """Wherever one text stands, another one stands; plain text, no pattern."""

    find: str
    by: str
    field: str = ""  # in this cell; in all of them when empty
    match_case: bool = False


@dataclass(frozen=True)
class Remove:
    """The entries go to the bin."""


Operation = SetText | Replace | Remove


@dataclass(frozen=True)
class Planned:
    """What becomes of one entry."""

    entry: Entry
    after: Mapping[str, str]  # the cells that change
    hits: int = 0  # how often the searched text was found in it


@dataclass(frozen=True)
class Plan:
    """What an operation does to the chosen entries."""

    operation: Operation
    planned: tuple[Planned, ...]  # only entries that change
    unchanged: int  # chosen, and as they should be already
    problems: tuple[Problem, ...]  # what can't be saved like this

    @property
    def hits(self) -> int:
        """How often the searched text was found."""
        return sum(one.hits for one in self.planned)

    @property
    def cells(self) -> int:
        """How many cells change."""
        return sum(len(one.after) for one in self.planned)

    def edits(self) -> list[Change]:
        """What is to be saved."""
        if isinstance(self.operation, Remove):
            found = (one.entry for one in self.planned)
            return [Delete(entry.id, entry.version, entry.digest) for entry in found]
        return [
            Edit(
                one.entry.id,
                one.entry.version,
                {name: one.entry.cells.get(name, "") for name in one.after},
                dict(one.after),
                seen=one.entry,
            )
            for one in self.planned
        ]


def plan(chosen: Sequence[Entry], operation: Operation) -> Plan:
    """What the operation does to these entries. Pure; nothing is written.

    Raises:
        Invalid: too many entries, or nothing that could be looked for or written.
    """
    if len(chosen) > MAX_ENTRIES:
        raise Invalid(
            f"{len(chosen):,} entries are chosen; at most {MAX_ENTRIES:,} are changed at once. "
            "Nothing was changed.",
            "Choose fewer, or export the section, change the file and import it.",
        )
    _check(operation)
    problems: list[Problem] = []
    planned = [one for entry in chosen if (one := _planned(entry, operation, problems)) is not None]
    bad = {problem.ref for problem in problems}
    return Plan(
        operation,
        tuple(planned),
        len(chosen) - len(planned) - len(bad - {one.entry.id for one in planned}),
        tuple(problems),
    )


def apply(ctx: Context, actor: Actor, planned: Plan, reason: str = "") -> ChangeSet:
    """Save what the plan says as one change set.

    Args:
        reason: why, in a few words; what is done when it is empty.

    Raises:
        Denied: without `kb.edit`.
        NotValid: some cells can't be saved.
        EditConflict: somebody changed the same cells since the plan was made.
        Invalid: there is nothing to save.
    """
    require(actor, Permission.KB_EDIT)
    told = reason.strip() or about(planned.operation)
    return changes.save(ctx, actor, planned.edits(), told, kind="bulk")


def about(operation: Operation) -> str:
    """What an operation does, in a few words, for the history."""
    if isinstance(operation, Remove):
        return "Deleted together"
    if isinstance(operation, SetText):
        return f"Set {operation.field} for several entries"
    return f"Replaced “{_short(operation.find)}” by “{_short(operation.by)}”"


def _short(text: str) -> str:
    told = " ".join(text.split())
    return told if len(told) <= 60 else told[:59] + "…"


def _check(operation: Operation) -> None:
    said: tuple[str, ...] = ()
    if isinstance(operation, SetText):
        said = (operation.text,)
    elif isinstance(operation, Replace):
        said = (operation.find, operation.by)
        if not operation.find:
            raise Invalid(
                "There is no text to be looked for. Nothing was changed.", "Type what to replace."
            )
        if len(operation.find) > MAX_FIND:
            raise Invalid(
                f"At most {MAX_FIND:,} characters are looked for. Nothing was changed.",
                "Look for a shorter text.",
            )
    if problem := next(filter(None, map(text_problem, said)), ""):
        raise Invalid(f"{problem} Nothing was changed.", "Correct it and try again.")


def _planned(entry: Entry, operation: Operation, problems: list[Problem]) -> Planned | None:
    if entry.kind not in (Kind.TEXT, Kind.RECORD):
        return None
    if isinstance(operation, Remove):
        return Planned(entry, {})
    if isinstance(operation, SetText):
        after, hits = _with_text(entry, operation), 0
    else:
        after, hits = _replaced(entry, operation, problems)
    if not after:
        return None
    problems += _problems(entry, after)
    return Planned(entry, after, hits)


def _with_text(entry: Entry, operation: SetText) -> dict[str, str]:
    said = entry.cells.get(operation.field, "")
    if said == operation.text or (operation.only_empty and said.strip()):
        return {}
    return {operation.field: operation.text}


def _replaced(
    entry: Entry, operation: Replace, problems: list[Problem]
) -> tuple[dict[str, str], int]:
    after: dict[str, str] = {}
    total = 0
    for name, text in _searched(entry, operation.field):
        pattern = re.compile(
            re.escape(operation.find), re.NOFLAG if operation.match_case else re.IGNORECASE
        )
        hits = sum(1 for _hit in pattern.finditer(text))
        length = len(text) + hits * (len(operation.by) - len(operation.find))
        if length > MAX_TEXT and hits:
            # Not even made: a short text by a long one, a thousand times, fills the memory.
            message = f"The text would have {length:,} characters; at most {MAX_TEXT:,} fit."
            problems.append(Problem(entry.id, entry.section, entry.key, name, message))
            continue
        new = pattern.sub(lambda _hit: operation.by, text) if hits else text
        total += hits
        if new != text:
            after[name] = new
    return after, total


def _searched(entry: Entry, field: str) -> Iterable[tuple[str, str]]:
    return entry.cells.items() if not field else [(field, entry.cells.get(field, ""))]


def _problems(entry: Entry, after: Mapping[str, str]) -> Iterator[Problem]:
    part = part_of_entry(entry.section, entry.key)
    allowed = frozenset(entry.cells) | frozenset(part.field_names if part else ())
    cells = {**entry.cells, **after}
    return cell_problems(entry.id, entry.section, entry.key, cells, after, allowed)
