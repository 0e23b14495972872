"""The digest of a table: the same content gives the same digest, whatever the file looks like."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest

from services.protection import digests


def _varint(number: int) -> bytes:
    number &= 2**64 - 1
    if number >= 1 << 56:
        # The ninth byte carries eight bits.
        body = [number & 0xFF]
        number >>= 8
        for _ in range(8):
            body.append(number & 0x7F | 0x80)
            number >>= 7
        return bytes(reversed(body))
    body = [number & 0x7F]
    while number := number >> 7:
        body.append(number & 0x7F | 0x80)
    return bytes(reversed(body))


def _value(value: object) -> tuple[int, bytes]:
    """Serial type and bytes of a value (file format, section 2.1)."""
    if value is None:
        return 0, b""
    if isinstance(value, int):
        if value in (0, 1):
            return 8 + value, b""
        for kind, size in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 8)):
            if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1:
                return kind, value.to_bytes(size, "big", signed=True)
    if isinstance(value, float):
        return 7, struct.pack(">d", value)
    if isinstance(value, bytes):
        return 12 + 2 * len(value), value
    assert isinstance(value, str)
    text = value.encode()
    return 13 + 2 * len(text), text


def _record(values: list[object]) -> bytes:
    types, bodies = zip(*map(_value, values), strict=True)
    header = b"".join(map(_varint, types))
    size = len(header) + 1
    size += len(_varint(size)) - 1
    return _varint(size) + header + b"".join(bodies)


def _slow(connection: sqlite3.Connection, table: str, key: str | None) -> str:
    """The digest from values alone, as the docstring of `digests` describes it."""
    sha256 = hashlib.sha256()
    for rowid, *values in connection.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid DESC"):
        if key:
            values[0] = None  # the rowid stands for it
        record = _record(values)
        sha256.update(_varint(len(record)) + (_varint(rowid) if key else b"") + record)
    return sha256.hexdigest()


def _mixed_values(rng: random.Random) -> list[object]:
    choices: list[object] = [
        None,
        rng.choice([0, 1, -1, 127, 128, -32768, 8388607, 2**31, 2**47, 2**62, -(2**63)]),
        rng.choice([0.1, 39.99, 45.4892, 1e300, -2.5]),
        rng.choice(["", "é→", "a\0b", "x" * rng.randint(0, 90), "long " * rng.randint(90, 3000)]),
        rng.randbytes(rng.choice([0, 3, 400, 9000])),
    ]
    return [rng.choice(choices) for _ in range(5)]


def _fill(connection: sqlite3.Connection, rows: int, seed: int = 3) -> None:
    rng = random.Random(seed)
    with connection:
        connection.execute("CREATE TABLE keyed (id INTEGER PRIMARY KEY, a, b, c, d, e)")
        connection.execute("CREATE TABLE loose (a, b, c, d, e)")
        connection.execute("CREATE TABLE tiny (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE empty (id INTEGER PRIMARY KEY, a)")
        connection.execute("CREATE INDEX by_a ON keyed (a)")
        for number in range(rows):
            values = _mixed_values(rng)
            connection.execute("INSERT INTO keyed VALUES (?,?,?,?,?,?)", (number * 3 - 40, *values))
            connection.execute("INSERT INTO loose VALUES (?,?,?,?,?)", values)
            connection.execute("INSERT INTO tiny VALUES (?)", (number - 5,))
        connection.execute("INSERT INTO tiny VALUES (?), (?)", (2**63 - 1, -(2**63)))
        # Holes: pages with free blocks, fragments and rows out of place.
        connection.execute("DELETE FROM keyed WHERE id % 7 = 0")
        connection.execute("UPDATE keyed SET b = 'new ' || id WHERE id % 5 = 0")
        connection.execute("DELETE FROM loose WHERE rowid % 6 = 0")


@pytest.mark.parametrize("page_size", [512, 1024, 4096, 65536])
def test_the_digest_is_the_one_that_its_description_gives(tmp_path: Path, page_size: int):
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size={page_size}")
        _fill(connection, 400)
        expected = {
            "keyed": _slow(connection, "keyed", "id"),
            "loose": _slow(connection, "loose", None),
            "tiny": _slow(connection, "tiny", "id"),
            "empty": hashlib.sha256().hexdigest(),
        }
        counts = {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in expected
        }
    found = digests.table_digests(path)
    assert found == {name: (counts[name], expected[name]) for name in expected}


def test_a_table_that_only_grew_has_the_digest_of_its_description_too(tmp_path: Path):
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b NUMERIC)")
        connection.executemany(
            "INSERT INTO t (a, b) VALUES (?, ?)",
            [(f"order {n}", 20 if n % 3 else 39.99) for n in range(30_000)],
        )
        expected = _slow(connection, "t", "id")
    assert digests.table_digests(path)["t"] == (30_000, expected)


@pytest.mark.parametrize(
    "change",
    ["PRAGMA page_size=8192", "PRAGMA auto_vacuum=FULL", "PRAGMA page_size=512", "DROP INDEX by_a"],
)
def test_page_size_order_of_pages_and_indexes_make_no_difference(tmp_path: Path, change: str):
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        _fill(connection, 300)
    before = digests.table_digests(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(change)
        connection.execute("VACUUM")
    assert digests.table_digests(path) == before


def test_rows_written_in_another_order_give_the_same_digest(tmp_path: Path):
    for name, order in (("a", 1), ("b", -1)):
        with closing(sqlite3.connect(tmp_path / name)) as connection, connection:
            connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
            connection.execute("CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID")
            for number in list(range(3000))[::order]:
                connection.execute("INSERT INTO t VALUES (?, ?)", (number, f"v{number}"))
                connection.execute("INSERT INTO w VALUES (?, ?)", (f"k{number}", "x" * number))
    assert digests.table_digests(tmp_path / "a") == digests.table_digests(tmp_path / "b")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE t SET a = a + 1 WHERE id = 1500",
        "UPDATE t SET a = CAST(a AS TEXT) WHERE id = 1500",
        "UPDATE t SET a = NULL WHERE id = 1500",
        "DELETE FROM t WHERE id = 3000",
        "UPDATE t SET id = 9999 WHERE id = 1500",
        "INSERT INTO t VALUES (0, 0)",
    ],
)
def test_any_change_of_a_value_changes_the_digest(tmp_path: Path, damage: str):
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        with connection:
            connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
            connection.executemany("INSERT INTO t (a) VALUES (?)", [(n,) for n in range(3000)])
        before = digests.table_digests(path)
        with connection:
            connection.execute(damage)
    assert digests.table_digests(path) != before


def test_what_changes_by_itself_is_left_out(tmp_path: Path):
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT)")
        connection.execute("CREATE TABLE kb_restores (job_id TEXT PRIMARY KEY)")
        connection.execute("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO orders DEFAULT VALUES")
        connection.execute("ANALYZE")
    assert set(digests.table_digests(path)) == {"orders"}


def test_a_damaged_page_is_said_and_never_measured(tmp_path: Path):
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
        connection.executemany("INSERT INTO t (a) VALUES (?)", [("x" * 200,)] * 2000)
    data = bytearray(path.read_bytes())
    for at in range(8192, len(data), 4096):
        data[at : at + 40] = b"\xff" * 40
    path.write_bytes(data)
    facts = digests.file_facts(path)
    assert facts.verdict != "ok" and facts.tables == {}
    with pytest.raises(digests.Damaged):
        digests.table_digests(path)


def test_a_tree_that_leads_back_to_itself_ends(tmp_path: Path):
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
        connection.executemany("INSERT INTO t (a) VALUES (?)", [("x" * 200,)] * 2000)
        root = connection.execute("SELECT rootpage FROM sqlite_master").fetchone()[0]
    data = bytearray(path.read_bytes())
    page = (root - 1) * 4096
    assert data[page] == 5
    data[page + 8 : page + 12] = root.to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(digests.Damaged, match="does not end"):
        digests.table_digests(path)
