"""What a restore does not do twice: and that it notices where it has to."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from services import restore
from services.core.errors import Broken
from services.protection import captured, measuring
from services.protection.digests import file_facts
from services.protection.measuring import Known, Measuring
from services.protection.model import Component, Part, TableFacts
from services.protection.rescue import compare as comparing
from services.protection.rescue import live as live_file
from services.protection.rescue import sqlite_database, staging
from services.protection.rescue.compare import compare
from services.protection.rescue.database import PREVIEW_LIFE
from services.protection.rescue.live import Live, LiveState
from services.protection.rescue.sqlite_look import equal, looked
from services.protection.sources import sqlite as source
from tests.faults.scene import DATABASE, back_up, damage, furnish
from tests.shops import build_shop


def measured(path: Path) -> Known:
    found = file_facts(path, hashed=True)
    return Known(
        source.change_counter(path), found.sha256, found.tables, found.foreign_key_violations
    )


def write(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """(live, snapshot): one order has another status."""
    snapshot = build_shop(tmp_path / "snapshot.db")
    live = Path(shutil.copyfile(snapshot, tmp_path / "live.db"))
    write(live, "UPDATE orders SET status = 'lost' WHERE id = 7")
    return live, snapshot


@pytest.fixture
def children(monkeypatch) -> list[str]:
    """The copies that children were started to measure."""
    started: list[str] = []

    class Counted(Measuring):
        def __init__(self, copy: Path, **how: bool) -> None:
            started.append(copy.name)
            super().__init__(copy, **how)

    for module in (measuring, captured, sqlite_database):
        monkeypatch.setattr(module, "Measuring", Counted)
    return started


def test_only_the_table_that_differs_is_read_row_by_row(pair, tmp_path, monkeypatch):
    live, snapshot = pair
    read = []
    real = comparing._differences
    monkeypatch.setattr(
        comparing, "_differences", lambda on, name: (read.append(name), real(on, name))[1]
    )
    expected = source.table_facts(snapshot)
    with looked(live, tmp_path) as look:
        found = look.differences(snapshot, expected)
    assert read == ["orders"]
    assert found == compare(live, snapshot)
    assert [diff.table for diff in found if not diff.same] == ["orders"]
    assert not (tmp_path / "look.sqlite3").exists()


def test_equal_records_in_other_columns_are_compared_all_the_same(pair):
    live, snapshot = pair
    shutil.copyfile(snapshot, live)
    write(live, "ALTER TABLE orders ADD COLUMN gift TEXT DEFAULT 'no'")
    write(snapshot, "ALTER TABLE orders ADD COLUMN gift TEXT DEFAULT 'yes'")
    same = equal(source.table_facts(live), source.table_facts(snapshot))
    assert "orders" in same  # the digests can't tell
    found = {diff.table: diff for diff in compare(live, snapshot, equal=same)}
    assert found["orders"].changed == 60


def test_damage_deep_in_the_file_shows_in_the_closer_look(tmp_path):
    live = build_shop(tmp_path / "shop.db")
    with open(live, "r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 4096)
    assert live_file.state_of(live, closely=False) is LiveState.READY
    with looked(live, tmp_path) as look:
        assert look.known() is None


def test_what_the_preview_measured_serves_the_safety_snapshot(
    ctx, shop, operator, monkeypatch, children
):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(live_file, "_FRESH_SECONDS", 0.0)
    furnish(ctx)
    snapshot = back_up(ctx, operator)
    damage(ctx)
    before = file_facts(shop)
    plan = restore.preview(ctx, operator, snapshot.id, DATABASE)
    plan = type(plan).from_dict(plan.to_dict())  # as a job carries it
    assert plan.known == measured(shop)
    children.clear()
    done = restore.run(ctx, operator, plan, plan.word)
    # Neither the shop nor the fetched file a second time, nor what is live now.
    assert [name for name in children if name != "control.sqlite3"] == []
    from services import backup

    safety = backup.manifest(ctx, operator, done.result["safety"])
    assert {name: (f.rows, f.digest) for name, f in safety.tables.items()} == before.tables
    assert safety.foreign_key_violations == before.foreign_key_violations


class _Sent:
    """Stands for a store that was sent a copy."""

    def __init__(self, sha256: str) -> None:
        self.sha256 = sha256

    def send(self, name: str, part: Part, *_more: object, **_named: object) -> Component:
        return Component(name, part, name, 0, self.sha256, 0, "", "zstd", "none", "")


def test_what_was_measured_of_other_bytes_is_not_believed(pair, children):
    live, snapshot = pair
    for known, believed in (
        (measured(live), True),
        (measured(snapshot), False),  # another counter: measured at once
        (Known(source.change_counter(live), "0" * 64, {"orders": (1, "")}, 9), False),
    ):
        held = captured.CapturedFile(live, live, known)
        held.measure()
        held.send(_Sent(measured(live).sha256), Part.DATABASE, lambda _share: None)
        assert held.measured().tables == source.table_facts(live)
        assert bool(children) is not believed
        held.stop()
        children.clear()


def test_a_fetched_file_is_read_again_once_somebody_touched_it(pair, monkeypatch):
    _live, snapshot = pair
    known = measured(snapshot)
    size = snapshot.stat().st_size
    component = Component("d", Part.DATABASE, "d", size, known.sha256, 1, "", "zstd", "none", "")
    read = []
    real = staging.sha256_of
    monkeypatch.setattr(staging, "sha256_of", lambda path: (read.append(path), real(path))[1])
    staging.checked(snapshot, component)
    assert staging.is_intact(snapshot, component) and read == []
    times = snapshot.stat().st_atime_ns, snapshot.stat().st_mtime_ns
    with open(snapshot, "r+b") as file:
        file.seek(5000)
        file.write(b"\x00\x01\x02")
    os.utime(snapshot, ns=times)
    assert not staging.is_intact(snapshot, component) and read == [snapshot]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_every_byte_of_what_is_live_is_compared_with_what_was_staged(pair, mode):
    live, staged = pair
    if mode == "wal":
        with closing(sqlite3.connect(live)) as database:
            database.execute("PRAGMA journal_mode=wal")
    opened = Live(live)
    with opened.held():
        opened.take_over(staged)
    assert opened.equals(staged) is (mode == "delete")  # a log beside it: digests tell then
    write(live, "UPDATE orders SET status = 'new' WHERE id = 60")
    assert not opened.equals(staged)
    opened.close()


def test_a_shop_waits_while_the_bytes_are_compared_and_no_longer(pair):
    live, staged = pair
    opened = Live(live)
    with opened.held():
        opened.take_over(staged)
    assert opened.equals(staged)
    write(live, "DELETE FROM cart_items")  # the lock was let go
    opened.close()


def test_a_child_that_can_not_read_is_told(tmp_path):
    with Measuring(tmp_path / "none.sqlite3") as child, pytest.raises(Broken, match="none.sqlite3"):
        child.found()


def test_facts_are_equal_only_where_rows_and_digests_are():
    ours = {"a": TableFacts(1, "x"), "b": TableFacts(2, "y"), "c": TableFacts(3, "z")}
    theirs = {"a": TableFacts(1, "x"), "b": TableFacts(3, "y"), "d": TableFacts(3, "z")}
    assert equal(ours, theirs) == {"a"}


def test_what_a_preview_fetched_goes_when_nobody_came_back_for_it(ctx, shop, operator):
    made = back_up(ctx, operator)
    restore.preview(ctx, operator, made.id, DATABASE)
    (fetched,) = (ctx.settings.temp_dir / "preview").iterdir()
    restore.recover(ctx)
    assert fetched.exists()  # the restore is about to use it
    hours_ago = time.time() - PREVIEW_LIFE.total_seconds() - 1
    os.utime(fetched, (hours_ago, hours_ago))
    restore.recover(ctx)
    assert not fetched.exists()
