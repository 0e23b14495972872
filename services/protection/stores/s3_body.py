"""Reading an object of S3 as a stream that survives a broken connection."""

from __future__ import annotations

import io
import time
from typing import Any

from services.core.errors import Broken, DeskError, Transient
from services.protection.stores.s3_client import S3Place, s3_errors

_WORTH = 8 << 20
"""A connection that brought so much earns its full number of tries again."""


class S3Body(io.RawIOBase):
    """The bytes of one object, in order, all of them or an error.

    When the connection breaks, the rest is asked for by range; the object must still be
    the same one by its ETag.

    Args:
        place: for the words of errors and the number of tries.
        client: boto3's.
        name: `Bucket` and `Key`.
        key: as the store's caller knows it.

    Raises:
        KeyError: there is no such object.
        Transient, Misconfigured: it can't be asked for.
    """

    def __init__(self, place: S3Place, client: Any, name: dict[str, str], key: str) -> None:
        super().__init__()
        self._place, self._client, self._name, self._key = place, client, name, key
        with s3_errors(place, key):
            answer = client.get_object(**name)
        self._body = answer["Body"]
        self._etag: str | None = answer.get("ETag")
        self._size: int = answer["ContentLength"]
        self._at = 0
        self._counted_from = 0
        self._tries = 0

    def readable(self) -> bool:
        """Yes; it does not seek."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill part of `buffer`; 0 only where the whole object was read.

        Raises:
            Transient: the connection broke and could not be taken up again.
            Broken: the object ends early or was replaced meanwhile.
        """
        wanted = min(len(buffer), self._size - self._at)
        while wanted:
            try:
                piece = self._piece(wanted)
            except _Cut as cut:
                self._resume(cut)
                continue
            buffer[: len(piece)] = piece
            self._at += len(piece)
            return len(piece)
        return 0

    def close(self) -> None:
        """Drop the connection."""
        if not self.closed:
            self._body.close()
        super().close()

    def _piece(self, wanted: int) -> bytes:
        from botocore.exceptions import IncompleteReadError, ResponseStreamingError
        from urllib3.exceptions import IncompleteRead

        try:
            with s3_errors(self._place):
                try:
                    piece: bytes = self._body.read(wanted)
                except IncompleteReadError as error:
                    raise _Cut(ended=True) from error
                except ResponseStreamingError as error:
                    reason = error.kwargs["error"].args[-1:]
                    raise _Cut(
                        ended=bool(reason) and isinstance(reason[0], IncompleteRead)
                    ) from error
        except Transient as error:
            raise _Cut(ended=False) from error
        if not piece:
            raise _Cut(ended=True)
        return piece

    def _resume(self, cut: _Cut) -> None:
        """Ask for what is missing.

        Raises:
            Transient, Broken: not after so many tries, or not of the same object.
        """
        self._body.close()
        if self._at - self._counted_from >= _WORTH:
            self._tries = 0
        self._counted_from = self._at
        while True:
            self._tries += 1
            if self._tries >= self._place.patience.attempts:
                raise self._given_up(cut) from cut
            time.sleep(0.1 * 2**self._tries)
            try:
                with s3_errors(self._place, self._key):
                    answer = self._client.get_object(**self._name, Range=f"bytes={self._at}-")
            except Transient as error:
                cut = _Cut(ended=False)
                cut.__cause__ = error
                continue
            except KeyError as error:
                raise self._replaced() from error
            self._body = answer["Body"]
            if answer.get("ETag") != self._etag:
                raise self._replaced()
            if answer["ContentLength"] != self._size - self._at:
                raise self._given_up(cut)  # the server does not know ranges
            return

    def _given_up(self, cut: _Cut) -> DeskError:
        if cut.ended:
            return Broken(
                f"{self._key} in {self._place.url} ends after {self._at} of {self._size} bytes.",
                "Use another snapshot. The server lost a part of this object, or cuts it short.",
            )
        return Transient(
            f"The connection to {self._place.url} broke after {self._at} of {self._size} bytes "
            f"of {self._key}.",
            "Check the network, then try again. Nothing was changed.",
        )

    def _replaced(self) -> Broken:
        return Broken(
            f"{self._key} in {self._place.url} was replaced or deleted while it was read.",
            "Somebody else changes the backups in that store. Nothing was changed here.",
        )


class _Cut(Exception):
    """The connection ended before the object did.

    Args:
        ended: in good order, as if the object were shorter; otherwise it broke.
    """

    def __init__(self, *, ended: bool) -> None:
        super().__init__()
        self.ended = ended
