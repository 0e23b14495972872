"""A second database beside the shop's on the same server: made, filled, exchanged, dropped.

The exchange is one transaction. Renaming a database locks it against new connections at
once, and PostgreSQL then waits five seconds for the old ones to end, which is when they are
terminated: the shop meets either the old data or the new, and a kill at any instant leaves
the one or the other, with nothing to be reopened afterwards.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from services.core.errors import Conflict, DeskError, Misconfigured, Transient
from services.protection.sources.pg_connect import (
    database_name,
    maintenance,
    said,
)

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composable, Composed

_SWAP_SECONDS = 30.0
_LOCK_MILLISECONDS = 10_000


def databases(url: str, prefix: str = "") -> tuple[str, ...]:
    """The databases on the server whose names begin with `prefix`, by name."""
    with maintenance(url) as connection, said():
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND NOT datistemplate "
            "ORDER BY 1",
            (prefix,),
        ).fetchall()
    return tuple(str(name) for (name,) in rows)


def create_side(url: str, name: str) -> None:
    """Make an empty database as the shop's is: encoding, locale, owner, rights and settings.

    Where the shop's own is lost, the server's defaults are taken.

    Raises:
        Conflict: there is a database of this name.
        Misconfigured: the role may not create databases.
        DeskError: another trouble with the server, in words.
    """
    from psycopg import errors

    with maintenance(url) as connection, said():
        try:
            connection.execute(_creation(connection, database_name(url), name))
            _as_the_live_one(connection, database_name(url), name)
        except errors.DuplicateDatabase as error:
            raise Conflict(f"There is a database named {name} on the server already.") from error
        except errors.InsufficientPrivilege as error:
            raise Misconfigured(
                f"The role {connection.info.user} may not create a database beside the shop's; "
                "nothing was changed.",
                f'Let it: ALTER ROLE "{connection.info.user}" CREATEDB, and let it own the '
                "shop's database.",
            ) from error


def drop_side(url: str, name: str) -> None:
    """Remove a database that is not the shop's own, whoever uses it; none there is no error."""
    from psycopg import sql

    not_live(url, name)
    with maintenance(url) as connection, said():
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


def swap(url: str, side: str, old: str, seconds: float = _SWAP_SECONDS) -> None:
    """Put a database in the place of the shop's, which is kept under another name.

    Sessions on both are ended. Where the shop's own is lost, the side one takes its name.

    Args:
        side: what becomes the shop's database.
        old: the name under which the present one is kept; must be free.
        seconds: how long to try to end the sessions.

    Raises:
        Transient: sessions that the role may not end keep a database; nothing was changed.
        DeskError: another trouble with the server, in words; nothing was changed.
    """
    from psycopg import errors

    live = database_name(url)
    not_live(url, side)
    until = time.monotonic() + seconds
    with maintenance(url) as connection, maintenance(url) as ending:
        while True:
            with _ended_meanwhile(ending, (live, side)):
                try:
                    with said():
                        _rename(connection, live, side, old)
                    return
                except DeskError as error:
                    in_use = isinstance(error.__cause__, errors.ObjectInUse)
                    if not in_use or time.monotonic() > until:
                        raise _kept(ending, (live, side), error) if in_use else error from error


def _rename(connection: Connection[Any], live: str, side: str, old: str) -> None:
    from psycopg import sql

    there = connection.execute(
        "SELECT count(*) FROM pg_database WHERE datname = %s", (live,)
    ).fetchone()
    renames = [(side, live)]
    if there and there[0]:
        renames.insert(0, (live, old))
    with connection.transaction():
        connection.execute(
            sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_MILLISECONDS))
        )
        for now, then in renames:
            connection.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                    sql.Identifier(now), sql.Identifier(then)
                )
            )


@contextmanager
def _ended_meanwhile(connection: Connection[Any], names: tuple[str, ...]) -> Iterator[None]:
    """End every session on these databases, again and again, until the body is left."""
    import psycopg

    left = threading.Event()

    def end() -> None:
        with suppress(psycopg.Error):
            while not left.is_set():
                rows = connection.execute(_SESSIONS, (list(names),)).fetchall()
                for pid, *_who in rows:
                    with suppress(psycopg.errors.InsufficientPrivilege):
                        connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
                left.wait(0.05)

    thread = threading.Thread(target=end, name="end-sessions", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()


# The type of a session that is another role's is told to few: NULL.
_SESSIONS = """
SELECT pid, usename, application_name FROM pg_stat_activity
WHERE datname = ANY(%s) AND coalesce(backend_type, 'client backend') = 'client backend'
  AND pid <> pg_backend_pid()
ORDER BY pid
"""


def _kept(connection: Connection[Any], names: tuple[str, ...], error: DeskError) -> DeskError:
    with said():
        rows = connection.execute(_SESSIONS, (list(names),)).fetchall()
    if not rows:
        return error
    who = "; ".join(f"process {pid}, role {role}, {app or 'no name'}" for pid, role, app in rows)
    return Transient(
        f"The database could not be exchanged: sessions on it could not be ended ({who[:300]}). "
        "Nothing was changed.",
        "End them (SELECT pg_terminate_backend(...), as a superuser), then try again.",
    )


def _creation(connection: Connection[Any], live: str, name: str) -> Composed:
    from psycopg import sql

    words: list[Composable] = [
        sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
    ]
    row = _live_row(connection, live)
    if row is not None:
        encoding, collate, ctype, provider, locale, space, owner, limit, may_own = row
        words.append(
            sql.SQL("ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(
                sql.Literal(encoding), sql.Literal(collate), sql.Literal(ctype)
            )
        )
        if provider in _LOCALES:
            words.append(sql.SQL(_LOCALES[provider]).format(sql.Literal(locale)))
        if space != "pg_default":
            words.append(sql.SQL("TABLESPACE {}").format(sql.Identifier(space)))
        if may_own:
            words.append(sql.SQL("OWNER {}").format(sql.Identifier(owner)))
        words.append(sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(limit)))
    return sql.SQL(" ").join(words)


_LOCALES = {
    "i": "LOCALE_PROVIDER icu ICU_LOCALE {}",
    "b": "LOCALE_PROVIDER builtin BUILTIN_LOCALE {}",
}


def _live_row(connection: Connection[Any], live: str) -> tuple[Any, ...] | None:
    # By way of JSON: which of the columns there are depends on the version.
    return connection.execute(
        """
        SELECT pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
          to_jsonb(d)->>'datlocprovider',
          coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'),
          s.spcname, r.rolname, d.datconnlimit, pg_has_role(d.datdba, 'MEMBER')
        FROM pg_database d
        JOIN pg_tablespace s ON s.oid = d.dattablespace JOIN pg_roles r ON r.oid = d.datdba
        WHERE d.datname = %s
        """,
        (live,),
    ).fetchone()


def _as_the_live_one(connection: Connection[Any], live: str, name: str) -> None:
    """Give a new database the rights and settings of the shop's: no dump holds these."""
    from psycopg import errors, sql

    side = sql.Identifier(name)
    for role, setting, value in connection.execute(_SETTINGS, (live,)).fetchall():
        # "FROM CURRENT" knows which settings are lists; a literal would quote them as one.
        whose = (
            sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), side)
            if role
            else sql.SQL("DATABASE {}").format(side)
        )
        with suppress(errors.InsufficientPrivilege), connection.transaction():
            connection.execute("SELECT set_config(%s, %s, true)", (setting, value))
            connection.execute(
                sql.SQL("ALTER {} SET {} FROM CURRENT").format(whose, sql.Identifier(setting))
            )
    rights = connection.execute(_RIGHTS, (live,)).fetchall()
    if rights:
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(side))
    for role, right, passing_on in rights:
        connection.execute(
            sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                sql.SQL(right),
                side,
                sql.Identifier(role) if role else sql.SQL("PUBLIC"),
                sql.SQL(" WITH GRANT OPTION" if passing_on else ""),
            )
        )


_SETTINGS = """
SELECT r.rolname, split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c
WHERE d.datname = %s
"""

_RIGHTS = """
SELECT r.rolname, a.privilege_type, a.is_grantable
FROM pg_database d, aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE d.datname = %s
"""


def not_live(url: str, name: str) -> None:
    """Refuse what must never be done to the shop's own database: a bug, not a person's doing."""
    if name == database_name(url):
        raise ValueError(f"{name} is the shop's own database")
