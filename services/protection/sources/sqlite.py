"""SQLite: a consistent copy of a database that is in use, and what is in it."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from db.engine import read_only_sqlite
from services.core import stopping
from services.core.errors import Broken, DeskError, Misconfigured, Transient
from services.protection import digests, references
from services.protection.model import TableFacts
from services.protection.sources.holders import holders

LOCK_PATIENCE_SECONDS = 60.0
"""How long a capture waits for a program that holds the database locked."""


@dataclass(frozen=True)
class KnownCopy:
    """What an earlier capture of the same database was, byte for byte."""

    counter: int  # its file change counter, see `change_counter`
    size: int  # bytes
    sha256: str


def capture(
    path: Path,
    target: Path,
    *,
    patience: float | None = None,
    known: KnownCopy | None = None,
) -> bool:
    """Copy a database that is in use: committed rows, nothing else.

    In rollback-journal mode (the shop's) the file is copied as it lies, under SQLite's own
    shared lock: while one is held nobody may write to the file, and committed rows are
    nowhere else. Writers wait for no longer than a plain file copy takes. In WAL
    mode it is one step of the online backup; one, because a stepped copy begins anew at
    every foreign write and never ends under a busy shop. The live file is opened read-only,
    and its journal mode and page size stay as they are.

    Args:
        path: the live database.
        target: a file that does not exist yet, on a disk with room for it.
        patience: seconds to wait for a lock; `LOCK_PATIENCE_SECONDS` by default.
        known: an earlier capture; nothing is copied where the live file still is that one.
            In rollback-journal mode every write moves the counter, so the file is hashed
            only when nobody wrote; in WAL mode it is never compared.

    Returns:
        Whether a copy was made; not, where the database is the known one.

    Raises:
        Misconfigured: there is no such database.
        Transient: it stayed locked.
        Broken: it is empty, damaged or no database, or the disk is full.
    """
    if not path.is_file():
        raise Misconfigured(
            f"There is no database at {path}; nothing was backed up.",
            "Set DATABASE_URL or DB_PATH, or restore the database from a backup.",
        )
    if path.stat().st_size == 0:
        raise Broken(
            f"The database at {path} is an empty file of 0 bytes; nothing was backed up.",
            "Restore it from a backup, or point DATABASE_URL or DB_PATH at the right file.",
        )
    seconds = LOCK_PATIENCE_SECONDS if patience is None else patience
    # Private from the first byte on, whatever the umask is.
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        copied = _copy(path, target, time.monotonic() + seconds, seconds, known)
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        raise _capture_error(path, target, error) from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    if not copied:
        target.unlink()
    return copied


def change_counter(path: Path) -> int:
    """How often a database in rollback-journal mode was written, as its header says.

    https://www.sqlite.org/fileformat2.html, section 1.3.7.
    """
    with open(path, "rb") as file:
        return int.from_bytes(file.read(28)[24:28], "big")


def table_facts(
    path: Path, wanted: Callable[[str], bool] = digests.is_counted
) -> dict[str, TableFacts]:
    """Rows and content digest of every table of a copy that nobody writes to.

    `kb_restores`, SQLite's own tables and Litestream's are left out. For a live database,
    `capture` it first.

    Args:
        wanted: whether a table is measured.

    Raises:
        Broken: the file is damaged or no database.
    """
    try:
        found = digests.table_digests(path, wanted)
    except (digests.Damaged, sqlite3.Error) as error:
        raise Broken(
            f"The tables of {path.name} can't be read; the file is damaged.",
            "Use another snapshot, or see what happened to the disk.",
        ) from error
    return {name: TableFacts(rows, digest) for name, (rows, digest) in found.items()}


def foreign_key_violations(path: Path) -> int:
    """Rows that refer to a row which is not there, in a copy that nobody writes to.

    Real shops have some (a deleted user leaves payment logs behind): compare with what was
    recorded, never demand zero.
    """
    with closing(digests.open_copy(path)) as connection:
        return references.violations(connection)


def table_names(path: Path) -> frozenset[str]:
    """The tables of a copy that nobody writes to.

    Raises:
        Broken: it is damaged or no database.
    """
    try:
        return _names(path)
    except sqlite3.Error as error:
        raise Broken(f"{path.name} is damaged or no database.", "Use another snapshot.") from error


def revision(path: Path, version_table: str) -> str:
    """The migration revision that a copy stands at; empty where there is none."""
    if version_table not in table_names(path):
        return ""
    with closing(digests.open_copy(path)) as connection:
        row = connection.execute(
            references.statement("SELECT version_num FROM $versions", versions=version_table)
        ).fetchone()
    return str(row[0]) if row else ""


def live_bytes(path: Path) -> int:
    """Room that a copy needs: the file and what a `-wal` beside it may add."""
    total = 0
    for ending in ("", "-wal"):
        file = path.with_name(path.name + ending)
        if file.is_file():
            total += file.stat().st_size
    return total


def _names(path: Path) -> frozenset[str]:
    with closing(digests.open_copy(path)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return frozenset(name for (name,) in rows)


def _copy(
    path: Path, target: Path, deadline: float, seconds: float, known: KnownCopy | None
) -> bool:
    def give_up(status: int, _remaining: int, _total: int) -> None:
        # Python repeats a busy step for ever; only an exception from here ends it.
        busy = status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        if busy and time.monotonic() > deadline:
            raise Transient(
                f"Another program{holders(path)} kept the database {path.name} locked for "
                f"{seconds:.0f} s; nothing was backed up.",
                "See which program holds it open, then try again.",
            )

    with closing(_open_live(path)) as source:
        with _shared_lock(source, give_up):
            as_it_lies = _mode(source) != "wal"
            if as_it_lies:
                if known is not None and _is_known(path, target, known):
                    return False
                _copy_file(path, target)
        if not as_it_lies:
            with closing(sqlite3.connect(target)) as copy:
                copy.isolation_level = None
                copy.execute("PRAGMA journal_mode=OFF")
                copy.execute("PRAGMA synchronous=OFF")
                source.backup(copy, pages=-1, progress=give_up, sleep=0.1)
    if not _names(target):
        raise Broken(
            f"The database at {path} holds no table; nothing was backed up.",
            "Restore it from a backup, or point DATABASE_URL or DB_PATH at the right file.",
        )
    return True


@contextmanager
def _shared_lock(
    source: sqlite3.Connection, give_up: Callable[[int, int, int], None]
) -> Iterator[None]:
    """Hold a read transaction: in rollback-journal mode nobody writes to the file inside."""
    while True:
        try:
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            break
        except sqlite3.OperationalError as error:
            source.rollback()
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            give_up(sqlite3.SQLITE_BUSY, 0, 0)
        # Outside the handler: in there nobody is asked to stop.
        stopping.pause(0.1)
    try:
        yield
    finally:
        source.rollback()


def _mode(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


_COPIER = """
import shutil, sys
try:
    shutil.copyfile(sys.argv[1], sys.argv[2])
except OSError as error:
    sys.exit(error.errno)
"""
_IS_KNOWN = 200
_COMPARER = """
import hashlib, os, sys
try:
    with open(sys.argv[1], "rb", buffering=0) as file:
        header = file.read(28)
        same = [str(os.fstat(file.fileno()).st_size), str(int.from_bytes(header[24:], "big"))]
        if same == sys.argv[2:4]:
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() == sys.argv[4]:
                sys.exit(200)
except OSError as error:
    sys.exit(error.errno)
"""


def _is_known(path: Path, target: Path, known: KnownCopy) -> bool:
    facts = (str(known.size), str(known.counter), known.sha256)
    return _beside_the_lock(_COMPARER, path, target, *facts) == _IS_KNOWN


def _copy_file(path: Path, target: Path) -> None:
    _beside_the_lock(_COPIER, path, target, str(target))


def _beside_the_lock(program: str, path: Path, target: Path, *arguments: str) -> int:
    # In a process of its own: a process that closes a file gives up every POSIX lock it has
    # on it, SQLite's included (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    command = [sys.executable, "-I", "-S", "-c", program, str(path), *arguments]
    code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    if code == _IS_KNOWN:
        return code
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        raise _disk_trouble(path, target)
    if code:
        raise Transient(
            f"{path} could not be copied ({os.strerror(code) if code > 0 else 'stopped'}); "
            "nothing was backed up.",
            "Try again; if it stays so, check the disk and the permissions of the file.",
        )
    return code


def _open_live(path: Path) -> sqlite3.Connection:
    connection = read_only_sqlite(path, timeout=0.2)
    try:
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in _NEEDS_RECOVERY:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return connection  # the copy waits for it
            connection.close()
            raise
        connection.close()
        # The shop was killed in the middle of a write. Only a connection that may write can
        # take that half back, as the shop's own next start would.
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=0.2, isolation_level=None
        )
    return connection


_NEEDS_RECOVERY = (sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_READONLY_RECOVERY)


def _disk_trouble(path: Path, target: Path) -> Broken:
    return Broken(
        f"The disk became full or failed while {path.name} was copied to {target.parent}; "
        "nothing was backed up.",
        "Free some space there, or set BACKUP_TEMP_DIR to a folder on a larger disk.",
    )


def _capture_error(path: Path, target: Path, error: sqlite3.Error) -> DeskError:
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return _disk_trouble(path, target)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Broken(
            f"{path} is damaged or not an SQLite database; nothing was backed up.",
            "Restore it from an earlier backup.",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return Misconfigured(
            f"The desk may not read {path}; nothing was backed up.",
            "Give the account that runs the desk permission on the file and its folder.",
        )
    return Transient(
        f"{path} could not be copied ({error}); nothing was backed up.",
        "Try again; if it stays so, check the disk and which programs use the database.",
    )
