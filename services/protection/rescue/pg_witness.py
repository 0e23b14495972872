"""What state a database on a server is in, who uses it, and whether anybody wrote to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from db.engine import APPLICATION
from services.protection.rescue.database import LiveState
from services.protection.rescue.pg_beside import exists
from services.protection.sources.postgres import (
    connect,
    database_name,
    maintenance,
    table_names,
)

if TYPE_CHECKING:
    from psycopg import Connection


def state_of(url: str) -> LiveState:
    """What stands where the shop's database should be.

    Raises:
        DeskError: the server can't be reached, in words.
    """
    with maintenance(url) as connection:
        if not exists(connection, database_name(url)):
            return LiveState.MISSING
    return LiveState.READY if table_names(url) else LiveState.DAMAGED


def witness(url: str, name: str) -> str:
    """Changes when somebody writes to any table: what the server counts of each, and the file
    that a TRUNCATE or a rewrite gives it anew.

    The server counts with a delay of up to a second for a session that goes on, and at once
    when one ends. A reset of its statistics looks like a write: the safe side.
    """
    with connect(url, name) as connection:
        row = connection.execute(_WITNESS).fetchone()
    return str(row[0]) if row else ""


def rows_written(connection: Connection[Any], name: str) -> int:
    """How many rows were written to a database since the server counts."""
    row = connection.execute(
        "SELECT tup_inserted + tup_updated + tup_deleted FROM pg_stat_database WHERE datname = %s",
        (name,),
    ).fetchone()
    return int(row[0]) if row else 0


def programs(connection: Connection[Any], name: str) -> int:
    """How many connections others have to a database."""
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND "
        "coalesce(backend_type, 'client backend') = 'client backend' AND application_name <> %s",
        (name, APPLICATION),
    ).fetchone()
    return int(row[0]) if row else 0


_WITNESS = """
SELECT md5(coalesce(string_agg(concat_ws(',', c.oid, c.relfilenode, s.n_tup_ins, s.n_tup_upd,
  s.n_tup_del), ';' ORDER BY c.oid), ''))
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
WHERE c.relname <> 'kb_restores'
"""
