"""The contract of a store. One suite (tests/stores) runs against every implementation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class StoredObject:
    """An object as the store knows it."""

    key: str
    size: int  # bytes
    modified: datetime  # aware, UTC, by the store's clock


class Store(Protocol):
    """Named objects of bytes. Keys are `/`-separated, relative to the store's prefix.

    Errors are the desk's: `Transient` when a retry may help, `Misconfigured` when the
    place is absent or forbidden, `Broken` when what came back isn't what was sent.
    """

    @property
    def url(self) -> str:
        """Where it is, for people; never holds a secret."""

    def check(self) -> None:
        """Prove that the place exists, may be written, read and deleted from.

        Raises:
            Misconfigured: absent, forbidden or wrong credentials; says which.
            Transient: it doesn't answer.
        """

    def put(self, key: str, source: BinaryIO) -> StoredObject:
        """Store what `source` gives until its end. All or nothing: a failure leaves no object.

        An object that exists is replaced. The stored length is checked against what was read.

        Raises:
            Transient, Misconfigured, Broken; whatever `source.read` raises is passed on and
            nothing is stored.
        """

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Read an object as a stream; constant memory.

        Raises:
            KeyError: there is no such object.
        """

    def stat(self, key: str) -> StoredObject | None:
        """Size and time of an object, or None where there is none."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key begins with `prefix`, in order of keys, however many."""

    def delete(self, key: str) -> None:
        """Remove an object; no error where there is none."""
