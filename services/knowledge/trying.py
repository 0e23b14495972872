"""Try it: what a customer would be answered from here, from the release, and from the shop."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, tuple_

from db.knowledge import entries as table
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import DeskError
from services.knowledge import asked
from services.knowledge.asking import Answer, Asker, Found, LookUp, ask, differing
from services.knowledge.changes import Change
from services.knowledge.releasing import golden
from services.knowledge.releasing.golden import MAX_QUESTION, Question
from services.knowledge.releasing.model import AnswerChange
from services.knowledge.releasing.published import current_release
from services.knowledge.state import once_a_revision

__all__ = [
    "MAX_QUESTION",
    "Golden",
    "Side",
    "Source",
    "TryOut",
    "golden_answers",
    "starters",
    "try_out",
]


class Source(enum.StrEnum):
    """Whose answer it is."""

    SHOP = "shop"  # the shop's own module, where it says what no release of the desk does
    RELEASE = "release"
    SAVED = "saved"
    UNSAVED = "unsaved"


@dataclass(frozen=True)
class Side:
    """What one knowledge base answers."""

    source: Source
    answers: tuple[Answer, ...]
    release: int | None = None


@dataclass(frozen=True)
class TryOut:
    """What a question gets, from what customers meet today to what nobody has saved yet."""

    question: str
    sides: tuple[Side, ...]  # in that order; what is saved is always among them
    changed: tuple[LookUp, ...]  # answers that the next release would change
    entries: Mapping[tuple[str, str], int]  # (section, key) of saved entries that answer: id
    notes: tuple[str, ...]  # why a side is missing


@dataclass(frozen=True)
class Golden:
    """The golden questions, and which of them the next release would answer otherwise."""

    questions: tuple[Question, ...]
    changes: Mapping[str, AnswerChange]  # by question
    before: Source | None  # what they were compared with; None: nothing is published
    release: int | None
    note: str  # why they could not be compared


def try_out(ctx: Context, actor: Actor, question: str, unsaved: Sequence[Change] = ()) -> TryOut:
    """Ask what is saved, what is published, and the shop where it says something else.

    Args:
        question: what a customer would type; at most 200 characters.
        unsaved: edits of the person who asks, as they would be saved.

    Raises:
        Denied: without `kb.view`.
        Invalid: it is empty, longer, or holds what nobody can type.
    """
    require(actor, Permission.KB_VIEW)
    question = golden.sound_question(question)
    with read_shop(ctx) as connection:
        before, notes = _before(ctx, connection)
        sides = [Side(one.source, ask(one.document, question), one.release) for one in before]
        here = Side(Source.SAVED, ask(asked.saved(connection), question))
        changed = differing(sides[-1].answers, here.answers) if sides else ()
        sides.append(here)
        if unsaved:
            then = ask(asked.unsaved(connection, unsaved), question)
            if differing(here.answers, then):
                sides.append(Side(Source.UNSAVED, then))
        return TryOut(question, tuple(sides), changed, _entries(connection, sides), notes)


def golden_answers(ctx: Context, actor: Actor) -> Golden:
    """Put every golden question to what is published and to what is saved.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        questions = golden.asked(connection)
        before, notes = _before(ctx, connection)
        if not before:
            return Golden(questions, {}, None, None, " ".join(notes))
        one = before[-1]

        def compare() -> tuple[AnswerChange, ...]:
            saved = Asker(asked.saved(connection, [q.question for q in questions]))
            return golden.changed_answers(questions, Asker(one.document), saved)

        told = "\n".join(f"{q.question}\t{q.note}" for q in questions)
        name = hashlib.sha256(f"{one.mark}\n{told}".encode()).hexdigest()
        found = once_a_revision(connection, f"golden {name}", compare)
        return Golden(
            questions, {c.question: c for c in found}, one.source, one.release, " ".join(notes)
        )


def starters(ctx: Context, actor: Actor) -> tuple[str, ...]:
    """Questions to begin a list of golden ones with: such as what is saved has an entry for.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        first = [key.replace("_", " ") for key in asked.first_keys(connection)]
        offered = {golden.folded(one): one for one in (*golden.STARTERS, *first) if one.strip()}
        return once_a_revision(
            connection, "starters", lambda: _answered(connection, offered.values())
        )


def _answered(connection: Connection, questions: Iterable[str]) -> tuple[str, ...]:
    """Those for which something is written."""
    sound = [one for one in questions if len(one) <= MAX_QUESTION]
    saved = Asker(asked.saved(connection, sound))
    return tuple(
        one for one in sound if any(answer.found is Found.ENTRY for answer in saved.ask(one))
    )


@dataclass(frozen=True)
class _Before:
    source: Source
    document: Mapping[str, Any]
    mark: str
    release: int | None = None


def _before(ctx: Context, connection: Connection) -> tuple[list[_Before], tuple[str, ...]]:
    """What customers meet today and what is published, where those can be asked."""
    found: list[_Before] = []
    notes: list[str] = []
    number = current_release(connection)
    module = _or_note(notes, lambda: asked.shop_module(ctx, connection))
    if module is not None and not module.is_published:
        found.append(_Before(Source.SHOP, module.document, f"shop {module.mark}"))
    if number is not None:
        said = _or_note(notes, lambda: asked.release(connection, number))
        if said is not None:
            found.append(_Before(Source.RELEASE, said, f"release {number}", number))
    elif not found and not notes:
        notes.append("Nothing is published yet, and the shop has no module of its own here.")
    return found, tuple(notes)


def _or_note(notes: list[str], read_it: Callable[[], Any]) -> Any:
    try:
        return read_it()
    except DeskError as error:
        notes.append(error.message)
        return None


def _entries(connection: Connection, sides: Sequence[Side]) -> dict[tuple[str, str], int]:
    places = {
        (one.section, one.key) for side in sides for one in side.answers if one.found is Found.ENTRY
    }
    mine = tuple_(table.c.section, table.c.key).in_(sorted(places))
    rows = connection.execute(select(table.c.section, table.c.key, table.c.id).where(mine))
    return {(section, key): number for section, key, number in rows}
