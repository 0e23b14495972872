"""What a PostgreSQL database looked like when it was dumped, to recognise it next time.

Two looks. The position of the server's write-ahead log stands still exactly while nobody
writes to any of its databases: equal positions mean an equal database, at once. Where it
moved (the desk's own database may live on the same server), the server's counters of changed
rows say whether a second look is worth its time: then the digest of every table, the schema
as `pg_dump --schema-only` writes it and the position of every sequence are compared. The
counters alone decide nothing: they may lag, and they can be reset.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from services.core.errors import DeskError
from services.protection.sources.pg_connect import connect, environment, said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

_PLACE = """
SELECT (SELECT system_identifier FROM pg_control_system())::text,
  (SELECT oid FROM pg_database WHERE datname = current_database())::text,
  pg_current_wal_insert_lsn()::text
WHERE NOT pg_is_in_recovery()
"""
_WRITES = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::text,
  (SELECT coalesce(stats_reset::text, '') FROM pg_stat_database
   WHERE datname = current_database())
FROM pg_stat_all_tables
WHERE schemaname <> 'pg_toast' AND relname NOT IN ('pg_statistic', 'pg_statistic_ext_data')
"""
_SEQUENCES = """
SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY schemaname, sequencename
"""
_NO_SCHEMA = ("--", "\\restrict ", "\\unrestrict ")
_PATIENCE_SECONDS = 120


def place(url: str) -> dict[str, str]:
    """Server, database and position of the log; empty where the role may not know them.

    Ask before the state is fixed: what is committed in between then only makes the next
    backup look twice.
    """
    from psycopg import errors

    with connect(url) as connection, suppress(errors.InsufficientPrivilege):
        row = connection.execute(_PLACE).fetchone()
        if row is not None:
            return {"server": f"{row[0]}/{row[1]}", "position": row[2]}
    return {}


def writes(connection: Connection[Any]) -> str:
    """The server's counters of changed rows, system tables included."""
    with said():
        row = connection.execute(_WRITES).fetchone()
        return " ".join(map(str, row or ()))


def schema_digest(url: str, command: Sequence[str], connection: Connection[Any]) -> str:
    """sha256 of everything a dump holds besides rows, sequences' positions included.

    Args:
        command: pg_dump with the arguments that name the database and its state.
        connection: a transaction that sees this state.

    Raises:
        DeskError: it can't be read.
    """
    made = subprocess.run(
        [*command, "--schema-only"],
        env=environment(url),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_PATIENCE_SECONDS,
        start_new_session=True,
        check=False,
    )
    if made.returncode:
        raise DeskError("The schema of the shop's database could not be read.")
    # What names the moment, the program or a random word is not the schema.
    lines = made.stdout.decode("utf-8", "surrogateescape").splitlines()
    told = [line for line in lines if line and not line.startswith(_NO_SCHEMA)]
    with said():
        if connection.execute("SELECT 1 FROM pg_largeobject_metadata LIMIT 1").fetchone():
            # No digest holds what is in them: a database that has some is dumped each time.
            told.append(secrets.token_hex(16))
        told += [json.dumps(row, default=str) for row in connection.execute(_SEQUENCES)]
    return hashlib.sha256("\n".join(told).encode("utf-8", "surrogateescape")).hexdigest()
