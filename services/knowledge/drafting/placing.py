"""Finding the entry that a kept draft speaks of, after a restore or with another shop behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlalchemy import Connection, select, tuple_

from db.knowledge import entries as table
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import DeskError
from services.knowledge.drafting.model import EntryDraft, NewEntry, Unsaved
from services.knowledge.entries import Entry, by_id, entry_of
from services.knowledge.sections import part_of_entry

_ROWS = 200


def placed(ctx: Context, stored: Mapping[int, Unsaved]) -> dict[int, Unsaved]:
    """Each draft at the entry that it speaks of now.

    An id names the same entry for as long as the database lives. After a restore from a
    backup, or with another shop, it may name another one: then the entry with the draft's
    section and key is meant. Where there is none, a draft whose id now names something else
    goes on as a new entry; one whose entry is simply gone stays, and its save will ask.
    """
    edits = {number: one for number, one in stored.items() if isinstance(one, EntryDraft)}
    try:
        with read_shop(ctx) as shop:
            found = by_id(shop, edits)
            strays = [one for number, one in edits.items() if not _is_at(one, found.get(number))]
            at_place = _at_place(shop, (one.base for one in strays))
    except DeskError:
        return dict(stored)  # a shop that is away: a save will find out
    made: dict[int, Unsaved] = {n: one for n, one in stored.items() if isinstance(one, NewEntry)}
    left: list[tuple[int, EntryDraft]] = []
    for number, one in edits.items():
        if _is_at(one, found.get(number)):
            made[number] = one
        elif (other := at_place.get((one.base.section, one.base.key))) is not None:
            made[other.id] = replace(one, base=replace(one.base, id=other.id))
        else:
            left.append((number, one))
    for number, one in left:
        if number not in made and _may_be(one, found.get(number)):
            made[number] = one
        elif not one.deleted:
            ref = min([0, *made, *stored]) - 1
            made[ref] = as_new(one, ref)
    return made


def as_new(one: EntryDraft, ref: int) -> NewEntry:
    """The same as an entry of its own."""
    part = part_of_entry(one.base.section, one.base.key)
    where = part.pointer if part else one.base.section
    return NewEntry(ref, where, one.base.section, one.key, one.shown)


def _is_at(one: EntryDraft, now: Entry | None) -> bool:
    return now is not None and (now.section, now.key) == (one.base.section, one.base.key)


def _may_be(one: EntryDraft, now: Entry | None) -> bool:
    # Gone, or renamed in its section. An older version than the draft saw is another entry.
    return now is None or (now.section == one.base.section and now.version > one.base.version)


def _at_place(shop: Connection, wanted: Iterable[Entry]) -> dict[tuple[str, str], Entry]:
    places = [(entry.section, entry.key) for entry in wanted]
    found: dict[tuple[str, str], Entry] = {}
    for start in range(0, len(places), _ROWS):
        some = places[start : start + _ROWS]
        query = select(table).where(tuple_(table.c.section, table.c.key).in_(some))
        for row in shop.execute(query):
            found[row.section, row.key] = entry_of(row)
    return found
