"""Encryption with age as a stage that is read, in constant memory.

The library pushes: it reads from one file and writes to another until both end. Here it does
so in a thread of its own, with a bounded hand-over to either side. The source is read in
the reader's thread alone, so its errors and its progress stay where they belong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from services.protection.sealing.keys import identities, recipient
from services.protection.stores.base import Readable

PIECE = 1 << 20
_GATHERED = 1 << 18
"""The library writes some kilobytes at a time; so many are handed over together."""
_MOST_WAITING = 2
"""Pieces that wait on either side; more are neither read nor made."""

Work = Callable[[Any, Any], None]
"""Reads from the first and writes to the second until the end."""


class Unopened(Exception):
    """It could not be decrypted.

    Args:
        other_key: because none of the identities is one of those it was encrypted for, or
            the part of it that says so was altered.
    """

    def __init__(self, *, other_key: bool) -> None:
        super().__init__()
        self.other_key = other_key


class Encrypting:
    """Gives what `source` gives, encrypted for every recipient; `age -d` opens it.

    Args:
        source: read in the thread of whoever reads this.
        recipients: `age1...`, at least one.

    Raises:
        Misconfigured: one of them is no recipient.
    """

    def __init__(self, source: Readable, recipients: Sequence[str]) -> None:
        import pyrage

        whom = [recipient(each) for each in recipients]
        self._pushed = _Pushed(source, lambda plain, packed: pyrage.encrypt_io(plain, packed, whom))

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""
        return self._pushed.read(size)

    def close(self) -> None:
        """End the thread."""
        self._pushed.close()


class Decrypting:
    """Gives the plain bytes of what was encrypted for one of the identities in a file.

    What was read is proven only up to the last whole piece: the end of the source decides.

    Raises:
        Misconfigured: the file holds no identity.
    """

    def __init__(self, source: Readable, identity_file: Path) -> None:
        import pyrage

        ours = identities(identity_file)
        self._pushed = _Pushed(source, lambda packed, plain: pyrage.decrypt_io(packed, plain, ours))

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end.

        Raises:
            Unopened: altered, cut short, or not for these identities.
        """
        import pyrage

        try:
            return self._pushed.read(size)
        except _Failed as failed:
            error = failed.__cause__
            raise Unopened(
                other_key=isinstance(error, pyrage.DecryptError) and "No matching" in str(error)
            ) from error

    def close(self) -> None:
        """End the thread."""
        self._pushed.close()


class _Failed(Exception):
    """The library ended with an error, which is the cause."""


class _Abandoned(Exception):
    """Nobody reads any more."""


class _Pushed:
    """What `work` writes, to be read; whoever stops reading ends its thread."""

    def __init__(self, source: Readable, work: Work) -> None:
        self._source = source
        self._pipe = _Pipe()
        # The thread knows the pipe alone: when nobody holds this object any more, it ends.
        self._thread: Thread | None = Thread(
            target=_push, args=(self._pipe, work), name="age", daemon=True
        )
        self._thread.start()

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(PIECE), b""))
        while size:
            found = self._pipe.receive(min(size, PIECE))
            if found is not None:
                return found
            try:
                self._pipe.send(self._source.read(PIECE))
            except BaseException:
                self.close()
                raise
        return b""

    def close(self) -> None:
        self._pipe.abandon()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def __del__(self) -> None:
        self._pipe.abandon()


class _Pipe:
    """The hand-over: pieces that wait for the thread, and pieces that it made."""

    def __init__(self) -> None:
        self._moved = Condition()
        self._plain: deque[bytes] = deque()
        self._made: deque[bytes] = deque()
        self._made_bytes = 0
        self._all_sent = False
        self._all_made = False
        self._abandoned = False
        self._error: BaseException | None = None

    # The reader's side.

    def receive(self, size: int) -> bytes | None:
        """`size` bytes, fewer at the end, none after it; None: the thread wants more first."""
        with self._moved:
            while True:
                if self._abandoned:
                    raise ValueError("read of a closed stage")
                if self._error is not None:
                    raise _Failed from self._error
                if self._made_bytes >= size or self._all_made:
                    return self._taken(size)
                if not self._all_sent and len(self._plain) < _MOST_WAITING:
                    return None
                self._moved.wait()

    def send(self, piece: bytes) -> None:
        """One piece for the thread; an empty one is the last."""
        with self._moved:
            if piece:
                self._plain.append(piece)
            else:
                self._all_sent = True
            self._moved.notify_all()

    def abandon(self) -> None:
        """The thread ends at its next step; what waits is forgotten."""
        with self._moved:
            self._abandoned = True
            self._plain.clear()
            self._moved.notify_all()

    def _taken(self, size: int) -> bytes:
        pieces: list[bytes] = []
        while size and self._made:
            piece = self._made.popleft()
            if len(piece) > size:
                self._made.appendleft(piece[size:])
                piece = piece[:size]
            pieces.append(piece)
            size -= len(piece)
            self._made_bytes -= len(piece)
        self._moved.notify_all()
        return b"".join(pieces)

    # The thread's side.

    def take(self) -> bytes:
        """The next piece to work on; none at the end."""
        with self._moved:
            self._moved.wait_for(lambda: self._plain or self._all_sent or self._abandoned)
            if self._abandoned:
                raise _Abandoned
            piece = self._plain.popleft() if self._plain else b""
            self._moved.notify_all()
            return piece

    def give(self, piece: bytes) -> None:
        """Something that was made."""
        with self._moved:
            full = _MOST_WAITING * PIECE
            self._moved.wait_for(lambda: self._made_bytes < full or self._abandoned)
            if self._abandoned:
                raise _Abandoned
            self._made.append(piece)
            self._made_bytes += len(piece)
            self._moved.notify_all()

    def end(self, error: BaseException | None) -> None:
        """Nothing more will be made."""
        with self._moved:
            self._all_made, self._error = True, error
            self._moved.notify_all()


class _In:
    """The file that the library reads."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self._left = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        if not self._left:
            self._left = memoryview(self._pipe.take())
        piece, self._left = self._left[:size], self._left[size:]
        return bytes(piece)


class _Out:
    """The file that the library writes."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self._gathered = bytearray()

    def write(self, data: bytes, /) -> int:
        self._gathered += data
        if len(self._gathered) >= _GATHERED:
            self.hand_over()
        return len(data)

    def flush(self) -> None:
        """Nothing: `hand_over` at the end gives the rest."""

    def hand_over(self) -> None:
        data, self._gathered = bytes(self._gathered), bytearray()
        if data:
            self._pipe.give(data)


def _push(pipe: _Pipe, work: Work) -> None:
    error: BaseException | None = None
    try:
        out = _Out(pipe)
        work(_In(pipe), out)
        out.hand_over()
    except BaseException as caught:  # whatever it is, the reader must hear of it
        error = caught
    pipe.end(error)
