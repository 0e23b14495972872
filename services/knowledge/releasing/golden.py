"""Golden questions: what customers ask, asked again before every release."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from db.knowledge import questions as table
from services.core import audit
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop, write_shop
from services.core.errors import Conflict, Invalid
from services.knowledge.asking import Asker, differing
from services.knowledge.releasing.model import AnswerChange
from services.knowledge.validation import MAX_REASON, plain_letters, text_problem

MAX_QUESTIONS = 500
MAX_QUESTION = 200
MAX_NOTE = MAX_REASON

STARTERS = ("navy", "silk blouse", "job interview", "black tie", "dress", "linen", "date night")
"""What to begin with: one question for each of the shop's look-ups, and some more."""


@dataclass(frozen=True)
class Question:
    """A golden question."""

    id: int
    question: str
    note: str
    author: str
    at: datetime


@dataclass(frozen=True)
class Added:
    """What came of a list of questions."""

    added: int
    known: int  # they were golden already, or stood twice in the list


def questions(ctx: Context, actor: Actor) -> tuple[Question, ...]:
    """Every golden question, in the order they were added.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        return asked(connection)


def add(ctx: Context, actor: Actor, question: str, note: str = "") -> Question:
    """Have a question asked before every release.

    Args:
        question: what a customer would type; at most 200 characters.
        note: why it is asked; for people.

    Raises:
        Denied: without `kb.edit`.
        Invalid: it is empty, too long, golden already, or there are 500.
    """
    require(actor, Permission.KB_EDIT)
    question, note = sound_question(question), _sound_note(note)
    with write_shop(ctx) as connection:
        known = {folded(one.question): one for one in asked(connection)}
        if (same := known.get(folded(question))) is not None:
            raise Invalid(
                f"“{same.question}” is a golden question already; nothing was added.",
                "Case, accents and spaces make no other question of it.",
            )
        _require_room(len(known), 1)
        made = _insert(connection, ctx, actor, question, note)
    audit.note(
        ctx,
        actor,
        "question.add",
        ("golden question", str(made.id)),
        f"Added the golden question “{question}”",
    )
    return made


def add_lines(ctx: Context, actor: Actor, text: str) -> Added:
    """Add many questions: one a line, its note behind a tab. Known ones are left as they are.

    Raises:
        Denied: without `kb.edit`.
        Invalid: a line can't be a question, or they would be more than 500; none was added.
    """
    require(actor, Permission.KB_EDIT)
    wanted = _read_lines(text)
    with write_shop(ctx) as connection:
        known = {folded(one.question) for one in asked(connection)}
        new: dict[str, tuple[str, str]] = {}
        for question, note in wanted:
            if folded(question) not in known:
                new.setdefault(folded(question), (question, note))
        _require_room(len(known), len(new))
        for question, note in new.values():
            _insert(connection, ctx, actor, question, note)
    if new:
        audit.note(
            ctx,
            actor,
            "question.add",
            ("golden question", ""),
            f"Added {len(new)} golden questions from a list",
            details={"questions": [question for question, _note in new.values()][:50]},
        )
    return Added(len(new), len(wanted) - len(new))


def lines(found: Sequence[Question]) -> str:
    """The list as `add_lines` reads it."""
    return "".join(f"{one.question}\t{one.note}".rstrip("\t") + "\n" for one in found)


def edit_note(ctx: Context, actor: Actor, question_id: int, note: str) -> None:
    """Say otherwise why a question is asked.

    Raises:
        Denied: without `kb.edit`.
        Conflict: somebody removed the question.
    """
    require(actor, Permission.KB_EDIT)
    note = _sound_note(note)
    with write_shop(ctx) as connection:
        found = _one(connection, question_id)
        connection.execute(update(table).where(table.c.id == question_id).values(note=note))
    audit.note(
        ctx,
        actor,
        "question.edit",
        ("golden question", str(question_id)),
        f"Changed the note of the golden question “{found.question}”",
        details={"before": found.note, "after": note},
    )


def remove(ctx: Context, actor: Actor, question_id: int) -> Question:
    """Ask a question no more; gives what it was, so that it can be added again.

    Raises:
        Denied: without `kb.edit`.
        Conflict: somebody removed it already.
    """
    require(actor, Permission.KB_EDIT)
    with write_shop(ctx) as connection:
        found = _one(connection, question_id)
        connection.execute(delete(table).where(table.c.id == question_id))
    audit.note(
        ctx,
        actor,
        "question.remove",
        ("golden question", str(question_id)),
        f"Removed the golden question “{found.question}”",
        details={"note": found.note},
    )
    return found


def asked(connection: Connection) -> tuple[Question, ...]:
    """Every golden question, in the caller's transaction."""
    return tuple(_question(row) for row in connection.execute(select(table).order_by(table.c.id)))


def changes(
    connection: Connection,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> tuple[tuple[AnswerChange, ...], int]:
    """The golden questions that two documents answer differently, and how many were asked.

    Args:
        connection: of a transaction on the shop's database.
    """
    found = asked(connection)
    return changed_answers(found, Asker(before), Asker(after)), len(found)


def changed_answers(
    questions: Iterable[Question], before: Asker, after: Asker
) -> tuple[AnswerChange, ...]:
    """Those of these questions whose answers differ. Pure."""
    found = []
    for one in questions:
        old, new = before.ask(one.question), after.ask(one.question)
        if different := differing(old, new):
            found.append(AnswerChange(one.question, one.note, old, new, different))
    return tuple(found)


def sound_question(question: str) -> str:
    """A question as it is asked and kept: without spaces around it and doubled ones.

    Raises:
        Invalid: it is empty, too long, or holds what can't be shown.
    """
    told = " ".join(question.split())
    if not told:
        raise Invalid(
            "The question is empty; nothing was added.",
            "Ask as a customer would: a colour, a fabric, an occasion.",
        )
    if len(told) > MAX_QUESTION:
        raise Invalid(
            f"The question has {len(told):,} characters; at most {MAX_QUESTION} are asked.",
            "Ask as a customer would: a colour, a fabric, an occasion.",
        )
    if problem := text_problem(told):
        raise Invalid(f"This can't be a question. {problem}", "Type it anew.")
    return told


def folded(question: str) -> str:
    """What is the same for two questions that no customer would tell apart."""
    return " ".join(plain_letters(question).split())


def _sound_note(note: str) -> str:
    told = " ".join(note.split())
    if len(told) > MAX_NOTE or text_problem(told):
        raise Invalid(
            f"The note can't be saved: at most {MAX_NOTE} characters, without control "
            "characters. Nothing was saved.",
            "Shorten it.",
        )
    return told


def _read_lines(text: str) -> list[tuple[str, str]]:
    found = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        question, _tab, note = line.partition("\t")
        if not line.strip():
            continue
        try:
            found.append((sound_question(question), _sound_note(note)))
        except Invalid as error:
            raise Invalid(f"Line {number}: {error.message} None was added.", error.hint) from error
    if not found:
        raise Invalid("The list holds no question; none was added.", "Write one question a line.")
    return found


def _require_room(there: int, more: int) -> None:
    if there + more > MAX_QUESTIONS:
        raise Invalid(
            f"At most {MAX_QUESTIONS} golden questions are kept, and there are {there}; "
            "nothing was added.",
            "Remove those whose answers tell nothing that others don't.",
        )


def _insert(
    connection: Connection, ctx: Context, actor: Actor, question: str, note: str
) -> Question:
    at = ctx.now()
    values = insert(table).values(question=question, note=note, author=actor.name, at=at)
    made = connection.scalar(values.returning(table.c.id))
    return Question(int(made or 0), question, note, actor.name, at)


def _one(connection: Connection, question_id: int) -> Question:
    row = connection.execute(select(table).where(table.c.id == question_id)).first()
    if row is None:
        raise Conflict(
            "Somebody removed this golden question meanwhile; nothing was changed.",
            "Add it again if it is to be asked.",
        )
    return _question(row)


def _question(row: Row[Any]) -> Question:
    return Question(row.id, row.question, row.note, row.author, row.at)
