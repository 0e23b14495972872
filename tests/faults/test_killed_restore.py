"""Kill a restore anywhere: the shop has all of the old data or all of the new, and the next
start says which."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from services import restore
from services.core import jobs
from services.core.context import Context
from services.core.settings import PROJECT_ROOT
from services.knowledge import transfer
from services.protection.model import PROTECTION_LOCK, Part
from services.protection.rescue import live as live_file
from tests.faults import matrix
from tests.faults.scene import DATABASE, KNOWLEDGE, back_up, damage, furnish, leftovers, world

PARTS = DATABASE | {Part.IMAGES}
BULK = 4_000_000


class Scene:
    """A damaged shop with a good backup, which can be put into that state again and again."""

    def __init__(self, ctx: Context, operator, shop: Path) -> None:
        self.ctx, self.operator, self.shop = ctx, operator, shop
        furnish(ctx)
        with closing(sqlite3.connect(shop)) as database, database:
            database.execute("CREATE TABLE bulk (id INTEGER PRIMARY KEY, data BLOB)")
            database.executemany(
                "INSERT INTO bulk (data) VALUES (?)", [(os.urandom(50_000),)] * (BULK // 50_000)
            )
        self.snapshot = back_up(ctx, operator)
        self.good = world(ctx)
        damage(ctx)
        with closing(sqlite3.connect(shop)) as database, database:
            database.execute("UPDATE bulk SET data = randomblob(50000)")
        self.bad = world(ctx)
        self.root = ctx.settings.shop_dir
        self.template = self.root.with_name("template")
        shutil.copytree(self.root, self.template)

    def again(self) -> None:
        """The damaged shop, as it was."""
        self.ctx.shop.dispose()
        shutil.rmtree(self.root)
        shutil.copytree(self.template, self.root)

    def queue(self, parts: frozenset[Part] = PARTS) -> jobs.Job:
        """A restore whose process is about to start."""
        plan = restore.preview(self.ctx, self.operator, self.snapshot.id, parts)
        return restore._queue(self.ctx, self.operator, plan, plan.word)

    def child(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.child", *arguments],
            cwd=PROJECT_ROOT,
            env={**os.environ, **self.ctx.settings.as_environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def boundaries(self, *arguments: str, **environment: str) -> list[str]:
        """Run a child to its end and see what it passed."""
        with self.child(*arguments, **environment) as process:
            output, _nothing = process.communicate()
        return output.decode().split("\n")[:-1]

    def settled(self, job: jobs.Job) -> str:
        """The same, as one more that was killed."""
        with matrix.cell("killed while it restores", matrix.SQLITE):
            return self.looked_at(job)

    def looked_at(self, job: jobs.Job) -> str:
        """Recover, and prove that one side holds whole; gives the side."""
        found = restore.recover(self.ctx)
        now = world(self.ctx)
        ended = jobs.get(self.ctx, job.id)
        assert ended.state.ended
        assert jobs.active(self.ctx, PROTECTION_LOCK) is None
        assert leftovers(self.ctx) == []
        assert restore.recover(self.ctx) == []
        with closing(sqlite3.connect(self.shop)) as database, database:
            assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            database.execute("DELETE FROM cart_items")
        if found:
            assert [recovery.job_id for recovery in found] == [job.id]
            assert found[0].side == ("new" if now == self.good else "old")
            assert "all of it" in found[0].message or "nothing was changed" in found[0].message
            assert ended.state is jobs.JobState.INTERRUPTED
            assert ended.error == found[0].message.split(" Another program")[0]
        assert now in (self.good, self.bad), "a mixture of old and new"
        return "new" if now == self.good else "old"


@pytest.fixture
def scene(ctx, shop, operator, monkeypatch) -> Scene:
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.02)
    return Scene(ctx, operator, shop)


EXPECTED = [
    "begun",
    "database fetched",
    "database staged",
    "images staged",
    "safety taken",
    "applying",
    "images moved out",
    "images moved in",
    "database held",
    "database written",
    "applied",
    "verified",
    "recorded",
]


def test_killed_at_every_boundary_it_is_wholly_old_or_wholly_new(scene):
    assert scene.boundaries("restore", scene.queue().id) == EXPECTED
    assert world(scene.ctx) == scene.good
    sides = {}
    for name in EXPECTED:
        scene.again()
        job = scene.queue()
        with scene.child("restore", job.id, KILL_AT=name) as process:
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        sides[name] = scene.settled(job)
    written = EXPECTED.index("database written")
    assert sides == {
        name: "new" if number >= written else "old" for number, name in enumerate(EXPECTED)
    }


def test_killed_at_random_instants_it_is_wholly_old_or_wholly_new(scene):
    chance, length = random.Random(), 0.0
    for number in range(matrix.times(12, 100)):
        scene.again()
        job = scene.queue()
        with scene.child("restore", job.id) as process:
            assert process.stdout.readline() == b"begun\n"
            began = time.monotonic()
            if number == 0:  # the first one runs to its end: so long it takes
                process.communicate()
                length = time.monotonic() - began
            else:
                time.sleep(chance.uniform(0.0, 1.0) * length)
                process.kill()
                process.communicate()
        (scene.settled if number else scene.looked_at)(job)


def test_a_restore_that_is_being_put_back_may_be_killed_too(scene):
    """Verification fails, and the process dies while the safety snapshot goes back."""
    for name in ("putting back", "database written", "database back", "images taken out"):
        scene.again()
        job = scene.queue()
        environment = {"FAIL_VERIFY": "1", "KILL_AT": name}
        with scene.child("restore", job.id, **environment) as process:
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        side = scene.settled(job)
        # The first "database written" is the restore itself: killed there, it is done.
        assert side == ("new" if name == "database written" else "old")


@pytest.mark.parametrize(
    ("killed", "recovery"),
    [("images moved in", ["database back", "images taken out"]), ("applied", ["finished"])],
)
def test_the_recovery_itself_may_be_killed_anywhere(scene, killed, recovery):
    job = scene.queue()
    with scene.child("restore", job.id, KILL_AT=killed) as process:
        process.communicate()
    for name in recovery:
        with scene.child("recover", KILL_AT=name) as process:
            process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert scene.settled(job) == ("new" if killed == "applied" else "old")
    assert jobs.get(scene.ctx, job.id).state is jobs.JobState.INTERRUPTED


def test_killed_while_a_missing_database_is_put_in_place(scene):
    for name in ("file aside", "companions removed", "applied"):
        scene.again()
        scene.shop.unlink()
        job = scene.queue(DATABASE)
        with scene.child("restore", job.id, KILL_AT=name) as process:
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        (found,) = restore.recover(scene.ctx)
        assert found.side == ("new" if name == "applied" else "old")
        assert scene.shop.exists() == (name == "applied")
        assert leftovers(scene.ctx) == []


def test_killed_while_the_knowledge_base_alone_comes_back(scene):
    for name, side in (("applying", "old"), ("applied", "new")):
        job = scene.queue(frozenset({Part.KNOWLEDGE}))
        with scene.child("restore", job.id, KILL_AT=name) as process:
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        (found,) = restore.recover(scene.ctx)
        assert found.side == side
        document = json.loads(transfer.canonical_json(scene.ctx.shop))
        assert (document == KNOWLEDGE) == (side == "new")
        assert leftovers(scene.ctx) == []


def test_an_interrupted_restore_that_had_replaced_the_data_can_be_undone(scene):
    job = scene.queue()
    with scene.child("restore", job.id, KILL_AT="database written") as process:
        process.communicate()
    assert scene.settled(job) == "new"
    offer = restore.undo_offer(scene.ctx, scene.operator)
    assert offer is not None
    assert offer.job_id == job.id
    plan = restore._undo(scene.ctx, scene.operator, offer)
    restore.run(scene.ctx, scene.operator, plan, plan.word, undo_of=job.id)
    assert world(scene.ctx)["pictures"] == scene.bad["pictures"]


@pytest.mark.parametrize("at", ["begun", "applying"])
def test_a_disk_that_becomes_full_changes_nothing(scene, at):
    job = scene.queue()
    with scene.child("restore", job.id, FILL_AT=at, FILL_BYTES=str(BULK // 2)) as process:
        process.communicate()
    assert process.returncode == 1
    ended = jobs.get(scene.ctx, job.id)
    assert ended.state is jobs.JobState.FAILED
    with matrix.cell("a disk that becomes full during a restore", matrix.SQLITE):
        assert re.search(r"disk (is|became) full", ended.error)
        assert scene.looked_at(job) == "old"


def test_a_stop_signal_leaves_a_cleanly_failed_job_and_the_old_data(scene):
    job = scene.queue()
    with scene.child("restore", job.id) as process:
        while process.stdout.readline() != b"database staged\n":
            pass
        process.send_signal(signal.SIGTERM)
        process.communicate()
    ended = jobs.get(scene.ctx, job.id)
    assert ended.state is jobs.JobState.FAILED
    assert "asked to stop" in ended.error
    assert scene.looked_at(job) == "old"
