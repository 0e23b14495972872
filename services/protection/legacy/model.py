"""What lies in the old place, as plain data."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class Kind(enum.StrEnum):
    """What an old object holds."""

    SQLITE = "sqlite"  # insightshop_*.db
    SQL = "sql"  # insightshop_*.sql, PostgreSQL as text
    VECTORS = "vectors"  # vector_db_*.tar.gz


@dataclass(frozen=True)
class LegacyObject:
    """One object of the old scripts."""

    place: str  # URL of the store that holds it, for people
    key: str  # in that store
    kind: Kind
    at: datetime  # when it was made, as its name says; of a `_latest`, when it was stored
    size: int
    etag: str = ""  # the store's own digest of it, where it has one
    latest: bool = False  # it is the `_latest`, which is meant to be a copy


@dataclass(frozen=True)
class LegacyBackup:
    """A database, vectors, or both: what the old scripts made in one go."""

    database: LegacyObject | None
    vectors: LegacyObject | None
    remarks: tuple[str, ...] = ()  # what is known of it without opening it
    snapshot_id: str = ""  # what it became here, if it did
    unusable: str = ""  # why nothing can be made of it here; empty: nothing is known against it

    @property
    def main(self) -> LegacyObject:
        """The object that names it."""
        found = self.database or self.vectors
        if found is None:  # pragma: no cover
            raise ValueError("a backup of nothing")
        return found

    @property
    def key(self) -> str:
        """Names it: where its main object lies."""
        return f"{self.main.place}#{self.main.key}"

    @property
    def at(self) -> datetime:
        """When it was made."""
        return self.main.at

    @property
    def size(self) -> int:
        """Bytes of everything that belongs to it."""
        return sum(found.size for found in (self.database, self.vectors) if found)


@dataclass(frozen=True)
class LegacyPage:
    """Everything that the old scripts left for this shop, newest first."""

    backups: tuple[LegacyBackup, ...] = ()
    remarks: tuple[str, ...] = ()  # about `_latest` copies
    problem: tuple[str, str] | None = None  # message and hint where a place can't be listed
    zone: str = "UTC"  # how the times in the names were read
