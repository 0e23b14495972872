"""A disk without room: refused before anything begins where that can be known, else a clean
failure.

A limit on what a process may write to one file (RLIMIT_FSIZE) is a full disk that needs no
rights; where a small disk may be mounted, that one is tried too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from services import backup
from services.core import jobs
from services.core.context import Context
from services.core.settings import PROJECT_ROOT
from services.protection.model import PROTECTION_LOCK
from services.protection.rescue import fresh_parts
from services.protection.stores import open_store
from tests.faults import matrix
from tests.faults.either import change, grow
from tests.faults.scene import back_up, furnish
from tests.faults.scene_broken import BULK, Scene
from tests.services.lost import NewMachine, noted

IN_WORDS = re.compile(r"disk.* (is|became|was) full|no room|full")
SMALL = 60 << 20


def _backup(desk: Context, limit: int = 10**12) -> tuple[int, dict[str, str]]:
    """A backup in a process that may write so much to one file; gives how it ended."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.child", "backup"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **desk.settings.as_environment(), "FILL_BYTES": str(limit)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def _failed_cleanly(desk: Context, operator, before: list[str]) -> None:
    """Nothing of the backup that failed is left, and the next one works."""
    job = jobs.recent(desk, ("backup",))[0]
    assert job.state is jobs.JobState.FAILED
    assert job.error and IN_WORDS.search(job.error), job.error
    assert jobs.active(desk, PROTECTION_LOCK) is None
    assert not list(desk.settings.temp_dir.iterdir())
    kept = {found.key.split("/")[2] for found in open_store(desk.settings).list("data/")}
    assert kept == set(before)


@pytest.mark.parametrize("place", [matrix.SQLITE, matrix.POSTGRESQL])
def test_a_store_whose_disk_becomes_full_keeps_nothing_of_the_backup(desk_at, operator, place):
    desk = desk_at(place)
    furnish(desk)
    first = back_up(desk, operator).id
    if place == matrix.POSTGRESQL:
        grow(desk, 4_000_000)  # what is dumped goes into the store as it comes
    else:
        (desk.settings.images_dir / "large.png").write_bytes(os.urandom(4_000_000))
    with matrix.cell(matrix.FULL, "becomes full while a backup is stored", place):
        code, answer = _backup(desk, 2_000_000)
        assert (code, answer["state"]) == (1, "failed")
        _failed_cleanly(desk, operator, [first])
        assert _backup(desk)[0] == 0


def _restored_not(scene: Scene, job: jobs.Job, at: str) -> None:
    """A restore or an undo whose disk becomes full: it says so, and has changed nothing."""
    assert scene.ended(job, FILL_AT=at, FILL_BYTES=str(BULK // 2)) == 1
    ended = jobs.get(scene.ctx, job.id)
    assert ended.state is jobs.JobState.FAILED
    assert ended.error and re.search(r"disk .*(is|became) full|full disk", ended.error), ended.error


def test_a_disk_that_becomes_full_while_a_restore_fetches_changes_nothing(scene):
    job = scene.queue()
    scene.forget_preview()  # or nothing had to be fetched
    with matrix.cell(matrix.FULL, "becomes full while a restore fetches", scene.column):
        _restored_not(scene, job, "begun")
        assert scene.looked_at(job) == "old"


def test_a_disk_that_becomes_full_while_a_restore_is_applied_changes_nothing(file_scene: Scene):
    job = file_scene.queue()
    with matrix.cell(matrix.FULL, "becomes full while a restore is applied", file_scene.column):
        _restored_not(file_scene, job, "applying")
        assert file_scene.looked_at(job) == "old"


def test_a_disk_that_becomes_full_during_an_undo_leaves_what_was_restored(file_scene: Scene):
    scene = file_scene
    for at in ("begun", "applying"):
        scene.restored()
        job = scene.queue_undo()
        with matrix.cell(matrix.FULL, "becomes full during an undo", scene.column):
            _restored_not(scene, job, at)
            assert scene.looked_at(job, undone=True) == "old"
            scene.undo()
            assert scene.world() == scene.bad


@pytest.fixture
def machine(desk_at, tmp_path, operator) -> NewMachine:
    """A new machine, and a bucket with a shop of some megabytes."""
    desk = desk_at(matrix.SQLITE)
    furnish(desk)
    grow(desk, BULK)
    made = NewMachine(tmp_path / "new", noted(desk, back_up(desk, operator)))
    made.home.mkdir()
    return made


def test_a_disk_that_becomes_full_while_a_recovery_fetches_leaves_nothing_that_looks_whole(machine):
    with matrix.cell(matrix.FULL, "becomes full while a recovery fetches", matrix.SQLITE):
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.child", "fresh", machine.lost.source],
            cwd=PROJECT_ROOT,
            env={
                **os.environ,
                **machine.variables,
                "FILL_AT": "begun",
                "FILL_BYTES": str(BULK // 2),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1 and IN_WORDS.search(done.stderr), done.stderr
        assert not machine.settings.shop_sqlite_path.exists()
        machine.fresh()
        assert machine.equals_the_lost_one()


def test_too_small_a_disk_is_said_with_figures_before_a_recovery_begins(machine, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        fresh_parts.shutil, "disk_usage", lambda _path: usage(10**9, 10**9, 5_000_000)
    )
    row = "known to be too small: refused before a recovery begins"
    with matrix.cell(matrix.FULL, row, matrix.SQLITE):
        assert re.search(r"needs \d+ MB .* 5 MB are free", machine.refused())


# ---- a disk of its own


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a small disk there, where that is allowed; gives whether it was."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = (
        bool(shutil.which("mount")) and not subprocess.run(mount, capture_output=True).returncode
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_small_disk_is_refused_in_time_or_fails_cleanly_and_works_once_there_is_room(
    desk_at, operator, tmp_path
):
    """The folder for copies and the store lie on it; without the right to mount, a limit."""
    folder = tmp_path / "small"
    with _small_disk(folder, SMALL) as mounted:
        (folder / "store").mkdir()
        desk = desk_at(
            matrix.SQLITE,
            backup_temp_dir=folder / "tmp",
            backup_store_url=f"file:{folder / 'store'}",
        )
        furnish(desk)
        first = back_up(desk, operator).id
        if mounted:
            grow(desk, SMALL - (10 << 20))
            row = "known to be too small: refused before a backup begins"
            with matrix.cell(matrix.FULL, row, matrix.SQLITE):
                code, answer = _backup(desk)
                assert (code, answer["state"]) == (1, "failed")
                assert "MB free" in answer["error"] and "nothing was backed up" in answer["error"]
                assert not list(desk.settings.temp_dir.iterdir())
            with closing(sqlite3.connect(desk.settings.shop_sqlite_path)) as database:
                database.executescript("DROP TABLE bulk; VACUUM")
            large = desk.settings.images_dir / "large.png"
            large.write_bytes(os.urandom(SMALL))
            with matrix.cell(matrix.FULL, "becomes full while a backup is stored", matrix.SQLITE):
                assert _backup(desk)[0] == 1
                _failed_cleanly(desk, operator, [first])
            large.unlink()
            assert _backup(desk)[0] == 0
        else:
            grow(desk, 4_000_000)
            assert _backup(desk, 2_000_000)[0] == 1
            _failed_cleanly(desk, operator, [first])
            change(desk)
            assert _backup(desk)[0] == 0
        backup.refresh(desk, operator)
        for listed in backup.snapshots(desk, operator).rows:
            backup.verify(desk, operator, listed.id)
