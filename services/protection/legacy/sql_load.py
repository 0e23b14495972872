"""Load an old `.sql` backup into a database of its own beside the shop's, and count it.

One transaction, no psql, the first error ends it. What the file says runs with as few rights
as there can be: where the desk's role is a superuser, with a role made for this alone.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from db.shop import SHOP_TABLES
from services.core.context import Context
from services.core.errors import Broken, DeskError, Misconfigured
from services.protection import sides
from services.protection.legacy.sql_dump import (
    Rows,
    Statements,
    fitting,
    refused,
    take_apart,
)

if TYPE_CHECKING:
    from psycopg import Connection

PREFIX = "desk_legacy_"
_PIECE = 1 << 20


@contextmanager
def loaded(
    ctx: Context,
    job_id: str,
    url: str,
    path: Path,
    name: str,
    moved: Callable[[float], None] = lambda _share: None,
) -> Iterator[str]:
    """A database beside the shop's that holds what the file holds; removed at the end.

    Args:
        job_id: whose it is, which its name says.
        url: of the shop's database, which is not touched.
        name: of the old backup, for people.
        moved: called with the share that is done, 0 to 1.

    Yields:
        The URL of that database.

    Raises:
        Broken: the file is damaged, cut short, holds a command for psql, or does not bring
            the rows that it says.
        Misconfigured: the role may make no database, or the backup is not the shop's.
    """
    from services.protection.sources import postgres

    parts = take_apart(path, name)
    sweep(ctx, url)
    side = f"{_prefix(url)}{job_id}"
    postgres.create_side(url, side)
    try:
        with _least_rights(url, side) as loading:
            _fill(loading, path, name, parts, moved)
        there = make_url(url).set(database=side).render_as_string(hide_password=False)
        missing = SHOP_TABLES - postgres.table_names(there)
        if missing:
            raise Misconfigured(
                f"The legacy backup {name} is not InsightShop's: it has no table "
                f"{', '.join(sorted(missing))}. Nothing was made of it.",
                "Choose another one.",
            )
        yield there
    finally:
        postgres.drop_side(url, side)


def _prefix(url: str) -> str:
    """How the names of what is made here begin: other shops on the server have others."""
    from services.protection.sources import postgres

    shop = hashlib.sha256(postgres.database_name(url).encode()).hexdigest()[:8]
    return f"{PREFIX}{shop}_"


def sweep(ctx: Context, url: str) -> None:
    """Drop what killed imports left; what a living one is at stays.

    Raises:
        Transient, Misconfigured: the server does not answer.
    """
    from services.protection.sources import postgres

    begins = _prefix(url)
    sides.sweep(ctx, url, begins)
    with postgres.maintenance(url) as server:
        rows = server.execute(
            "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", (begins,)
        ).fetchall()
        for role in (str(row[0]) for row in rows):
            if sides.is_left(ctx, role, begins):
                _drop_role(server, role)


def _fill(
    url: str,
    path: Path,
    name: str,
    parts: tuple[Statements | Rows, ...],
    moved: Callable[[float], None],
) -> None:
    import psycopg

    from services.protection.sources import postgres

    total = path.stat().st_size
    with postgres.connect(url, autocommit=False) as connection:
        known = frozenset(
            str(each) for (each,) in connection.execute("SELECT name FROM pg_settings").fetchall()
        )
        connection.rollback()
        try:
            with open(path, "rb") as file:
                for part in parts:
                    if isinstance(part, Statements):
                        _run(connection, fitting(part.text, known))
                    else:
                        _copy(connection, file, part, name)
                        moved(part.end / total)
            _count(connection, parts, name)
            connection.commit()
        except (psycopg.Error, UnicodeError) as error:
            connection.rollback()
            raise _said(error, name) from error
        except BaseException:
            connection.rollback()
            raise


def _run(connection: Connection[Any], text: bytes) -> None:
    if text.strip():
        connection.execute(text)


def _copy(connection: Connection[Any], file: Any, part: Rows, name: str) -> None:
    file.seek(part.begin)
    left = part.end - part.begin
    with connection.cursor() as cursor:
        with cursor.copy(part.statement) as copy:
            while left:
                piece = file.read(min(_PIECE, left))
                if not piece:
                    raise refused(name, "became shorter while it was read")
                left -= len(piece)
                copy.write(piece)
        if cursor.rowcount != part.count:
            raise _unlike(name, part.table, part.count, cursor.rowcount)


def _count(connection: Connection[Any], parts: tuple[Statements | Rows, ...], name: str) -> None:
    """Hold what is in each table against what the file brought for it."""
    from psycopg import sql

    brought: dict[tuple[str, str], int] = {}
    for part in parts:
        if isinstance(part, Rows):
            key = (part.schema, part.table)
            brought[key] = brought.get(key, 0) + part.count
    for (schema, table), count in brought.items():
        row = connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
        ).fetchone()
        if row is None or row[0] != count:
            raise _unlike(name, table, count, row[0] if row else 0)


def _unlike(name: str, table: str, said: int, there: int) -> Broken:
    return refused(name, f"says {said:,} rows of {table[:60]} and brought {there:,}")


def _said(error: Exception, name: str) -> DeskError:
    """Its own text may hold the shop's data: only what kind of error it is goes on."""
    diagnosis = getattr(error, "diag", None)
    about = getattr(diagnosis, "table_name", None) or ""
    what = (getattr(error, "sqlstate", None) or type(error).__name__) + (
        f", table {about[:60]}" if about else ""
    )
    return refused(name, f"could not be loaded: the server refused a statement ({what})")


@contextmanager
def _least_rights(url: str, side: str) -> Iterator[str]:
    """The URL with which the file is loaded.

    A superuser's rights reach every database and, through COPY ... PROGRAM, the machine. For
    the time of loading the side database belongs to a role that has none.
    """
    from psycopg import sql

    from services.protection.sources import postgres

    own = make_url(url).set(database=side)
    with postgres.maintenance(url) as server:
        row = server.execute(
            "SELECT rolsuper, rolname FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    if row is None or not row[0]:
        yield own.render_as_string(hide_password=False)
        return
    role, password = side, secrets.token_hex(24)
    this, back = sql.Identifier(role), sql.Identifier(str(row[1]))
    with postgres.maintenance(url) as server:
        server.execute(
            sql.SQL(
                "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 1 "
                "PASSWORD {}"
            ).format(this, sql.Literal(password))
        )
        owner = server.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (side,)
        ).fetchone()
    database = sql.Identifier(side)
    try:
        with postgres.connect(url, side) as inside:
            inside.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, this))
            inside.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(this))
        limited = own.set(username=role, password=password)
        yield limited.render_as_string(hide_password=False)
        with postgres.connect(url, side) as inside:
            to = sql.Identifier(str(owner[0])) if owner else back
            inside.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(this, to))
            inside.execute(sql.SQL("DROP OWNED BY {}").format(this))
    finally:
        with postgres.maintenance(url) as server:
            # Whatever happened: a database that is about to be removed holds nothing back.
            server.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, back))
            _drop_role(server, role, url, side)


def _drop_role(server: Connection[Any], role: str, url: str = "", side: str = "") -> None:
    from psycopg import errors, sql

    from services.protection.sources import postgres

    try:
        server.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
    except errors.DependentObjectsStillExist:
        if not side:
            raise
        with postgres.connect(url, side) as inside:
            inside.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
        server.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
