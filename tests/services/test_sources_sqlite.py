"""Capturing an SQLite database that is in use."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from services.core.errors import Broken, Misconfigured, Transient
from services.core.settings import PROJECT_ROOT
from services.protection.sources import sqlite
from tests.shops import add_order, build_shop

_WRITER = """
import random, sqlite3, sys, time
from tests.shops import add_order
db = sqlite3.connect(sys.argv[1], timeout=30)
number = 5000
print("ready", flush=True)
while True:
    number += 1
    with db:
        add_order(db, number, random.Random(number))
        time.sleep(0.001)
"""


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_every_order_has_its_items_while_a_second_process_writes(tmp_path: Path, mode: str):
    live = build_shop(tmp_path / "shop.db", orders=2000)
    with closing(sqlite3.connect(live)) as database:
        database.execute(f"PRAGMA journal_mode={mode}")
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(live)], cwd=PROJECT_ROOT, stdout=subprocess.PIPE
    )
    counts = []
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        for number in range(12):
            copy = tmp_path / f"copy{number}"
            sqlite.capture(live, copy)
            with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as database:
                bare = database.execute(
                    "SELECT count(*) FROM orders WHERE id NOT IN (SELECT order_id FROM order_items)"
                ).fetchone()[0]
                counts.append(database.execute("SELECT count(*) FROM orders").fetchone()[0])
                assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert bare == 0
    finally:
        writer.kill()
        writer.wait()
    assert counts == sorted(counts) and counts[-1] > counts[0]


def test_committed_rows_in_the_wal_are_in_the_copy_and_uncommitted_ones_are_not(tmp_path: Path):
    live = build_shop(tmp_path / "shop.db")
    with closing(sqlite3.connect(live)) as database:
        database.execute("PRAGMA journal_mode=wal")
        database.execute("PRAGMA wal_autocheckpoint=0")
        with database:
            add_order(database, 901, random.Random(1))
        before = live.stat().st_size, live.read_bytes()
        add_order(database, 902, random.Random(2))
        sqlite.capture(live, tmp_path / "copy")
        assert (live.stat().st_size, live.read_bytes()) == before
        database.rollback()
    with closing(sqlite3.connect(f"file:{tmp_path}/copy?immutable=1", uri=True)) as copy:
        found = {row[0] for row in copy.execute("SELECT id FROM orders WHERE id > 900")}
    assert found == {901}


def test_the_live_file_and_its_journal_mode_stay_as_they_are(tmp_path: Path):
    live = build_shop(tmp_path / "shop.db")
    before = live.read_bytes()
    sqlite.capture(live, tmp_path / "copy")
    assert live.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "shop.db"]


def test_a_copy_is_readable_by_its_owner_alone_whatever_the_umask_is(tmp_path: Path):
    live = build_shop(tmp_path / "shop.db")
    before = os.umask(0)
    try:
        sqlite.capture(live, tmp_path / "copy")
    finally:
        os.umask(before)
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600


def test_a_database_that_stays_locked_is_given_up_at_the_deadline(tmp_path: Path):
    live = build_shop(tmp_path / "shop.db")
    with closing(sqlite3.connect(live, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Transient, match="kept the database shop.db locked for 1 s"):
            sqlite.capture(live, tmp_path / "copy", patience=1)
    assert not (tmp_path / "copy").exists()


def test_a_lock_that_is_let_go_in_time_only_delays(tmp_path: Path):
    live = build_shop(tmp_path / "shop.db")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys, time; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
            "db.execute('BEGIN EXCLUSIVE'); print('held', flush=True); time.sleep(0.7)",
            str(live),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    sqlite.capture(live, tmp_path / "copy", patience=20)
    assert holder.wait() == 0
    assert "orders" in sqlite.table_names(tmp_path / "copy")


def test_what_a_killed_shop_left_half_written_is_not_in_the_copy(tmp_path: Path):
    live = build_shop(tmp_path / "shop.db", orders=400)
    killed = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sqlite3, signal, sys; db = sqlite3.connect(sys.argv[1]);"
            "db.execute('PRAGMA cache_size=2');"
            "db.execute('UPDATE orders SET status = ?', ('x'*500,));"
            "os.kill(os.getpid(), signal.SIGKILL)",
            str(live),
        ]
    )
    assert killed.wait() == -signal.SIGKILL
    assert live.with_name("shop.db-journal").exists()
    sqlite.capture(live, tmp_path / "copy")
    with closing(sqlite3.connect(tmp_path / "copy")) as copy:
        assert copy.execute("SELECT DISTINCT status FROM orders").fetchall() == [("processing",)]
        assert copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (None, Misconfigured, "There is no database at"),
        (b"", Broken, "an empty file of 0 bytes"),
        (b"this is a shopping list\n" * 400, Broken, "not an SQLite database"),
        (b"SQLite format 3\0" + b"\xff" * 8000, Broken, "not an SQLite database"),
    ],
)
def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path, content, error, said):
    live = tmp_path / "shop.db"
    if content is not None:
        live.write_bytes(content)
    with pytest.raises(error, match=said):
        sqlite.capture(live, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert (live.read_bytes() if live.exists() else None) == content


def test_an_empty_database_file_of_sqlite_is_refused(tmp_path: Path):
    live = tmp_path / "shop.db"
    with closing(sqlite3.connect(live)) as database:
        database.execute("CREATE TABLE t (a)")
        database.execute("DROP TABLE t")
    with pytest.raises(Broken, match="holds no table"):
        sqlite.capture(live, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_foreign_key_violations_are_counted_not_demanded_to_be_none(tmp_path: Path):
    live = build_shop(tmp_path / "shop.db")
    sqlite.capture(live, tmp_path / "copy")
    assert sqlite.foreign_key_violations(tmp_path / "copy") == 1


def test_the_facts_of_a_copy_that_is_damaged_are_refused(tmp_path: Path):
    (tmp_path / "copy").write_bytes(b"no database" * 100)
    with pytest.raises(Broken, match="damaged"):
        sqlite.table_facts(tmp_path / "copy")
    with pytest.raises(Broken, match="damaged"):
        sqlite.table_names(tmp_path / "copy")


def test_unicode_and_spaces_in_a_path_are_no_trouble(tmp_path: Path):
    live = build_shop(tmp_path / "Läden & Co?" / "späße #1 %41.db")
    sqlite.capture(live, tmp_path / "Läden & Co?" / "köpie")
    assert sqlite.table_facts(tmp_path / "Läden & Co?" / "köpie")["orders"].rows == 60


def _known(copy: Path) -> sqlite.KnownCopy:
    return sqlite.KnownCopy(
        sqlite.change_counter(copy),
        copy.stat().st_size,
        hashlib.sha256(copy.read_bytes()).hexdigest(),
    )


def test_a_database_that_nobody_wrote_to_is_recognised_and_not_copied(tmp_path: Path):
    live, copy = build_shop(tmp_path / "shop.db"), tmp_path / "copy"
    assert sqlite.capture(live, copy)
    again = tmp_path / "again"
    assert not sqlite.capture(live, again, known=_known(copy))
    assert not again.exists()


@pytest.mark.parametrize("change", ["a row", "a byte behind the counter", "journal mode"])
def test_a_database_that_differs_in_anything_is_copied(tmp_path: Path, change: str):
    live, copy = build_shop(tmp_path / "shop.db"), tmp_path / "copy"
    sqlite.capture(live, copy)
    if change == "a row":
        with closing(sqlite3.connect(live)) as database, database:
            database.execute("UPDATE products SET stock_quantity = 1 WHERE id = 3")
    elif change == "journal mode":
        with closing(sqlite3.connect(live)) as database:
            database.execute("PRAGMA journal_mode=wal")
    else:
        data = bytearray(live.read_bytes())
        at = data.index(b"Product 7")
        data[at : at + 7] = b"Qroduct"
        live.write_bytes(data)
    again = tmp_path / "again"
    assert sqlite.capture(live, again, known=_known(copy))
    assert sqlite.table_facts(again)["products"].rows == 40
