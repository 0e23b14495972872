"""Findings that somebody looked at and means to leave: dismissed with a reason, brought back.

A dismissal holds for one finding: the check, the entry, the cell and what it is about. Where
the text decides (`Check.of_text`), it holds while the entry says what it said then: edited, it
is looked at again. Where it does not (a key, a category that is not sold), it holds whatever
the text becomes, for as long as the same thing is found. A text that is old is asked about
again when it is a year older. Nothing is written into an entry.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, delete, insert, select

from db.knowledge import dismissals as table
from db.knowledge import entries
from services.core import audit
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import write_shop
from services.core.errors import Conflict, Invalid
from services.knowledge.quality import Finding, check_named
from services.knowledge.validation import MAX_REASON, text_problem

T = TypeVar("T", int, str)

_CHUNK = 500
_NAMED = 5


@dataclass(frozen=True)
class Dismissed:
    """A finding that is left, and why."""

    finding: Finding
    reason: str
    author: str
    at: datetime


def dismiss(ctx: Context, actor: Actor, chosen: Collection[Finding], reason: str) -> int:
    """Leave these findings, for one reason.

    Returns:
        How many; one that was dismissed already gets the new reason.

    Raises:
        Denied: without `kb.edit`.
        Invalid: no reason, or one that can't be kept; nothing was dismissed.
        Conflict: an entry is not there any more; nothing was dismissed.
    """
    require(actor, Permission.KB_EDIT)
    reason = _sound(reason)
    wanted = {one.digest: one for one in chosen}
    if not wanted:
        return 0
    with write_shop(ctx) as connection:
        digests = _entry_digests(connection, {one.entry_id for one in wanted.values()})
        if any(one.entry_id not in digests for one in wanted.values()):
            raise Conflict(
                "An entry was deleted in the meantime; nothing was dismissed.",
                "Look at the findings again.",
            )
        _drop(connection, wanted)
        now = ctx.now()
        connection.execute(
            insert(table),
            [
                {
                    "finding": digest,
                    "check_name": one.check,
                    "entry_id": one.entry_id,
                    "field": one.field[:400],
                    "digest": digests[one.entry_id],
                    "reason": reason,
                    "author": actor.name,
                    "at": now,
                }
                for digest, one in wanted.items()
            ],
        )
    _note(ctx, actor, "finding.dismiss", "Dismissed", wanted.values(), reason)
    return len(wanted)


def bring_back(ctx: Context, actor: Actor, chosen: Collection[Finding]) -> int:
    """Let these findings count again.

    Returns:
        How many were dismissed until now.

    Raises:
        Denied: without `kb.edit`.
    """
    require(actor, Permission.KB_EDIT)
    wanted = {one.digest: one for one in chosen}
    with write_shop(ctx) as connection:
        count = _drop(connection, wanted)
    if count:
        _note(ctx, actor, "finding.bring-back", "Brought back", wanted.values(), "")
    return count


def split(
    connection: Connection, found: Iterable[Finding]
) -> tuple[tuple[Finding, ...], tuple[Dismissed, ...]]:
    """The findings that count, and those that are dismissed, the newest dismissal first."""
    holding = _holding(connection)
    if not holding:
        return tuple(found), ()
    counting, left = [], []
    for one in found:
        kept = holding.get((one.check, one.entry_id, one.field[:400])) and holding.get(one.digest)
        if kept:
            left.append(Dismissed(one, *kept))
        else:
            counting.append(one)
    left.sort(key=lambda one: one.at, reverse=True)
    return tuple(counting), tuple(left)


def _holding(connection: Connection) -> Mapping[object, tuple[str, str, datetime]]:
    """Dismissals that hold, by the finding's digest; and where there are any, by cell.

    A digest is worked out only for findings in a cell that has a dismissal: there may be a
    hundred thousand findings, and a few that are dismissed.
    """
    query = select(table, entries.c.digest.label("now")).join(
        entries, entries.c.id == table.c.entry_id
    )
    found: dict[object, tuple[str, str, datetime]] = {}
    for row in connection.execute(query):
        check = check_named(row.check_name)
        if check is not None and (not check.of_text or row.digest == row.now):
            kept = (row.reason, row.author, row.at)
            found[row.finding] = found[row.check_name, row.entry_id, row.field] = kept
    return found


def _entry_digests(connection: Connection, ids: Collection[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for some in _chunks(ids):
        query = select(entries.c.id, entries.c.digest).where(entries.c.id.in_(some))
        found |= {row.id: row.digest for row in connection.execute(query)}
    return found


def _drop(connection: Connection, digests: Iterable[str]) -> int:
    return sum(
        connection.execute(delete(table).where(table.c.finding.in_(some))).rowcount
        for some in _chunks(digests)
    )


def _chunks(values: Iterable[T]) -> Iterator[list[T]]:
    ordered = sorted(values)
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]


def _sound(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise Invalid(
            "A finding is dismissed with a reason; nothing was dismissed.",
            "Say in a few words why it may stay, for whoever wonders later.",
        )
    if len(reason) > MAX_REASON:
        raise Invalid(
            f"The reason has {len(reason):,} characters; at most {MAX_REASON} fit. Nothing was "
            "dismissed.",
            "Say it shorter.",
        )
    if problem := text_problem(reason):
        raise Invalid(f"The reason can't be kept: {problem} Nothing was dismissed.")
    return reason


def _note(
    ctx: Context,
    actor: Actor,
    action: str,
    did: str,
    chosen: Collection[Finding],
    reason: str,
) -> None:
    first = next(iter(chosen))
    named = [f"{one.key} {one.message}" for one in list(chosen)[:_NAMED]]
    what = f"“{named[0]}”" if len(chosen) == 1 else f"{len(chosen)} findings"
    audit.note(
        ctx,
        actor,
        action,
        ("finding", first.digest),
        f"{did} {what}" + (f": {reason}" if reason else ""),
        details={"findings": named, "count": len(chosen), "reason": reason},
    )
