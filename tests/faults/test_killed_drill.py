"""Kill a test restore, or the bringing in of an old backup, at every step and in between: no job
hangs, no lock is held, the next start clears away what it had made, and nothing was judged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services import backup, desk, drill, legacy
from services.core import jobs
from services.core.context import Context, open_context
from services.core.settings import PROJECT_ROOT
from services.protection.index import catalog
from services.protection.legacy.sql_load import PREFIX as IMPORT_SIDE
from services.protection.model import PROTECTION_LOCK
from services.protection.proving.aside_server import PREFIX as DRILL_SIDE
from services.protection.sources import postgres
from services.protection.stores import open_store
from services.shop.attach import attach
from tests.conftest import person
from tests.drills import desk_settings, furnished_desk
from tests.faults import matrix
from tests.faults.scene import back_up, furnish, tree, world
from tests.faults.scene_postgres import desk_on, world_on
from tests.legacy_bucket import OldBucket
from tests.services.test_legacy_sql import dump
from tests.shops import build_shop

OPERATOR = person("operator")


def child(ctx: Context, door: str, job: jobs.Job, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.steps_child", door, job.id],
        cwd=PROJECT_ROOT,
        env={**os.environ, **ctx.settings.as_environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def every_kill(
    ctx: Context,
    door: str,
    queue: Callable[[], jobs.Job],
    settled: Callable[[jobs.Job], None],
    at_random: int,
) -> None:
    """Kill a job of a door at each of its steps, then so often at random.

    Args:
        queue: writes the row of a job whose process is about to start.
        settled: proves that all is well after one that was killed.
    """
    with child(ctx, door, queue()) as process:
        steps = [process.stdout.readline().strip()]
        began = time.monotonic()
        steps += process.communicate()[0].splitlines()
    length = time.monotonic() - began
    assert process.returncode == 0 and len(steps) > 3
    for number in matrix.some(range(len(steps)), 1):
        job = queue()
        with child(ctx, door, job, KILL_AT_STEP=str(number)) as process:
            told = process.communicate()[0].splitlines()
        assert process.returncode == -signal.SIGKILL and len(told) == number + 1
        settled(job)
    for _ in range(at_random):
        job = queue()
        with child(ctx, door, job) as process:
            assert process.stdout.readline()  # it has begun
            time.sleep(random.uniform(0.0, 1.0) * length)
            process.kill()
        settled(job)


_AT_WORK = (
    "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() "
    "AND query ~* '^(create|drop|alter) database'"
)


def cleared(ctx: Context, job: jobs.Job, lock: str) -> None:
    """The desk starts again: nothing hangs, nothing is held, nothing is left."""
    if postgres.is_server(ctx.settings.shop_database_url):
        # The server may be making a database that the killed process asked it for.
        with postgres.maintenance(ctx.settings.shop_database_url) as connection:
            while connection.execute(_AT_WORK).fetchone():
                time.sleep(0.05)
    desk.prepare(ctx)
    assert jobs.get(ctx, job.id).state.ended
    assert jobs.active(ctx, lock) is None
    temp = ctx.settings.temp_dir
    assert [path for path in temp.rglob("*") if path.is_file()] == []
    if postgres.is_server(ctx.settings.shop_database_url):
        for prefix in (DRILL_SIDE, IMPORT_SIDE):
            assert postgres.databases(ctx.settings.shop_database_url, prefix) == ()


# ---- test restores


def drills_are_killed(ctx: Context, snapshot_id: str, look: Callable[[], Any], column: str) -> None:
    drill.run(ctx, OPERATOR, snapshot_id)
    verified, before = catalog.find(ctx, snapshot_id).verified_at, look()

    def queue() -> jobs.Job:
        return drill._create(ctx, OPERATOR, snapshot_id, "store")

    def settled(job: jobs.Job) -> None:
        with matrix.cell(matrix.KILLED, "a test restore", column):
            cleared(ctx, job, drill.LOCK)
            row = catalog.find(ctx, snapshot_id)
            # One that ended just before it was killed has proven it once more.
            assert row.verify_error is None and row.verified_at and row.verified_at >= verified
            assert look() == before

    every_kill(ctx, "services.drill", queue, settled, matrix.times(0, 25))
    assert drill.run(ctx, OPERATOR, snapshot_id).state is jobs.JobState.SUCCEEDED


def test_a_killed_test_restore_leaves_nothing_and_takes_no_mark_away(tmp_path, tmp_path_factory):
    made = furnished_desk(tmp_path, tmp_path_factory, vectors=False)
    ctx = open_context(desk_settings(tmp_path))
    try:
        drills_are_killed(ctx, made.id, lambda: world(ctx), matrix.SQLITE)
    finally:
        ctx.close()


def test_a_killed_test_restore_on_a_server_leaves_no_database_there(settings, postgres_server):
    with desk_on(settings, postgres_server, postgres_server.make_shop()) as ctx:
        furnish(ctx, pictures=False)
        made = back_up(ctx, OPERATOR)
        drills_are_killed(ctx, made.id, lambda: world_on(ctx), matrix.POSTGRESQL)


# ---- old backups


def imports_are_killed(ctx: Context, names: list[str], column: str) -> None:
    """Bring in one old backup after another, each killed elsewhere."""
    root = Path(ctx.settings.store_url.removeprefix("file:"))
    before, left, whole = tree(root / "backups"), iter(names), set[str]()

    def queue() -> jobs.Job:
        name = next(left)
        keys = (each.key for each in legacy.legacy(ctx, OPERATOR).backups)
        return legacy._create(ctx, OPERATOR, next(key for key in keys if name in key), True)

    def settled(job: jobs.Job) -> None:
        with matrix.cell(matrix.KILLED, "bringing in an old backup", column):
            cleared(ctx, job, PROTECTION_LOCK)
            assert tree(root / "backups") == before
            back_up(ctx, OPERATOR)  # which also removes what the killed one had sent
            catalog.refresh(ctx, open_store(ctx.settings))
            listed = {row.id for row in catalog.everything(ctx)}
            assert {path.name for path in (root / "data" / "default").iterdir()} == listed
            for snapshot_id in listed - whole:
                assert backup.verify(ctx, OPERATOR, snapshot_id).verify_error is None
            whole.update(listed)

    every_kill(ctx, "services.legacy", queue, settled, matrix.times(0, 10))


STAMPS = [f"202611{day:02}_020000" for day in range(1, 29)] + [
    f"202610{day:02}_020000" for day in range(1, 29)
]


def test_a_killed_import_leaves_no_half_snapshot(settings, tmp_path):
    ctx = open_context(settings)
    try:
        path = settings.shop_sqlite_path
        build_shop(path)
        attach(ctx)
        root = Path(settings.store_url.removeprefix("file:"))
        old = OldBucket(root, tmp_path)
        for stamp in STAMPS:
            old.database(stamp)
        imports_are_killed(ctx, STAMPS, matrix.SQLITE)
    finally:
        ctx.close()


def test_a_killed_import_of_a_dump_leaves_no_database_on_the_server(settings, postgres_server):
    content = dump(postgres_server, postgres_server.make_shop())
    with desk_on(settings, postgres_server, postgres_server.make_shop()) as ctx:
        folder = Path(ctx.settings.store_url.removeprefix("file:")) / "backups" / "database"
        folder.mkdir(parents=True)
        for stamp in STAMPS:
            (folder / f"insightshop_{stamp}.sql").write_bytes(content)
        imports_are_killed(ctx, STAMPS, matrix.POSTGRESQL)
