"""What differs between the shop's database and a snapshot's on the same server.

A table whose digest is still the one in the manifest is not looked at again. The others are
read from both sides in the order of their keys and merged, so that a table of any size needs
no memory; what the server sends of a row is its key, a hash, and the columns of note. What
can't be compared within the time is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db.knowledge import VERSION_TABLE
from services.protection.model import TableFacts
from services.protection.rescue.compare import COLUMNS_OF_NOTE, DATES, SUMS, TableDiff
from services.protection.sources.pg_connect import connect, said
from services.protection.sources.pg_facts import Table, facts_in, one_view, tables_in

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composable, Composed

COMPARE_SECONDS = 60.0
"""How long tables are compared row by row."""
_LEAST_MILLISECONDS = 250
_COUNT_MILLISECONDS = 60_000
_AT_ONCE = 20_000
_INTEGERS = frozenset({"int2", "int4", "int8"})


@dataclass(frozen=True)
class _Row:
    key: Any
    hash: str
    sum: float
    date: str
    noted: tuple[str | None, ...]


class _Late(Exception):
    """The time for comparing is over."""


def compare_on_server(
    url: str,
    live: str | None,
    side: str,
    expected: dict[str, TableFacts],
    watcher: Callable[[float], None] = lambda _fraction: None,
    seconds: float | None = None,
) -> tuple[TableDiff, ...]:
    """Compare every table of two databases of one server.

    Args:
        live: name of the shop's; None when it is missing: everything then comes back.
        side: name of the restored one, which nobody else uses.
        expected: the facts of the restored one, by table.
        watcher: called with the fraction done.
        seconds: after which tables are only counted; `COMPARE_SECONDS` by default.

    Raises:
        DeskError: one of them can't be read, in words.
    """
    theirs = {name: facts for name, facts in expected.items() if name != VERSION_TABLE}
    if live is None:
        return tuple(TableDiff(name, 0, facts.rows, 0) for name, facts in sorted(theirs.items()))
    until = time.monotonic() + (COMPARE_SECONDS if seconds is None else seconds)
    with said(), connect(url, live) as ours, connect(url, side) as restored:
        there = {table.title: table for table in _by_size(ours)}
        back = {table.title: table for table in _tables(restored)}
        found = [
            TableDiff(name, 0, facts.rows, 0) for name, facts in theirs.items() if name not in there
        ]
        for number, (name, table) in enumerate(there.items()):
            watcher(number / len(there))
            pair = _Pair(ours, restored, table, back.get(name), theirs.get(name), until)
            found.append(pair.difference())
    return tuple(sorted(found, key=lambda diff: diff.table))


class _Pair:
    """One table on both sides."""

    def __init__(
        self,
        ours: Connection[Any],
        restored: Connection[Any],
        table: Table,
        other: Table | None,
        facts: TableFacts | None,
        until: float,
    ) -> None:
        self.ours, self.restored = ours, restored
        self.table, self.other, self.facts, self.until = table, other, facts, until

    def difference(self) -> TableDiff:
        """How it differs; counted where the time is over."""
        from psycopg import errors

        if self.other is None or self.facts is None:
            return TableDiff(self.table.title, self._count(), 0, 0)
        try:
            if self._same():
                return TableDiff(self.table.title, 0, 0, 0)
            return self._merged(self.other)
        except (_Late, errors.QueryCanceled):
            here, there = self._count(), self.facts.rows
            return TableDiff(
                self.table.title, max(here - there, 0), max(there - here, 0), 0, counted=True
            )

    def _same(self) -> bool:
        with self._view(self.ours) as connection:
            return facts_in(connection, (self.table,))[self.table.title] == self.facts

    def _merged(self, other: Table) -> TableDiff:
        shared = [c.name for c in self.table.columns if c.name in {o.name for o in other.columns}]
        key = _key(self.ours, self.table, shared)
        name = self.table.name if self.table.schema == "public" else ""
        noted = [part for part in COLUMNS_OF_NOTE.get(name, ()) if part in shared]
        total, date = SUMS.get(name), DATES.get(name)
        reading = _Reading(
            shared,
            key,
            noted,
            total if total in shared else None,
            date if date in shared else None,
        )
        lost = back = changed = 0
        money, since = 0.0, ""
        columns = dict.fromkeys(noted, 0)
        with self._view(self.ours) as first, self._view(self.restored) as second:
            for mine, yours in _side_by_side(
                self._in_time(reading.rows(first, self.table)), reading.rows(second, other)
            ):
                if mine is None:
                    back += 1
                elif yours is None:
                    lost += 1
                    money += mine.sum
                    since = min(since or mine.date, mine.date or since)
                elif mine.hash != yours.hash:
                    changed += 1
                    for column, now, then in zip(noted, mine.noted, yours.noted, strict=True):
                        columns[column] += now != then
        return TableDiff(
            self.table.title,
            lost,
            back,
            changed,
            money,
            since,
            {column: number for column, number in columns.items() if number},
        )

    def _in_time(self, rows: Iterator[_Row]) -> Iterator[_Row]:
        for number, row in enumerate(rows):
            if number % _AT_ONCE == 0 and time.monotonic() > self.until:
                raise _Late
            yield row

    def _count(self) -> int:
        from psycopg import sql

        with self.ours.transaction():
            self.ours.execute(f"SET LOCAL statement_timeout = {_COUNT_MILLISECONDS:d}")
            row = self.ours.execute(
                sql.SQL("SELECT count(*) FROM ONLY {}").format(self.table.identifier())
            ).fetchone()
        return int(row[0]) if row else 0

    def _view(self, connection: Connection[Any]) -> _View:
        left = self.until - time.monotonic()
        if left <= 0:
            raise _Late
        return _View(connection, left)


class _View:
    """One state of a database, for as long as a table is read: a statement that takes longer
    than what is left of the time is ended by the server."""

    def __init__(self, connection: Connection[Any], seconds: float) -> None:
        self._connection, self._seconds = connection, seconds

    def __enter__(self) -> Connection[Any]:
        self._connection.autocommit = False
        one_view(self._connection)
        limit = max(_LEAST_MILLISECONDS, int(self._seconds * 1000))
        self._connection.execute(f"SET LOCAL statement_timeout = {limit:d}")
        return self._connection

    def __exit__(self, *_error: object) -> None:
        self._connection.rollback()
        self._connection.read_only = None
        self._connection.isolation_level = None
        self._connection.autocommit = True


@dataclass(frozen=True)
class _Reading:
    """How the rows of a table are read on both sides alike."""

    shared: list[str]
    key: list[tuple[str, bool]]  # column, whether it is a number; none: rows have no key
    noted: list[str]
    sum: str | None
    date: str | None

    def rows(self, connection: Connection[Any], table: Table) -> Iterator[_Row]:
        """Every row, in the order of the key."""
        width = len(self.key) if self._by_number else 1
        with connection.cursor(name="rows", binary=True) as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(self._statement(table))
            for values in cursor:
                yield _Row(
                    values[:width],
                    values[width],
                    float(values[width + 1] or 0),
                    values[width + 2] or "",
                    values[width + 3 :],
                )

    @property
    def _by_number(self) -> bool:
        return bool(self.key) and all(number for _column, number in self.key)

    def _statement(self, table: Table) -> Composed:
        from psycopg import sql

        keys = [column for column, _number in self.key]
        rest = [column for column in self.shared if column not in keys]
        if self._by_number:
            order: list[Composable] = [sql.Identifier(column) for column in keys]
        else:
            # Neither the encoding nor the collation of a database orders these.
            order = [sql.SQL('md5({}) COLLATE "C"').format(_record(keys or self.shared))]
        chosen = [
            *(sql.SQL("{} AS k{}").format(part, sql.SQL(str(n))) for n, part in enumerate(order)),
            sql.SQL("md5({})").format(_record(rest)) if keys and rest else sql.SQL("''"),
            sql.SQL("{}::float8").format(sql.Identifier(self.sum)) if self.sum else sql.NULL,
            sql.SQL("{}::text").format(sql.Identifier(self.date)) if self.date else sql.NULL,
            *(sql.SQL("{}::text").format(sql.Identifier(column)) for column in self.noted),
        ]
        return sql.SQL("SELECT {} FROM ONLY {} ORDER BY {}").format(
            sql.SQL(", ").join(chosen),
            table.identifier(),
            sql.SQL(", ").join(sql.SQL(str(n + 1)) for n in range(len(order))),
        )


def _record(columns: list[str]) -> Composable:
    from psycopg import sql

    return sql.SQL("ROW({})::text").format(
        sql.SQL(", ").join(sql.Identifier(column) for column in columns)
    )


def _side_by_side(
    ours: Iterator[_Row], theirs: Iterator[_Row]
) -> Iterator[tuple[_Row | None, _Row | None]]:
    mine, yours = next(ours, None), next(theirs, None)
    while mine is not None or yours is not None:
        if yours is None or (mine is not None and mine.key < yours.key):
            yield mine, None
            mine = next(ours, None)
        elif mine is None or yours.key < mine.key:
            yield None, yours
            yours = next(theirs, None)
        else:
            yield mine, yours
            mine, yours = next(ours, None), next(theirs, None)


def _tables(connection: Connection[Any]) -> list[Table]:
    return [t for t in tables_in(connection) if t.counted and t.name != VERSION_TABLE]


def _by_size(connection: Connection[Any]) -> list[Table]:
    """The smallest first: where the time runs out, most are done."""
    sizes: dict[tuple[str, str], int] = {}
    for schema, name, size in connection.execute(_SIZES):
        sizes[schema, name] = size
    return sorted(_tables(connection), key=lambda t: (sizes.get((t.schema, t.name), 0), t.title))


# Not pg_relation_size: that waits for whoever holds a table locked.
_SIZES = """
SELECT n.nspname, c.relname, c.relpages
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'
"""


def _key(connection: Connection[Any], table: Table, shared: list[str]) -> list[tuple[str, bool]]:
    rows = connection.execute(_KEY, (table.identifier().as_string(connection),)).fetchall()
    if any(column not in shared for column, _type in rows):
        return []
    return [(column, kind in _INTEGERS) for column, kind in rows]


_KEY = """
SELECT a.attname, t.typname
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY k(num, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num
JOIN pg_type t ON t.oid = a.atttypid
WHERE i.indrelid = %s::regclass AND i.indisprimary
ORDER BY k.place
"""
