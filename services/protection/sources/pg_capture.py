"""Dump a PostgreSQL database that is in use; what is said about it is of the same instant.

Every table is locked first, in the mode of a plain SELECT (which only changes of the schema
wait for), and only then the state is fixed and exported: pg_dump, the digests and the
knowledge base all read that state. The other order would leave a gap in which a TRUNCATE
empties a table even for those who look at the state before it.
"""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from sqlalchemy import Connection as CoreConnection
from sqlalchemy import Engine, NullPool, create_engine, event

from services.core.errors import Broken, DeskError, Misconfigured, Transient
from services.protection.model import TableFacts
from services.protection.sources import pg_facts, pg_mark
from services.protection.sources.pg_connect import (
    connect,
    database_argument,
    database_name,
    environment,
    said,
)
from services.protection.sources.pg_facts import Table
from services.protection.sources.pg_fill import first_error, stop
from services.protection.sources.pg_tools import Tools, tools_of

if TYPE_CHECKING:
    from psycopg import Connection

LOCK_PATIENCE_SECONDS = 60.0
"""How long a capture waits for a program that holds a table locked."""
_SLICE_SECONDS = 5.0
_TRIES = 5
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031
_MOST_ERROR = 8192
_UNCHANGED = "nothing was backed up"


class Dump:
    """What pg_dump writes; an end that is not its proper end is an error, never the end."""

    def __init__(self, child: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
        self._child, self._complaints = child, complaints
        self._out = cast(IO[bytes], child.stdout)
        with suppress(OSError):  # a larger pipe, where the system has such
            fcntl.fcntl(self._out.fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end of a dump that succeeded.

        Raises:
            DeskError: pg_dump failed or was killed; in words.
        """
        piece = self._out.read(size)
        if not piece:
            self._child.wait()
            if self._child.returncode:
                raise self._trouble()
        return piece

    def close(self) -> None:
        """Stop pg_dump where it has not ended."""
        self._out.close()
        stop(self._child)

    def _trouble(self) -> DeskError:
        self._complaints.seek(0)
        text = self._complaints.read(_MOST_ERROR).decode("utf-8", "replace")
        return _dump_error(text, self._child.returncode)


@dataclass(frozen=True)
class Facts:
    """What the captured state holds."""

    tables: dict[str, TableFacts]
    foreign_key_violations: int


class Capture:
    """One state of a database, held for as long as it takes to read all of it."""

    def __init__(
        self,
        url: str,
        tools: Tools,
        connection: Connection[Any],
        tables: Sequence[Table],
        place: dict[str, str],
    ) -> None:
        self.tools = tools
        self.server_version = str(connection.info.parameter_status("server_version") or "")
        self.visible = pg_facts.visible_names(tables)
        self._url, self._connection, self._tables = url, connection, tuple(tables)
        self._place = place
        self._mark: dict[str, str] | None = None
        self._facts_found: Future[Facts] | None = None
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        self._snapshot = str(row[0]) if row else ""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="table-facts")
        self._measuring: Connection[Any] | None = None

    def revision(self, version_table: str) -> str:
        """The migration revision of this state; empty where there is none."""
        with said(_UNCHANGED):
            return pg_facts.revision_in(self._connection, version_table)

    def bytes_on_server(self) -> int:
        """What the database takes there; a dump has less, as it holds no indexes."""
        with said(_UNCHANGED):
            row = self._connection.execute("SELECT pg_database_size(current_database())").fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def dump(self) -> Iterator[Dump]:
        """pg_dump's custom format, not compressed: whoever packs it does that on two cores."""
        with tempfile.TemporaryFile() as complaints:
            child = subprocess.Popen(
                [*self._command(), "--format=custom", "--compress=0"],
                env=environment(self._url),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                bufsize=0,
                start_new_session=True,
            )
            with closing(Dump(child, complaints)) as dump:
                yield dump

    def recognised(self, mark: dict[str, str], facts: Facts) -> dict[str, str] | None:
        """Whether this state is an earlier one.

        Args:
            mark: as `mark` gave it then.
            facts: as `measure` gave them then.

        Returns:
            The mark by which it is recognised the next time; None when it is another.
        """
        if self._place and self._place.items() <= mark.items():
            return mark
        if pg_mark.writes(self._connection) != mark.get("writes"):
            return None
        # Nobody seems to have written: now it is worth looking at everything.
        same = self.mark()["schema"] == mark.get("schema")
        return self.mark() if same and self.measure().result() == facts else None

    def mark(self) -> dict[str, str]:
        """What a later capture needs for `recognised`; looks at the schema once.

        Raises:
            DeskError: the schema can't be read.
        """
        if self._mark is None:
            self._mark = self._place | {
                "writes": pg_mark.writes(self._connection),
                "schema": pg_mark.schema_digest(self._url, self._command(), self._connection),
            }
        return self._mark

    def _command(self) -> list[str]:
        return [
            str(self.tools.pg_dump),
            f"--dbname={database_argument(database_name(self._url))}",
            "--no-password",
            f"--snapshot={self._snapshot}",
            f"--lock-wait-timeout={int(LOCK_PATIENCE_SECONDS * 1000)}",
        ]

    def measure(self) -> Future[Facts]:
        """Begin to count and digest the tables, once: the server does it, beside the dump."""
        if self._facts_found is not None:
            return self._facts_found
        self._measuring = connect(self._url, autocommit=False)
        self._facts_found = self._pool.submit(self._facts, self._measuring)
        return self._facts_found

    def _facts(self, connection: Connection[Any]) -> Facts:
        with said(_UNCHANGED), connection:
            pg_facts.one_view(connection, self._snapshot)
            tables = pg_facts.facts_in(connection, self._tables)
            return Facts(tables, pg_facts.violations_in(connection))

    def engine(self) -> Engine:
        """An engine whose every transaction sees this state, and can't write."""
        engine = create_engine(self._url, poolclass=NullPool, isolation_level="REPEATABLE READ")

        @event.listens_for(engine, "begin")
        def _same_state(connection: CoreConnection) -> None:
            # The snapshot's name is the server's own: digits, letters and dashes.
            connection.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'")
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")

        return engine

    def close(self) -> None:
        """Let the state go; what still reads it is stopped."""
        measuring = self._measuring
        if measuring is not None and not measuring.closed:
            with suppress(Exception):  # it may have ended in between
                measuring.cancel_safe(timeout=5)
        self._pool.shutdown(cancel_futures=True)
        if measuring is not None:
            measuring.close()
        self._connection.close()


@contextmanager
def capture(
    url: str, *, folders: str | None = None, patience: float | None = None
) -> Iterator[Capture]:
    """Hold one state of a database for reading.

    Args:
        folders: the setting POSTGRES_TOOLS.
        patience: seconds to wait for a table that another program holds locked;
            `LOCK_PATIENCE_SECONDS` by default.

    Raises:
        Misconfigured: no tools of the server's version, no rights, no such database.
        Transient: a table stayed locked (names who holds it), or the server is away.
    """
    seconds = LOCK_PATIENCE_SECONDS if patience is None else patience
    connection = connect(url, autocommit=False)
    try:
        tools = tools_of(connection.info.server_version // 10_000, folders)
        with said(_UNCHANGED):
            place = pg_mark.place(url)
            tables = _locked(url, connection, seconds)
            held = Capture(url, tools, connection, tables, place)
    except BaseException:
        connection.close()
        raise
    with closing(held):
        yield held


def _locked(url: str, connection: Connection[Any], seconds: float) -> tuple[Table, ...]:
    """Begin the transaction with every table locked against changes of the schema."""
    from psycopg import errors

    until = time.monotonic() + seconds
    tries = 0
    while True:
        connection.rollback()
        connection.read_only = False
        connection.isolation_level = None
        tables = pg_facts.tables_in(connection)
        connection.rollback()
        pg_facts.one_view(connection)
        try:
            _lock(connection, tables, max(0.1, min(_SLICE_SECONDS, until - time.monotonic())))
        except errors.LockNotAvailable as error:
            connection.rollback()
            if time.monotonic() >= until:
                raise _blocked(url, tables, seconds) from error
            continue
        except errors.UndefinedTable:
            connection.rollback()
            continue  # dropped since it was listed
        # Only now the state is fixed. A table that came in between is not locked yet.
        tries += 1
        if tries == _TRIES or {_key(t) for t in pg_facts.tables_in(connection)} == {
            _key(t) for t in tables
        }:
            return pg_facts.tables_in(connection)


def _key(table: Table) -> tuple[str, str]:
    return table.schema, table.name


def _lock(connection: Connection[Any], tables: Sequence[Table], seconds: float) -> None:
    from psycopg import sql

    if not tables:
        return
    connection.execute(
        sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(int(seconds * 1000)))
    )
    connection.execute(
        sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(
            sql.SQL(", ONLY ").join(table.identifier() for table in tables)
        )
    )
    connection.execute("SET LOCAL lock_timeout = 0")


_HOLDERS = """
SELECT c.relname, l.pid, a.usename, a.application_name, a.state, a.query_start
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND c.relname = ANY(%s) AND l.pid <> pg_backend_pid()
ORDER BY a.query_start NULLS LAST, l.pid LIMIT 3
"""


def _blocked(url: str, tables: Sequence[Table], seconds: float) -> Transient:
    with connect(url) as connection:
        rows = connection.execute(_HOLDERS, ([table.name for table in tables],)).fetchall()
    who = "; ".join(
        f"{table} by process {pid} (role {role or 'unknown'}, program {program or 'unnamed'}"
        + (f", {state}" if state else "")
        + (f", since {since:%Y-%m-%d %H:%M:%S %Z}" if since else "")
        + ")"
        for table, pid, role, program, state, since in rows
    )
    return Transient(
        f"Another program kept tables of the shop's database locked for {seconds:.0f} s; "
        f"{_UNCHANGED}. " + (f"Locked: {who}." if who else "It is gone by now."),
        "See what that program does, or end it: SELECT pg_terminate_backend(process), then try "
        "again.",
    )


def _dump_error(text: str, code: int) -> DeskError:
    shown, lower = first_error(text), text.lower()
    if code < 0:
        return Transient(
            f"pg_dump was killed (signal {-code}); {_UNCHANGED}.",
            "See what ended it (a shutdown, too little memory), then try again.",
        )
    if "statement timeout" in lower or "lock timeout" in lower:
        # pg_dump limits nothing but its locks, by the one or the other, as its version does.
        return Transient(
            f"Another program kept a table of the shop's database locked for "
            f"{LOCK_PATIENCE_SECONDS:.0f} s; {_UNCHANGED}.",
            "See which program holds it (pg_stat_activity), then try again.",
        )
    if "permission denied" in lower or "row-level security" in lower or "row security" in lower:
        return Misconfigured(
            f"The desk's role may not read everything: {shown}; {_UNCHANGED}.",
            "Let the role in DATABASE_URL own the shop's tables, or grant it pg_read_all_data.",
        )
    signs = ("server closed", "terminating", "could not connect", "connection to server", "lost")
    if any(sign in lower for sign in signs):
        return Transient(
            f"The server ended the dump ({shown}); {_UNCHANGED}.",
            "See whether the server was restarted, then try again.",
        )
    return Broken(
        f"pg_dump could not read the shop's database: {shown}; {_UNCHANGED}.",
        "The log of the server says more.",
    )
