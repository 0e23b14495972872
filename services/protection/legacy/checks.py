"""Look at what was fetched before anything is made of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from db.shop import SHOP_TABLES
from services.core.errors import Broken, Misconfigured
from services.protection import digests

_HEADER = b"SQLite format 3\0"
_WAL = 2


def database(path: Path, name: str) -> tuple[str, ...]:
    """Prove that a file is a whole SQLite database of the shop.

    Args:
        name: of the old backup, for people.

    Returns:
        What is to be told about it.

    Raises:
        Broken: it is empty, cut short, damaged or no database.
        Misconfigured: it is not the shop's.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(100)
    if not head:
        raise _refused(name, "is an empty file of 0 bytes")
    if len(head) < 100 or not head.startswith(_HEADER):
        raise _refused(name, "is no SQLite database")
    page = int.from_bytes(head[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(head[28:32], "big")
    # The count in the header is right only where the version beside it was written with it.
    if head[24:28] == head[92:96] and pages * page > size:
        raise _refused(name, f"was cut short: {size:,} of {pages * page:,} bytes are there")
    missing = SHOP_TABLES - _tables(path, name)
    if missing:
        raise Misconfigured(
            f"The legacy backup {name} is not InsightShop's: it has no table "
            f"{', '.join(sorted(missing))}. Nothing was made of it.",
            "Choose another one.",
        )
    notes = []
    if _WAL in (head[18], head[19]):
        notes.append(
            "Database: it was in WAL mode when the old script copied the file alone; what was "
            "committed but not in the file yet is missing."
        )
    return tuple(notes)


def _tables(path: Path, name: str) -> frozenset[str]:
    """Its tables, once SQLite and the desk have read every page of them."""
    try:
        with closing(digests.open_copy(path)) as connection:
            verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
        tables = frozenset(digests.table_digests(path)) if verdict == "ok" else frozenset()
    except (sqlite3.Error, digests.Damaged) as error:
        raise _refused(name, "is damaged or no database") from error
    if verdict != "ok":
        raise _refused(name, f"is damaged ({verdict[:120]})")
    return tables


def _refused(name: str, what: str) -> Broken:
    return Broken(
        f"The legacy backup {name} {what}; nothing was made of it.",
        "Choose another one: the old script also copied databases that were being written.",
    )
