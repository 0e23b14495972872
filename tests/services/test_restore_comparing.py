"""What a restore compares: databases, entries, the plan that was shown, and who wrote since."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from services.core.errors import Conflict
from services.protection.model import Part
from services.protection.rescue import live as live_file
from services.protection.rescue.compare import compare, losses
from services.protection.rescue.live import LiveState
from services.protection.rescue.plan import RestorePlan, require_no_more_lost
from services.protection.rescue.words import (
    KnowledgeDiff,
    PlanLine,
    Tone,
    knowledge_diff,
    table_lines,
)
from tests.shops import add_order, build_shop, two_shops

TAKEN = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def test_the_preview_speaks_of_orders_products_and_prices(tmp_path):
    live, snapshot = two_shops(tmp_path)
    with closing(sqlite3.connect(live)) as database, database:
        database.execute("DELETE FROM products WHERE id < 4")
        database.execute("DELETE FROM users WHERE id = 3")
        database.execute("UPDATE products SET price = price + 1 WHERE id > 20")
    found = [line.text for line in table_lines(compare(live, snapshot), TAKEN)]
    assert found[0] == "3 orders placed since then would be lost (total 31.50)"
    assert "3 products and 1 customer come back" in found
    assert "20 prices go back to their earlier value" in found


def test_equal_databases_differ_in_nothing_whatever_their_layout(tmp_path):
    snapshot = build_shop(tmp_path / "a.db")
    with closing(sqlite3.connect(snapshot)) as database:
        database.execute("CREATE TABLE loose (a, b)")
        database.execute("INSERT INTO loose VALUES (NULL, 1)")
        database.execute('CREATE TABLE "odd ""name" ("a key" TEXT PRIMARY KEY, v) WITHOUT ROWID')
        database.execute('INSERT INTO "odd ""name" VALUES (\'x\', NULL)')
        database.commit()
        database.execute(f"VACUUM INTO '{tmp_path / 'b.db'}'")
    diffs = compare(tmp_path / "b.db", snapshot)
    assert {diff.table for diff in diffs} >= {"loose", 'odd "name', "orders"}
    assert losses(diffs) == {}
    assert all(diff.same for diff in diffs)


def test_a_table_or_column_that_only_one_side_has_is_no_obstacle(tmp_path):
    live, snapshot = two_shops(tmp_path)
    with closing(sqlite3.connect(live)) as database, database:
        database.execute("CREATE TABLE coupons (id INTEGER PRIMARY KEY)")
        database.execute("INSERT INTO coupons VALUES (1), (2)")
        database.execute("ALTER TABLE products ADD COLUMN sale_price NUMERIC")
    assert losses(compare(live, snapshot))["coupons"] == 2


def test_knowledge_is_compared_entry_by_entry():
    live = {"fabric": {"silk": {"care": "cold"}, "linen": "x"}, "new": "n"}
    backup = {"fabric": {"silk": {"care": "warm"}, "wool": "y"}}
    assert knowledge_diff(live, backup) == KnowledgeDiff(
        lost=("fabric / linen", "new"), back=("fabric / wool",), changed=("fabric / silk / care",)
    )


def plan(**changes) -> RestorePlan:
    values = {
        "snapshot_id": "20261122T090000Z-abcd",
        "snapshot_at": TAKEN,
        "parts": frozenset({Part.DATABASE, Part.IMAGES}),
        "lines": (PlanLine(Tone.LOST, "3 orders"),),
        "entries": KnowledgeDiff(("a",), (), ("b / c",)),
        "losses": {"orders": 3},
        "live": LiveState.READY,
        "writer": "",
        "restart": True,
        "bytes_needed": 5,
        "seconds": 1.5,
        "word": "insightshop",
        "made_at": TAKEN,
        "fingerprint": "f",
    }
    return RestorePlan(**values | changes)


def test_a_plan_survives_the_jobs_parameters_unchanged():
    import json

    assert RestorePlan.from_dict(json.loads(json.dumps(plan().to_dict()))) == plan()


def test_a_plan_holds_unless_more_would_be_lost_than_was_seen():
    require_no_more_lost(plan(), {"orders": 3})
    with pytest.raises(Conflict, match=r"orders \(1 more\), users \(2 more\)"):
        require_no_more_lost(plan(), {"orders": 4, "users": 2})
    require_no_more_lost(plan(writer="It writes."), {"orders": 400})


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_witness_is_equal_only_when_nobody_wrote(tmp_path, monkeypatch, mode):
    path = build_shop(tmp_path / "shop.db")
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode={mode}")
        database.execute("DELETE FROM cart_items")
        database.commit()
        assert live_file.witness(path) == "", "a write that is too fresh may hide the next one"
        monkeypatch.setattr(live_file, "_FRESH_SECONDS", 0.0)
        before = live_file.witness(path)
        assert before
        database.execute("SELECT count(*) FROM orders").fetchone()
        assert live_file.witness(path) == before
        for file in path.parent.iterdir():
            os.utime(file, ns=(0, 0))
        before = live_file.witness(path)
        database.execute("UPDATE products SET price = price + 1 WHERE id = 1")
        database.commit()
        assert live_file.witness(path) != before


def test_tables_that_nobody_wrote_to_since_the_preview_are_not_compared_again(
    ctx, shop, operator, monkeypatch
):
    from services import restore
    from services.protection.rescue import sqlite_database
    from tests.faults.scene import DATABASE, back_up, damage, furnish

    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(live_file, "_FRESH_SECONDS", 0.0)
    furnish(ctx)
    snapshot = back_up(ctx, operator)
    damage(ctx)
    compared = []
    real = sqlite_database.looked
    monkeypatch.setattr(
        sqlite_database, "looked", lambda *both: (compared.append(both), real(*both))[1]
    )
    plan = restore.preview(ctx, operator, snapshot.id, DATABASE)
    restore.run(ctx, operator, plan, plan.word)
    assert len(compared) == 1
    plan = restore.preview(ctx, operator, snapshot.id, DATABASE)
    with closing(sqlite3.connect(shop)) as database, database:
        add_order(database, 901, random.Random(1))
    with pytest.raises(Conflict, match=r"orders \(1 more\)"):
        restore.run(ctx, operator, plan, plan.word)
    assert len(compared) == 3
