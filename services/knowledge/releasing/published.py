"""Which entries say something else than the release that is current."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, or_, select

from db.knowledge import activations, published
from db.knowledge import entries as table
from services.knowledge.document import Kind

_DIFFERS = or_(published.c.digest.is_(None), published.c.digest != table.c.digest)


@dataclass(frozen=True)
class Unpublished:
    """What the next release would bring, by entry; where no release was made, everything."""

    entries: frozenset[int]  # new, or saying something else
    gone: int  # published, and deleted since

    @property
    def count(self) -> int:
        """How many entries differ."""
        return len(self.entries) + self.gone


def unpublished(connection: Connection) -> Unpublished:
    """Compare every entry with the current release, by its digest; its place does not count."""
    both = table.outerjoin(published, published.c.entry_id == table.c.id)
    ids = connection.scalars(
        select(table.c.id).select_from(both).where(_DIFFERS, table.c.kind != Kind.GROUP)
    )
    lost = published.outerjoin(table, published.c.entry_id == table.c.id)
    gone = connection.scalar(select(func.count()).select_from(lost).where(table.c.id.is_(None)))
    return Unpublished(frozenset(ids), gone or 0)


def unpublished_among(connection: Connection, ids: Collection[int]) -> frozenset[int]:
    """Those of these entries that say something else than the current release."""
    both = table.outerjoin(published, published.c.entry_id == table.c.id)
    wanted, found = sorted(ids), set[int]()
    for start in range(0, len(wanted), 500):
        some = table.c.id.in_(wanted[start : start + 500])
        query = select(table.c.id).select_from(both).where(some, _DIFFERS)
        found.update(connection.scalars(query))
    return frozenset(found)


def unpublished_places(connection: Connection) -> list[tuple[str, str, int]]:
    """How many entries differ, by section; by key as well for those at the very top."""
    both = table.outerjoin(published, published.c.entry_id == table.c.id)
    key = case((table.c.section == "", table.c.key), else_="").label("top")
    query = (
        select(table.c.section, key, func.count())
        .select_from(both)
        .where(_DIFFERS, table.c.kind != Kind.GROUP)
        .group_by(table.c.section, key)
    )
    return [(section, top, count) for section, top, count in connection.execute(query)]


def current_activation(connection: Connection) -> int | None:
    """Which act made a release current: whatever depends on it holds until the next one."""
    number = connection.scalar(select(func.max(activations.c.id)))
    return None if number is None else int(number)


def current_release(connection: Connection) -> int | None:
    """The number of the release that is current; None before the first."""
    newest = select(activations.c.release).order_by(activations.c.id.desc()).limit(1)
    number = connection.scalar(newest)
    return None if number is None else int(number)
