"""Unpack an old vector archive, made by nobody knows whom, without believing a word of it."""

from __future__ import annotations

import pickletools
import shutil
import sqlite3
import tarfile
import zlib
from contextlib import closing
from pathlib import Path, PurePosixPath

from services.core.errors import Broken
from services.protection import digests
from services.protection.sources.chroma import DATABASE

_ROOT = "vector_db"
_MOST_TIMES = 200
_MOST_AT_LEAST = 1 << 30
"""What it may unpack to: so many times its size, or this much. Vectors compress badly."""
_MOST_MEMBERS = 10_000
_PIECE = 1 << 20

# What Chroma 0.4 itself pickles, and nothing that runs. Whoever loads a pickle runs what it
# names, so it is taken apart here and never loaded.
_CLASSES = {
    ("chromadb.segment.impl.vector.local_persistent_hnsw", "PersistentData"),
}
_NEVER = {"REDUCE_EX", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}
_TEXT = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
_SILENT = {"MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "FRAME"}
_MOST_PICKLE = 1 << 30


def unpack(archive: Path, folder: Path, name: str) -> None:
    """Unpack plain files and folders below `vector_db/` into an empty folder, and check what
    came out.

    Args:
        folder: does not exist yet; gets what lay in `vector_db/`.
        name: of the old backup, for people.

    Raises:
        Broken: it is cut short, no such archive, leads elsewhere, unpacks to too much, has no
            whole `chroma.sqlite3`, or an index file that would run something.
    """
    folder.mkdir(mode=0o700)
    limit = max(_MOST_AT_LEAST, _MOST_TIMES * archive.stat().st_size)
    limit = min(limit, shutil.disk_usage(folder).free)
    try:
        with tarfile.open(archive, "r|gz") as tar:
            _members(tar, folder, limit, name)
    except (tarfile.TarError, EOFError, zlib.error, OSError, UnicodeError) as error:
        raise refused(
            name, f"is no archive that can be unpacked ({type(error).__name__})"
        ) from error
    _check_database(folder / DATABASE, name)
    for index in folder.glob("*/*.pickle"):
        if not is_harmless(index):
            raise refused(
                name,
                f"holds an index file ({index.relative_to(folder)}) that would run a program "
                "when the shop loads it",
            )


def _members(tar: tarfile.TarFile, folder: Path, limit: int, name: str) -> None:
    total = 0
    for number, member in enumerate(tar):
        path = PurePosixPath(member.name)
        plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.sparse
        parts = tuple(part for part in path.parts if part != ".")
        total += member.size
        if (
            not (plain or member.isdir())
            or path.is_absolute()
            or not parts
            or parts[0] != _ROOT
            or any(part == ".." or part.startswith(".") for part in parts)
            or any(character in member.name for character in "\\\0")
        ):
            raise refused(
                name, f"holds a member that no vector folder holds ({member.name[:80]!r})"
            )
        if total > limit or number >= _MOST_MEMBERS:
            raise refused(name, "unpacks to more than any vector folder holds")
        _write(tar, member, folder.joinpath(*parts[1:]), name)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, name: str) -> None:
    if member.isdir():
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = tar.extractfile(member)
    written = 0
    try:
        with open(target, "xb") as file:
            while source is not None and (piece := source.read(_PIECE)):
                written += file.write(piece)
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise refused(name, f"holds {member.name[:80]!r} twice") from error
    if written != member.size:
        raise refused(name, "was cut short")


def _check_database(path: Path, name: str) -> None:
    if not path.is_file() or not path.stat().st_size:
        raise refused(name, f"holds no {DATABASE}")
    try:
        with closing(digests.open_copy(path)) as connection:
            verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            connection.execute("SELECT count(*) FROM collections").fetchone()
    except sqlite3.Error as error:
        raise refused(name, f"holds a {DATABASE} that is damaged or none of Chroma's") from error
    if verdict != "ok":
        raise refused(name, f"holds a damaged {DATABASE} ({str(verdict)[:80]})")


def is_harmless(path: Path) -> bool:
    """Whether a pickle names only what Chroma's own index files name. Never loads it."""
    if path.stat().st_size > _MOST_PICKLE:
        return False
    said: list[str] = []  # texts pushed one right after the other
    try:
        with open(path, "rb") as file:
            for code, argument, _at in pickletools.genops(file):
                if code.name in _NEVER:
                    return False
                if code.name == "GLOBAL" and tuple(str(argument).split(" ", 1)) not in _CLASSES:
                    return False
                if code.name == "STACK_GLOBAL" and tuple(said[-2:]) not in _CLASSES:
                    return False
                if code.name in _TEXT:
                    said.append(str(argument))
                elif code.name not in _SILENT:
                    said.clear()
            return not file.read(1)
    except (ValueError, IndexError, EOFError, UnicodeError, OverflowError):
        return False


def refused(name: str, what: str) -> Broken:
    """An old archive that can't be used."""
    return Broken(
        f"The legacy archive {name} {what}; nothing of it was used.",
        "The old script packed folders that were being written; choose another one.",
    )
