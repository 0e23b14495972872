"""Pack and unpack one component: sha256, zstd, age and sha256 again, in one pass.

Everything is pull-based: whoever reads the last stage drives all of them, so memory stays
constant and nothing is read that the store has no room for. What comes out opens with
`age -d` and `zstd -d` alone.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

from services.core import stopping
from services.core.errors import Broken, Misconfigured
from services.protection.model import Component
from services.protection.sealing.age import PIECE, Decrypting, Encrypting, Unopened
from services.protection.stores.base import Readable

# `python -m benchmarks.parts` prints what each level costs. Level 2 takes about a quarter less
# processor time than level 3 for some percent more bytes: while a backup packs, the copy is
# checked in another process, and the shop and the desk's pages want the same two cores. With
# two workers zstd compresses beside this thread, which meanwhile reads and hashes.
LEVEL = 2
THREADS = 2
_MAX_WINDOW = 1 << 23
"""Memory a frame may ask for; what level 2 writes asks for a part of it."""
_WORTH_A_THREAD = 1 << 16
_hashers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="sha256")


class PackingReader(io.RawIOBase):
    """Reads a plain source and gives what is to be stored; knows sizes and digests at its end.

    Args:
        source: the plain bytes; may give fewer than asked for.
        compress: with zstd, or stored as they are (already compressed).
        recipients: age keys (`age1...`) for which it is encrypted; none: it is not.
        on_plain: called with the plain bytes read so far, after every piece.

    Raises:
        Misconfigured: one of the recipients is none.
    """

    def __init__(
        self,
        source: Readable,
        *,
        compress: bool,
        recipients: Sequence[str] = (),
        on_plain: Callable[[int], None] = lambda _count: None,
    ) -> None:
        super().__init__()
        self._plain = _Digesting(source, on_plain)
        # Each stage reads the one before: what is encrypted no longer compresses, and the
        # stored digest is that of what the store is given.
        stage = _compressing(self._plain) if compress else self._plain
        self._encrypting = Encrypting(stage, recipients) if recipients else None
        self._stored = _Digesting(self._encrypting or stage)
        self._ended = False

    def readable(self) -> bool:
        """Yes; there is no way back, so it does not seek."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Exactly `size` bytes unless the end comes first; everything when negative."""
        wanted = -1 if size is None else size
        pieces: list[bytes] = []
        have = 0
        while not self._ended and (wanted < 0 or have < wanted):
            stopping.check()
            piece = self._stored.read(PIECE if wanted < 0 else wanted - have)
            self._ended = not piece
            have += len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer`; fewer bytes only at the end."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """End what works beside; a reader that nobody holds any more does so by itself."""
        if self._encrypting is not None:
            self._encrypting.close()
        super().close()

    @property
    def plain_bytes(self) -> int:
        """Bytes read from the source."""
        return self._at_end(self._plain).count

    @property
    def plain_sha256(self) -> str:
        """Digest of the source."""
        return self._at_end(self._plain).hexdigest()

    @property
    def stored_bytes(self) -> int:
        """Bytes given out."""
        return self._at_end(self._stored).count

    @property
    def stored_sha256(self) -> str:
        """Digest of what was given out."""
        return self._at_end(self._stored).hexdigest()

    def _at_end(self, stage: _Digesting) -> _Digesting:
        if not self._ended:
            raise RuntimeError("sizes and digests are known once everything was read")
        return stage


def unpack(
    component: Component,
    source: Readable,
    target: BinaryIO | None,
    on_plain: Callable[[int], None] = lambda _count: None,
    identity_file: Path | None = None,
) -> None:
    """Read a stored object, check it against its manifest entry, and write the plain bytes.

    Never writes more than the manifest says the plain file has, however much the object
    would unpack to. `target` may have been written when this raises: write aside, and
    rename afterwards.

    Args:
        component: what the manifest says about the object.
        source: the object as stored.
        target: where the plain bytes go; None to check only.
        on_plain: called with the plain bytes so far, after every piece.
        identity_file: opens what is encrypted.

    Raises:
        Broken: sizes or digests differ from the manifest, or it can't be unpacked.
        Misconfigured: it is encrypted, and there is no identity here, or another one.
        whatever `source.read` and `target.write` raise.
    """
    if component.encryption not in ("none", "age") or component.compression not in ("zstd", "none"):
        raise _broken(
            component,
            f"is packed in a way that this version can't open "
            f"({component.compression}, encryption {component.encryption})",
            "Use the version of the desk that made it, or the command in its manifest.",
        )
    stored = _Digesting(source, limit=component.stored_bytes)
    try:
        with ExitStack() as stack:
            opened: Readable = stored
            if component.encryption == "age":
                decrypting = Decrypting(stored, _required(component, identity_file))
                stack.callback(decrypting.close)
                opened = decrypting
            _unpack(component, stored, opened, target, on_plain)
    except _TooLong as error:
        raise _broken(
            component, f"is longer than the {component.stored_bytes} bytes that were stored"
        ) from error


def no_identity(name: str) -> Misconfigured:
    """What is said where something encrypted would have to be opened, and can't be."""
    return Misconfigured(
        f"{name} is encrypted, and this machine has no identity that opens it. "
        "Nothing was changed.",
        "Set BACKUP_AGE_IDENTITY_FILE here to the file with the identity, or do this on the "
        "machine that has it (docs/keys.md).",
    )


def _required(component: Component, identity_file: Path | None) -> Path:
    if identity_file is None:
        raise no_identity(f"The stored object {component.name}")
    return identity_file


def _unpack(
    component: Component,
    stored: _Digesting,
    opened: Readable,
    target: BinaryIO | None,
    on_plain: Callable[[int], None],
) -> None:
    import zstandard

    plain = _Digesting(
        _decompressing(opened) if component.compression == "zstd" else opened, on_plain
    )
    try:
        # One byte more than the manifest allows is asked for, so that a bomb shows itself.
        while piece := plain.read(min(PIECE, component.plain_bytes - plain.count + 1)):
            stopping.check()
            if plain.count > component.plain_bytes:
                raise _broken(component, f"unpacks to more than {component.plain_bytes} bytes")
            if target is not None:
                target.write(piece)
        while opened.read(PIECE):
            pass  # what follows the compressed frame counts too
    except zstandard.ZstdError as error:
        raise _broken(component, "was altered or damaged: it can't be unpacked") from error
    except Unopened as error:
        raise _unopened(component, stored, error) from error
    _compare(component, stored, plain)


def _unopened(component: Component, stored: _Digesting, error: Unopened) -> Broken | Misconfigured:
    """Whether the object or the key is at fault: its digest knows."""
    while stored.read(PIECE):
        pass
    if (stored.count, stored.hexdigest()) != (component.stored_bytes, component.stored_sha256):
        return _broken(component, "was altered or cut short: it can't be decrypted")
    if not error.other_key:
        return _broken(component, "is as it was stored, but can't be decrypted")
    return Misconfigured(
        f"The stored object {component.name} was encrypted for other keys than the identity "
        "here. Nothing was changed.",
        "Set BACKUP_AGE_IDENTITY_FILE to a file that holds the identity of that time; a file "
        "may hold several, one on each line.",
    )


def _compare(component: Component, stored: _Digesting, plain: _Digesting) -> None:
    # A stream that was cut short raises nothing by itself: only these sizes tell.
    if stored.count != component.stored_bytes:
        raise _broken(
            component, f"was cut short: {stored.count} of {component.stored_bytes} bytes are left"
        )
    if stored.hexdigest() != component.stored_sha256:
        raise _broken(component, "was altered: its sha256 is not the one in the manifest")
    if (plain.count, plain.hexdigest()) != (component.plain_bytes, component.plain_sha256):
        raise _broken(component, "unpacks to something else than what was backed up")


def _broken(component: Component, what: str, hint: str = "") -> Broken:
    return Broken(
        f"The stored object {component.name} {what}.",
        hint or "Use another snapshot, and find out what happened to this one in the store.",
    )


class _TooLong(Exception):
    """More bytes came than there may be."""


class _Digesting:
    """A stage that passes bytes on, counts them, and hashes them in a thread beside.

    hashlib releases the GIL, so one piece is hashed while the next is made. At most one piece
    waits; memory is constant.
    """

    def __init__(
        self,
        source: Readable,
        on_read: Callable[[int], None] = lambda _count: None,
        limit: int | None = None,
    ) -> None:
        self.count = 0
        self._source = source
        self._on_read = on_read
        self._limit = limit
        self._sha256 = hashlib.sha256()
        self._hashing: Future[None] | None = None

    def read(self, size: int = -1, /) -> bytes:
        """What the stage before gives, at most `size` bytes."""
        data = self._source.read(size)
        if not data:
            return data
        self.count += len(data)
        if self._limit is not None and self.count > self._limit:
            raise _TooLong
        self._wait()
        if len(data) < _WORTH_A_THREAD:
            self._sha256.update(data)
        else:
            self._hashing = _hashers.submit(self._sha256.update, data)
        self._on_read(self.count)
        return data

    def hexdigest(self) -> str:
        """The sha256 of everything that passed."""
        self._wait()
        return self._sha256.hexdigest()

    def _wait(self) -> None:
        if self._hashing is not None:
            self._hashing.result()
            self._hashing = None


def _compressing(source: Readable) -> Readable:
    import zstandard

    # The frame's own checksum lets `zstd -t` test an object without this program.
    packer = zstandard.ZstdCompressor(level=LEVEL, threads=THREADS, write_checksum=True)
    return packer.stream_reader(cast(BinaryIO, source), read_size=PIECE)


def _decompressing(source: Readable) -> Readable:
    import zstandard

    opener = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    return opener.stream_reader(cast(BinaryIO, source), read_size=PIECE)
