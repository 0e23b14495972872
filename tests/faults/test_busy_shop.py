"""A shop that writes, or holds a lock, without pause.

What writing does to a restore is tried in tests/services: test_restore_running.py and
test_restore_postgres_busy.py.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from services import backup, drill, restore
from services.core import jobs
from services.core.context import Context
from services.core.errors import DeskError
from services.protection.rescue import live as live_file
from services.protection.sources import pg_capture, sqlite
from tests.faults import matrix
from tests.faults.beside import writing_to
from tests.faults.either import grow, on_server
from tests.faults.scene import furnish, leftovers
from tests.faults.scene_broken import PARTS, Scene, ServerScene
from tests.faults.scene_postgres import shop_of

COUNTS = (
    "SELECT (SELECT count(*) FROM products), (SELECT count(*) FROM orders o WHERE NOT EXISTS "
    "(SELECT 1 FROM order_items i WHERE i.order_id = o.id))"
)
RESTORED, DAMAGED = 40, 37
"""Products of the shop as it was backed up, and as it was found."""


def _counts(ctx: Context) -> tuple[int, int]:
    """Products, and orders without a single item: there never is one."""
    if on_server(ctx):
        with shop_of(ctx) as db:
            return tuple(db.execute(COUNTS).fetchone())
    with closing(sqlite3.connect(ctx.settings.shop_sqlite_path, timeout=30)) as db:
        return tuple(db.execute(COUNTS).fetchone())


@pytest.mark.parametrize("place", [matrix.SQLITE, matrix.POSTGRESQL])
def test_a_backup_of_a_shop_that_writes_without_pause_ends_and_is_proven(desk_at, operator, place):
    desk = desk_at(place)
    furnish(desk)
    grow(desk, 8_000_000)
    row = "writes without pause, during a backup: the backup ends and is proven"
    with writing_to(desk) as shop, matrix.cell(matrix.BUSY, row, place):
        made = backup.run(desk, operator).result["snapshot"]
        assert shop.poll() is None
        manifest = backup.manifest(desk, operator, made)
        assert manifest.tables["orders"].rows > 60
        # One instant: a restore of it has every item of every order.
        assert drill.run(desk, operator, made).state is jobs.JobState.SUCCEEDED


def test_an_undo_while_the_shop_writes_without_pause_ends_and_nothing_is_torn(scene):
    scene.restored()
    row = "writes without pause, during an undo: the undo ends, no order is torn"
    with writing_to(scene.ctx) as shop, matrix.cell(matrix.BUSY, row, scene.column):
        assert scene.undo().state is jobs.JobState.SUCCEEDED
        assert shop.poll() is None
        assert _counts(scene.ctx) == (DAMAGED, 0)
        assert leftovers(scene.ctx) == []


HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def _held(scene: Scene, work: str) -> Iterator[str]:
    """A program holds a lock that the desk can't end; gives how it is to be named."""
    if isinstance(scene, ServerScene):
        # A session of somebody else's holds up who wants to rename, and a lock who reads.
        role = "shop" if work == "a backup" else "postgres"
        with scene.connected_as(role) as session, session.transaction():
            if work == "a backup":
                session.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            yield f"process {session.info.backend_pid}"
        return
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(scene.shop)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield f"process {process.pid}"
        process.communicate(b"let go\n")


WORKS = ("a backup", "a restore", "an undo")


@pytest.mark.parametrize(
    ("engine", "work"),
    matrix.times(
        [("file_scene", "a backup"), ("server_scene", "an undo")],
        [(engine, work) for engine in ("file_scene", "server_scene") for work in WORKS],
    ),
)
def test_a_shop_that_stays_locked_is_given_up_in_time_and_who_holds_it_is_named(
    request, monkeypatch, engine, work
):
    scene: Scene = request.getfixturevalue(engine)
    for room, patience in (
        (live_file, "PATIENCE_SECONDS"),
        (sqlite, "LOCK_PATIENCE_SECONDS"),
        (pg_capture, "LOCK_PATIENCE_SECONDS"),
    ):
        monkeypatch.setattr(room, patience, 0.5)
    if work == "an undo":
        scene.restored()
    before = scene.world()
    plan = restore.preview(scene.ctx, scene.operator, scene.snapshot.id, PARTS)

    def carry_out() -> jobs.Job:
        if work == "a backup":
            return backup.run(scene.ctx, scene.operator)
        if work == "an undo":
            return scene.undo()
        return restore.run(scene.ctx, scene.operator, plan, plan.word)

    row = f"holds a lock without pause, during {work}: given up in time, who holds it is named"
    with matrix.cell(matrix.BUSY, row, scene.column):
        with _held(scene, work) as who, pytest.raises(DeskError, match=who) as refused:
            carry_out()
        assert "othing was" in str(refused.value)
        assert scene.world() == before
        assert leftovers(scene.ctx) == []
        assert carry_out().state is jobs.JobState.SUCCEEDED
