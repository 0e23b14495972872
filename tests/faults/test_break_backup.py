"""Backups that begin on top of a killed restore."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from services import backup, restore
from services.core import jobs
from services.core.context import Context, open_context
from services.core.settings import PROJECT_ROOT
from services.protection.model import Part
from services.protection.rescue import live as live_file
from services.watch import samples
from tests.faults.scene import DATABASE, back_up, damage, do, furnish, world

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
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.child", "backup"],
            cwd=PROJECT_ROOT,
            env=_environment(ctx, PATIENCE="1"),
            capture_output=True,
            text=True,
        )
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
