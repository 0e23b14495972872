"""What a snapshot is: the manifest and its parts, as plain data.

The manifest is the contract between the machine that made a backup and whoever needs it
years later; everything that matters stands in it, nothing in object metadata.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

MANIFEST_FORMAT = 1

PROTECTION_LOCK = "protection"
"""Job lock that backups and restores share: one of them at a time per instance."""


class Part(enum.StrEnum):
    """What can be backed up and put back by itself."""

    DATABASE = "database"
    KNOWLEDGE = "knowledge"
    VECTORS = "vectors"
    IMAGES = "images"
    CONTROL = "control"


@dataclass(frozen=True)
class Component:
    """One stored object of a snapshot.

    Sizes are bytes; digests are lower-case hexadecimal sha256. `plain` is what was read,
    `stored` what lies in the store after compression.
    """

    name: str  # file name below data/<instance>/<id>/, for example database.sqlite3.zst
    part: Part
    key: str
    plain_bytes: int
    plain_sha256: str
    stored_bytes: int
    stored_sha256: str
    compression: str  # "zstd" or "none"
    encryption: str  # "none" in this version
    open_with: str  # a command line that opens it without this program


@dataclass(frozen=True)
class TableFacts:
    """What a table held: number of rows and a digest of their content."""

    rows: int
    digest: str


@dataclass(frozen=True)
class CollectionFacts:
    """What a vector collection held."""

    count: int
    dimension: int | None
    space: str


@dataclass(frozen=True)
class Manifest:
    """Everything about one snapshot. Written last: without it there is no snapshot."""

    id: str
    instance: str
    created_at: datetime  # the moment the database was captured
    reason: str  # "manual", "scheduled", "safety" (before a restore) ...
    asked_by: str
    host: str
    components: tuple[Component, ...]
    tables: dict[str, TableFacts]
    foreign_key_violations: int
    collections: dict[str, CollectionFacts]
    image_count: int
    image_bytes: int
    revisions: dict[str, str]  # migration environment -> revision
    tools: dict[str, str]  # tool -> version
    step_seconds: dict[str, float]
    notes: tuple[str, ...] = ()  # what was missing or unusual, for a person
    format: int = MANIFEST_FORMAT
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> frozenset[Part]:
        """The parts that this snapshot holds."""
        return frozenset(component.part for component in self.components)

    @property
    def plain_bytes(self) -> int:
        """Bytes of data protected, before compression."""
        return sum(component.plain_bytes for component in self.components)

    @property
    def stored_bytes(self) -> int:
        """Bytes that lie in the store for this snapshot alone."""
        return sum(component.stored_bytes for component in self.components)


@dataclass(frozen=True)
class SnapshotRow:
    """A snapshot as the catalog lists it: cheap to read, enough for a table."""

    id: str
    instance: str
    created_at: datetime
    reason: str
    asked_by: str
    plain_bytes: int
    stored_bytes: int
    headline: dict[str, int]  # rows of the tables people look for: orders, products, users
    parts: frozenset[Part]
    verified_at: datetime | None  # read back in full and found equal to its manifest
    verify_error: str | None


@dataclass(frozen=True)
class SnapshotPage:
    """One page of the list, newest first, and how well the list mirrors the store."""

    rows: tuple[SnapshotRow, ...]
    total: int  # how many the filter matches in all
    store_url: str
    store_error: tuple[str, str] | None  # message and hint when the store could not be listed
    refreshed_at: datetime | None  # when the store was last listed in full


@dataclass(frozen=True)
class RefreshResult:
    """What comparing the index with the store brought."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    unreadable: dict[str, str]  # snapshot id -> why its manifest can't be used
    total: int


class DayMark(enum.StrEnum):
    """What a day has to show."""

    VERIFIED = "verified"  # a snapshot that was read back in full
    MADE = "made"  # a snapshot, not (yet) verified
    FAILED = "failed"  # backups were tried, none succeeded
    MISSING = "missing"  # the day ended and nothing was tried
    BEFORE = "before"  # does not count: the desk was not in use yet, or today may still bring one


@dataclass(frozen=True)
class DayState:
    """One UTC day of protection."""

    day: date
    mark: DayMark
    snapshots: tuple[str, ...] = ()  # ids, oldest first
    errors: tuple[str, ...] = ()  # of failed backups, for a person
