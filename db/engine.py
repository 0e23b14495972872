"""Engines for both planes, with the pragmas that each may and may not have."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, exc, make_url

BUSY_SECONDS = 5.0
"""How long a statement waits for another writer before it fails."""
APPLICATION = "insightshop-desk"
"""What `pg_stat_activity` shows for the desk's own connections."""
PATIENT_SECONDS = 60.0
"""The same where nobody looks at a page: a job's end must be written down."""


def control_engine(url: str, wait: float = BUSY_SECONDS) -> Engine:
    """Engine of the control database. SQLite runs in WAL mode with foreign keys on.
    A server whose driver is not installed raises ModuleNotFoundError.

    Args:
        url: absolute SQLAlchemy URL; the folder of an SQLite file must exist.
        wait: seconds to wait for another writer.
    """
    if sqlite_file(url) is None:
        return _server_engine(url, wait)
    engine = _explicit_transactions(create_engine(url, connect_args={"timeout": wait}))

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def shop_engine(url: str) -> Engine:
    """Engine of the shop's database. Journal mode and pragmas are the shop's: none is set.

    A missing SQLite file is an error at the first connection, never a new empty database.
    A file that was moved away or replaced is never used through an old connection.
    A server whose driver is not installed is an error at the first connection too.
    """
    path = sqlite_file(url)
    if path is None:
        try:
            return _server_engine(url, BUSY_SECONDS)
        except ModuleNotFoundError as error:
            return _no_engine(f"no driver ({error.name}) for the shop's database")

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            check_same_thread=False,
        )

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(engine, "connect")
    def _note_file(_connection: sqlite3.Connection, record: Any) -> None:
        record.info["file"] = _identity(path)

    @event.listens_for(engine, "checkout")
    def _same_file(_connection: sqlite3.Connection, record: Any, _proxy: Any) -> None:
        # A pooled connection to a file that another took the place of would read the old
        # data, or write where nobody looks.
        if record.info.get("file") != _identity(path):
            raise exc.DisconnectionError("the database file was replaced")

    return _explicit_transactions(engine)


def _server_engine(url: str, wait: float) -> Engine:
    """Engine of a PostgreSQL database, with the manners that `read` and `write` promise."""
    own = {"connect_timeout": 10, "application_name": APPLICATION}
    asked = {name: value for name, value in own.items() if name not in make_url(url).query}
    engine = create_engine(
        url,
        pool_pre_ping=True,
        connect_args={
            "client_encoding": "utf8",  # a database in another encoding converts, or refuses
            "prepare_threshold": None,  # a pooler in between may hand each statement elsewhere
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            **asked,
        },
    )
    if engine.dialect.name != "postgresql":
        return engine

    @event.listens_for(engine, "connect")
    def _patience(connection: Any, _record: Any) -> None:
        # A page waits for no lock longer than it would for SQLite's, and a desk that is cut
        # off in a transaction does not hold up the others.
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {int(wait * 1000)}")
            cursor.execute(f"SET idle_in_transaction_session_timeout = {_IDLE_MILLISECONDS}")
        connection.commit()

    @event.listens_for(engine, "begin")
    def _one_writer(connection: Connection) -> None:
        # As SQLite does: every desk's write transactions come one after the other, so what
        # one read is still so when it writes. Readers and the shop are not held up.
        if connection.get_execution_options().get(_WRITES, False):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")

    return engine


_IDLE_MILLISECONDS = 300_000
_WRITERS = 0x6465736B
"""Name of the lock that writers of a database take one after the other: "desk" in ASCII."""


def _no_engine(why: str) -> Engine:
    """Stands for a database that can't be reached, so that the desk opens and says so."""

    def refuse() -> sqlite3.Connection:
        raise sqlite3.OperationalError(why)

    return create_engine("sqlite://", creator=refuse)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def sqlite_file(url: str) -> Path | None:
    """The file of a `sqlite:///` URL, or None for another database."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database)


def sqlite_url(path: Path) -> str:
    """The `sqlite:///` URL of a file, whatever its name holds (%, ?, #)."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def _explicit_transactions(engine: Engine) -> Engine:
    # pysqlite opens transactions late and by itself; SQLAlchemy's documented recipe takes
    # that over ("Enabling Non-Legacy SQLite Transactional Modes").
    @event.listens_for(engine, "connect")
    def _no_implicit_begin(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


_WRITES = "desk_writes"


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """One write transaction: committed at the end, rolled back on any exception.

    On SQLite it begins IMMEDIATE: a deferred transaction that reads and then writes fails
    at once with "database is locked" when somebody wrote in between; this one waits. On
    PostgreSQL the desk's writers wait for each other too; each statement sees what was
    committed before it.
    """
    options: dict[str, Any] = {_WRITES: True}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "READ COMMITTED"
    with engine.execution_options(**options).begin() as connection:
        yield connection


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """One consistent view: everything read inside sees the same state."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
    with engine.connect() as connection, connection.begin():
        yield connection


def read_only_sqlite(path: Path, timeout: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open an SQLite file read-only; never creates it.

    Args:
        path: an existing database file.
        timeout: seconds to wait for a lock.
    """
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=timeout, isolation_level=None
    )
