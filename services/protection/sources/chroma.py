"""The shop's Chroma folder: an exact copy, and a portable table of what is in it.

The live folder is never opened with our chromadb: a newer one migrates it in place, and the
shop's own can't read it any more. Only its SQLite file is read, by online backup.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.core.errors import Misconfigured
from services.core.lineage import PARENT
from services.core.settings import PROJECT_ROOT
from services.protection.model import CollectionFacts, Neighbours
from services.protection.sources import sqlite

DATABASE = "chroma.sqlite3"
_COMPANIONS = tuple(f"{DATABASE}{ending}" for ending in ("", "-journal", "-wal", "-shm"))


@dataclass(frozen=True)
class VectorCopy:
    """A copied folder: what is in it, by the names it has in the archive."""

    folder: Path
    members: tuple[tuple[str, Path], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PortableTables:
    """The tables that a copy gave: file and facts of each collection."""

    files: dict[str, Path]  # collection -> Parquet file
    facts: dict[str, CollectionFacts]
    version: str  # of the chromadb that read the copy
    neighbours: dict[str, tuple[Neighbours, ...]] = field(default_factory=dict)


def folder_bytes(folder: Path) -> int:
    """Room that a copy of the folder needs."""
    return sum(size for _path, size in _files(folder, []))


def capture(folder: Path, target: Path) -> VectorCopy | None:
    """Copy a Chroma folder that may be in use: its database first, its segments after.

    In that order every copy was whole; the other way round one tore (the database named
    vectors that the older segments did not have).

    Args:
        target: a folder that does not exist yet.

    Returns:
        None where there is no Chroma folder.

    Raises:
        Misconfigured: a file of it can't be read; half an index is none.
        what `sqlite.capture` raises.
    """
    database = folder / DATABASE
    if not database.is_file():
        return None
    target.mkdir(mode=0o700)
    sqlite.capture(database, target / DATABASE)
    _same_time(database, target / DATABASE)
    notes: list[str] = []
    for path, _size in _files(folder, notes):
        name = path.relative_to(folder)
        if path.name in _COMPANIONS and path.parent == folder:
            continue
        copy = target / name
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, copy)
            _same_time(path, copy)
        except PermissionError as error:
            raise _forbidden(error) from error
        except FileNotFoundError:
            notes.append(f"Vectors: {name} was removed by the shop while it was copied.")
    members = tuple(
        (path.relative_to(target).as_posix(), path) for path, _size in _files(target, [])
    )
    return VectorCopy(target, members, tuple(notes))


def start_export(copy: Path, into: Path) -> subprocess.Popen[bytes]:
    """Read every collection of a copy in a process of its own, which changes the copy.

    chromadb is heavy, and leaves threads behind; neither belongs into this process.
    """
    into.mkdir(mode=0o700)
    return subprocess.Popen(
        [sys.executable, "-m", "services.protection.sources.chroma_export", str(copy), str(into)],
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "ANONYMIZED_TELEMETRY": "False", PARENT: str(os.getpid())},
    )


def end_export(process: subprocess.Popen[bytes], into: Path) -> PortableTables | None:
    """Wait for `start_export`.

    Returns:
        None when the copy could not be read as collections.
    """
    output, _nothing = process.communicate()
    if process.returncode != 0:
        return None
    answer = json.loads(output)
    collections = answer["collections"]
    return PortableTables(
        files={item["name"]: into / item["file"] for item in collections},
        facts={
            item["name"]: CollectionFacts(item["count"], item["dimension"], item["space"])
            for item in collections
        },
        version=answer["chromadb"],
        neighbours={
            item["name"]: tuple(map(neighbours_of, item["neighbours"])) for item in collections
        },
    )


def neighbours_of(answer: dict[str, Any]) -> Neighbours:
    """What a child process answered about one vector."""
    return Neighbours(answer["id"], tuple(answer["nearest"]), tuple(answer["distances"]))


def _same_time(path: Path, copy: Path) -> None:
    """The archive of a folder that nobody wrote to is the same, byte for byte."""
    facts = path.stat()
    os.utime(copy, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _forbidden(error: PermissionError) -> Misconfigured:
    return Misconfigured(
        f"The desk may not read {error.filename}; nothing was backed up.",
        "Give the account that runs the desk permission to read the shop's vector folder.",
    )


def _files(folder: Path, notes: list[str]) -> list[tuple[Path, int]]:
    found: list[tuple[Path, int]] = []
    _walk(folder, folder, found, notes.append)
    return found


def _walk(
    root: Path, folder: Path, found: list[tuple[Path, int]], say: Callable[[str], None]
) -> None:
    try:
        entries = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError as error:
        raise _forbidden(error) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue  # not Chroma's
        try:
            facts = entry.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(facts.st_mode):
            _walk(root, entry, found, say)
        elif stat.S_ISREG(facts.st_mode):
            found.append((entry, facts.st_size))
        else:
            say(f"Vectors: {entry.relative_to(root)} is not a plain file and was left out.")
