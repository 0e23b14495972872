"""Which entries a person means: ids in order, and sets of ids, worked out once for a revision.

A part may have a hundred thousand entries. A page of it is never found by reading them: what
is searched and filtered for gives sets of ids, and these are cut out of the part's order.
"""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, func, select

from db.knowledge import entries as table
from db.knowledge import kept_skeleton
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.knowledge.document import Kind
from services.knowledge.entries import Entry, Filter, by_id, entry_of
from services.knowledge.inspecting import ids_with_findings
from services.knowledge.releasing.published import (
    current_activation,
    unpublished,
    unpublished_among,
    unpublished_places,
)
from services.knowledge.searching.index import matching
from services.knowledge.sections import (
    SECTIONS,
    part_at,
    path_of,
    pointer,
)
from services.knowledge.state import once_a_revision
from services.knowledge.validation import MAX_KEY, skeleton

_NUMBERED = re.compile(r"^(.*?)[_-]?(\d{1,4})$")


def found(
    ctx: Context,
    connection: Connection,
    where: str,
    search: str,
    only: Filter,
    *,
    skip: int = 0,
    rows: int | None = None,
) -> tuple[list[int], int]:
    """Ids of a part's entries that are looked for, in its order, and how many there are.

    Args:
        where: pointer of the part.
        skip: so many of the first are left out.
        rows: at most so many; all of them when not given.
    """
    if not search.strip() and only == Filter():
        total = once_a_revision(
            connection, _name("count", where), lambda: _count(connection, where)
        )
        query = select(table.c.id).where(inside(where)).order_by(table.c.position, table.c.id)
        ids = list(connection.scalars(query.offset(skip).limit(rows)))
        return ids, total
    chosen = _chosen(ctx, connection, where, search, only)
    return list(chosen[skip:] if rows is None else chosen[skip : skip + rows]), len(chosen)


def _chosen(
    ctx: Context, connection: Connection, where: str, search: str, only: Filter
) -> Sequence[int]:
    release = current_activation(connection) if only.unpublished else None
    times = [at.isoformat() if at else None for at in (only.since, only.until)]
    name = _name("found", where, search, only.author, *times, only.unpublished, release)
    ids = once_a_revision(connection, name, lambda: _find(ctx, connection, where, search, only))
    if not only.with_findings:
        return ids
    # Whoever dismisses a finding leaves the revision as it is.
    told = ids_with_findings(ctx, connection)
    return [number for number in ids if number in told]


def _find(
    ctx: Context, connection: Connection, where: str, search: str, only: Filter
) -> Sequence[int]:
    conditions = [inside(where)]
    if only.author:
        conditions.append(table.c.updated_by == only.author)
    if only.since:
        conditions.append(table.c.updated_at >= only.since)
    if only.until:
        conditions.append(table.c.updated_at < only.until)
    query = select(table.c.id).where(*conditions).order_by(table.c.position, table.c.id)
    ids: Iterable[int] = connection.scalars(query)
    if search.strip():
        held = matching(ctx, connection, search)
        ids = [number for number in ids if number in held]
    if only.unpublished:
        differing = unpublished(connection).entries
        ids = [number for number in ids if number in differing]
    return array("q", ids)  # an eighth of what a tuple takes: it is kept


def _count(connection: Connection, where: str) -> int:
    return connection.scalar(select(func.count()).select_from(table).where(inside(where))) or 0


def _name(*parts: object) -> str:
    return json.dumps(parts)


def inside(where: str) -> ColumnElement[bool]:
    """Whether a row of `kb_entries` is an entry of this part.

    Args:
        where: pointer of a table of entries, of a single text, or of a place that the
            registry does not know.
    """
    part = part_at(where)
    path = path_of(where)
    if part is not None and part.is_table:
        return table.c.section == where  # no group lies in a table: the index alone tells it
    entry = table.c.kind != Kind.GROUP
    own = (table.c.section == pointer(path[:-1])) & (table.c.key == path[-1]) if path else None
    if part is not None and own is not None:
        return entry & own
    # What lies in an unknown place, without the texts that are parts of their own; or, at the
    # very top, the value itself.
    told = [path_of(p.pointer)[-1] for s in SECTIONS for p in s.parts if p.path[:-1] == path]
    held = (table.c.section == where) & table.c.key.not_in(told)
    return entry & (held if len(path) != 1 or own is None else held | own)


def ids_of(
    ctx: Context, actor: Actor, where: str, *, search: str = "", only: Filter | None = None
) -> tuple[int, ...]:
    """Every entry of a part that the search and the filter let through, in its order.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        return tuple(found(ctx, connection, where, search, only or Filter())[0])


def authors(ctx: Context, actor: Actor, where: str) -> tuple[str, ...]:
    """Everybody who changed an entry of this part last, in alphabetical order.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    query = select(table.c.updated_by).where(inside(where)).distinct()
    with read_shop(ctx) as connection:
        return once_a_revision(
            connection,
            _name("authors", where),
            lambda: tuple(sorted(connection.scalars(query), key=str.casefold)),
        )


def unpublished_ids(ctx: Context, actor: Actor, ids: Collection[int]) -> frozenset[int]:
    """Those of these entries that the current release does not say; none before the first.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        if current_activation(connection) is None:
            return frozenset()
        return unpublished_among(connection, ids)


def unpublished_sections(ctx: Context, actor: Actor) -> Mapping[str, int]:
    """How many entries of each section the current release does not say; none before the first.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        release = current_activation(connection)
        if release is None:
            return {}
        name = _name("unpublished by section", release)
        return once_a_revision(connection, name, lambda: _by_section(connection))


def _by_section(connection: Connection) -> Counter[str]:
    counts: Counter[str] = Counter()
    for section, top, count in unpublished_places(connection):
        counts[path_of(section or pointer((top,)))[0]] += count
    return counts


def entry_named(ctx: Context, actor: Actor, section: str, key: str) -> Entry | None:
    """The entry with exactly this key in a section.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    query = select(table).where(table.c.section == section, table.c.key == key)
    with read_shop(ctx) as connection:
        row = connection.execute(query.where(table.c.kind != Kind.GROUP)).first()
    return None if row is None else entry_of(row)


def free_key(
    ctx: Context, actor: Actor, section: str, key: str, taken: Collection[str] = ()
) -> str:
    """A key like this one that no entry of the section has: `navy_2` beside `navy`.

    Args:
        taken: keys that are not stored yet and are not free either.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    numbered = _NUMBERED.match(key)
    stem, first = (numbered[1], int(numbered[2]) + 1) if numbered and numbered[1] else (key, 2)
    stem = stem[: MAX_KEY - 6].rstrip("_-")
    used = {skeleton(one) for one in taken}
    with read_shop(ctx) as connection:
        for start in range(first, first + 10_000, 100):
            tried = [f"{stem}_{number}" for number in range(start, start + 100)]
            alike = select(table.c.key).where(
                table.c.section == section, table.c.skeleton.in_([kept_skeleton(t) for t in tried])
            )
            used |= {skeleton(one) for one in connection.scalars(alike)}
            free = next((one for one in tried if skeleton(one) not in used), None)
            if free is not None:
                return free
    return ""


def chosen(ctx: Context, actor: Actor, ids: Collection[int]) -> tuple[Entry, ...]:
    """These entries, as far as they are still there, in the order of their sections.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        held = by_id(connection, ids).values()
    return tuple(sorted(held, key=lambda one: (one.section, one.position, one.id)))
