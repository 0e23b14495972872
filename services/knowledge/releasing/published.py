"""Which entries say something else than the release that is current."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, or_, select

from db.knowledge import activations, published
from db.knowledge import entries as table
from services.knowledge.document import Kind


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
    differs = or_(published.c.digest.is_(None), published.c.digest != table.c.digest)
    ids = connection.scalars(
        select(table.c.id).select_from(both).where(differs, table.c.kind != Kind.GROUP)
    )
    lost = published.outerjoin(table, published.c.entry_id == table.c.id)
    gone = connection.scalar(select(func.count()).select_from(lost).where(table.c.id.is_(None)))
    return Unpublished(frozenset(ids), gone or 0)


def current_release(connection: Connection) -> int | None:
    """The number of the release that is current; None before the first."""
    newest = select(activations.c.release).order_by(activations.c.id.desc()).limit(1)
    number = connection.scalar(newest)
    return None if number is None else int(number)
