"""Kill a backup anywhere: what is listed is whole, and the next one clears away the rest."""

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
from services.protection.model import Part
from services.protection.rescue import live as live_file
from services.protection.stores import open_store
from tests.faults import matrix
from tests.faults.either import change, damage, grow, on_server, world
from tests.faults.scene import DATABASE, EVERYTHING, do, furnish

COMMAND = [sys.executable, str(PROJECT_ROOT / "services" / "backup.py")]


def _keys(ctx: Context, prefix: str) -> list[str]:
    return [found.key for found in open_store(ctx.settings).list(prefix)]


@pytest.mark.parametrize("place", matrix.times((matrix.SQLITE_S3,), matrix.PLACES))
def test_a_backup_killed_at_any_instant_leaves_nothing_half_and_the_next_one_cleans_up(
    desk_at, operator, monkeypatch, place
):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.02)
    desk = desk_at(place)
    parts = DATABASE | {Part.IMAGES} if on_server(desk) else EVERYTHING
    furnish(desk, vectors=Part.VECTORS in parts)
    grow(desk, matrix.times(5, 20) * 1_000_000)
    environment = {**os.environ, **desk.settings.as_environment()}
    began = time.monotonic()
    assert subprocess.run(COMMAND, env=environment).returncode == 0
    length = time.monotonic() - began
    killed = 0
    for _ in range(matrix.times(1, 20 if on_server(desk) else 40)):
        change(desk)
        with subprocess.Popen(COMMAND, env=environment, stderr=subprocess.PIPE) as process:
            time.sleep(random.uniform(0.2, 1.0) * length)
            process.kill()
            process.communicate()
            killed += process.returncode == -signal.SIGKILL
    with matrix.cell(matrix.KILLED, "a backup", place, killed):
        backup.refresh(desk, operator)
        for row in backup.snapshots(desk, operator).rows:
            backup.verify(desk, operator, row.id)  # what is listed is whole
        job = backup.run(desk, operator)
        assert job.state is jobs.JobState.SUCCEEDED
        assert not list(desk.settings.temp_dir.glob("snapshot-*"))
        backup.refresh(desk, operator)
        listed = {row.id for row in backup.snapshots(desk, operator).rows}
        assert {key.split("/")[2] for key in _keys(desk, "data/")} == listed
        assert {Path(key).stem for key in _keys(desk, "manifests/")} == listed
        good = world(desk)
        damage(desk)
        do(desk, operator, job.result["snapshot"], parts)
        assert world(desk) == good
