"""One object from the first store to the second, proven on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from services.core.errors import Broken
from services.protection.stores.base import PIECE, Readable, Store

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Item:
    """An object that belongs to a snapshot."""

    key: str
    name: str  # for people
    size: int  # as stored
    sha256: str  # of the stored bytes


@dataclass(frozen=True)
class Digest:
    """What was read of an object."""

    size: int
    sha256: str

    def fits(self, item: Item) -> bool:
        """Whether it is what the item says."""
        return (self.size, self.sha256) == (item.size, item.sha256)


def send(first: Store, second: Store, item: Item, moved: OnBytes) -> None:
    """Copy one object as it is stored, compare it on the way, and read it back.

    What differs from its digest never arrives: the upload is given up before its end, and
    whatever lay in the second store under that key stays as it was.

    Args:
        moved: called with the bytes sent so far.

    Raises:
        Broken: it is missing or altered in the first store, or came back different from the
            second; names it.
        what the stores raise.
    """
    try:
        with first.open(item.key) as stream:
            reader = _Comparing(stream, item, first.url, moved)
            second.put(item.key, reader)
    except KeyError as error:
        raise Broken(
            f"The stored object {item.name} is missing from {first.url} ({item.key}); "
            "it was not copied.",
            "Find out who removed it; the second store keeps what it has.",
        ) from error
    if look(second, item.key) != reader.digest():
        raise Broken(
            f"The second store {second.url} gave back something else than {item.name} that was "
            "sent; this copy does not count.",
            "Don't rely on that store before the cause is known.",
        )


def look(store: Store, key: str) -> Digest | None:
    """Read an object in full; None where there is none."""
    sha256, size = hashlib.sha256(), 0
    try:
        with store.open(key) as stream:
            while piece := stream.read(PIECE):
                sha256.update(piece)
                size += len(piece)
    except KeyError:
        return None
    return Digest(size, sha256.hexdigest())


class _Comparing:
    """Passes bytes on, and raises at the end unless they were the right ones."""

    def __init__(self, source: Readable, item: Item, url: str, moved: OnBytes) -> None:
        self._source, self._item, self._url, self._moved = source, item, url, moved
        self._sha256 = hashlib.sha256()
        self._size = 0

    def read(self, size: int = PIECE, /) -> bytes:
        """The next bytes; none at the end."""
        piece = self._source.read(size)
        if piece:
            self._sha256.update(piece)
            self._size += len(piece)
            self._moved(self._size)
        elif not self.digest().fits(self._item):
            raise Broken(
                f"The stored object {self._item.name} in {self._url} was altered or cut short; "
                "it was not copied.",
                "The second store keeps what it has. Verify that snapshot, and find out what "
                "happened to it.",
            )
        return piece

    def digest(self) -> Digest:
        """What passed."""
        return Digest(self._size, self._sha256.hexdigest())
