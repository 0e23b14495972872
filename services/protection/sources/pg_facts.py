"""What a PostgreSQL database holds: rows, a digest for each table, and dangling references.

**The digest `hashes-1`**, computed by the server beside the dump. Every row becomes one
number: PostgreSQL's own 64-bit hash functions, chained over the columns in their order (the
hash of one is the seed of the next). The digest is sha256 over the JSON list

    [number of rows, sum of these numbers, [name of each column]]

with the sum in full. A sum does not depend on the order of rows, so it is the same before
`pg_dump` and after `pg_restore`, after VACUUM FULL and an UPDATE that changes nothing. The
hash functions are part of PostgreSQL's hash indexes and partitions, so within one major
version they give the same for the same value. Types without one that is exact (numeric
without a scale, json, arrays, enums ...) are hashed as text.

What it costs, one core of the server, 3 million shop-like rows (305 MB) that `pg_dump` takes
1.9 s for: the text of whole rows, hashed twice, 3.3 s; md5 of it 5.1 s; `COPY` in the order of
the key into sha256 4.0 s. The chain took a quarter of the first on the same rows.
It proves that what was restored is what was captured; against
somebody who forges rows stand the sha256 of the whole dump and the signed manifest.

Left out: foreign tables, materialised views and tables of extensions (a dump holds none of
their rows), and the position of sequences, which no transaction holds still.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from services.protection.digests import is_counted
from services.protection.model import TableFacts
from services.protection.sources.pg_connect import connect, said

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composable, Composed

DIGEST = "hashes-1"
"""Name of the digest, kept in the manifest."""

_PLAIN_NAME = re.compile(r"[^.\"]+")
_NULLS_AT_ONCE = 30

# By type: the call that turns a value and a seed into a number, and what stands for NULL
# (which a mask of the row tells from the same value). Only types whose hash is as exact as
# their text.
_HASHES = {
    "int2": ("hashint2extended({value}, {seed})", "0::int2"),
    "int4": ("hashint4extended({value}, {seed})", "0"),
    "int8": ("hashint8extended({value}, {seed})", "0::int8"),
    "bool": ("hashint4extended({value}::int4, {seed})", "false"),
    "oid": ("hashoidextended({value}, {seed})", "0::oid"),
    "uuid": ("uuid_hash_extended({value}, {seed})", "'00000000000000000000000000000000'::uuid"),
    "timestamp": ("timestamp_hash_extended({value}, {seed})", "timestamp 'epoch'"),
    "timestamptz": (
        "timestamp_hash_extended({value} AT TIME ZONE 'UTC', {seed})",
        "timestamptz 'epoch'",
    ),
    "text": ('hashtextextended({value} COLLATE "C", {seed})', "''"),
    "varchar": ('hashtextextended({value}::text COLLATE "C", {seed})', "''"),
    "numeric": ("hash_numeric_extended({value}, {seed})", "0"),
}
_AS_TEXT = 'hashtextextended({value}::text COLLATE "C", {seed})'


@dataclass(frozen=True)
class _Column:
    name: str
    type: str  # name of a base type of the system, or empty
    fixed: bool  # the type has a modifier: numeric(10, 2)
    required: bool


@dataclass(frozen=True)
class Table:
    """A table whose rows a dump holds."""

    schema: str
    name: str
    visible: bool  # found without naming its schema
    columns: tuple[_Column, ...]

    @property
    def title(self) -> str:
        """Its name in a manifest: with the schema, unless that is `public`."""
        if self.schema == "public" and _PLAIN_NAME.fullmatch(self.name):
            return self.name
        return ".".join(
            part if _PLAIN_NAME.fullmatch(part) else '"' + part.replace('"', '""') + '"'
            for part in (self.schema, self.name)
        )

    @property
    def counted(self) -> bool:
        """Whether it takes part in digests and comparisons."""
        return is_counted(self.name)

    def identifier(self) -> Composable:
        """Its name in a statement."""
        from psycopg import sql

        return sql.Identifier(self.schema, self.name)


def table_facts(url: str) -> dict[str, TableFacts]:
    """Rows and content digest of every table, in one consistent view.

    Raises:
        DeskError: the server can't be reached or does not let the desk read everything.
    """
    with connect(url, autocommit=False) as connection, said():
        one_view(connection)
        return facts_in(connection)


def foreign_key_violations(url: str) -> int:
    """Rows that refer to a row which is not there.

    A reference that is declared NOT VALID may have some: compare with what was recorded.
    """
    with connect(url, autocommit=False) as connection, said():
        one_view(connection)
        return violations_in(connection)


def table_names(url: str) -> frozenset[str]:
    """The tables that a statement finds without naming a schema."""
    with connect(url) as connection, said():
        return visible_names(tables_in(connection))


def revision(url: str, version_table: str) -> str:
    """The migration revision that a database stands at; empty where there is none."""
    with connect(url) as connection, said():
        return revision_in(connection, version_table)


def live_bytes(url: str) -> int:
    """What the database takes on the server's disk, indexes included."""
    with connect(url) as connection, said():
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0


def one_view(connection: Connection[Any], snapshot: str = "") -> None:
    """Begin a transaction that sees one state throughout, and gives every value as text in
    one way, whatever the server's settings are.

    Args:
        snapshot: the state that another transaction exported.
    """
    from psycopg import IsolationLevel, sql

    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    if snapshot:
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
    connection.execute("SET LOCAL statement_timeout = 0")
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    connection.execute("SET LOCAL row_security = off")  # refuses rather than hides rows
    connection.execute("SET LOCAL jit = off")
    connection.execute("SET LOCAL datestyle = 'ISO, YMD'")
    connection.execute("SET LOCAL intervalstyle = 'postgres'")
    connection.execute("SET LOCAL timezone = 'UTC'")
    connection.execute("SET LOCAL extra_float_digits = 1")
    connection.execute("SET LOCAL bytea_output = 'hex'")
    connection.execute("SET LOCAL xmlbinary = 'base64'")
    connection.execute("SET LOCAL lc_monetary = 'C'")


def tables_in(connection: Connection[Any]) -> tuple[Table, ...]:
    """Every table whose rows a dump holds, with its columns; partitions by themselves."""
    rows = connection.execute(_TABLES).fetchall()
    found = []
    for (schema, name, visible), columns in groupby(rows, key=lambda row: row[:3]):
        own = tuple(_Column(*column[3:]) for column in columns if column[3] is not None)
        found.append(Table(schema, name, visible, own))
    return tuple(found)


def visible_names(tables: Iterable[Table]) -> frozenset[str]:
    """The names that find a table without its schema."""
    return frozenset(table.name for table in tables if table.visible)


def facts_in(
    connection: Connection[Any], tables: Sequence[Table] | None = None
) -> dict[str, TableFacts]:
    """Rows and digest of the tables, in the connection's transaction (`one_view`)."""
    listed = tables_in(connection) if tables is None else tables
    facts = {}
    for table in listed:
        if table.counted:
            row = connection.execute(_summing(table)).fetchone()
            rows, total = row or (0, 0)
            names = [column.name for column in table.columns]
            told = json.dumps([int(rows), str(total), names]).encode()
            facts[table.title] = TableFacts(int(rows), hashlib.sha256(told).hexdigest())
    return facts


def violations_in(connection: Connection[Any]) -> int:
    """Rows that refer to a row which is not there, in the connection's transaction."""
    from psycopg import sql

    total = 0
    for *names, columns, wanted, ranged in connection.execute(_REFERENCES).fetchall():
        child, parent = sql.Identifier(*names[:2]), sql.Identifier(*names[2:])
        pairs = list(zip(columns, wanted, strict=True))
        count = _by_range(connection, child, parent, *pairs[0]) if ranged else None
        if count is None:
            filled = [sql.SQL("c.{} IS NOT NULL").format(sql.Identifier(own)) for own in columns]
            equal = [
                sql.SQL("p.{} = c.{}").format(sql.Identifier(key), sql.Identifier(own))
                for own, key in pairs
            ]
            count = _number(
                connection,
                sql.SQL(
                    "SELECT count(*) FROM {} c WHERE {} AND NOT EXISTS (SELECT FROM {} p WHERE {})"
                ).format(
                    child, sql.SQL(" AND ").join(filled), parent, sql.SQL(" AND ").join(equal)
                ),
            )
        total += count
    return total


def revision_in(connection: Connection[Any], version_table: str) -> str:
    """`revision` in the connection's transaction."""
    from psycopg import sql

    there = connection.execute(
        "SELECT to_regclass(quote_ident(%s)) IS NOT NULL", (version_table,)
    ).fetchone()
    if not there or not there[0]:
        return ""
    row = connection.execute(
        sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(version_table))
    ).fetchone()
    return str(row[0]) if row else ""


def _summing(table: Table) -> Composed:
    from psycopg import sql

    nullable = [column for column in table.columns if not column.required]
    number: Composable = sql.SQL("0::int8")
    for first in range(0, len(nullable), _NULLS_AT_ONCE):
        bits = [
            sql.SQL("({} IS NULL)::int4 * {}").format(
                sql.Identifier("t", column.name), sql.Literal(1 << bit)
            )
            for bit, column in enumerate(nullable[first : first + _NULLS_AT_ONCE])
        ]
        number = sql.SQL("hashint4extended({}, {})").format(sql.SQL(" + ").join(bits), number)
    for column in table.columns:
        number = _hashed(column, number)
    return sql.SQL("SELECT count(*), coalesce(sum({}), 0) FROM ONLY {} t").format(
        number, table.identifier()
    )


def _hashed(column: _Column, seed: Composable) -> Composable:
    from psycopg import sql

    value: Composable = sql.Identifier("t", column.name)
    kind = "" if column.type == "numeric" and not column.fixed else column.type
    call, stands_in = _HASHES.get(kind, (_AS_TEXT, "''"))
    if kind not in _HASHES:
        value = sql.SQL("{}::text").format(value)
    if not column.required:
        value = sql.SQL("coalesce({}, {})").format(value, sql.SQL(stands_in))
    return sql.SQL(call).format(value=value, seed=seed)


def _by_range(
    connection: Connection[Any], child: Composable, parent: Composable, own: str, key: str
) -> int | None:
    """Where the ids of a parent have no gap, comparing with their range gives the number in a
    fifth of the time."""
    from psycopg import sql

    ends = connection.execute(
        sql.SQL("SELECT min({key}), max({key}), count(*) FROM {parent}").format(
            key=sql.Identifier(key), parent=parent
        )
    ).fetchone()
    if ends is None or not ends[2] or ends[1] - ends[0] + 1 != ends[2]:
        return None
    return _number(
        connection,
        sql.SQL("SELECT count(*) FROM {} c WHERE c.{} NOT BETWEEN {} AND {}").format(
            child, sql.Identifier(own), sql.Literal(ends[0]), sql.Literal(ends[1])
        ),
    )


def _number(connection: Connection[Any], query: Composed) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


_TABLES = """
SELECT n.nspname, c.relname, pg_table_is_visible(c.oid), a.attname,
  CASE WHEN tn.nspname = 'pg_catalog' AND t.typtype = 'b' THEN t.typname ELSE '' END,
  a.atttypmod >= 0,
  a.attnotnull AND NOT EXISTS (  -- PostgreSQL 18 knows NOT NULL that is NOT VALID
    SELECT FROM pg_constraint k
    WHERE k.conrelid = c.oid AND k.contype = 'n' AND NOT k.convalidated
      AND a.attnum = ANY(k.conkey))
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_namespace tn ON tn.oid = t.typnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (
    SELECT FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname, a.attnum
"""

_REFERENCES = """
SELECT cn.nspname, c.relname, pn.nspname, p.relname,
  (SELECT array_agg(a.attname ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY k(num, place)
   JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.num),
  (SELECT array_agg(a.attname ORDER BY k.place) FROM unnest(f.confkey) WITH ORDINALITY k(num, place)
   JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.num),
  cardinality(f.conkey) = 1 AND (
    SELECT bool_and(a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype))
    FROM pg_attribute a
    WHERE (a.attrelid, a.attnum) IN ((f.conrelid, f.conkey[1]), (f.confrelid, f.confkey[1])))
FROM pg_constraint f
JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_class p ON p.oid = f.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0
ORDER BY 1, 2, f.conname
"""
