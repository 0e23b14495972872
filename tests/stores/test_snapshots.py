"""The main job on S3: back up, lose the data and the desk, get it all back.

The same on a local folder is in tests/services.
"""

from __future__ import annotations

import shutil

import pytest

from services import backup, restore
from services.core import jobs
from services.core.context import open_context
from services.core.errors import Broken, Transient
from services.core.loading import load_settings
from services.core.settings import Settings
from services.protection.index import catalog
from services.protection.rescue import live as live_file
from services.protection.stores import open_store
from services.shop.attach import attach
from tests.faults.scene import EVERYTHING, damage, do, furnish, world
from tests.servers import S3Server
from tests.shops import build_shop
from tests.stores.faulty import closed_port


@pytest.fixture
def settings(request, tmp_path) -> Settings:
    """A desk whose store is a bucket, on rclone's server unless a test says otherwise."""
    server: S3Server = request.getfixturevalue(getattr(request, "param", "rclone_server"))
    return load_settings(
        env_file=tmp_path / "none.env",
        desk_home=tmp_path / "desk",
        shop_root=tmp_path / "shop",
        **server.settings(server.make_bucket(), "desk"),
    )


@pytest.fixture(autouse=True)
def _no_long_watch(monkeypatch):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.05)


@pytest.fixture
def shop(ctx):
    path = ctx.settings.shop_sqlite_path
    build_shop(path)
    attach(ctx)
    furnish(ctx, vectors=True)
    return path


@pytest.mark.parametrize("settings", ["rclone_server", "moto_server"], indirect=True)
def test_what_was_backed_up_comes_back_equal_and_undo_takes_it_back(ctx, shop, operator):
    good = world(ctx)
    made = backup.run(ctx, operator, "manual")
    assert made.state is jobs.JobState.SUCCEEDED
    damage(ctx)
    bad = world(ctx)
    job = do(ctx, operator, made.result["snapshot"], EVERYTHING)
    assert job.state is jobs.JobState.SUCCEEDED
    assert world(ctx) == good
    offer = restore.undo_offer(ctx, operator)
    plan = restore._undo(ctx, operator, offer)
    restore.run(ctx, operator, plan, plan.word, undo_of=offer.job_id)
    assert world(ctx) == bad


def test_a_desk_that_lost_everything_lists_the_snapshots_of_its_store_again(ctx, shop, operator):
    made = [backup.run(ctx, operator, "manual").result["snapshot"] for _ in range(2)]
    ctx.close()
    shutil.rmtree(ctx.settings.instance_dir)
    again = open_context(ctx.settings)
    try:
        catalog.refresh(again, open_store(ctx.settings))
        listed = backup.snapshots(again, operator).rows
        assert sorted(row.id for row in listed) == sorted(made)
        assert backup.verify(again, operator, "latest").read_back_at
    finally:
        again.close()


def test_a_missing_object_is_named_and_its_snapshot_shown_as_damaged(ctx, shop, operator):
    made = backup.run(ctx, operator, "manual").result["snapshot"]
    store = open_store(ctx.settings)
    (key,) = [found.key for found in store.list("data/") if "database.sqlite3" in found.key]
    store.delete(key)
    with pytest.raises(Broken, match=r"database\.sqlite3\.zst"):
        backup.verify(ctx, operator, made)
    (row,) = backup.snapshots(ctx, operator, state="damaged").rows
    assert row.id == made


def test_a_store_that_is_gone_fails_the_backup_as_network_and_leaves_the_list(ctx, shop, operator):
    made = backup.run(ctx, operator, "manual").result["snapshot"]
    gone = open_context(
        ctx.settings.model_copy(update={"aws_endpoint_url_s3": closed_port().endpoint})
    )
    try:
        with pytest.raises(Transient, match="did not answer"):
            backup.run(gone, operator, "manual")
        assert [row.id for row in backup.snapshots(gone, operator).rows] == [made]
    finally:
        gone.close()
