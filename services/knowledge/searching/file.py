"""The file of the search index: opened, made anew, thrown away. It never holds anything up.

Nothing in it is of its own: whatever is wrong with it, it goes, and is built again.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from services.core.context import Context

log = logging.getLogger("desk.search")

FORMAT = 1
"""Another one where the tables or the folding change: an older file is then built anew."""
_MARK = 0x6B627365  # "kbse"
_WAIT_SECONDS = 2.0
_PARTS = ("", "-wal", "-shm", "-journal")

_TABLES = (
    "CREATE TABLE built (id INTEGER PRIMARY KEY, revision TEXT NOT NULL)",
    "CREATE TABLE texts (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, digest TEXT NOT NULL,"
    " key TEXT NOT NULL, text TEXT NOT NULL)",
    # Groups of three letters find any part of a word; what is stored is folded already.
    "CREATE VIRTUAL TABLE words USING fts5(key, text, content='texts', content_rowid='id',"
    " tokenize='trigram case_sensitive 1')",
    f"PRAGMA application_id = {_MARK}",
    f"PRAGMA user_version = {FORMAT}",
)


class Unusable(Exception):
    """The index can't be used now: the disk is full, another process builds it, no FTS5."""


class ThrownAway(Unusable):
    """The index was broken, or not ours; it is gone, and another can be built."""


def path_of_index(ctx: Context) -> Path:
    """Where the index of this tenant lies."""
    return ctx.settings.instance_dir / "search" / ctx.settings.instance_id / "kb.sqlite3"


@contextmanager
def opened(ctx: Context, wait: float) -> Iterator[sqlite3.Connection]:
    """The index, sound as far as one can tell from opening it; no transaction is open.

    Args:
        wait: seconds to wait for another that writes it.

    Raises:
        ThrownAway: it was broken.
        Unusable: it can't be opened, or what was done with it failed.
    """
    path = path_of_index(ctx)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whoever uses the file keeps others from taking it away.
        with open(path.with_suffix(".lock"), "ab", opener=_private) as guard:
            _wait_for(guard, fcntl.LOCK_SH)
            try:
                with contextlib.closing(_connect(path, wait)) as index:
                    yield index
            except (OSError, sqlite3.Error) as error:
                if not _is_broken(error):
                    raise
                log.warning("the search index is thrown away: %s", error)
                _wait_for(guard, fcntl.LOCK_EX)
                _remove(path)
                raise ThrownAway(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        raise Unusable(str(error)) from error


def forget(ctx: Context) -> None:
    """Throw the index away, with every piece of a text in it; the next search builds another."""
    path = path_of_index(ctx)
    if not path.parent.is_dir():
        return
    try:
        with open(path.with_suffix(".lock"), "ab", opener=_private) as guard:
            _wait_for(guard, fcntl.LOCK_EX)
            _remove(path)
    except OSError as error:
        log.warning("the search index could not be thrown away: %s", error)


def _connect(path: Path, wait: float) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    index = sqlite3.connect(path, timeout=wait, isolation_level=None)
    try:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
            index.execute(f"PRAGMA {pragma}")
        if _kind(index) != (_MARK, FORMAT):
            _make(index)
    except BaseException:
        index.close()
        raise
    return index


def _make(index: sqlite3.Connection) -> None:
    index.execute("BEGIN IMMEDIATE")
    try:
        if _kind(index) != (_MARK, FORMAT):  # nobody was quicker
            if _kind(index) != (0, 0) or index.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise sqlite3.DatabaseError("file is not a database of ours")
            for statement in _TABLES:
                index.execute(statement)
    except BaseException:
        index.execute("ROLLBACK")
        raise
    index.execute("COMMIT")


def _kind(index: sqlite3.Connection) -> tuple[int, int]:
    mark = index.execute("PRAGMA application_id").fetchone()[0]
    return mark, index.execute("PRAGMA user_version").fetchone()[0]


def _is_broken(error: Exception) -> bool:
    if isinstance(error, (IsADirectoryError, PermissionError)):
        return True  # what stands in its place can perhaps be removed
    text = str(error)
    return isinstance(error, sqlite3.Error) and any(
        sign in text
        for sign in ("malformed", "not a database", "no such", "corrupt", "constraint", "readonly")
    )


def _remove(path: Path) -> None:
    for part in _PARTS:
        whole = path.with_name(path.name + part)
        if whole.is_dir() and not whole.is_symlink():
            shutil.rmtree(whole)
        else:
            whole.unlink(missing_ok=True)


def _wait_for(guard: IO[bytes], how: int) -> None:
    """Take the lock, or raise BlockingIOError after two seconds."""
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            fcntl.flock(guard, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
