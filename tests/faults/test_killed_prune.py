"""Kill the removing of old backups at random instants (its steps are in
tests/services/test_pruning_stopped.py): what is listed is whole, the next run removes the rest."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from services import backup, retention
from services.core import jobs
from services.core.context import Context
from services.core.settings import PROJECT_ROOT
from services.protection import unchanged
from services.protection.model import PROTECTION_LOCK
from services.protection.stores import open_store
from tests.faults import matrix
from tests.faults.scene import back_up, furnish

POLICY = {"keep_days": 1, "keep_weeks": 0, "keep_months": 0, "keep_minimum": 1}


def _queued(desk: Context, admin) -> jobs.Job:
    plan = retention.plan(desk, admin)
    return retention._queue(desk, admin, plan, plan.word)


def _child(desk: Context, job: jobs.Job) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.child", "prune", job.id],
        cwd=PROJECT_ROOT,
        env={**os.environ, **desk.settings.as_environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _listed(desk: Context, admin) -> set[str]:
    backup.refresh(desk, admin)
    return {row.id for row in backup.snapshots(desk, admin).rows}


@pytest.mark.parametrize("place", matrix.times((matrix.SQLITE,), (matrix.SQLITE, matrix.SQLITE_S3)))
def test_killed_at_a_random_instant_what_is_listed_is_whole_and_the_next_run_finishes(
    desk_at, admin, monkeypatch, place
):
    monkeypatch.setattr(unchanged, "SHARED_DAYS", -1)  # each backup on its own
    desk = desk_at(place, **POLICY)
    furnish(desk)
    length = 0.0
    for number in range(matrix.times(2, 11)):
        for age in matrix.times((8, 7, 0), (9, 8, 7, 6, 5, 0)):
            then = desk.now() - timedelta(days=age)
            newest = back_up(replace(desk, clock=lambda then=then: then), admin).id
        job = _queued(desk, admin)
        with _child(desk, job) as process:
            assert process.stdout.readline() == b"before manifest\n"
            began = time.monotonic()
            if number:
                time.sleep(random.uniform(0.0, 1.0) * length)
                process.kill()
            process.communicate()
            if not number:  # the first one runs to its end: so long it takes
                length = time.monotonic() - began
                continue
        if process.returncode != -signal.SIGKILL:
            continue
        with matrix.cell(matrix.KILLED, "removing old backups", place):
            for snapshot_id in _listed(desk, admin):
                backup.verify(desk, admin, snapshot_id)
            jobs.reap(desk)
            assert jobs.get(desk, job.id).state.ended
            assert jobs.active(desk, PROTECTION_LOCK) is None
            if (plan := retention.plan(desk, admin)).going:
                retention.run(desk, admin, plan, plan.word)
            assert newest in _listed(desk, admin)
            stored = {found.key.split("/")[2] for found in open_store(desk.settings).list("data/")}
            assert stored >= _listed(desk, admin)
            backup.verify(desk, admin, newest)
