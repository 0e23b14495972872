"""Ask a backup or a restore to stop, anywhere: it ends by itself, and leaves the old or the new."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services import backup
from services.core import jobs
from services.core.context import Context
from services.core.settings import PROJECT_ROOT
from services.protection.model import PROTECTION_LOCK
from services.protection.stores import open_store
from tests.faults import matrix
from tests.faults.either import change, grow
from tests.faults.scene import furnish, leftovers
from tests.faults.scene_broken import STEPS, Scene

COMMAND = [sys.executable, str(PROJECT_ROOT / "services" / "backup.py")]
PATIENCE = 120
"""Seconds after which a process hangs, however slow the machine is."""


def _is_settled(scene: Scene, job: jobs.Job) -> jobs.JobState:
    """Everything is clean before any other start looks at it; gives how the job ended."""
    ended = jobs.get(scene.ctx, job.id)
    assert leftovers(scene.ctx) == []
    files = [path for path in scene.ctx.settings.temp_dir.rglob("*") if path.is_file()]
    # What the preview fetched was there before, and waits for the next try.
    assert [path for path in files if path.parent.name != "preview"] == []
    if ended.state is jobs.JobState.FAILED:
        assert ended.error is not None and "asked to stop" in ended.error
        scene.forget_preview()
        assert scene.looked_at(job) == "old"
    else:
        assert ended.state is jobs.JobState.SUCCEEDED
        assert scene.looked_at(job) == "new"
    return ended.state


def test_a_restore_that_is_asked_to_stop_before_it_applies_has_changed_nothing(scene):
    for name in matrix.some(STEPS[: STEPS.index("applying")], 1):
        scene.again()
        job = scene.queue()
        with scene.child("restore", job.id, PAUSE_AT=name) as process:
            while process.stdout.readline() != f"{name}\n".encode():
                pass
            process.send_signal(signal.SIGTERM)
            process.communicate(b"go on\n", timeout=PATIENCE)
        assert process.returncode == 1
        assert _is_settled(scene, job) is jobs.JobState.FAILED


def test_a_restore_that_is_asked_to_stop_at_a_random_instant_ends_old_or_new(scene):
    _passed, length = scene.measured(scene.queue())
    for _ in range(matrix.times(1, 20)):
        scene.again()
        job = scene.queue()
        with matrix.cell(matrix.STOPPED, "a restore", scene.column):
            code = scene.interrupted(job, random.uniform(0.0, 1.0) * length, signal.SIGTERM)
            state = _is_settled(scene, job)
            # One that had done its work may be ended by the signal on its way out.
            assert code in ({1} if state is jobs.JobState.FAILED else {0, -signal.SIGTERM})


def _begun(desk: Context, process: subprocess.Popen[bytes], before: int) -> jobs.Job:
    """The job of a backup that has taken its first step."""
    while process.poll() is None:
        newest, *earlier = jobs.recent(desk, ("backup",)) or [None]
        if newest is not None and len(earlier) == before and newest.step != "Starting":
            return newest
        time.sleep(0.005)
    raise AssertionError("it ended before it began")


@pytest.mark.parametrize("place", matrix.times((matrix.SQLITE_S3,), matrix.PLACES))
def test_a_backup_that_is_asked_to_stop_leaves_nothing_behind(desk_at, operator, place):
    desk = desk_at(place)
    furnish(desk)
    grow(desk, matrix.times(5, 20) * 1_000_000)
    environment = {**os.environ, **desk.settings.as_environment()}
    length = 0.0
    for number in range(matrix.times(2, 16)):
        change(desk)
        before = len(jobs.recent(desk, ("backup",)))
        with subprocess.Popen(COMMAND, env=environment, stderr=subprocess.DEVNULL) as process:
            job, began = _begun(desk, process, before), time.monotonic()
            if number == 0:  # the first one runs to its end: so long it takes
                process.communicate()
                length = time.monotonic() - began
                continue
            time.sleep(random.uniform(0.0, 1.0) * length)
            with matrix.cell(matrix.STOPPED, "a backup", place):
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=PATIENCE)
                ended = jobs.get(desk, job.id)
                if ended.state is not jobs.JobState.SUCCEEDED:
                    assert ended.state is jobs.JobState.FAILED
                    assert ended.error is not None and "asked to stop" in ended.error
                assert jobs.active(desk, PROTECTION_LOCK) is None
                assert not list(desk.settings.temp_dir.iterdir())
                backup.refresh(desk, operator)
                listed = {row.id for row in backup.snapshots(desk, operator).rows}
                stored = [found.key for found in open_store(desk.settings).list("")]
                assert {key.split("/")[2] for key in stored if key.startswith("data/")} == listed
                manifests = {Path(key).stem for key in stored if key.startswith("manifests/")}
                assert manifests == listed
    for row in backup.snapshots(desk, operator).rows:
        backup.verify(desk, operator, row.id)
