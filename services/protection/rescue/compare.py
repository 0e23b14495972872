"""What differs between the live database and a snapshot's, row by row, by primary key."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    NullPool,
    Select,
    TableClause,
    and_,
    column,
    create_engine,
    false,
    func,
    null,
    or_,
    select,
    table,
    type_coerce,
)
from sqlalchemy.sql.elements import ColumnElement

from db.engine import BUSY_SECONDS
from db.knowledge import VERSION_TABLE
from services.protection.digests import is_counted

SUMS = {"orders": "total"}
DATES = {"orders": "created_at"}
COLUMNS_OF_NOTE = {
    "products": ("price", "stock_quantity"),
    "product_variations": ("price", "stock_quantity"),
    "orders": ("status",),
}
"""Columns whose change a shopkeeper wants to be told by name."""


@dataclass(frozen=True)
class TableDiff:
    """How one table differs. `lost` rows are only live, `back` rows only in the snapshot."""

    table: str
    lost: int
    back: int
    changed: int
    lost_sum: float = 0.0  # money in the lost rows, where the table has some
    lost_since: str = ""  # when the oldest lost row was made, as the shop writes times
    columns: dict[str, int] = field(default_factory=dict)  # column of note -> changed rows
    counted: bool = False  # too large to be compared: only the numbers of rows were

    @property
    def same(self) -> bool:
        """Whether nothing differs, as far as that was compared."""
        return not (self.lost or self.back or self.changed)


def compare(
    live: Path | None,
    snapshot: Path,
    watcher: Callable[[float], None] = lambda _fraction: None,
    equal: Collection[str] = (),
) -> tuple[TableDiff, ...]:
    """Compare every table of two databases.

    Each table is read in a statement of its own, so that a running shop waits for none of
    them longer than that.

    Args:
        live: the shop's database; None when it is missing or can't be read: everything
            in the snapshot then comes back.
        snapshot: a closed file that nobody writes to.
        watcher: called with the fraction done.
        equal: tables whose records are the same on both sides; they are read only where
            their columns are not.

    Raises:
        SQLAlchemyError: one of them can't be read.
    """
    with _opened(live) as connection:
        connection.exec_driver_sql(
            "ATTACH ? AS snap", (f"{snapshot.resolve().as_uri()}?immutable=1",)
        )
        ours = _tables(connection, "main")
        theirs = _tables(connection, "snap")
        names = sorted({*ours, *theirs})
        found = []
        for number, name in enumerate(names):
            watcher(number / len(names))
            if name in equal and ours[name] == theirs[name]:
                found.append(TableDiff(name, 0, 0, 0))
            elif name in ours and name in theirs:
                found.append(_differences(connection, name))
            elif name in ours:
                found.append(TableDiff(name, _count(connection, "main", name), 0, 0))
            else:
                found.append(TableDiff(name, 0, _count(connection, "snap", name), 0))
        return tuple(found)


def losses(diffs: tuple[TableDiff, ...]) -> dict[str, int]:
    """Rows of each table that a restore would remove or set back."""
    return {diff.table: diff.lost + diff.changed for diff in diffs if diff.lost + diff.changed}


@contextmanager
def _opened(live: Path | None) -> Iterator[Connection]:
    where = "file::memory:" if live is None else f"{live.resolve().as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        # Without transactions of its own: a statement's read lock ends with the statement.
        return sqlite3.connect(where, uri=True, timeout=BUSY_SECONDS, isolation_level=None)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _tables(connection: Connection, schema: str) -> dict[str, str]:
    """Every table that is compared, and how it was created."""
    master = table("sqlite_master", column("name"), column("type"), column("sql"), schema=schema)
    rows = connection.execute(select(master.c.name, master.c.sql).where(master.c.type == "table"))
    return {name: sql for name, sql in rows if is_counted(name) and name != VERSION_TABLE}


def _differences(connection: Connection, name: str) -> TableDiff:
    ours, theirs = _columns(connection, "main", name), _columns(connection, "snap", name)
    key = [column_name for column_name, is_key in ours.items() if is_key]
    if not key or not set(key) <= set(theirs):
        key = ["rowid"]
    live = _table("main", name, [*ours, *key]).alias("l")
    snap = _table("snap", name, [*theirs, *key]).alias("s")
    same_row = [live.c[part].is_not_distinct_from(snap.c[part]) for part in key]
    shared = [part for part in ours if part in theirs and part not in key]
    noted = [part for part in COLUMNS_OF_NOTE.get(name, ()) if part in shared]

    unlike: dict[str, ColumnElement[bool]] = {
        part: live.c[part].is_distinct_from(snap.c[part]) for part in shared
    }
    told = (or_(*unlike.values()) if unlike else false(), *(unlike[part] for part in noted))
    row = connection.execute(
        select(func.count(), *(func.sum(type_coerce(part, Integer)) for part in told))
        .select_from(live)
        .join(snap, and_(*same_row))
    ).one()
    both, changed, *columns = (int(number or 0) for number in row)

    # Each row of one side meets at most one of the other: the rest has no counterpart. Only
    # where keys may be NULL, or what was lost has to be told, such rows are looked for.
    unique = key == ["rowid"] or _is_rowid(connection, name, key)
    lost, back = _count(connection, "main", name) - both, _count(connection, "snap", name) - both
    money = since = None
    if lost or not unique:
        lost, money, since = connection.execute(
            select(
                func.count(),
                func.sum(live.c[SUMS[name]]) if SUMS.get(name) in ours else null(),
                func.min(live.c[DATES[name]]) if DATES.get(name) in ours else null(),
            )
            .where(~select(snap).where(*same_row).exists())
            .select_from(live)
        ).one()
    if not unique:
        missing = ~select(live).where(*same_row).exists()
        back = _scalar(connection, select(func.count()).select_from(snap).where(missing))
    return TableDiff(
        name,
        lost,
        back,
        changed,
        float(money or 0),
        str(since or ""),
        {part: number for part, number in zip(noted, columns, strict=True) if number},
    )


def _is_rowid(connection: Connection, name: str, key: list[str]) -> bool:
    """Whether the key names the rowid, on both sides: unique and never NULL."""
    return all(
        connection.exec_driver_sql(
            "SELECT (SELECT group_concat(name || ' ' || upper(type)) "
            "FROM pragma_table_info(?1, ?2) WHERE pk > 0) IS ?3 AND NOT EXISTS "
            "(SELECT 1 FROM pragma_index_list(?1, ?2) WHERE origin = 'pk')",
            (name, schema, f"{key[0]} INTEGER"),
        ).scalar()
        for schema in ("main", "snap")
    )


def _table(schema: str, name: str, columns: list[str]) -> TableClause:
    return table(name, *(column(part) for part in dict.fromkeys(columns)), schema=schema)


def _columns(connection: Connection, schema: str, name: str) -> dict[str, bool]:
    found = connection.exec_driver_sql(
        "SELECT name, pk FROM pragma_table_info(?, ?)", (name, schema)
    )
    return {column_name: bool(key) for column_name, key in found}


def _count(connection: Connection, schema: str, name: str) -> int:
    return _scalar(connection, select(func.count()).select_from(_table(schema, name, [])))


def _scalar(connection: Connection, query: Select[Any]) -> int:
    return int(connection.scalar(query) or 0)
