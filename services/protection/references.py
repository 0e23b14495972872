"""How many rows refer to a row that is not there."""

from __future__ import annotations

import json
import sqlite3
from string import Template

_GAPS = 500
"""Ids that may be missing in a parent for references to be told by their range."""


def violations(connection: sqlite3.Connection) -> int:
    """The number of rows that `PRAGMA foreign_key_check` gives.

    SQLite looks every reference up by itself. Where the ids of a parent have few gaps,
    comparing with their range gives the same number without (`python -m benchmarks.parts`
    prints both); where it would not, SQLite is asked.
    """
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return sum(_of_table(connection, table) for (table,) in tables)


def _of_table(connection: sqlite3.Connection, table: str) -> int:
    keys = connection.execute(
        'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?)', (table,)
    ).fetchall()
    if not keys:
        return 0
    single = len({key[0] for key in keys}) == len(keys)
    found = [_by_range(connection, table, *key[1:]) if single else None for key in keys]
    known = [number for number in found if number is not None]
    if len(known) == len(found):
        return sum(known)
    check = statement("PRAGMA foreign_key_check($table)", table=table)
    return sum(1 for _ in connection.execute(check))


def _by_range(
    connection: sqlite3.Connection, table: str, parent: str, column: str, wanted: str | None
) -> int | None:
    key = _rowid_name(connection, parent)
    if key is None or (wanted or key).lower() != key.lower():
        return None
    first, last, count = connection.execute(
        statement("SELECT min($key), max($key), count(*) FROM $parent", key=key, parent=parent)
    ).fetchone()
    if not count or last - first + 1 - count > _GAPS:
        return None
    # Counting is cheaper than summing conditions.
    filled, whole, inside = connection.execute(
        statement(
            "SELECT count($column), count(CASE WHEN typeof($column) = 'integer' THEN 1 END), "
            "count(CASE WHEN $column BETWEEN ? AND ? THEN 1 END) FROM $child",
            column=column,
            child=table,
        ),
        (first, last),
    ).fetchone()
    if whole != filled:
        return None
    missing = _missing(connection, parent, key) if last - first >= count else []
    return int(filled - inside) + (_naming(connection, table, column, missing) if missing else 0)


def _naming(connection: sqlite3.Connection, table: str, column: str, ids: list[int]) -> int:
    """How many rows name one of these ids."""
    found = connection.execute(
        statement(
            "SELECT count(*) FROM $child WHERE $column IN (SELECT value FROM json_each(?))",
            column=column,
            child=table,
        ),
        (json.dumps(ids),),
    ).fetchone()[0]
    return int(found)


def _rowid_name(connection: sqlite3.Connection, table: str) -> str | None:
    """The column that names the rowid, if the table has one."""
    keys = connection.execute(
        "SELECT name, type FROM pragma_table_info(?) WHERE pk > 0", (table,)
    ).fetchall()
    indexed = connection.execute(
        "SELECT count(*) FROM pragma_index_list(?) WHERE origin = 'pk'", (table,)
    ).fetchone()[0]
    if len(keys) != 1 or indexed or keys[0][1].upper() != "INTEGER":
        return None
    return str(keys[0][0])


def _missing(connection: sqlite3.Connection, table: str, key: str) -> list[int]:
    """The ids between the first and the last that no row has."""
    ends = connection.execute(
        statement(
            "SELECT $key FROM $parent p WHERE NOT EXISTS "
            "(SELECT 1 FROM $parent n WHERE n.$key = p.$key + 1)",
            key=key,
            parent=table,
        )
    ).fetchall()
    following = statement("SELECT min($key) FROM $parent WHERE $key > ?", key=key, parent=table)
    missing: list[int] = []
    for (end,) in ends:
        begin = connection.execute(following, (end,)).fetchone()[0]
        missing += range(end + 1, begin or end + 1)
    return missing


def statement(template: str, **names: str) -> str:
    """SQL with names of tables and columns put in, quoted; values are bound, never put in."""
    quoted = {key: '"' + name.replace('"', '""') + '"' for key, name in names.items()}
    return Template(template).substitute(quoted)
