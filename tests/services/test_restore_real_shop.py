"""The real shop's own files come back equal."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from services import restore
from services.protection.model import Part
from services.protection.rescue import live as live_file
from tests.faults.scene import back_up, do, facts, tree


@pytest.fixture(autouse=True)
def _no_long_watch(monkeypatch):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.05)


def test_the_real_shop_comes_back_equal(ctx, real_shop, operator):
    snapshot = back_up(ctx, operator)
    good = facts(ctx)
    with closing(sqlite3.connect(real_shop)) as database, database:
        database.execute("DELETE FROM order_items")
        database.execute("DELETE FROM products WHERE id % 2")
        database.execute("UPDATE users SET is_superadmin = 1")
    do(ctx, operator, snapshot.id)
    assert facts(ctx) == good
    with closing(sqlite3.connect(real_shop)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


def test_the_real_shops_vector_folder_comes_back_byte_for_byte(ctx, shop, operator, shared_shop):
    import tarfile

    with tarfile.open(shared_shop / "vector_db.tar.gz") as tar:
        tar.extractall(ctx.settings.shop_dir, filter="data")
    before = tree(ctx.settings.vector_dir)
    snapshot = back_up(ctx, operator)
    for file in ctx.settings.vector_dir.rglob("*.bin"):
        file.write_bytes(b"torn")
    (ctx.settings.vector_dir / "stray-segment").mkdir()
    (ctx.settings.vector_dir / "stray-segment" / "header.bin").write_bytes(b"old")
    plan = restore.preview(ctx, operator, snapshot.id, frozenset({Part.VECTORS}))
    assert plan.restart
    assert "The vectors go back to the" in plan.lines[0].text
    job = restore.run(ctx, operator, plan, plan.word)
    after = tree(ctx.settings.vector_dir)
    # The online backup writes its own change counter into the header (bytes 24 and 92).
    assert {k: v for k, v in after.items() if k != "chroma.sqlite3"} == {
        k: v for k, v in before.items() if k != "chroma.sqlite3"
    }
    assert after["chroma.sqlite3"][100:] == before["chroma.sqlite3"][100:]
    assert "Restart the shop" in " ".join(job.result["notes"])
