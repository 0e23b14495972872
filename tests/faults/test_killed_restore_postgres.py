"""Kill a restore on PostgreSQL anywhere: the shop has all of the old data or all of the new,
the next start says which, and no database of ours is left that nobody needs."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from services import restore
from services.core import jobs
from services.core.context import Context
from services.core.settings import PROJECT_ROOT
from services.protection.model import PROTECTION_LOCK, Part
from services.protection.rescue import live as live_file
from services.protection.sources import postgres
from tests.faults import matrix
from tests.faults.scene import DATABASE, back_up, furnish, leftovers
from tests.faults.scene_postgres import beside, damage_on, desk_on, name_of, shop_of, world_on
from tests.postgres import PostgresServer

PARTS = DATABASE | {Part.IMAGES}


class Scene:
    """A damaged shop with a good backup, which can be put into that state again and again."""

    def __init__(self, ctx: Context, operator, server: PostgresServer) -> None:
        self.ctx, self.operator, self.server = ctx, operator, server
        furnish(ctx)
        with shop_of(ctx) as db:
            db.execute("CREATE TABLE bulk (id serial PRIMARY KEY, data text)")
            db.execute(
                "INSERT INTO bulk (data) SELECT repeat(md5(n::text), 30) "
                "FROM generate_series(1, 3000) n"
            )
        self.snapshot = back_up(ctx, operator)
        self.good = world_on(ctx)
        damage_on(ctx)
        with shop_of(ctx) as db:
            db.execute("UPDATE bulk SET data = md5(data)")
        self.bad = world_on(ctx)
        self.name, self.template = name_of(ctx), f"{name_of(ctx)}_template"
        ctx.shop.dispose()
        self._admin(f'CREATE DATABASE "{self.template}" TEMPLATE "{self.name}" OWNER shop')
        self.root = ctx.settings.shop_dir
        self.folder = self.root.with_name("template")
        shutil.copytree(self.root, self.folder)

    def _admin(self, statement: str) -> None:
        with self.server.connect() as connection:
            connection.execute(statement)

    def again(self) -> None:
        """The damaged shop, as it was."""
        self.ctx.shop.dispose()
        for ending in beside(self.ctx):
            if ending != "_template":
                postgres.drop_side(self.ctx.settings.shop_database_url, self.name + ending)
        self._admin(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')
        self._admin(f'CREATE DATABASE "{self.name}" TEMPLATE "{self.template}" OWNER shop')
        shutil.rmtree(self.root)
        shutil.copytree(self.folder, self.root)

    def queue(self, parts: frozenset[Part] = PARTS) -> jobs.Job:
        """A restore whose process is about to start."""
        plan = restore.preview(self.ctx, self.operator, self.snapshot.id, parts)
        return restore._queue(self.ctx, self.operator, plan, plan.word)

    def queue_undo(self) -> jobs.Job:
        """An undo whose process is about to start."""
        offer = restore.undo_offer(self.ctx, self.operator)
        assert offer is not None
        plan = restore._undo(self.ctx, self.operator, offer)
        return restore._queue(self.ctx, self.operator, plan, plan.word, undo_of=offer.job_id)

    def child(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.child", *arguments],
            cwd=PROJECT_ROOT,
            env={**os.environ, **self.ctx.settings.as_environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def killed(self, job: jobs.Job, **environment: str) -> None:
        """Run the job until it kills itself."""
        with self.child("restore", job.id, **environment) as process:
            process.communicate()
        assert process.returncode == -signal.SIGKILL

    def settled(self, job: jobs.Job, kept: tuple[str, ...] = ()) -> str:
        """The same, as one more that was killed."""
        with matrix.cell("killed while it restores", matrix.POSTGRESQL):
            return self.looked_at(job, kept)

    def looked_at(self, job: jobs.Job, kept: tuple[str, ...] = ()) -> str:
        """What the next start makes of it; holds that one side holds whole; gives the side.

        Args:
            kept: jobs whose database of before may be there.
        """
        self.ctx.shop.dispose()
        found = restore.recover(self.ctx)
        now = world_on(self.ctx)
        ended = jobs.get(self.ctx, job.id)
        assert ended.state.ended
        assert jobs.active(self.ctx, PROTECTION_LOCK) is None
        assert leftovers(self.ctx) == []
        assert restore.recover(self.ctx) == []
        if found:
            assert [recovery.job_id for recovery in found] == [job.id]
            assert found[0].side == ("new" if now == self.good else "old")
            assert "all of it" in found[0].message or "nothing was changed" in found[0].message
        assert now in (self.good, self.bad), "a mixture of old and new"
        side = "new" if now == self.good else "old"
        wanted = {f"_before_{job.id}"} if side == "new" else set()
        assert set(beside(self.ctx)) - {"_template"} <= wanted | {f"_before_{k}" for k in kept}
        return side


@pytest.fixture
def scene(settings, postgres_server, operator, monkeypatch):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.02)
    with desk_on(settings, postgres_server, postgres_server.make_shop()) as ctx:
        yield Scene(ctx, operator, postgres_server)


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

OWN = [
    "begun",
    "database fetched",
    "database staged",
    "applying",
    "images moved in",
    "database held",
    "database written",
    "recorded",
]
"""The others are killed at in test_killed_restore: there the engine makes no difference."""


def test_killed_at_every_boundary_it_is_wholly_old_or_wholly_new(scene):
    with scene.child("restore", scene.queue().id) as process:
        reached = process.communicate()[0].decode().splitlines()
    assert [name for name in reached if name in EXPECTED] == EXPECTED
    assert world_on(scene.ctx) == scene.good
    sides = {}
    for name in OWN:
        scene.again()
        job = scene.queue()
        scene.killed(job, KILL_AT=name)
        sides[name] = scene.settled(job)
    written = EXPECTED.index("database written")
    assert sides == {name: "new" if EXPECTED.index(name) >= written else "old" for name in OWN}


def test_killed_while_the_new_database_is_built_without_a_preview(scene):
    for name in ("database fetched", "database created", "database filled"):
        scene.again()
        job = scene.queue()
        for ending in beside(scene.ctx):
            if "_preview_" in ending:
                postgres.drop_side(scene.ctx.settings.shop_database_url, scene.name + ending)
        scene.killed(job, KILL_AT=name)
        assert scene.settled(job) == "old"


def test_killed_at_random_instants_it_is_wholly_old_or_wholly_new(scene):
    chance, length = random.Random(), 0.0
    for number in range(matrix.times(5, 30)):
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
    for name, side in (("putting back", "old"), ("database back", "old"), ("applied", "new")):
        scene.again()
        job = scene.queue()
        scene.killed(job, FAIL_VERIFY="1", KILL_AT=name)
        assert scene.settled(job) == side


def test_the_recovery_itself_may_be_killed_anywhere(scene):
    for killed, recovery in (
        ("images moved in", ["database back", "images taken out"]),
        ("applied", ["finished"]),
    ):
        scene.again()
        job = scene.queue()
        scene.killed(job, KILL_AT=killed)
        for name in recovery:
            with scene.child("recover", KILL_AT=name) as process:
                process.communicate()
            assert process.returncode == -signal.SIGKILL
        assert scene.settled(job) == ("new" if killed == "applied" else "old")


def test_an_undo_by_renaming_may_be_killed_anywhere_and_keeps_what_it_would_have_used(scene):
    """Killed before the exchange, the database of before is still there for the next Undo."""
    for name in ("database staged", "database held", "database written"):
        scene.again()
        first = scene.queue()
        with scene.child("restore", first.id) as process:
            process.communicate()
        assert process.returncode == 0
        undo = scene.queue_undo()
        scene.killed(undo, KILL_AT=name)
        scene.ctx.shop.dispose()
        (found,) = restore.recover(scene.ctx)
        done = name == "database written"
        assert found.side == ("new" if done else "old")
        assert world_on(scene.ctx) == (scene.bad if done else scene.good)
        (kept,) = set(beside(scene.ctx)) - {"_template"}
        assert kept == f"_before_{undo.id if done else first.id}"
        again = restore.undo_offer(scene.ctx, scene.operator)
        plan = restore._undo(scene.ctx, scene.operator, again)
        restore.run(scene.ctx, scene.operator, plan, plan.word, undo_of=again.job_id)
        assert world_on(scene.ctx) == (scene.good if done else scene.bad)


def test_killed_while_a_lost_database_is_put_in_place(scene):
    for name in ("database held", "applied"):
        scene.again()
        scene._admin(f'DROP DATABASE "{scene.name}" WITH (FORCE)')
        job = scene.queue(DATABASE)
        scene.killed(job, KILL_AT=name)
        (found,) = restore.recover(scene.ctx)
        assert found.side == ("new" if name == "applied" else "old")
        there = postgres.databases(scene.ctx.settings.shop_database_url, scene.name)
        assert (scene.name in there) == (name == "applied")
        assert set(there) <= {scene.name, scene.template}


def test_a_disk_that_becomes_full_changes_nothing(scene):
    job = scene.queue()
    for ending in beside(scene.ctx):
        if "_preview_" in ending:
            postgres.drop_side(scene.ctx.settings.shop_database_url, scene.name + ending)
    with scene.child("restore", job.id, FILL_AT="begun", FILL_BYTES="1000000") as process:
        process.communicate()
    assert process.returncode == 1
    assert "disk" in (jobs.get(scene.ctx, job.id).error or "")
    assert scene.settled(job) == "old"


def test_a_killed_preview_leaves_nothing_that_the_next_start_does_not_remove(scene):
    program = (
        "import os, signal, sys\n"
        "from services import restore\n"
        "from services.core.access import command_line_actor\n"
        "from services.core.context import open_context\n"
        "from services.protection.rescue import boundary\n"
        "boundary.hook = lambda name: name == sys.argv[1] and os.kill(os.getpid(), 9)\n"
        "from services.protection.model import Part\n"
        "restore.preview(open_context(), command_line_actor(), 'latest', "
        "frozenset({Part.DATABASE}))\n"
    )
    for name in ("database fetched", "database created", "database filled"):
        done = subprocess.run(
            [sys.executable, "-c", program, name],
            cwd=PROJECT_ROOT,
            env={**os.environ, **scene.ctx.settings.as_environment()},
            stderr=subprocess.DEVNULL,
        )
        assert done.returncode == -signal.SIGKILL
        made = any("_preview_" in ending for ending in beside(scene.ctx))
        assert made == (name != "database fetched")
        restore.recover(scene.ctx)
        assert set(beside(scene.ctx)) == {"_template"}
        assert not [p for p in scene.ctx.settings.temp_dir.rglob("*") if p.is_file()]
