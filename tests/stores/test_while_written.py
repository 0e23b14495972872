"""The shop writes all through a backup and a restore, whatever the store is."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from services import backup, restore
from services.core import jobs
from services.core.loading import load_settings
from services.core.settings import Settings
from services.protection import snapshots
from services.protection.model import Part
from services.protection.stores import open_store
from tests.faults.beside import READER, WRITER, seen_until
from tests.faults.scene import DATABASE, furnish

TORN = (
    "SELECT count(*) FROM orders o WHERE NOT EXISTS "
    "(SELECT 1 FROM order_items i WHERE i.order_id = o.id)"
)
LOST = "SELECT count(*) FROM order_items WHERE order_id NOT IN (SELECT id FROM orders)"


@pytest.fixture(params=["a folder", "rclone"])
def settings(request, tmp_path) -> Settings:
    values: dict[str, object] = {}
    if request.param == "rclone":
        server = request.getfixturevalue("rclone_server")
        values = server.settings(server.make_bucket(), "desk")
    return load_settings(
        env_file=tmp_path / "none.env",
        desk_home=tmp_path / "desk",
        shop_root=tmp_path / "shop",
        **values,
    )


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_snapshot_is_of_one_moment_and_no_reader_of_a_restore_sees_a_mixture(
    ctx, shop, operator, beside, tmp_path, mode
):
    furnish(ctx, pictures=False)
    with closing(sqlite3.connect(shop)) as database:
        database.execute(f"PRAGMA journal_mode={mode}")
        # Large enough that a copy page by page would be torn.
        database.execute("CREATE TABLE bulk (id INTEGER PRIMARY KEY, data BLOB)")
        database.execute("INSERT INTO bulk (data) VALUES (randomblob(8000000))")
        database.commit()
    writer = beside(WRITER)
    assert writer.stdout.readline() == b"writing\n"

    made = backup.run(ctx, operator).result["snapshot"]
    manifest = backup.manifest(ctx, operator, made)
    copy = snapshots.fetch(
        ctx, open_store(ctx.settings), manifest, Part.DATABASE, tmp_path / "copy.sqlite3"
    )
    with closing(sqlite3.connect(copy)) as held, closing(sqlite3.connect(shop)) as live:
        (kept,) = held.execute("SELECT count(*) FROM orders").fetchone()
        (now,) = live.execute("SELECT count(*) FROM orders").fetchone()
        assert 60 <= kept < now, "the shop wrote before and after the copy"
        assert held.execute(TORN).fetchone() == held.execute(LOST).fetchone() == (0,)
        assert held.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    with closing(sqlite3.connect(shop, timeout=10)) as live, live:
        live.execute("DELETE FROM products WHERE id <= 3")
        live.execute("DELETE FROM users WHERE id = 2")
        live.execute("UPDATE products SET price = 1")
    reader = beside(READER, tmp_path / "seen")
    plan = restore.preview(ctx, operator, made, DATABASE)
    job = restore.run(ctx, operator, plan, plan.word)
    assert job.state is jobs.JobState.SUCCEEDED
    assert (writer.poll(), reader.poll()) == (None, None), "both went on through all of it"

    seen = seen_until(tmp_path / "seen", 40)
    assert {state[:3] for state in seen} == {(37, 11, 0), (40, 12, 0)}
    assert {state[3] for state in seen if state[0] == 37} == {1}
    with closing(sqlite3.connect(shop, timeout=10)) as live:
        assert live.execute(TORN).fetchone() == live.execute(LOST).fetchone() == (0,)
        assert live.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert live.execute("PRAGMA journal_mode").fetchone() == (mode,)
