"""What a snapshot is: the manifest and its parts, as plain data.

The manifest is the contract between the machine that made a backup and whoever needs it
years later; everything that matters stands in it, nothing in object metadata.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

MANIFEST_FORMAT = 2
"""Format 1 knew no encryption, no shared components, no neighbours; it is still read."""

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
    encryption: str  # "none" or "age"
    open_with: str  # a command line that opens it without this program
    origin: str = ""  # id of the snapshot below which the object lies; empty: this one

    @property
    def opened_name(self) -> str:
        """Its name once it is decrypted: without `.age`."""
        return self.name.removesuffix(".age") if self.encryption == "age" else self.name

    @property
    def is_table(self) -> bool:
        """Whether it is a portable table of vectors, which nothing is put back from."""
        return self.opened_name.endswith(".parquet")


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
class Neighbours:
    """What a vector collection answered when it was backed up, to be asked again in a drill."""

    id: str  # whose embedding was the question
    nearest: tuple[str, ...]  # ids, nearest first, itself included
    distances: tuple[float, ...]


@dataclass(frozen=True)
class VectorMatch:
    """Whether the vectors and the active products of a shop belong to each other."""

    products: int  # active ones
    vectors: int
    without_vector: tuple[str, ...] = ()  # ids of products, the first `MOST_LISTED`
    without_product: tuple[str, ...] = ()  # ids of vectors, the first `MOST_LISTED`
    missing: int = 0  # products without a vector, in all
    stray: int = 0  # vectors without an active product, in all


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
    engines: dict[str, str] = field(default_factory=dict)  # "database", "control" -> "sqlite" ...
    neighbours: dict[str, tuple[Neighbours, ...]] = field(default_factory=dict)  # by collection
    match: VectorMatch | None = None
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
        return sum(part.stored_bytes for part in self.components if not part.origin)

    @property
    def encrypted(self) -> bool:
        """Whether an identity is needed to open it."""
        return any(component.encryption != "none" for component in self.components)


class Storage(enum.StrEnum):
    """Where the objects of a snapshot lie."""

    STANDARD = "standard"
    INSTANT = "instant"  # in a colder class (GLACIER_IR): readable at once, for a fee
    ARCHIVED = "archived"  # has to be retrieved before it can be read
    READY = "ready"  # archived, and readable for some days after a retrieval


@dataclass(frozen=True)
class Pin:
    """Somebody's word that retention must keep a snapshot."""

    note: str
    by: str
    at: datetime


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
    read_back_at: datetime | None  # every stored byte was read and is as it was sent
    verify_error: str | None  # what the last look found wrong
    verified_at: datetime | None = None  # a drill restored it aside and found it equal
    drill_seconds: float | None = None  # how long that took, measured
    signed: bool = False
    encrypted: bool = False
    pin: Pin | None = None
    storage: Storage = Storage.STANDARD
    copied_at: datetime | None = None
    copy_error: str | None = None
    missing_vectors: int = 0  # active products without one, when it was made
    stray_vectors: int = 0  # vectors without an active product
    origins: frozenset[str] = frozenset()  # other snapshots whose objects it shares


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

    VERIFIED = "verified"  # a snapshot that a drill restored aside and found equal
    MADE = "made"  # a snapshot that was made and read back, and not (yet) restored as a test
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
