"""The order of entries, which the shop's prompt follows: put some of them elsewhere.

A move is a change set of the entries that were moved; those that make room only slide.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping

from sqlalchemy import ColumnElement, Connection, func, or_, select

from db.knowledge import entries as table
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import write_shop
from services.core.errors import Conflict, Invalid
from services.knowledge.changes import sound_reason
from services.knowledge.document import Row
from services.knowledge.entries import Entry, by_id
from services.knowledge.ledger import ChangeSet, Ledger
from services.knowledge.relay import relay
from services.knowledge.sections import part_at, part_of_entry, rank
from services.knowledge.sliding import slides_of

MAX_MOVED = 10_000

_AT_ONCE = 500


class Step(enum.StrEnum):
    """Where to, seen from where the entries stand."""

    TOP = "top"
    UP = "up"
    DOWN = "down"
    END = "end"


def move(
    ctx: Context,
    actor: Actor,
    versions: Mapping[int, int],
    *,
    before: int | None,
    reason: str = "",
) -> ChangeSet:
    """Put entries together before another one of their section, or behind all others.

    Args:
        versions: of the entries that are moved, by id, as the person saw them. They keep
            their order among each other.
        before: the entry before which they go; None for the end.
        reason: why, in a few words; may be empty.

    Raises:
        Denied: without `kb.edit`.
        Conflict: somebody changed or deleted one of them since.
        Invalid: they are of several sections, or can't be ordered, or stand there already.
    """
    require(actor, Permission.KB_EDIT)
    reason = sound_reason(reason)
    with write_shop(ctx) as connection:
        moved = _moved(connection, versions)
        change_set = _write(ctx, actor, connection, moved, before, reason)
    relay(ctx)
    return change_set


def step(
    ctx: Context, actor: Actor, versions: Mapping[int, int], to: Step, reason: str = ""
) -> ChangeSet:
    """Put entries one place up or down, to the top of their section or to its end.

    Args:
        versions: as for `move`.
        to: where to. Entries that stand apart come together.
        reason: why, in a few words; may be empty.

    Raises:
        Denied: without `kb.edit`.
        Conflict: somebody changed or deleted one of them since.
        Invalid: they are of several sections, or can't be ordered, or stand there already.
    """
    require(actor, Permission.KB_EDIT)
    reason = sound_reason(reason)
    with write_shop(ctx) as connection:
        moved = _moved(connection, versions)
        target = _target(connection, moved, to)
        change_set = _write(ctx, actor, connection, moved, target, reason)
    relay(ctx)
    return change_set


def _moved(connection: Connection, versions: Mapping[int, int]) -> list[Entry]:
    if not versions:
        raise Invalid("No entry was chosen; nothing was moved.", "Choose one first.")
    if len(versions) > MAX_MOVED:
        raise Invalid(
            f"{len(versions):,} entries were chosen; at most {MAX_MOVED:,} are moved at once.",
            "Choose fewer; nothing was moved.",
        )
    found = by_id(connection, versions, lock=True)
    if any(number not in found or found[number].version != versions[number] for number in versions):
        raise Conflict(
            "Somebody changed or deleted one of these entries since you looked; nothing was moved.",
            "Look at them again, then move them.",
        )
    moved = sorted(found.values(), key=lambda one: (one.position, one.id))
    first = moved[0]
    if any(one.section != first.section for one in moved):
        raise Invalid(
            "These entries are of several sections; nothing was moved.",
            "An entry is moved among the others of its own section.",
        )
    part = part_of_entry(first.section, first.key)
    if (part is not None and part_at(first.section) is not part) or any(
        rank(one.section, one.key) is not None for one in moved
    ):
        raise Invalid(
            "The shop expects this text at its place; nothing was moved.",
            "Only entries of a table have an order of their own.",
        )
    return moved


def _target(connection: Connection, moved: list[Entry], to: Step) -> int | None:
    """Before which entry of the others the moved ones go."""
    if to is Step.END:
        return None
    ids = {one.id for one in moved}
    if to is Step.UP and (above := _other(connection, moved[0], ids, before=True)):
        return above
    if to is Step.DOWN:
        below = _other(connection, moved[-1], ids)
        return _other(connection, by_id(connection, [below])[below], ids) if below else None
    order = select(table.c.id).where(table.c.section == moved[0].section)
    found = connection.scalars(order.order_by(table.c.position, table.c.id).limit(len(moved) + 1))
    return next((number for number in found if number not in ids), None)


def _other(
    connection: Connection, entry: Entry, ids: set[int], *, before: bool = False
) -> int | None:
    """The nearest entry that is not moved, behind this one or before it."""
    beside = (number for number, _at in _walk(connection, entry, ids, up=not before))
    return next((number for number in beside if number != entry.id), None)


def _beside(position: int, number: int, *, before: bool) -> ColumnElement[bool]:
    at = table.c.position
    if before:
        return or_(at < position, (at == position) & (table.c.id < number))
    return or_(at > position, (at == position) & (table.c.id > number))


def _write(
    ctx: Context,
    actor: Actor,
    connection: Connection,
    moved: list[Entry],
    before: int | None,
    reason: str,
) -> ChangeSet:
    if before in {one.id for one in moved}:
        raise Invalid(
            "An entry can't be moved before itself; nothing was moved.", "Choose another place."
        )
    section = moved[0].section
    target = None if before is None else by_id(connection, [before], lock=True).get(before)
    if before is not None and (target is None or target.section != section):
        raise Conflict(
            "The entry before which they should go is not there any more; nothing was moved.",
            "Choose another place.",
        )
    if _stand_there(connection, moved, target):
        raise Invalid("They stand there already; nothing was moved.", "Choose another place.")
    ledger = Ledger(connection)
    first = _make_room(connection, ledger, moved, target)
    for offset, entry in enumerate(moved):
        ledger.edit(entry, _at(entry, first + offset), placed=True)
    return ledger.write(ctx, actor, "edit", reason)


def _at(entry: Entry, position: int) -> Row:
    return Row(entry.section, entry.key, entry.kind, entry.body, position)


def _stand_there(connection: Connection, moved: list[Entry], target: Entry | None) -> bool:
    """Whether the moved ones are neighbours already, right before the target."""
    first, last = moved[0], moved[-1]
    between = select(func.count()).where(
        table.c.section == first.section,
        table.c.position.between(first.position, last.position),
    )
    if connection.scalar(between) != len(moved):
        return False
    ids = {one.id for one in moved}
    following = _other(connection, last, ids)
    return following == (target.id if target else None)


def _make_room(
    connection: Connection, ledger: Ledger, moved: list[Entry], target: Entry | None
) -> int:
    """The first of the places the moved ones get, right before the target or behind all.

    Only those entries make room that stand between the places given up and the places taken.
    """
    section, count = moved[0].section, len(moved)
    if target is None:
        highest = select(func.max(table.c.position)).where(table.c.section == section)
        return int(connection.scalar(highest) or 0) + 1
    ids = {one.id for one in moved}
    steps: list[tuple[int, int, int]] = []  # id, place, place from now on
    if (moved[-1].position, moved[-1].id) < (target.position, target.id):
        first = target.position - count
        edge = first - 1
        for number, position in _walk(connection, target, ids, up=False):
            if position <= edge:
                break
            steps.append((number, position, edge))
            edge -= 1
        steps.reverse()
    else:
        above = next(_walk(connection, target, ids, up=False), (0, -1))[1]
        if target.position - above > count:
            return target.position - count
        first = target.position
        edge = first + count
        for number, position in _walk(connection, target, ids, up=True):
            if position >= edge:
                break
            steps.append((number, position, edge))
            edge += 1
    slides = slides_of(section, [(old, new) for _number, old, new in steps])
    if slides is None:
        for number, _old, new in steps:
            ledger.shift(number, new)
    for one in slides or ():
        ledger.slide(section, one.first, one.last, one.by)
    return first


def _walk(
    connection: Connection, target: Entry, ids: set[int], *, up: bool
) -> Iterator[tuple[int, int]]:
    """Ids and places of the entries that stay: the target and what follows it, or what precedes.

    Args:
        up: towards higher places, from the target itself on; else downwards from below it.
    """
    if up:
        yield target.id, target.position
    order = (table.c.position, table.c.id) if up else (table.c.position.desc(), table.c.id.desc())
    columns = select(table.c.id, table.c.position).where(table.c.section == target.section)
    seen: tuple[int, int] = (target.position, target.id)
    while rows := connection.execute(
        columns.where(_beside(*seen, before=not up)).order_by(*order).limit(_AT_ONCE)
    ).all():
        for number, position in rows:
            if number not in ids:
                yield number, position
        seen = (rows[-1].position, rows[-1].id)
