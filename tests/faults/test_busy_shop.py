"""A shop that writes, or holds a lock, without pause, during a backup and during an undo.

What it does to a restore is tried in tests/services/test_restore_running.py and
test_restore_postgres_busy.py, what a lock does to a backup beside the other backups that fail.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from services import backup, drill
from services.core import jobs
from services.core.context import Context
from services.core.errors import DeskError
from services.protection.rescue import live as live_file
from services.protection.sources import sqlite
from tests.faults import matrix
from tests.faults.beside import writing_to
from tests.faults.either import grow, on_server
from tests.faults.scene import furnish, leftovers
from tests.faults.scene_broken import ServerScene
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
def _held(scene) -> Iterator[str]:
    """A program holds a lock that the desk can't end; gives how it is to be named."""
    if isinstance(scene, ServerScene):
        with scene.connected_as("postgres") as superuser:
            superuser.execute("SELECT 1")
            yield "role postgres"
        return
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(scene.shop)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield f"process {process.pid}"
        process.communicate(b"let go\n")


def test_an_undo_of_a_shop_that_stays_locked_ends_in_time_names_who_and_changes_nothing(
    scene, monkeypatch
):
    monkeypatch.setattr(live_file, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(sqlite, "LOCK_PATIENCE_SECONDS", 0.5)
    scene.restored()
    row = "holds a lock without pause, during an undo: given up in time, with who holds it"
    with matrix.cell(matrix.BUSY, row, scene.column):
        with _held(scene) as who, pytest.raises(DeskError, match=who) as refused:
            scene.undo()
        assert "othing was changed" in str(refused.value)
        assert scene.world() == scene.good
        assert leftovers(scene.ctx) == []
        scene.undo()
        assert scene.world() == scene.bad
