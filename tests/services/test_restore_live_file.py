"""The live file: replaced whatever state, journal or reader it has, or left as it is."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from services.core.errors import Transient
from services.protection.rescue import live as live_file
from services.protection.rescue.live import Live, LiveState
from services.protection.rescue.staging import make_ready
from tests.shops import build_shop, two_shops


def rows(path: Path, table: str = "orders") -> int:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("size", [1024, 4096, 16384])
def test_the_content_goes_into_the_live_file_in_any_journal_mode_and_page_size(
    tmp_path, mode, size
):
    live, snapshot = two_shops(tmp_path)
    with closing(sqlite3.connect(live, isolation_level=None)) as database:
        database.execute(f"PRAGMA page_size={size}")
        database.execute("VACUUM")
        database.execute(f"PRAGMA journal_mode={mode}")
    inode = live.stat().st_ino
    make_ready(snapshot, live_file.page_size(live))
    opened = Live(live)
    with opened.held():
        opened.take_over(snapshot)
    opened.close()
    with closing(sqlite3.connect(live)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone()[0] == mode
        assert database.execute("PRAGMA page_size").fetchone()[0] == size
        assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert rows(live) == 60
    assert live.stat().st_ino == inode


_READER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN")
database.execute("SELECT count(*) FROM orders").fetchone()
print("reading", flush=True)
sys.stdin.readline()
"""


def test_a_reader_that_stays_is_waited_for_only_so_long_and_nothing_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(live_file, "PATIENCE_SECONDS", 0.5)
    live, snapshot = two_shops(tmp_path)
    before = live.read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", _READER, str(live)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as reader:
        assert reader.stdout.readline() == b"reading\n"
        opened = Live(live)
        said = "in use.*nothing was changed.*Stop the shop"
        with pytest.raises(Transient, match=said), opened.held():
            opened.take_over(snapshot)
        opened.close()
        reader.communicate(b"\n")
    assert live.read_bytes() == before
    with closing(sqlite3.connect(live)) as database, database:
        database.execute("DELETE FROM cart_items")


_KILLED_WRITER = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size=5")
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE orders SET status = 'gone'")
for number in range(1, 41):
    database.execute("UPDATE products SET description = hex(randomblob(9000)) WHERE id = ?",
                     (number,))
os._exit(9)
"""


def test_a_hot_journal_of_a_killed_shop_does_not_undo_the_restore(tmp_path):
    live, snapshot = two_shops(tmp_path)
    subprocess.run([sys.executable, "-c", _KILLED_WRITER, str(live)], check=False)
    assert live.with_name("live.db-journal").stat().st_size > 0
    torn = tmp_path / "torn.db"
    shutil.copyfile(live, torn)
    gone = "SELECT count(*) FROM orders WHERE status = 'gone'"
    with closing(sqlite3.connect(torn)) as database:
        assert database.execute(gone).fetchone()[0] > 0, "the killed shop had written pages"
    assert live_file.state_of(live) is LiveState.READY
    opened = Live(live)
    with opened.held():
        opened.take_over(snapshot)
    opened.close()
    assert rows(live) == 60
    with closing(sqlite3.connect(live)) as database:
        assert database.execute(gone).fetchone()[0] == 0


def test_a_wal_left_beside_a_missing_database_does_not_undo_the_restore(tmp_path):
    live, snapshot = two_shops(tmp_path)
    killed = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('PRAGMA journal_mode=WAL')\n"
        "database.execute('DELETE FROM orders')\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", killed, str(live)], check=False)
    assert live.with_name("live.db-wal").stat().st_size > 0
    kept = live_file.keep_raw(live, tmp_path / "kept")
    assert {path.name for path in kept} >= {"live.db", "live.db-wal"}
    live_file.replace_file(snapshot, live, "job")
    assert rows(live) == 60
    live_file.put_raw_back(tmp_path / "kept", live)
    assert rows(live) == 0


def test_a_version_moves_only_when_somebody_else_writes(tmp_path):
    live, snapshot = two_shops(tmp_path)
    opened = Live(live)
    seen = opened.version()
    with opened.held():
        assert opened.version() == seen
        opened.take_over(snapshot)
    assert opened.version() == seen
    with closing(sqlite3.connect(live)) as database, database:
        database.execute("DELETE FROM users WHERE id = 1")
    assert opened.version() != seen
    opened.close()


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (None, LiveState.MISSING),
        (b"", LiveState.DAMAGED),
        (b"a shopping list\n" * 999, LiveState.DAMAGED),
    ],
)
def test_what_is_no_database_is_told_from_what_is_missing(tmp_path, content, state):
    path = tmp_path / "shop.db"
    if content is not None:
        path.write_bytes(content)
    assert live_file.state_of(path) is state


def test_a_page_overwritten_in_the_middle_is_damage(tmp_path):
    path = build_shop(tmp_path / "shop.db")
    with open(path, "r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 4096)
    assert live_file.state_of(path) is LiveState.DAMAGED
