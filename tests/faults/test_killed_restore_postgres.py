"""Kill what a restore does on a PostgreSQL server alone: no database of ours is left there that
nobody needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from services import restore
from services.core.settings import PROJECT_ROOT
from services.protection.sources import postgres
from tests.faults import matrix
from tests.faults.scene import DATABASE
from tests.faults.scene_broken import ServerScene

BUILT = ("database fetched", "database created", "database filled")


def test_killed_while_the_new_database_is_built_without_a_preview(server_scene: ServerScene):
    scene = server_scene
    for name in matrix.some(BUILT, 1):
        scene.again()
        job = scene.queue()
        scene.forget_preview()
        scene.killed(job, name)
        assert scene.settled(job) == "old"


def test_killed_while_a_lost_database_is_put_in_place(server_scene: ServerScene):
    scene = server_scene
    for name in matrix.some(["database held", "applied"], 1):
        scene.again()
        scene.admin(f'DROP DATABASE "{scene.name}" WITH (FORCE)')
        job = scene.queue(DATABASE)
        scene.killed(job, name)
        with matrix.cell(matrix.KILLED, "a restore", scene.column):
            (found,) = restore.recover(scene.ctx)
            assert found.side == ("new" if name == "applied" else "old")
            there = postgres.databases(scene.ctx.settings.shop_database_url, scene.name)
            assert (scene.name in there) == (name == "applied")
            assert set(there) <= {scene.name, scene.template}


PREVIEW = """
import os, sys
from services import restore
from services.core.access import command_line_actor
from services.core.context import open_context
from services.protection.model import Part
from services.protection.rescue import boundary
boundary.hook = lambda name: name == sys.argv[1] and os.kill(os.getpid(), 9)
restore.preview(open_context(), command_line_actor(), "latest", frozenset({Part.DATABASE}))
"""


def test_a_killed_preview_leaves_nothing_that_the_next_start_does_not_remove(
    server_scene: ServerScene,
):
    scene = server_scene
    for name in matrix.some(BUILT, 1):
        done = subprocess.run(
            [sys.executable, "-c", PREVIEW, name],
            cwd=PROJECT_ROOT,
            env={**os.environ, **scene.ctx.settings.as_environment()},
            stderr=subprocess.DEVNULL,
        )
        assert done.returncode == -signal.SIGKILL
        made = any("_preview_" in ending for ending in scene.beside())
        assert made == (name != "database fetched")
        with matrix.cell(matrix.KILLED, "a preview", scene.column):
            restore.recover(scene.ctx)
            assert scene.beside() == []
            assert not [p for p in scene.ctx.settings.temp_dir.rglob("*") if p.is_file()]
