"""From a file to the knowledge base: look, choose, and do exactly what was shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from db.knowledge import change_sets
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop, write_shop
from services.core.errors import Conflict, Invalid
from services.knowledge.changes import sound_reason
from services.knowledge.comparing import Mode
from services.knowledge.exchange.choosing import ALL, Choice, carried_over, chosen
from services.knowledge.exchange.formats import read
from services.knowledge.exchange.looking import group_pointers, touched
from services.knowledge.exchange.model import ReadFile
from services.knowledge.exchange.planning import MERGED, Groundwork, Options, Plan, worked_out
from services.knowledge.ledger import ChangeSet, Ledger
from services.knowledge.relay import relay
from services.knowledge.state import revision

REPLACE_WORD = "replace"
"""What is typed to confirm that an import replaces everything."""

Step = Callable[[str, float], None]

_TOLD = 20


@dataclass(frozen=True)
class Meanwhile:
    """A change set that was written since a plan was made."""

    id: str
    author: str
    kind: str
    reason: str
    entries: int


@dataclass(frozen=True)
class Rebased:
    """The same file against the knowledge base as it is now."""

    plan: Plan
    choice: Choice
    other: frozenset[str]  # ids of items that say something else than they did
    meanwhile: tuple[Meanwhile, ...]  # the newest first, at most 20


def preview(
    ctx: Context,
    actor: Actor,
    name: str,
    data: bytes,
    options: Options = MERGED,
    *,
    part: str | None = None,
) -> Plan:
    """Read a file and say what importing it would do; nothing is written.

    Args:
        name: the file's name; its ending says what it is.
        data: the file's bytes.
        part: pointer of the part that a table belongs to that does not say so itself.

    Raises:
        Denied: without `kb.edit`.
        NotImportable: the file is not a knowledge base; says where.
    """
    require(actor, Permission.KB_EDIT)
    return preview_of(ctx, actor, opened(ctx, name, data, part), options)


def opened(ctx: Context, name: str, data: bytes, part: str | None = None) -> ReadFile:
    """Read a file, by what the knowledge base knows of its sections.

    Raises:
        NotImportable: the file is not a knowledge base; says where.
    """
    with read_shop(ctx) as connection:
        known = group_pointers(connection)
    return read(name, data, part=part, known=known)


def preview_of(ctx: Context, actor: Actor, file: ReadFile, options: Options = MERGED) -> Plan:
    """The same for a file that was read before: in another mode, say.

    Raises:
        Denied: without `kb.edit`.
        Invalid: the file is not whole, where everything would be replaced.
    """
    require(actor, Permission.KB_EDIT)
    with read_shop(ctx) as connection:
        return _worked_out(connection, file, options)[0]


def is_current(ctx: Context, plan: Plan) -> bool:
    """Whether the knowledge base is still what the plan was made for."""
    with read_shop(ctx) as connection:
        return revision(connection) == plan.revision


def apply_import(
    ctx: Context,
    actor: Actor,
    plan: Plan,
    choice: Choice = ALL,
    *,
    reason: str = "",
    typed: str = "",
) -> ChangeSet:
    """Do what was shown and accepted, as one change set; all of it or nothing.

    Args:
        typed: `replace`, as the person typed it, where the mode replaces everything.

    Raises:
        Conflict: the knowledge base changed since the preview; nothing was imported.
        Invalid: nothing is accepted or there is nothing to import, or the confirmation is
            missing.
    """
    require(actor, Permission.KB_EDIT)
    require_word(plan.options, typed)
    return carry_out(
        ctx, actor, plan.file, plan.options, choice, plan.fingerprint, reason, _unheard
    )


def require_word(options: Options, typed: str) -> None:
    """Refuse to replace everything unless the word was typed.

    Raises:
        Invalid: it was not.
    """
    if options.mode is Mode.REPLACE and typed.strip() != REPLACE_WORD:
        raise Invalid(
            "The confirmation does not fit; nothing was imported.",
            f"Type {REPLACE_WORD} to replace the whole knowledge base.",
        )


def carry_out(
    ctx: Context,
    actor: Actor,
    file: ReadFile,
    options: Options,
    choice: Choice,
    fingerprint: str,
    reason: str,
    step: Step,
    change_set_id: str = "",
) -> ChangeSet:
    """Make the plan again, see that it is the one that was shown, and do what is accepted.

    Args:
        fingerprint: of the plan that was shown.
        step: told what happens now; may raise to end it, last of all before the commit.

    Raises:
        Conflict: the knowledge base changed since; nothing was imported.
        Invalid: there is nothing to import.
    """
    require(actor, Permission.KB_EDIT)
    reason = sound_reason(reason) or f"Import of {file.name[:200]}"
    step("Comparing the file with the knowledge base", 0.3)
    with read_shop(ctx) as connection:
        plan, ground = _worked_out(connection, file, options)
    if plan.fingerprint != fingerprint:
        raise moved()
    found = chosen(plan, ground, choice)
    if found.is_empty:
        raise Invalid(
            "There is nothing to import: the knowledge base already says all of this."
            if plan.is_empty
            else "Nothing of this file is accepted; nothing was imported."
        )
    count = len(found.added) + len(found.changed) + len(found.moved) + len(found.removed)
    step(f"Writing {count:,} entries", 0.6)
    # Everything was worked out before: other writers wait for the writing alone.
    with write_shop(ctx) as connection:
        if revision(connection) != plan.revision:
            raise moved()
        ledger = Ledger(connection)
        found.enter(ledger)
        change_set = ledger.write(ctx, actor, "import", reason, change_set_id=change_set_id)
        step("Closing the change set", 0.9)
    relay(ctx)
    return change_set


def rebase(ctx: Context, actor: Actor, plan: Plan, choice: Choice) -> Rebased:
    """Look at the same file again, now that the knowledge base is another one.

    What was rejected stays so; which items say something else now is told, and who changed
    what in between.

    Raises:
        Denied: without `kb.edit`.
    """
    require(actor, Permission.KB_EDIT)
    with read_shop(ctx) as connection:
        again = _worked_out(connection, plan.file, plan.options)[0]
        meanwhile = _since(connection, plan.revision)
    carried = carried_over(choice, plan, again)
    return Rebased(again, carried.choice, carried.other, meanwhile)


def _worked_out(
    connection: Connection, file: ReadFile, options: Options
) -> tuple[Plan, Groundwork]:
    if options.mode is Mode.REPLACE and not file.whole:
        raise Invalid(
            "This file holds a part of a knowledge base: it can't replace all of it. Nothing was "
            "imported.",
            "Replace the sections that it holds, or merge it.",
        )
    current = touched(connection, file, options)
    return worked_out(current, revision(connection), file, options)


def _since(connection: Connection, seen: str) -> tuple[Meanwhile, ...]:
    # A revision is the id of the change set that made it.
    at = connection.scalar(select(change_sets.c.at).where(change_sets.c.id == seen))
    if at is None:
        return ()
    column = change_sets.c
    query = (
        select(change_sets)
        .where(column.at >= at, column.id != seen)
        .order_by(column.at.desc(), column.id)
        .limit(_TOLD)
    )
    return tuple(
        Meanwhile(row.id, row.author, row.kind, row.reason, row.added + row.edited + row.deleted)
        for row in connection.execute(query)
    )


def moved() -> Conflict:
    """What is said where the knowledge base is not what a plan was made for."""
    return Conflict(
        "The knowledge base was changed since this preview; nothing was imported.",
        "Look at what changed and at a new preview of the same file, then import it.",
    )


def _unheard(_text: str, _fraction: float) -> None:
    """Nobody looks on."""
