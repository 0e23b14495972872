"""A tar archive as a stream: nothing is written, memory is constant."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

_PIECE = 1 << 20


class TarReader:
    """Gives a tar archive (POSIX 1003.1-2001) of files that nobody changes meanwhile.

    Args:
        members: (name in the archive, file).
    """

    def __init__(self, members: Sequence[tuple[str, Path]]) -> None:
        self._pieces = _archive(members)
        self._left = b""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""
        if size < 0:
            return b"".join([self._left, *self._pieces])
        if not self._left:
            self._left = next(self._pieces, b"")
        piece, self._left = self._left[:size], self._left[size:]
        return piece


def _archive(members: Sequence[tuple[str, Path]]) -> Iterator[bytes]:
    for name, path in members:
        with open(path, "rb") as file:
            member = tarfile.TarInfo(name)
            member.size = file.seek(0, 2)
            member.mode = 0o644
            member.mtime = int(path.stat().st_mtime)
            file.seek(0)
            yield member.tobuf(tarfile.PAX_FORMAT)
            sent = 0
            while piece := file.read(_PIECE):
                sent += len(piece)
                yield piece
            if sent != member.size:
                raise OSError(f"{path} changed while it was packed")
            if member.size % tarfile.BLOCKSIZE:
                yield b"\0" * (tarfile.BLOCKSIZE - member.size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)
