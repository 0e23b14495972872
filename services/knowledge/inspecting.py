"""Look at the whole knowledge base: what is wrong in it, and what is missing.

All checks run once for a state: another revision, another day, other categories of products.
Where there is much to look at, they run in a process of their own, and until they are done
what they found before is shown, and said to be older.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from sqlalchemy import Connection, String, column, func, inspect, select, table

from db.knowledge import entries as entries_table
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import Broken
from services.knowledge import aside, dismissing
from services.knowledge.aside import Looked
from services.knowledge.dismissing import Dismissed
from services.knowledge.entries import everything, everything_calmly
from services.knowledge.quality import Completeness, Facts, Finding, completeness, findings
from services.knowledge.searching import meaning
from services.knowledge.searching.file import path_of_index
from services.knowledge.state import revision

log = logging.getLogger("desk.quality")

MUCH = 3_000
"""Entries from which on a page does not wait for the checks."""
_CATEGORY_COLUMNS = ("category", "clothing_type", "clothing_category")
_KEPT = 8


@dataclass(frozen=True)
class Report:
    """What the checks found."""

    findings: tuple[Finding, ...]  # without those that are dismissed
    completeness: tuple[Completeness, ...]
    dismissed: tuple[Dismissed, ...] = ()  # the newest first
    checking: bool = False
    """The checks are at work: this is what they found before, or nothing yet."""


@dataclass(frozen=True)
class _State:
    """What the findings depend on."""

    revision: str
    day: date
    categories: frozenset[str]
    meaning: str  # the revision whose meaning is known: by it, near-duplicates are told


@dataclass(frozen=True)
class _Checked:
    """What every check found in one state."""

    state: _State | None
    findings: tuple[Finding, ...] = ()
    completeness: tuple[Completeness, ...] = ()


def report(ctx: Context, actor: Actor) -> Report:
    """What is wrong or missing in the knowledge base as it is saved.

    Raises:
        Denied: without `kb.view`.
        Broken: a check met a bug in a process of its own.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        checked, fresh = _checked(ctx, connection)
        counting, dismissed = dismissing.split(connection, checked.findings)
    return Report(counting, checked.completeness, dismissed, not fresh)


def ids_with_findings(ctx: Context, connection: Connection) -> frozenset[int]:
    """Entries in which a check found something that is not dismissed.

    Where there is much to look at, of the state before, until the checks are done.
    """
    checked, _fresh = _checked(ctx, connection)
    counting, _dismissed = dismissing.split(connection, checked.findings)
    return frozenset(one.entry_id for one in counting)


def at_work(ctx: Context) -> bool:
    """Whether the checks are running: what is known of findings is older, or nothing yet."""
    with _guard:
        return path_of_index(ctx) in _at_work


def refresh(ctx: Context) -> None:
    """Run the checks now, however long they take, unless they ran for this state.

    Raises:
        DeskError: the shop's database can't be read.
    """
    # A reader of an SQLite shop holds up its writers: it is left before the work begins.
    with read_shop(ctx) as connection:
        state = _state(ctx, connection)
        if _found_before(ctx).state == state:
            return
    try:
        _keep(ctx, state, _looked(ctx, state))
    except Exception:
        with _guard:
            _failed[path_of_index(ctx)] = state
        raise


def _looked(ctx: Context, state: _State) -> Looked:
    if not state.meaning:
        return aside.look(ctx, state.categories)
    # What is alike by meaning is known to this process alone.
    alike = meaning.alike(ctx, state.revision)
    facts = Facts(list(everything_calmly(ctx)), ctx.now(), state.categories, alike)
    with read_shop(ctx) as connection:
        now = revision(connection)
    sure = now if now == state.revision else ""
    return Looked(sure, findings(facts), completeness(facts))


def wait(ctx: Context, at_most: timedelta) -> bool:
    """Wait for checks that are at work; whether they are done."""
    with _guard:
        thread = _at_work.get(path_of_index(ctx))
    if thread is not None:
        thread.join(at_most.total_seconds())
    return thread is None or not thread.is_alive()


_known: OrderedDict[Path, _Checked] = OrderedDict()
_at_work: dict[Path, threading.Thread] = {}
_failed: dict[Path, _State] = {}
_guard = threading.Lock()


def _checked(ctx: Context, connection: Connection) -> tuple[_Checked, bool]:
    """What the checks found, and whether it was in this very state."""
    state = _state(ctx, connection)
    before = _found_before(ctx)
    if before.state == state:
        return before, True
    with _guard:
        failed = _failed.get(path_of_index(ctx)) == state
    if failed:  # again and again, for as long as somebody looks
        raise Broken(
            "The checks met a bug and found nothing out about what is saved now.",
            "Whoever runs the server finds it in the log. Every entry is as it was.",
        )
    count = connection.scalar(select(func.count()).select_from(entries_table)) or 0
    if count <= MUCH:
        facts = _facts(ctx, connection, state)
        found = Looked(state.revision, findings(facts), completeness(facts))
        return _keep(ctx, state, found), True
    _leave_to_a_thread(ctx)
    return before, False


def _state(ctx: Context, connection: Connection) -> _State:
    return _State(
        revision(connection), ctx.now().date(), _categories(connection), meaning.known_for(ctx)
    )


def _found_before(ctx: Context) -> _Checked:
    with _guard:
        return _known.get(path_of_index(ctx), _Checked(None))


def _facts(ctx: Context, connection: Connection, state: _State) -> Facts:
    alike = meaning.alike(ctx, state.revision)
    return Facts(everything(connection), ctx.now(), state.categories, alike)


def _keep(ctx: Context, state: _State, found: Looked) -> _Checked:
    # Of two states at once: better than nothing, and never taken for one of them.
    seen = replace(state, revision=found.revision)
    checked = _Checked(seen, found.findings, found.completeness)
    with _guard:
        _known[path_of_index(ctx)] = checked
        _known.move_to_end(path_of_index(ctx))
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return checked


def _leave_to_a_thread(ctx: Context) -> None:
    mine = path_of_index(ctx)

    def check() -> None:
        try:
            refresh(ctx)
        except Exception:
            log.warning("the checks could not be run", exc_info=True)
        finally:
            with _guard:
                _at_work.pop(mine, None)

    with _guard:
        if mine not in _at_work:
            _at_work[mine] = threading.Thread(target=check, name="quality-checks", daemon=True)
            _at_work[mine].start()


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
