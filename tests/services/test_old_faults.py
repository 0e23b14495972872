"""What the shop's older scripts got wrong with what was there before: earlier backups stay.

Their other faults have their tests where the thing itself is tested: torn copies and rows of
an open transaction or a `-wal` in test_sources_sqlite, a live Chroma folder in
test_sources_chroma, a restore under a running shop in tests/stores/test_while_written, stale
journals in test_restore_live_file, escaping archive members in test_restore_folders, long lists
in tests/stores, two tenants in test_tenants.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from services import backup, restore
from services.core.errors import Broken, DeskError
from services.protection import sending
from services.protection.model import Part
from services.protection.rescue import live as live_file
from tests.faults.scene import do, furnish, tree, world


@pytest.fixture
def kept(ctx, shop, operator):
    """An earlier backup; gives its id and every byte of the store."""
    furnish(ctx, vectors=True)
    made = backup.run(ctx, operator).result["snapshot"]
    return made, tree(_store(ctx))


@pytest.fixture(autouse=True)
def _no_long_watch(monkeypatch):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.05)


def _store(ctx) -> Path:
    return Path(ctx.settings.store_url.removeprefix("file:"))


def test_an_emptied_database_never_becomes_the_latest_backup(ctx, shop, operator, kept):
    made, store = kept
    good = world(ctx)
    shop.write_bytes(b"")
    for _ in range(3):
        with pytest.raises(Broken, match="empty file of 0 bytes"):
            backup.run(ctx, operator)
    assert tree(_store(ctx)) == store
    assert restore.resolved(ctx, "latest") == made
    do(ctx, operator, "latest", frozenset({Part.DATABASE}))
    assert world(ctx) == good


@pytest.mark.parametrize("after", [1, 2, 3])
def test_cleaning_up_after_a_failed_backup_takes_only_what_it_sent_itself(
    ctx, operator, kept, monkeypatch, after
):
    made, store = kept
    with closing(sqlite3.connect(ctx.settings.shop_sqlite_path)) as database, database:
        database.execute("UPDATE products SET stock_quantity = 0 WHERE id = 7")
    real, sent = sending.Sender.send, 0

    def full(self, *arguments, **more):
        nonlocal sent
        sent += 1
        if sent == after:
            raise Broken("The store's disk is full.", "Free some space.")
        return real(self, *arguments, **more)

    with monkeypatch.context() as failing:
        failing.setattr(sending.Sender, "send", full)
        with pytest.raises(DeskError, match="disk is full"):
            backup.run(ctx, operator)
    assert tree(_store(ctx)) == store
    backup.run(ctx, operator)
    assert backup.verify(ctx, operator, made).read_back_at
    assert {name: tree(_store(ctx))[name] for name in store} == store


def test_nothing_of_an_older_vector_folder_is_left_under_the_restored_one(ctx, operator, kept):
    made, _store_then = kept
    good = world(ctx)["vectors"]
    old = ctx.settings.vector_dir / "0ld5e9-segment"
    old.mkdir()
    (old / "data_level0.bin").write_bytes(b"of another index")
    with closing(sqlite3.connect(ctx.settings.vector_dir / "chroma.sqlite3")) as index, index:
        index.execute("DELETE FROM embeddings")
    (ctx.settings.vector_dir / "chroma.sqlite3-wal").write_bytes(b"stale")
    do(ctx, operator, made, frozenset({Part.VECTORS}))
    assert world(ctx)["vectors"] == good
    assert not old.exists()
