"""Where a recovery puts an SQLite database: nothing may be there, nothing is ever overwritten.

The file is built beside its place under a hidden name, checked there, and linked into place
at the very end: a link fails where a file stands, a rename would replace it.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine

from db.control import metadata
from db.engine import control_engine, read_only_sqlite, sqlite_url
from db.knowledge import VERSION_TABLE
from services.core.context import Context
from services.core.errors import Broken, Conflict, Transient
from services.protection import snapshots
from services.protection.digests import open_copy
from services.protection.matching import copy_engine
from services.protection.model import Component, Manifest
from services.protection.proving import aside
from services.protection.references import statement
from services.protection.rescue import staging
from services.protection.rescue.boundary import reached
from services.protection.rescue.folders import same_owner
from services.protection.rescue.fresh_control import settle, words
from services.protection.rescue.journal import sync_folder
from services.protection.stores.base import Store

_COMPANIONS = ("-wal", "-journal", "-shm")
_SHOWN = 4


class _File(ABC):
    """A place for an SQLite file; a symbolic link is followed."""

    def __init__(
        self,
        ctx: Context,
        store: Store,
        manifest: Manifest,
        component: Component,
        what: str,
        live: Path,
    ) -> None:
        self.ctx, self.store, self.manifest, self.component = ctx, store, manifest, component
        self.what, self.live, self._mark = what, live.resolve(), manifest.id
        self.staged = self.live.with_name(f".{self.live.name}.recovery-{manifest.id}")

    @property
    def where(self) -> str:
        """See `Plane.where`."""
        return str(self.live)

    @abstractmethod
    def counts(self, table: str) -> bool:
        """Whether the rows of a table are something that somebody could miss."""

    def wants(self) -> list[tuple[Path, int]]:
        """See `Plane.wants`."""
        return [(self.live.parent, self.component.plain_bytes)]

    def require_free(self) -> str:
        """See `Plane.require_free`."""
        if self._placed():
            return ""
        if not self.live.exists():
            stale = [end for end in _COMPANIONS if self._beside(end).exists()]
            return f"A left-over {stale[0]} file is set aside." if stale else ""
        held = self._held()
        if held:
            raise Conflict(
                f"There is already something in the place of {self.what}: {self.live} holds "
                f"{held}. Nothing was changed; a recovery never overwrites data.",
                f"If nobody needs it, move it away (mv {self.live} {self.live}.old) and run this "
                "again. To put a backup over a shop that lives, use restore.py ID without "
                "--fresh: it shows what would be lost, and can be undone.",
            )
        return "An empty database is there; it is set aside."

    def staged_engine(self) -> Engine:
        """See `Plane.staged_engine`."""
        return copy_engine(self.staged)

    def clear(self) -> None:
        """See `Plane.clear`."""
        if not self._placed():
            for path in self.staged.parent.glob(f"{self.staged.name}*"):
                path.unlink()

    def place(self) -> None:
        """See `Plane.place`."""
        if self._placed() or not self.staged.exists():
            self.staged.unlink(missing_ok=True)
            return
        self.require_free()
        self._set_aside()
        reached(f"{self.live.name} free")
        self.staged.chmod(self.mode())
        same_owner(self.staged, self.live.parent)
        try:
            os.link(self.staged, self.live)
        except FileExistsError as error:
            raise Conflict(
                f"A program made {self.live} while the recovery ran. The recovered database is "
                f"complete and waits in {self.staged}.",
                f"Stop that program (the shop?), move {self.live} away, and run this again.",
            ) from error
        except OSError:
            self.staged.rename(self.live)  # a disk without hard links
        sync_folder(self.live.parent)
        reached(f"{self.live.name} placed")
        self.staged.unlink(missing_ok=True)

    def check(self) -> str:
        """See `Plane.check`."""
        try:
            with closing(read_only_sqlite(self.live)) as connection:
                names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                found = {name for (name,) in names}
        except sqlite3.Error as error:
            raise Broken(f"{self.live} can't be opened where it stands now ({error}).") from error
        if not self.tables() <= found:
            raise Broken(f"{self.live} lacks tables where it stands now.")
        return f"{len(found)} tables of {self.what}"

    @abstractmethod
    def tables(self) -> set[str]:
        """What it has to hold."""

    @abstractmethod
    def mode(self) -> int:
        """Who may read and write the file."""

    def _fetch(self, target: Path) -> None:
        """Bring the file, unless an earlier attempt did."""
        if staging.sha256_of(target) != self.component.plain_sha256:
            target.parent.mkdir(parents=True, exist_ok=True)
            snapshots.fetch(self.ctx, self.store, self.manifest, self.component.name, target)

    def _placed(self) -> bool:
        both = self.live.exists() and self.staged.exists()
        return both and self.staged.samefile(self.live)

    def _held(self) -> str:
        """What the live file holds, for a person; empty when that is nothing."""
        if not self.live.is_file():
            return "something that is no file"
        if self.live.stat().st_size == 0:
            return ""
        try:
            # Without a log beside it, no companion file has to be made for looking.
            look = read_only_sqlite if self._beside("-wal").exists() else open_copy
            with closing(look(self.live)) as connection:
                found = _rows(connection, self.counts)
        except sqlite3.Error:
            return "a file that can't be read as a database"
        return ", ".join(f"{count:,} {name}" for name, count in found)

    def _set_aside(self) -> None:
        """Nobody uses an empty database that is moved away; a stale `-wal` would be played
        into the new file."""
        if self.live.exists() and self.live.stat().st_size:
            _require_unused(self.live)
        for ending in ("", *_COMPANIONS):
            path = self._beside(ending)
            if path.exists():
                path.rename(self._kept(path))

    def _beside(self, ending: str) -> Path:
        return self.live.with_name(self.live.name + ending)

    def _kept(self, path: Path) -> Path:
        number = 0
        while (kept := path.with_name(f"{path.name}.before-{self._mark}-{number}")).exists():
            number += 1
        return kept


class ShopFile(_File):
    """The shop's database: put in place byte for byte as it was captured."""

    def counts(self, table: str) -> bool:
        """Every table does, but for what the desk itself leaves in an empty database."""
        return table != VERSION_TABLE and not table.startswith("sqlite_")

    def tables(self) -> set[str]:
        """What the manifest names."""
        return set(self.manifest.tables)

    def mode(self) -> int:
        """As any new file of the account that runs this: the shop has to open it."""
        return 0o666 & ~_umask()

    def stage(self) -> str:
        """See `Plane.stage`."""
        self._fetch(self.staged)
        return aside.compare(aside.sqlite_database(self.staged), self.manifest)


class ControlFile(_File):
    """The desk's own database, made fit for this machine (`fresh_control`)."""

    def counts(self, table: str) -> bool:
        """A desk that nobody has an account of is empty, however often it was started."""
        return table == "accounts"

    def tables(self) -> set[str]:
        """Every table of this version."""
        return set(metadata.tables)

    def mode(self) -> int:
        """It holds password hashes."""
        return 0o600

    def stage(self) -> str:
        """See `Plane.stage`."""
        raw = self.staged.with_name(f"{self.staged.name}.new")
        self.clear()  # always made anew: what was changed is no longer what was fetched
        self._fetch(raw)
        aside.sqlite_control(raw)
        engine = control_engine(sqlite_url(raw))
        try:
            facts = settle(engine, self.ctx.now(), self.manifest.id)
        finally:
            engine.dispose()
        with closing(sqlite3.connect(raw)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")  # one file, whole by itself
        with open(raw, "rb+") as file:
            os.fsync(file.fileno())
        raw.rename(self.staged)
        return words(facts)


def _rows(connection: sqlite3.Connection, counts: Callable[[str], bool]) -> list[tuple[str, int]]:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    found = []
    for (name,) in names.fetchall():
        if counts(name):
            query = statement("SELECT count(*) FROM $table", table=name)
            if count := connection.execute(query).fetchone()[0]:
                found.append((name, count))
    return sorted(found, key=lambda pair: -pair[1])[:_SHOWN]


def _require_unused(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as connection:
            # Leaving WAL mode needs the file to oneself; in the other mode, the lock does.
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        raise Transient(
            f"Another program has {path} open. What was recovered so far waits beside it.",
            "Stop the desk and the shop on this machine, then run this again.",
        ) from error


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
