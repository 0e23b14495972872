"""Reach a PostgreSQL server: from here with psycopg, and as the programs of PostgreSQL do.

The address comes as SQLAlchemy's URL. Its password goes to psycopg as a parameter and to a
program through the environment of that one process: never on a command line, which every
account of the machine can read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from db.engine import APPLICATION
from services.core.errors import DeskError, Misconfigured, Transient
from services.core.server_errors import is_server_error, server_error

if TYPE_CHECKING:
    from psycopg import Connection

CONNECT_SECONDS = 10
_ALIVE = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
"""A server that vanished is noticed after a minute, not after two hours."""
_KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
_MAINTENANCE = ("postgres", "template1")
_WHAT, _VARIABLE = "The shop's database", "DATABASE_URL"


def is_server(url: str) -> bool:
    """Whether a database URL names a PostgreSQL server."""
    return make_url(url).get_backend_name() == "postgresql"


def database_name(url: str) -> str:
    """The database that a URL names; libpq's own rule where it names none."""
    parameters = _parameters(url)
    return str(parameters.get("dbname") or parameters.get("user") or "postgres")


def connect(url: str, database: str | None = None, *, autocommit: bool = True) -> Connection[Any]:
    """Open a connection whose statements may take as long as they need.

    Args:
        database: another one on the same server.

    Raises:
        DeskError: what keeps the desk from it, in words.
    """
    import psycopg

    with said():
        connection = psycopg.connect(
            **_with_defaults(url, database),
            autocommit=True,
            prepare_threshold=None,  # a pooler in between may hand each statement elsewhere
        )
        try:
            # A limit that the server sets for the shop's short statements is none for a backup.
            connection.execute("SET statement_timeout = 0")
            connection.execute("SET idle_in_transaction_session_timeout = 0")
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def maintenance(url: str) -> Iterator[Connection[Any]]:
    """A connection to the server that does not use the shop's database, which may be lost.

    Raises:
        DeskError: there is no way in; in words.
    """
    name = database_name(url)
    trouble: DeskError | None = None
    for database in _MAINTENANCE:
        if database == name:
            continue
        try:
            connection = connect(url, database)
        except DeskError as error:
            trouble = trouble or error
            continue
        with connection:
            yield connection
        return
    raise Misconfigured(
        "The desk can reach none of the databases 'postgres' and 'template1' on the server, and "
        "from the shop's own it can't be exchanged. Nothing was changed.",
        "Let the role in DATABASE_URL connect to the database 'postgres'.",
    ) from trouble


@contextmanager
def said(unchanged: str = "nothing was changed") -> Iterator[None]:
    """Put what psycopg raises inside into words.

    Raises:
        DeskError: instead of any error of psycopg.
    """
    try:
        yield
    except Exception as error:
        if not is_server_error(error):
            raise
        known = server_error(error, _WHAT, _VARIABLE, unchanged)
        raise known or Transient(
            f"{_WHAT} could not be used ({getattr(error, 'sqlstate', None) or 'no code'}); "
            f"{unchanged}.",
            "Try again; if it stays so, the server's log says more.",
        ) from error


def environment(url: str, options: str = "") -> dict[str, str]:
    """The environment of a program of PostgreSQL that is to use this server.

    Args:
        options: for the server, `-c name=value ...`.

    Raises:
        Misconfigured: the URL has an option that only a command line could carry.
    """
    from psycopg import pq

    variables = {
        option.keyword.decode(): option.envvar.decode()
        for option in pq.Conninfo.get_defaults()
        if option.envvar
    }
    values = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(("PG", "KRB5"))
    }
    # The database is named on the command line (`database_argument`): it is no secret.
    for keyword, value in _parameters(url).items():
        if keyword in variables and keyword not in ("dbname", "options"):
            values[variables[keyword]] = str(value)
        elif keyword in ("sslpassword", "oauth_client_secret"):
            raise Misconfigured(
                f"DATABASE_URL has the option {keyword}, which can't be handed to pg_dump without "
                "showing it to other accounts of this machine. Nothing was done.",
                "Use a key file without a password, readable by the desk's account alone.",
            )
    own = str(_parameters(url).get("options") or os.environ.get("PGOPTIONS", ""))
    if own or options:
        values["PGOPTIONS"] = f"{own} {options}".strip()
    values["PGAPPNAME"] = APPLICATION
    values.setdefault("PGCONNECT_TIMEOUT", str(CONNECT_SECONDS))
    values["LC_ALL"] = "C"
    return values


def database_argument(name: str) -> str:
    """A database's name as a program's `--dbname` takes it, whatever characters it has."""
    from psycopg.conninfo import make_conninfo

    return make_conninfo(dbname=name, **_ALIVE)


def _with_defaults(url: str, database: str | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": APPLICATION,
        "client_encoding": "utf8",
        **_ALIVE,
        **_parameters(url),
    }
    return values if database is None else values | {"dbname": database}


def _parameters(url: str) -> dict[str, Any]:
    parsed = make_url(url)
    _nothing, values = parsed.get_dialect()().create_connect_args(parsed)
    return dict(values)
