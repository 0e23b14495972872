"""The shop's live SQLite file: what state it is in, who writes to it, how it is replaced.

The content goes *into* the file in one transaction of SQLite's backup API. The file itself
is exchanged only where it can't be opened: a program that holds it open would go on with
the old one, and a `-wal` left beside it silently undoes a restore.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from db.engine import read_only_sqlite
from services.core.errors import Transient
from services.protection.rescue.boundary import reached
from services.protection.rescue.database import LiveState
from services.protection.rescue.folders import same_owner
from services.protection.rescue.journal import sync_folder
from services.protection.sources.holders import holders

PATIENCE_SECONDS = 30.0
"""How long a restore waits for other programs to let go of the database."""
WATCH_SECONDS = 1.0
"""How long the preview watches for a writer."""
_FRESH_SECONDS = 1.0
_COMPANIONS = ("-wal", "-journal", "-shm")


def state_of(path: Path, *, closely: bool = True) -> LiveState:
    """Look at the live database without changing it.

    Args:
        closely: with SQLite's own check of every page; else only whether it opens.

    Raises:
        Transient: another program holds it locked.
    """
    if not path.is_file():
        return LiveState.MISSING
    try:
        # Read-write, so that SQLite may roll back what a killed shop left half written.
        with closing(_open(path, timeout=5)) as connection:
            check = "PRAGMA quick_check(1)" if closely else "SELECT 'ok'"
            verdict = connection.execute(check).fetchone()[0]
            tables = connection.execute(
                "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
            ).fetchone()[0]
    except sqlite3.OperationalError as error:
        if _is_busy(error):
            raise in_use(path, 5) from error
        return LiveState.DAMAGED
    except sqlite3.DatabaseError:
        return LiveState.DAMAGED
    return LiveState.READY if verdict == "ok" and tables else LiveState.DAMAGED


def witness(path: Path) -> str:
    """Equal to an earlier one only when no program wrote in between; empty where a write may
    be too fresh to show.

    The file is not opened for it: a process that closes a file gives up the locks of all its
    connections to it.
    """
    seen = []
    for ending in ("", "-wal", "-journal"):
        try:
            found = path.with_name(path.name + ending).stat()
        except OSError:
            seen.append("-")
            continue
        if time.time() - found.st_mtime < _FRESH_SECONDS:
            return ""  # the next write might leave the same time behind
        seen.append(f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}")
    return " ".join(seen)


@contextmanager
def watching(path: Path) -> Iterator[Callable[[], str]]:
    """Watch for other programs that write to the database, for `WATCH_SECONDS` or longer.

    What is given says in words whether one was seen; empty when none was.
    """
    until = time.monotonic() + WATCH_SECONDS
    with closing(_open(path, timeout=0.3)) as connection:
        before: int | None = None
        locked = ""
        try:
            if _mode(connection) != "wal":
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("ROLLBACK")
            before = _version(connection)
        except sqlite3.DatabaseError as error:
            locked = _locked(error)

        def seen() -> str:
            if before is None:
                return locked
            time.sleep(max(until - time.monotonic(), 0.0))
            try:
                wrote = _version(connection) != before
            except sqlite3.DatabaseError as error:
                return _locked(error)
            return "Another program wrote to the shop's database just now." if wrote else ""

        yield seen


def _locked(error: sqlite3.DatabaseError) -> str:
    if isinstance(error, sqlite3.OperationalError) and _is_busy(error):
        return "Another program holds the shop's database locked."
    return ""  # not a database: nobody writes to it


def page_size(path: Path) -> int:
    """Bytes of a page of an SQLite file."""
    with closing(read_only_sqlite(path)) as connection:
        return int(connection.execute("PRAGMA page_size").fetchone()[0])


def in_use(path: Path, seconds: float) -> Transient:
    """What is said when the others did not let go in time; names them where that is known."""
    return Transient(
        f"Another program{holders(path)} kept the shop's database in use for {seconds:.0f} s; "
        "nothing was changed.",
        "Stop the shop (and any other program that has the database open), then try again.",
    )


class Live:
    """One connection to the live database, kept through a restore to notice other writers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = _open(path, timeout=PATIENCE_SECONDS)
        try:
            self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            self.wal = _mode(self.connection) == "wal"
        except sqlite3.Error:
            self.connection.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    def version(self) -> int:
        """A number that moves when, and only when, another connection committed."""
        return _version(self.connection)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else reads or writes inside (in WAL mode: nothing is held).

        In rollback-journal mode the lock of `locking_mode=EXCLUSIVE` outlives transactions,
        the backup API's own included: what is looked at inside is what gets replaced.

        Raises:
            Transient: the others did not let go in time.
        """
        if self.wal:
            yield
            return
        self.connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        try:
            try:
                self.connection.execute("BEGIN EXCLUSIVE")
                self.connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if _is_busy(error):
                    raise in_use(self.path, PATIENCE_SECONDS) from error
                raise
            yield
        finally:
            # A damaged file may refuse; the lock then goes with the connection.
            with suppress(sqlite3.Error):
                self.connection.execute("PRAGMA locking_mode=NORMAL")
                # The lock is let go at the end of the next read, not by the pragma.
                self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def copy_to(self, target: Path) -> None:
        """Write what the database holds now to a new file."""
        with closing(sqlite3.connect(target)) as copy:
            self.connection.backup(copy, pages=-1)

    def equals(self, staged: Path) -> bool:
        """Whether the file is byte for byte what `take_over` or `replace_file` brought.

        False says nothing: so it is in WAL mode, or when somebody wrote since.
        """
        if self.wal:
            return False
        try:
            with self._reading():
                command = [sys.executable, "-I", "-S", "-c", _COMPARER, str(self.path), str(staged)]
                return subprocess.run(command, stdin=subprocess.DEVNULL).returncode == _EQUAL
        except sqlite3.Error:
            return False

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Nobody writes to the file inside."""
        self.connection.execute("BEGIN")
        try:
            self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            yield
        finally:
            self.connection.execute("ROLLBACK")

    def take_over(self, staged: Path) -> None:
        """Replace the whole content by that of `staged`, in one transaction.

        Args:
            staged: a closed SQLite file in rollback-journal mode, of the same page size.

        Raises:
            Transient: the others did not let go in time; nothing was changed.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS

        def give_up(status: int, _remaining: int, _total: int) -> None:
            # Python repeats a busy step for ever; only an exception from here ends it.
            if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                if time.monotonic() > deadline:
                    raise in_use(self.path, PATIENCE_SECONDS)
            else:
                reached("database written")

        with closing(_immutable(staged)) as source:
            self.connection.execute("PRAGMA busy_timeout=250")
            source.backup(self.connection, pages=-1, progress=give_up, sleep=0.1)
        if self.wal:
            # It has grown by the size of the database; a reader may keep us from it.
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# In a process of its own: one that closes a file gives up every POSIX lock that it has on it,
# SQLite's included. Left out is what SQLite itself counts in the header: changes, changes of
# the schema, and the version that wrote last (https://www.sqlite.org/fileformat2.html, 1.3).
_EQUAL = 200
_COMPARER = """
import sys
def plain(header):
    return header[:24] + header[28:40] + header[44:92] + header[100:]
with open(sys.argv[1], "rb", buffering=0) as ours, open(sys.argv[2], "rb", buffering=0) as theirs:
    if plain(ours.read(512)) != plain(theirs.read(512)):
        sys.exit(1)
    while True:
        mine, yours = ours.read(1 << 18), theirs.read(1 << 18)
        if mine != yours:
            sys.exit(1)
        if not mine:
            sys.exit(200)
"""


def replace_file(staged: Path, live: Path, mark: str) -> None:
    """Put a database where none is, or where what is there can't be opened.

    Companion files are removed first: SQLite would play an old `-wal` or journal into the
    new file. The caller has kept copies of everything.

    Args:
        mark: makes the name of the file aside this restore's own.
    """
    live.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_file(live, mark)
    shutil.copyfile(staged, aside)
    if live.exists():
        shutil.copymode(live, aside)
    same_owner(aside, live if live.exists() else live.parent)
    with open(aside, "rb+") as file:
        os.fsync(file.fileno())
    reached("file aside")
    for ending in _COMPANIONS:
        live.with_name(live.name + ending).unlink(missing_ok=True)
    sync_folder(live.parent)
    reached("companions removed")
    aside.replace(live)
    sync_folder(live.parent)


def aside_file(live: Path, mark: str) -> Path:
    """Where `replace_file` builds the new file before the rename."""
    return live.with_name(f".{live.name}.restore-{mark}")


def keep_raw(live: Path, folder: Path) -> list[Path]:
    """Copy an unreadable database and its companion files aside, byte for byte.

    Returns:
        The copies; empty where there was nothing.
    """
    kept = []
    for ending in ("", *_COMPANIONS):
        source = live.with_name(live.name + ending)
        if source.is_file():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            kept.append(Path(shutil.copy2(source, folder / source.name)))
    return kept


def put_raw_back(folder: Path, live: Path) -> None:
    """Undo `replace_file`: the kept files stand again where they were, exactly those."""
    for ending in ("", *_COMPANIONS):
        target = live.with_name(live.name + ending)
        source = folder / target.name
        if source.is_file():
            aside = target.with_name(f".{target.name}.back")
            shutil.copy2(source, aside)
            aside.replace(target)
        else:
            target.unlink(missing_ok=True)
    sync_folder(live.parent)


def holds_restore(path: Path, job_id: str) -> bool:
    """Whether the live database is the one that this restore brought.

    Raises:
        Transient: it is locked.
    """
    if not path.is_file():
        return False
    try:
        with closing(_open(path, timeout=PATIENCE_SECONDS)) as connection:
            found = connection.execute(
                "SELECT 1 FROM kb_restores WHERE job_id = ?", (job_id,)
            ).fetchone()
    except sqlite3.OperationalError as error:
        if _is_busy(error):
            raise in_use(path, PATIENCE_SECONDS) from error
        return False  # no such table: the database of before
    except sqlite3.DatabaseError:
        return False
    return found is not None


def _open(path: Path, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=timeout, isolation_level=None
    )


def _immutable(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _mode(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
