"""A tar archive: made as a stream, in constant memory, and unpacked without believing it."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from services.core.errors import Broken

_PIECE = 1 << 20
_MOST_MEMBERS = 10_000
"""A vector folder has half a dozen files for each collection."""
_MOST_NAME, _MOST_PATH = 255, 1000


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


def unpack(archive: Path, folder: Path, limit: int) -> None:
    """Unpack plain files and folders into an empty folder, and nothing else.

    A tampered index file is code that runs in the shop (Chroma unpickles one), so only what
    has the digest that a manifest names comes here. Every member is looked at before the
    first one is written, and nothing is written outside `folder`.

    Args:
        archive: its digest was checked.
        limit: bytes that all files together may have.

    Raises:
        Broken: it is no archive, is cut short, or holds a link, a device, a hidden or sparse
            file, a name twice, one that leads elsewhere, or too much.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            unpack_members(tar, folder, limit)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise Broken(
            f"The vector archive can't be unpacked ({type(error).__name__}); nothing was "
            "unpacked over live data.",
            "Use another snapshot, and find out what happened to this one in the store.",
        ) from error


def unpack_members(tar: tarfile.TarFile, folder: Path, limit: int) -> None:
    """The same for an archive that is open.

    Raises:
        Broken: it holds what no vector folder holds.
        tarfile.TarError: it is cut short or damaged.
    """
    members = _checked(tar, folder, limit)
    for path, member in members.items():
        target = folder.joinpath(*path.parts)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(member)
        written = 0
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with open(handle, "wb") as file:
            while source is not None and (piece := source.read(_PIECE)):
                written += file.write(piece)
        if written != member.size:
            raise tarfile.ReadError("unexpected end of data")


def _checked(
    tar: tarfile.TarFile, folder: Path, limit: int
) -> dict[PurePosixPath, tarfile.TarInfo]:
    found: dict[PurePosixPath, tarfile.TarInfo] = {}
    total = 0
    for number, member in enumerate(tar):
        path = PurePosixPath(member.name)
        plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.sparse
        total += max(member.size, 0)
        if (
            not (plain or member.isdir())
            or not _stays_inside(member.name)
            or member.size < 0
            or total > limit
            or number >= _MOST_MEMBERS
            or path in found
            # The standard library's own opinion, should ours have a hole.
            or _refused_by_library(member, folder)
        ):
            raise _hostile(member.name)
        found[path] = member
    for path in found:
        if any(parent in found and not found[parent].isdir() for parent in path.parents):
            raise _hostile(str(path))  # a file inside a file
    return found


def _stays_inside(name: str) -> bool:
    try:
        sizes = [len(os.fsencode(part)) for part in PurePosixPath(name).parts]
    except UnicodeEncodeError:
        return False
    return (
        bool(sizes)
        and max(sizes) <= _MOST_NAME
        and sum(sizes) + len(sizes) <= _MOST_PATH
        and not name.startswith("/")
        and not any(part.startswith(".") for part in PurePosixPath(name).parts)
        and "\0" not in name  # any other odd character a folder can hold, and then a backup does
    )


def _refused_by_library(member: tarfile.TarInfo, folder: Path) -> bool:
    try:
        return tarfile.data_filter(member, str(folder)) is None
    except tarfile.FilterError:
        return True


def _hostile(name: str) -> Broken:
    return Broken(
        f"The vector archive holds a member that no vector folder holds ({name[:80]!r}); "
        "nothing was unpacked over live data.",
        "Use another snapshot, and find out who altered this one.",
    )
