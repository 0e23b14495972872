"""The contract of a store. One suite (tests/stores) runs against every implementation."""

from __future__ import annotations

import enum
import io
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from services.core.errors import Broken, Invalid

PIECE = 1 << 20
"""Bytes moved at a time."""
OUR_FOLDERS = ("manifests/", "data/", "images/", "drills/", "pins/", "desk-check/")
"""What the desk writes in a store; the rest of a bucket may be somebody else's."""
_MAX_KEY_BYTES = 900  # S3 allows 1,024 together with the store's prefix
_MAX_PART_BYTES = 255  # what file systems allow


STORE_SETTING = "BACKUP_STORE_URL"
"""What holds the address of the first store."""


class Readable(Protocol):
    """Anything that gives bytes until it gives none; a file, a pipe, a `PackingReader`."""

    def read(self, size: int = ..., /) -> bytes:
        """At most `size` bytes; none at the end."""


@dataclass(frozen=True)
class StoredObject:
    """An object as the store knows it."""

    key: str
    size: int  # bytes
    modified: datetime  # aware, UTC, by the store's clock
    storage: str = "STANDARD"  # S3's storage class
    etag: str = ""  # the store's own mark of the content, where it has one


ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""S3's classes whose objects must be brought back before they can be read. `GLACIER_IR`
("instant retrieval") is none of them: it costs more to read, but reads at once."""


class Access(enum.StrEnum):
    """Whether an object can be read now."""

    READABLE = "readable"
    ARCHIVED = "archived"  # has to be brought back first
    RETRIEVING = "retrieving"  # asked for; comes back in minutes or hours


@dataclass(frozen=True)
class ArchiveState:
    """Whether an object can be read now, and until when."""

    access: Access
    storage: str = "STANDARD"  # S3's storage class
    ready_until: datetime | None = None  # READABLE only until then: a copy out of the archive


class Tier(enum.StrEnum):
    """How quickly an archive is asked to give an object back; quicker costs more."""

    EXPEDITED = "expedited"
    STANDARD = "standard"
    BULK = "bulk"

    @property
    def faster(self) -> tuple[Tier, ...]:
        """The tiers that are quicker than this one."""
        every = tuple(Tier)
        return every[: every.index(self)]


class Store(Protocol):
    """Named objects of bytes. Keys are `/`-separated, relative to the store's prefix.

    Errors are the desk's: `Transient` when a retry may help, `Misconfigured` when the
    place is absent or forbidden, `Broken` when what came back isn't what was sent,
    `Invalid` for a key that no store could hold (see `check_key`).
    """

    @property
    def url(self) -> str:
        """Where it is, for people; never holds a secret."""

    def check(self) -> None:
        """Prove that the place exists, may be written, read and deleted from.

        Also clears away what uploads that were killed left behind, once it is a day old.

        Raises:
            Misconfigured: absent, forbidden or wrong credentials; says which.
            Transient: it doesn't answer.
        """

    def put(self, key: str, source: Readable) -> StoredObject:
        """Store what `source` gives until its end. All or nothing: a failure leaves no object.

        An object that exists is replaced. The stored length is checked against what was read.
        `source` is read in the caller's thread and may give fewer bytes than it was asked for.

        Raises:
            Transient, Misconfigured, Broken; whatever `source.read` raises is passed on and
            nothing is stored (an object that was there stays as it was).
        """

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Read an object as a stream; constant memory.

        Raises:
            KeyError: there is no such object.
            Archived: it lies in an archive and has to be brought back first.
        """

    def stat(self, key: str) -> StoredObject | None:
        """Size and time of an object, or None where there is none."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key begins with `prefix`, in byte order of keys, however many."""

    def delete(self, key: str) -> None:
        """Remove an object; no error where there is none."""

    def archive_state(self, key: str) -> ArchiveState:
        """Whether an object can be read now; a store without an archive says it can.

        Raises:
            KeyError: there is no such object.
        """

    def request_retrieval(self, key: str, tier: Tier, days: int, *, faster: bool = False) -> None:
        """Ask for a readable copy of an archived object, for so many days.

        Args:
            faster: of one that was asked for already, by a slower tier.

        No error where it is readable or was asked for already; a copy that is there is
        kept for `days` from now.

        Raises:
            KeyError: there is no such object.
            Invalid: its class has no such tier.
            Transient: not now (no capacity for an expedited one, say).
            Misconfigured: forbidden, or the server knows no archive.
        """


def check_key(key: str) -> str:
    """A key that every store can hold and none can misread; a manifest may be hostile.

    Raises:
        Invalid: empty, absolute, too long, or with an empty, `.` or `..` part, a control
            character or a backslash.
    """
    parts = key.split("/")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        sizes = [0]
    if (
        min(sizes) < 1
        or max(sizes) > _MAX_PART_BYTES
        or sum(sizes) + len(parts) > _MAX_KEY_BYTES
        or any(part in (".", "..") for part in parts)
        or any(character < " " or character in "\\\x7f" for character in key)
    ):
        raise Invalid(
            f"{key[:80]!r} can't be the name of an object in a backup store.",
            "The manifest or the caller that named it is damaged; nothing was read or written.",
        )
    return key


def prove(store: Store) -> None:
    """Write, read, list and delete a small object.

    Raises:
        Broken: what came back is not what was sent.
        and what the store's own methods raise.
    """
    key = f"desk-check/{secrets.token_hex(8)}"
    sent = secrets.token_bytes(64)
    store.put(key, io.BytesIO(sent))
    try:
        with store.open(key) as stored:
            came = stored.read(len(sent) + 1)
        listed = [found.key for found in store.list(key)]
    finally:
        store.delete(key)
    if came != sent or listed != [key]:
        raise Broken(
            f"{store.url} did not give back what was written to it.",
            "Don't rely on it for backups until the cause is known. Only a test object was used.",
        )
