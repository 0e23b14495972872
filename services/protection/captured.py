"""A database, captured for a snapshot: what it runs on makes no difference from here on.

Everything that is asked of a captured database is answered from one and the same state: what
is sent, the rows and digests of its tables, the knowledge base read from it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from db.engine import read_only_sqlite, sqlite_file
from db.knowledge import VERSION_TABLE
from services.core.errors import Broken
from services.protection import digests
from services.protection.measuring import Known, Measuring, table_facts
from services.protection.model import Component, Part, TableFacts
from services.protection.sending import Sender
from services.protection.sources import sqlite
from services.protection.unchanged import COUNTER, SERVER, Earlier

if TYPE_CHECKING:
    from services.protection.sources import postgres

SQLITE, POSTGRESQL = "sqlite", "postgresql"
"""What `Manifest.engines` may say."""

_OPEN_SQLITE = "zstd -d {name} -o {plain} && sqlite3 {plain}"
_OPEN_DUMP = "zstd -d {name} -o {plain} && pg_restore --no-owner --dbname=A_NEW_DATABASE {plain}"


@dataclass(frozen=True)
class Measured:
    """What a captured database holds."""

    tables: dict[str, TableFacts]
    foreign_key_violations: int


class Captured(Protocol):
    """One state of one database."""

    engine_name: str
    digest: str  # name of the digest of its tables
    table_names: frozenset[str]
    tools: dict[str, str]  # tool -> version

    unchanged: bool  # it is what the earlier snapshot holds, and nothing was copied

    def measure(self) -> None:
        """Begin to count and digest its tables, beside whatever is done next."""

    def measured(self) -> Measured:
        """Wait for what `measure` began.

        Raises:
            Broken: the database is damaged.
        """

    def send(self, sender: Sender, part: Part, moved: Callable[[float], None]) -> Component:
        """Pack and store it.

        Args:
            moved: called with the share that is done, 0 to 1.
        """

    def engine(self) -> Engine:
        """An engine that reads this state."""

    def revision(self, version_table: str) -> str:
        """The migration revision that it stands at; empty where there is none."""

    def said(self, error: SQLAlchemyError) -> Exception:
        """What to raise for an error of `engine`."""

    def marks(self) -> dict[str, Any]:
        """What a manifest keeps to recognise this state again; ask before `release`."""

    def release(self) -> None:
        """Let the live database go: nothing more is read from it than `measured` gave."""


def room(url: str) -> int:
    """Bytes that capturing a database takes in the workspace; a server's is never copied there."""
    path = sqlite_file(url)
    return sqlite.live_bytes(path) if path else 0


@contextmanager
def captured(
    url: str,
    part: Part,
    folder: Path,
    tools: str | None = None,
    earlier: Earlier | None = None,
    known: Known | None = None,
) -> Iterator[Captured]:
    """Capture a database.

    Args:
        url: absolute, as the settings give it.
        part: what it is to the snapshot; names its file.
        folder: of the workspace.
        tools: the setting POSTGRES_TOOLS.
        earlier: a snapshot whose copy of this database is taken where nobody wrote since.
        known: what was found in a copy of this SQLite file a moment ago: a copy of the same
            bytes is not measured again.

    Raises:
        Misconfigured, Transient, Broken: it can't be captured.
    """
    path = sqlite_file(url)
    if path is not None:
        copy = folder / f"{part.value}.sqlite3"
        kept = earlier.known_database() if earlier else None
        if not sqlite.capture(path, copy, known=kept) and earlier is not None:
            yield UnchangedFile(path, earlier)
            return
        held = CapturedFile(path, copy, known)
        try:
            yield held
        finally:
            held.stop()
        return
    from services.protection.sources import postgres

    with postgres.capture(url, folders=tools) as capture:
        same = _recognised(capture, earlier) if earlier else None
        if earlier is not None and same is not None:
            yield UnchangedServer(url, capture, earlier, same)
        else:
            yield CapturedServer(url, capture)


def _recognised(capture: postgres.Capture, earlier: Earlier) -> dict[str, str] | None:
    from services.protection.sources import postgres

    mark, manifest = earlier.known_server(), earlier.manifest
    if mark is None or manifest.extra.get("table_digest") != postgres.DIGEST:
        return None
    facts = postgres.Facts(manifest.tables, manifest.foreign_key_violations)
    return capture.recognised(mark, facts)


class CapturedFile:
    """A copy of an SQLite database, which nobody writes to."""

    engine_name, digest, unchanged = SQLITE, digests.DIGEST, False

    def __init__(self, live: Path, copy: Path, known: Known | None = None) -> None:
        self.table_names = sqlite.table_names(copy)
        self.tools: dict[str, str] = {}
        self._live, self._copy, self._known = live, copy, known
        self._sent = ""  # sha256 of what was sent
        self._measuring: Measuring | None = None

    def measure(self) -> None:
        """In a process of its own, for the second core; not where it is likely to be known."""
        if self._known is None or self._known.counter != sqlite.change_counter(self._copy):
            self._measuring = Measuring(self._copy)

    def measured(self) -> Measured:
        """The child checks the copy as well."""
        if self._measuring is None:
            # Whoever packed the copy has read all of it: the digest tells whether it is known.
            if self._known is not None and self._known.sha256 == self._sent:
                return Measured(self._known.facts(), self._known.foreign_key_violations)
            self._measuring = Measuring(self._copy)
        try:
            found = self._measuring.found()
        except Broken as error:
            raise Broken(
                f"The copy of {self._live} could not be read; nothing was backed up."
            ) from error
        if found.verdict != "ok":
            raise Broken(
                f"The database {self._live} is damaged ({found.verdict[:120]}); "
                "nothing was backed up.",
                "Restore it from an earlier backup.",
            )
        return Measured(table_facts(found.tables), found.foreign_key_violations)

    def send(self, sender: Sender, part: Part, moved: Callable[[float], None]) -> Component:
        """The file itself, compressed."""
        name, total = f"{self._copy.name}.zst", self._copy.stat().st_size or 1
        with open(self._copy, "rb", buffering=0) as file:
            component = sender.send(
                name,
                part,
                file,
                _OPEN_SQLITE.format(name=name, plain=self._copy.name),
                compress=True,
                on_plain=lambda count: moved(count / total),
            )
        self._sent = component.plain_sha256
        return component

    def engine(self) -> Engine:
        """Gives the file back after each use."""
        copy = self._copy
        return create_engine(
            "sqlite://", creator=lambda: digests.open_copy(copy), poolclass=NullPool
        )

    def revision(self, version_table: str) -> str:
        """From the copy."""
        try:
            return sqlite.revision(self._copy, version_table)
        except sqlite3.DatabaseError:
            self.measured()  # a damaged database is said as such
            raise

    def said(self, error: SQLAlchemyError) -> Exception:
        """A damaged database is said as such."""
        self.measured()
        return error

    def marks(self) -> dict[str, Any]:
        """The counter in its header."""
        return {COUNTER: sqlite.change_counter(self._copy)}

    def release(self) -> None:
        """Nothing of the live file is held."""

    def stop(self) -> None:
        """End the child."""
        if self._measuring is not None:
            self._measuring.stop()


class _AsItWas:
    """What is known of a database to which nobody wrote since the earlier snapshot."""

    unchanged = True
    _earlier: Earlier

    def measure(self) -> None:
        """It was, then."""

    def measured(self) -> Measured:
        """As it was then."""
        manifest = self._earlier.manifest
        return Measured(manifest.tables, manifest.foreign_key_violations)

    def send(self, sender: Sender, part: Part, moved: Callable[[float], None]) -> Component:
        """The object that is there already."""
        component = self._earlier.of(part)
        if component is None:
            raise RuntimeError("an unchanged database is one that an earlier snapshot holds")
        sender.share([component])
        moved(1.0)
        return component


class UnchangedFile(_AsItWas):
    """An SQLite database to which nobody wrote since the earlier snapshot."""

    engine_name, digest = SQLITE, digests.DIGEST

    def __init__(self, live: Path, earlier: Earlier) -> None:
        self.table_names = frozenset(earlier.manifest.tables)
        self.tools: dict[str, str] = {}
        self._live, self._earlier = live, earlier

    def engine(self) -> Engine:
        """Reads the live file; a write since then is seen."""
        live = self._live
        return create_engine(
            "sqlite://", creator=lambda: read_only_sqlite(live), poolclass=NullPool
        )

    def revision(self, version_table: str) -> str:
        """As it was then."""
        key = "knowledge" if version_table == VERSION_TABLE else "control"
        return self._earlier.manifest.revisions.get(key, "")

    def said(self, error: SQLAlchemyError) -> Exception:
        """As it is."""
        return error

    def marks(self) -> dict[str, Any]:
        """As it was then."""
        return {COUNTER: self._earlier.manifest.extra[COUNTER]}

    def release(self) -> None:
        """Nothing of the live file is held."""


class CapturedServer:
    """A PostgreSQL database, held in one state while it is read."""

    engine_name, unchanged = POSTGRESQL, False

    def __init__(self, url: str, capture: postgres.Capture) -> None:
        from services.protection.sources import postgres

        self.digest = postgres.DIGEST
        self.table_names = capture.visible
        self.tools = {"postgresql": capture.server_version, "pg_dump": capture.tools.version}
        self._url, self._capture = url, capture
        self._measuring: Future[postgres.Facts] | None = None

    def measure(self) -> None:
        """On the server, beside the dump."""
        self._measuring = self._capture.measure()

    def measured(self) -> Measured:
        """What the server found."""
        if self._measuring is None:
            self.measure()
            return self.measured()
        facts = self._measuring.result()
        return Measured(facts.tables, facts.foreign_key_violations)

    def send(self, sender: Sender, part: Part, moved: Callable[[float], None]) -> Component:
        """The dump as it comes; when it fails, so does the upload, and no object is left."""
        plain = f"{part.value}.pgdump"
        name, total = f"{plain}.zst", self._capture.bytes_on_server() or 1
        with self._capture.dump() as dump:
            return sender.send(
                name,
                part,
                dump,
                _OPEN_DUMP.format(name=name, plain=plain),
                compress=True,
                on_plain=lambda count: moved(min(1.0, count / total)),
            )

    def engine(self) -> Engine:
        """Every transaction of it sees the captured state."""
        return self._capture.engine()

    def revision(self, version_table: str) -> str:
        """Of the captured state."""
        return self._capture.revision(version_table)

    def said(self, error: SQLAlchemyError) -> Exception:
        """In words."""
        from services.core.databases import shop_error

        return shop_error(error)

    def marks(self) -> dict[str, Any]:
        """Where the server's log stood, and what the schema was."""
        return {SERVER: self._capture.mark()}

    def release(self) -> None:
        """A state that is held keeps the server from tidying up: no longer than needed."""
        if self._measuring is not None:
            self._measuring.result()
        self._capture.close()


class UnchangedServer(_AsItWas, CapturedServer):
    """A PostgreSQL database to which nobody wrote since the earlier snapshot."""

    def __init__(
        self, url: str, capture: postgres.Capture, earlier: Earlier, mark: dict[str, str]
    ) -> None:
        super().__init__(url, capture)
        self._earlier, self._mark = earlier, mark

    def marks(self) -> dict[str, Any]:
        """Those that it was recognised by."""
        return {SERVER: self._mark}
