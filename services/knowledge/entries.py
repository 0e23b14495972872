"""Reading the knowledge base: sections with counts, pages of entries, one entry."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, inspect, select, tuple_

from db.engine import read
from db.knowledge import entries as table
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import Invalid
from services.knowledge.document import Kind, Row, from_rows
from services.knowledge.sections import (
    SECTIONS,
    Part,
    Section,
    Shape,
    part_of_entry,
    path_of,
    pointer,
    title_of,
)
from services.knowledge.state import once_a_revision

PAGE_ROWS = 50
MAX_PAGE_ROWS = 1000
_CALM = 500

TEXT = "text"
"""Name of the only cell of a text entry."""


@dataclass(frozen=True)
class Entry:
    """One row of the knowledge base."""

    id: int
    section: str
    key: str
    kind: Kind
    body: Any
    position: int
    version: int
    updated_at: datetime
    updated_by: str
    digest: str = ""  # of what it says, not of its place

    @property
    def cells(self) -> dict[str, str]:
        """What a person edits: `{"text": ...}` or a record's fields; nothing else."""
        return cells_of(self.kind, self.body)

    @property
    def row(self) -> Row:
        """The entry as a row of the document."""
        return Row(self.section, self.key, self.kind, self.body, self.position)

    @property
    def place(self) -> str:
        """How a person calls it: section and key."""
        return f"{title_of(self.section)} / {self.key}" if self.section else self.key


@dataclass(frozen=True)
class PartSummary:
    """A part of a section and how many entries it has."""

    part: Part
    entries: int


@dataclass(frozen=True)
class SectionSummary:
    """A section as a list shows it."""

    section: Section
    known: bool
    entries: int
    parts: tuple[PartSummary, ...]
    updated_at: datetime | None
    updated_by: str


@dataclass(frozen=True)
class Filter:
    """Which entries of a part are looked at; all of them by default."""

    author: str = ""  # who changed them last
    since: datetime | None = None  # last changed then or later
    until: datetime | None = None  # last changed before
    unpublished: bool = False  # say something else than the current release
    with_findings: bool = False


@dataclass(frozen=True)
class EntryPage:
    """One page of entries, in the order of the document."""

    entries: tuple[Entry, ...]
    total: int


def cells_of(kind: str, body: Any) -> dict[str, str]:
    """The editable texts of a body."""
    if kind == Kind.TEXT:
        return {TEXT: body}
    return dict(body) if kind == Kind.RECORD else {}


def sections(ctx: Context, actor: Actor) -> tuple[SectionSummary, ...]:
    """Every section with its parts and counts: the registered ones in order, then others.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        return once_a_revision(connection, "sections", lambda: _sections(connection))


def _sections(connection: Connection) -> tuple[SectionSummary, ...]:
    counts: Counter[str] = Counter()
    newest: dict[str, tuple[datetime, str]] = {}
    found: dict[str, dict[str, None]] = {section.key: {} for section in SECTIONS}
    groups = select(table.c.section, table.c.key).where(table.c.kind == Kind.GROUP)
    for section, key in connection.execute(groups.order_by(table.c.position)):
        found.setdefault(path_of(section + pointer((key,)))[0], {})
    for where, count, at, by in _counted(connection):
        top = path_of(where)[0]
        counts[where] += count
        found.setdefault(top, {})[where] = None
        newest[top] = max(newest.get(top, (at, by)), (at, by))
    return tuple(_summary(key, list(parts), counts, newest) for key, parts in found.items())


def _counted(connection: Connection) -> Iterator[tuple[str, int, datetime, str]]:
    """Of each part: how many entries, and when and by whom it was changed last."""
    # In these places lie texts that are parts of their own.
    holders = {"", *(pointer(p.path[:-1]) for s in SECTIONS for p in s.parts if not p.is_table)}
    entry = table.c.kind != Kind.GROUP
    columns = (table.c.section, table.c.key, table.c.updated_at, table.c.updated_by)
    single = select(*columns).where(table.c.section.in_(holders), entry)
    for section, key, at, by in connection.execute(single):
        part = part_of_entry(section, key)
        # A text at the very top that no section describes is a section of its own.
        yield part.pointer if part else section or pointer((key,)), 1, at, by
    many = entry & table.c.section.not_in(holders)
    newest = (
        select(table.c.section, func.count().label("entries"), func.max(table.c.updated_at))
        .where(many)
        .group_by(table.c.section)
    )
    told = {section: (count, at) for section, count, at in connection.execute(newest)}
    whose = (
        select(table.c.section, func.max(table.c.updated_by))
        .where(
            tuple_(table.c.section, table.c.updated_at).in_(
                [(section, at) for section, (_n, at) in told.items()]
            )
        )
        .group_by(table.c.section)
    )
    for section, by in connection.execute(whose):
        yield section, *told[section], by


def _summary(
    key: str,
    found: list[str],
    counts: Counter[str],
    newest: dict[str, tuple[datetime, str]],
) -> SectionSummary:
    known = next((section for section in SECTIONS if section.key == key), None)
    parts = known.parts if known else ()
    told = {part.pointer for part in parts}
    parts += tuple(_unknown_part(where) for where in found if where not in told)
    if known is None:
        parts = parts or (_unknown_part(pointer((key,))),)
        section = Section(key, key, "Not a section the shop is known to read.", parts)
    else:
        section = Section(known.key, known.title, known.about, parts)
    summaries = tuple(PartSummary(part, counts[part.pointer]) for part in parts)
    at, by = newest.get(key, (None, ""))
    return SectionSummary(
        section, known is not None, sum(part.entries for part in summaries), summaries, at, by
    )


def _unknown_part(where: str) -> Part:
    path = path_of(where)
    title = " / ".join(path[1:]) or "Other entries"
    return Part(path, title, "The shop is not known to read this; it is kept.", Shape.TEXTS)


def page(
    ctx: Context,
    actor: Actor,
    where: str,
    *,
    search: str = "",
    page: int = 1,
    rows: int = PAGE_ROWS,
    only: Filter | None = None,
) -> EntryPage:
    """One page of a part's entries, in the document's order.

    Args:
        where: pointer of the part: a table of entries, or a single text.
        search: every word of it is found in the key or a text, whatever case and accents.
        page: from 1.
        rows: at most 1,000.
        only: which of them are looked at.
    """
    # It stands above: searching and checking read entries.
    from services.knowledge.browsing import found

    require(actor, Permission.KB_VIEW)
    rows = max(1, min(rows, MAX_PAGE_ROWS))
    skip = (max(page, 1) - 1) * rows
    with read_shop(ctx) as connection:
        ids, total = found(ctx, connection, where, search, only or Filter(), skip=skip, rows=rows)
        held = by_id(connection, ids)
    return EntryPage(tuple(held[number] for number in ids if number in held), total)


def entry(ctx: Context, actor: Actor, entry_id: int) -> Entry:
    """One entry.

    Raises:
        Invalid: it is not there (any more).
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        row = connection.execute(select(table).where(table.c.id == entry_id)).first()
    if row is None:
        raise Invalid(
            "This entry is no longer in the knowledge base.",
            "Somebody has deleted it; its history still shows what it said.",
        )
    return entry_of(row)


def several(ctx: Context, actor: Actor, ids: Iterable[int]) -> dict[int, Entry]:
    """Those of these entries that are still there, by id."""
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        return by_id(connection, ids)


def by_id(connection: Connection, ids: Iterable[int], *, lock: bool = False) -> dict[int, Entry]:
    """Entries by id, in the caller's transaction; locked against other writers if asked."""
    wanted = sorted(set(ids))
    found: dict[int, Entry] = {}
    for start in range(0, len(wanted), 500):
        query = select(table).where(table.c.id.in_(wanted[start : start + 500]))
        for row in connection.execute(query.with_for_update() if lock else query):
            found[row.id] = entry_of(row)
    return found


def everything(connection: Connection) -> list[Entry]:
    """All rows, groups included, each section in its order."""
    query = select(table).order_by(table.c.section, table.c.position, table.c.id)
    return [entry_of(row) for row in connection.execute(query)]


def everything_calmly(ctx: Context) -> Iterator[Entry]:
    """The same, a few at a time: nobody who writes waits for it.

    A reader of an SQLite shop holds up its writers. What is saved meanwhile may be among them
    or not: whoever needs one state asks for the revision before and after.
    """
    order = select(table.c.id).order_by(table.c.section, table.c.position, table.c.id)
    with read_shop(ctx) as connection:
        ids = connection.scalars(order).all()
    for start in range(0, len(ids), _CALM):
        some = ids[start : start + _CALM]
        with read_shop(ctx) as connection:
            held = by_id(connection, some)
        yield from (held[number] for number in some if number in held)


def document(engine: Engine) -> dict[str, Any]:
    """The whole knowledge base of any database; empty where the desk's tables are absent.

    Reads no column that an older revision of the tables lacks: they are backed up before
    they are migrated.
    """
    columns = (table.c.section, table.c.key, table.c.kind, table.c.body, table.c.position)
    with read(engine) as connection:
        if not inspect(connection).has_table(table.name):
            return {}
        found = connection.execute(select(*columns).order_by(table.c.position, table.c.id))
        return from_rows(Row(s, k, Kind(kind), body, at) for s, k, kind, body, at in found)


def fingerprint(found: Iterable[Entry]) -> str:
    """A digest of exactly this state of the knowledge base."""
    digest = hashlib.sha256()
    for item in sorted(found, key=lambda item: item.id):
        facts = (item.id, item.version, item.section, item.key, item.kind, item.position)
        digest.update(json.dumps([*facts, item.body]).encode())
    return digest.hexdigest()


def entry_of(row: Any) -> Entry:
    """A result row as an entry."""
    return Entry(
        row.id,
        row.section,
        row.key,
        Kind(row.kind),
        row.body,
        row.position,
        row.version,
        row.updated_at,
        row.updated_by,
        row.digest,
    )
