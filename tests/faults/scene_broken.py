"""A damaged shop with a good backup, to break restores of it again and again: on SQLite and on
PostgreSQL, with what must be true of it afterwards."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from services import restore
from services.core import jobs
from services.core.access import Actor
from services.core.context import Context
from services.core.settings import PROJECT_ROOT
from services.protection.model import PROTECTION_LOCK, Part
from services.protection.rescue import recovery
from services.protection.sources import postgres
from tests.faults import either, matrix
from tests.faults.scene import DATABASE, back_up, furnish, leftovers
from tests.faults.scene_postgres import beside, name_of
from tests.postgres import PostgresServer

PARTS = DATABASE | {Part.IMAGES}
BULK = 4_000_000
"""Bytes of the shop's database, about."""
STEPS = [
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
"""What a restore of the database and the pictures passes, in this order."""


class Scene:
    """A damaged shop with a good backup, which can be put into that state again."""

    column = matrix.SQLITE

    def __init__(self, ctx: Context, operator: Actor) -> None:
        self.ctx, self.operator = ctx, operator
        furnish(ctx)
        either.grow(ctx, BULK)
        self.snapshot = back_up(ctx, operator)
        self.good = self.world()
        either.damage(ctx)
        either.change(ctx)
        self.bad = self.world()
        ctx.shop.dispose()
        self.root = ctx.settings.shop_dir
        self._folder = self.root.with_name("template")
        shutil.copytree(self.root, self._folder)

    @property
    def shop(self) -> Path:
        """The shop's SQLite file."""
        assert self.ctx.settings.shop_sqlite_path is not None
        return self.ctx.settings.shop_sqlite_path

    def world(self) -> dict[str, Any]:
        """Everything of the shop that a restore can change."""
        return either.world(self.ctx)

    def again(self) -> None:
        """The damaged shop, as it was."""
        self.ctx.shop.dispose()
        shutil.rmtree(self.root)
        shutil.copytree(self._folder, self.root)

    def restored(self) -> jobs.Job:
        """The damaged shop, and a restore that succeeded."""
        self.again()
        plan = restore.preview(self.ctx, self.operator, self.snapshot.id, PARTS)
        job = restore.run(self.ctx, self.operator, plan, plan.word)
        assert self.world() == self.good
        return job

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

    def undo(self) -> jobs.Job:
        """Undo what is offered, in this process."""
        offer = restore.undo_offer(self.ctx, self.operator)
        assert offer is not None
        plan = restore._undo(self.ctx, self.operator, offer)
        return restore.run(self.ctx, self.operator, plan, plan.word, undo_of=offer.job_id)

    def child(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """A process of its own that a test can end."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.child", *arguments],
            cwd=PROJECT_ROOT,
            env={**os.environ, **self.ctx.settings.as_environment(), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def ended(self, job: jobs.Job, **environment: str) -> int:
        """Run a job's process to its end; gives its exit code."""
        with self.child("restore", job.id, **environment) as process:
            process.communicate()
        return process.returncode

    def killed(self, job: jobs.Job, at: str, **environment: str) -> None:
        """Run a job until it kills itself."""
        assert self.ended(job, KILL_AT=at, **environment) == -signal.SIGKILL

    def measured(self, job: jobs.Job) -> tuple[list[str], float]:
        """Run a job to its end; gives what it passed, and the seconds since its first step."""
        with self.child("restore", job.id) as process:
            assert process.stdout is not None
            first = process.stdout.readline().decode()
            began = time.monotonic()
            rest, _nothing = process.communicate()
        assert process.returncode == 0
        return (first + rest.decode()).splitlines(), time.monotonic() - began

    def interrupted(self, job: jobs.Job, after: float, by: signal.Signals) -> int:
        """Send a signal so many seconds after the job's first step; gives its exit code."""
        with self.child("restore", job.id) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            time.sleep(after)
            process.send_signal(by)
            # A process that hangs is an error, and no machine is so slow.
            process.communicate(timeout=120)
        return process.returncode

    def settled(self, job: jobs.Job, row: str = "a restore", kept: tuple[str, ...] = ()) -> str:
        """`looked_at`, as one more that was killed."""
        with matrix.cell(matrix.KILLED, row, self.column):
            return self.looked_at(job, kept, undone=row == "an undo")

    def looked_at(self, job: jobs.Job, kept: tuple[str, ...] = (), *, undone: bool = False) -> str:
        """What the next start makes of it; holds that one side holds whole; gives the side.

        Args:
            kept: earlier jobs whose database of before may still be on the server.
            undone: the job was an undo: what it leads to is the damaged shop.
        """
        self.ctx.shop.dispose()
        found = restore.recover(self.ctx)
        now = self.world()
        new = self.bad if undone else self.good
        ended = jobs.get(self.ctx, job.id)
        assert ended.state.ended
        assert jobs.active(self.ctx, PROTECTION_LOCK) is None
        assert leftovers(self.ctx) == []
        assert restore.recover(self.ctx) == []
        assert now in (self.good, self.bad), "a mixture of old and new"
        side = "new" if now == new else "old"
        if found:
            self._told(found, ended, side)
        self._tidy(job, side, kept)
        return side

    def forget_preview(self) -> None:
        """Drop what the preview has made ready on the server."""

    def _told(self, found: list[recovery.Recovery], ended: jobs.Job, side: str) -> None:
        (told,) = found
        assert (told.job_id, told.side) == (ended.id, side)
        assert "all of it" in told.message or "nothing was changed" in told.message
        assert ended.state is jobs.JobState.INTERRUPTED
        assert ended.error == told.message.split(" Another program")[0]

    def _tidy(self, job: jobs.Job, side: str, kept: tuple[str, ...]) -> None:
        with closing(sqlite3.connect(self.shop)) as database, database:
            assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            database.execute("DELETE FROM cart_items")  # nobody holds it locked


class ServerScene(Scene):
    """The same on PostgreSQL."""

    column = matrix.POSTGRESQL

    def __init__(self, ctx: Context, operator: Actor, server: PostgresServer) -> None:
        self.name, self._server = name_of(ctx), server
        self.template = f"{self.name}_template"
        super().__init__(ctx, operator)
        self.admin(f'CREATE DATABASE "{self.template}" TEMPLATE "{self.name}" OWNER shop')

    def admin(self, statement: str) -> None:
        """What the superuser does on the server."""
        with self._server.connect() as connection:
            connection.execute(statement)

    def connected_as(self, role: str) -> Any:
        """A session on the shop's database that the desk may not be able to end."""
        return self._server.connect(self.name, role)

    def again(self) -> None:
        for ending in self.beside():
            postgres.drop_side(self.ctx.settings.shop_database_url, self.name + ending)
        super().again()
        self.admin(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')
        self.admin(f'CREATE DATABASE "{self.name}" TEMPLATE "{self.template}" OWNER shop')

    def beside(self) -> list[str]:
        """The databases on the server that a restore made, by the ends of their names."""
        return [ending for ending in beside(self.ctx) if ending != "_template"]

    def forget_preview(self) -> None:
        for ending in self.beside():
            if "_preview_" in ending:
                postgres.drop_side(self.ctx.settings.shop_database_url, self.name + ending)

    def _tidy(self, job: jobs.Job, side: str, kept: tuple[str, ...]) -> None:
        wanted = {f"_before_{job.id}"} if side == "new" else set()
        left = set(self.beside()) - wanted - {f"_before_{each}" for each in kept}
        assert not left, left


def kill_everywhere(
    steps: Sequence[str],
    at_random: int,
    length: float,
    begin: Callable[[], jobs.Job],
    scene: Scene,
    settled: Callable[[jobs.Job, str], None],
) -> None:
    """Kill a job at each of these steps, then so often at random instants.

    Args:
        length: seconds that it takes.
        begin: puts everything as it was, and queues the job.
        settled: holds what must be true afterwards; the name is empty for a random instant.
    """
    for name in steps:
        job = begin()
        scene.killed(job, name)
        settled(job, name)
    for _ in range(at_random):
        job = begin()
        scene.interrupted(job, random.uniform(0.0, 1.0) * length, signal.SIGKILL)
        settled(job, "")
