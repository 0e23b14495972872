"""Look at the whole knowledge base as its readers meet it: what is wrong, what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, String, column, inspect, select, table

from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import DeskError, Invalid
from services.knowledge.asking import Answer, LookUp, ask, differing
from services.knowledge.document import from_rows
from services.knowledge.entries import everything
from services.knowledge.quality import Completeness, Facts, Finding, completeness, findings
from services.knowledge.reading import read_file
from services.knowledge.transfer import find_shop_module

MAX_QUESTION = 200
_CATEGORY_COLUMNS = ("category", "clothing_type", "clothing_category")


@dataclass(frozen=True)
class Report:
    """What the checks found."""

    findings: tuple[Finding, ...]
    completeness: tuple[Completeness, ...]


@dataclass(frozen=True)
class TryOut:
    """What a question gets here, and in the shop as it is."""

    question: str
    here: tuple[Answer, ...]
    shop: tuple[Answer, ...] | None  # None where the shop's module can't be read
    shop_says: str  # why not, or where the module lies
    changed: tuple[LookUp, ...]  # the answers that a customer would see change


def report(ctx: Context, actor: Actor) -> Report:
    """Run every check over the knowledge base as it is saved.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        facts = Facts(everything(connection), ctx.now(), _categories(connection))
    return Report(findings(facts), completeness(facts))


def try_out(ctx: Context, actor: Actor, question: str) -> TryOut:
    """Ask what is saved here, and what the shop's own module says today.

    Args:
        question: what a customer would type; at most 200 characters.

    Raises:
        Denied: without `kb.view`.
        Invalid: it is longer.
    """
    require(actor, Permission.KB_VIEW)
    if len(question) > MAX_QUESTION:
        raise Invalid(
            f"The question has {len(question):,} characters; at most {MAX_QUESTION} are asked.",
            "Ask as a customer would: a colour, a fabric, an occasion.",
        )
    with read_shop(ctx) as connection:
        saved = from_rows(entry.row for entry in everything(connection))
    here = ask(saved, question)
    module = find_shop_module(ctx)
    if module is None:
        return TryOut(question, here, None, "The shop has no module of its own here.", ())
    try:
        if module.problem is not None:
            raise module.problem
        theirs = ask(read_file(module.path, module.data), question)
    except DeskError as error:
        return TryOut(question, here, None, error.message, ())
    return TryOut(question, here, theirs, module.path, differing(theirs, here))


def _categories(connection: Connection) -> frozenset[str]:
    """What the shop's products are called by, in lower case; nothing where that can't be told."""
    if not inspect(connection).has_table("products"):
        return frozenset()
    there = {str(one["name"]) for one in inspect(connection).get_columns("products")}
    found: set[str] = set()
    for name in _CATEGORY_COLUMNS:
        if name in there:
            values = connection.scalars(
                select(column(name, String)).select_from(table("products")).distinct()
            )
            found |= {value.lower() for value in values if value}
    return frozenset(found)
