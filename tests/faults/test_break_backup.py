"""Backups that are killed, or that begin on top of a killed restore."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from services import backup, restore
from services.core import jobs
from services.core.context import Context, open_context
from services.core.settings import PROJECT_ROOT, load_settings
from services.protection.model import Part
from services.protection.rescue import live as live_file
from services.protection.stores import open_store
from services.shop.attach import attach
from services.watch import samples
from tests.faults import matrix
from tests.faults.scene import DATABASE, EVERYTHING, back_up, damage, do, furnish, world
from tests.shops import build_shop

COMMAND = [sys.executable, str(PROJECT_ROOT / "services" / "backup.py")]


@pytest.fixture(autouse=True)
def _no_long_watch(monkeypatch):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.02)


def _environment(ctx: Context, **more: str) -> dict[str, str]:
    return {**os.environ, **ctx.settings.as_environment(), **more}


def _kill_a_restore(ctx: Context, operator, snapshot_id: str, at: str) -> jobs.Job:
    parts = DATABASE | {Part.IMAGES}
    plan = restore.preview(ctx, operator, snapshot_id, parts)
    job = restore._queue(ctx, operator, plan, plan.word)
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.child", "restore", job.id],
        cwd=PROJECT_ROOT,
        env=_environment(ctx, KILL_AT=at),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert done.returncode == -signal.SIGKILL
    return job


@pytest.mark.parametrize(
    ("at", "side"), [("images moved out", "old"), ("images moved in", "old"), ("applied", "new")]
)
def test_a_backup_after_a_killed_restore_holds_the_old_data_or_the_new_never_both(
    ctx, shop, operator, at, side
):
    furnish(ctx)
    snapshot = back_up(ctx, operator)
    good = world(ctx)
    damage(ctx)
    bad = world(ctx)
    killed = _kill_a_restore(ctx, operator, snapshot.id, at)
    done = subprocess.run([*COMMAND, "--json"], env=_environment(ctx), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert world(ctx) == (good if side == "new" else bad)
    answer = json.loads(done.stdout)
    assert killed.id not in answer["job"]
    told = [line for _at, line in jobs.get(ctx, answer["job"]).log if "interrupted" in line]
    assert len(told) == 1 and "all of it" in told[0]
    # Lose it, and put this backup back: it is one side as a whole.
    with closing(sqlite3.connect(shop)) as database, database:
        database.execute("DELETE FROM orders")
    (ctx.settings.images_dir / "looks/3.png").unlink()
    do(ctx, operator, answer["snapshot"], DATABASE | {Part.IMAGES})
    assert world(ctx) == (good if side == "new" else bad)


def test_a_killed_restore_that_cant_be_settled_is_not_backed_up(ctx, shop, operator):
    furnish(ctx)
    snapshot = back_up(ctx, operator)
    damage(ctx)
    _kill_a_restore(ctx, operator, snapshot.id, "images moved in")
    with closing(sqlite3.connect(shop, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        done = subprocess.run(COMMAND, env=_environment(ctx), capture_output=True, text=True)
    assert done.returncode == 1
    assert "could not be settled yet" in done.stderr and "Nothing was backed up" in done.stderr
    after = subprocess.run(COMMAND, env=_environment(ctx), capture_output=True, text=True)
    assert after.returncode == 0, after.stderr


def test_charts_show_the_loss_and_the_return(ctx, shop, operator):
    furnish(ctx)
    snapshot = back_up(ctx, operator)
    with closing(sqlite3.connect(shop)) as database, database:
        database.execute("DELETE FROM products WHERE id > 10")
    do(ctx, operator, snapshot.id)
    offer = restore.undo_offer(ctx, operator)
    plan = restore._undo(ctx, operator, offer)
    restore.run(ctx, operator, plan, plan.word, undo_of=offer.job_id)
    (rows,) = samples.series(ctx, operator, "shop.rows", "products")
    assert [point.value for point in rows.points] == [10, 40, 40, 10]


def test_the_newest_backup_is_the_one_made_last_whatever_its_id(ctx, shop, operator, clock):
    """Several within one second: their ids end in chance."""
    desk = open_context(ctx.settings, clock)
    try:
        made = []
        for _ in range(6):
            clock.forward(microseconds=1)
            made.append(back_up(desk, operator).id)
        assert made != sorted(made) or len({made_id[:16] for made_id in made}) == 1
        assert [row.id for row in backup.snapshots(desk, operator).rows] == made[::-1]
        assert restore.preview(desk, operator, "latest", DATABASE).snapshot_id == made[-1]
        assert backup.days(desk, operator, 1)[0].snapshots == tuple(made)
        # The same from the bucket alone.
        with desk.control.begin() as connection:
            connection.exec_driver_sql("DELETE FROM snapshots")
        backup.refresh(desk, operator)
        assert [row.id for row in backup.snapshots(desk, operator).rows] == made[::-1]
    finally:
        desk.close()


@pytest.fixture(params=["folder", "bucket"])
def desk(request, tmp_path):
    """A desk with some megabytes to back up, to a folder and to a real S3 server."""
    overrides = {}
    if request.param == "bucket":
        server = request.getfixturevalue("rclone_server")
        overrides = server.settings(server.make_bucket(), "desk")
    settings = load_settings(
        env_file=tmp_path / "none.env",
        desk_home=tmp_path / "desk",
        shop_root=tmp_path / "shop",
        **overrides,
    )
    context = open_context(settings)
    path = settings.shop_sqlite_path
    build_shop(path)
    attach(context)
    furnish(context, vectors=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE bulk (id INTEGER PRIMARY KEY, data BLOB)")
        database.executemany(
            "INSERT INTO bulk (data) VALUES (?)", [(os.urandom(100_000),) for _ in range(200)]
        )
    yield context
    context.close()


def _keys(ctx: Context) -> list[str]:
    return [found.key for found in open_store(ctx.settings).list("")]


def test_a_backup_killed_at_any_instant_leaves_nothing_half_and_the_next_one_cleans_up(
    desk, operator
):
    began = time.monotonic()
    assert subprocess.run(COMMAND, env=_environment(desk)).returncode == 0
    length = time.monotonic() - began
    chance, killed = random.Random(), 0
    for _ in range(matrix.times(10, 40)):
        with subprocess.Popen(COMMAND, env=_environment(desk), stderr=subprocess.PIPE) as process:
            time.sleep(chance.uniform(0.2, 1.0) * length)
            process.kill()
            process.communicate()
            killed += process.returncode == -signal.SIGKILL
    assert killed
    column = matrix.S3 if desk.settings.store_url.startswith("s3:") else matrix.LOCAL
    with matrix.cell("killed while it backs up", column, killed):
        backup.refresh(desk, operator)
        for row in backup.snapshots(desk, operator).rows:
            backup.verify(desk, operator, row.id)  # what is listed is whole
        job = backup.run(desk, operator)
        assert job.state is jobs.JobState.SUCCEEDED
        assert not list(desk.settings.temp_dir.glob("snapshot-*"))
        backup.refresh(desk, operator)
        listed = {row.id for row in backup.snapshots(desk, operator).rows}
        data = [key for key in _keys(desk) if key.startswith("data/")]
        assert {key.split("/")[2] for key in data} == listed
        assert {Path(key).stem for key in _keys(desk) if key.startswith("manifests/")} == listed
        good = world(desk)
        damage(desk)
        do(desk, operator, job.result["snapshot"], EVERYTHING)
        assert world(desk) == good
