"""Retention that is refused, held, cut off or killed: what is listed stays whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from services import backup, retention
from services.core import jobs
from services.core.errors import Conflict, Misconfigured, Transient
from services.core.settings import PROJECT_ROOT
from services.protection.manifest import manifest_key
from services.protection.model import PROTECTION_LOCK
from services.protection.stores import open_store
from tests.faults import matrix
from tests.services.pruning import (
    Refusing,
    age_objects,
    aged,
    all_whole,
    finish,
    ids,
    keys,
    leave_orphan,
    remove,
    strict_desk,
)


@pytest.fixture
def desk(ctx, shop, monkeypatch):
    return strict_desk(ctx, monkeypatch)


def test_what_the_store_refuses_is_counted_and_no_error(desk, admin, monkeypatch):
    old, newer, newest = aged(desk, admin, 5, 3, 0)
    real = open_store(desk.settings)
    locked = Refusing(real, f"manifests/default/{old}", Misconfigured("Locked until May.", ""))
    monkeypatch.setattr("services.protection.retention.job.open_store", lambda _settings: locked)
    ended = remove(desk, admin)
    assert ended.result["removed"] == [newer]
    assert ended.result["refused"] == [manifest_key("default", old)]
    assert ids(desk) == [newest, old]
    all_whole(desk, admin)


def test_a_store_that_refuses_everything_is_not_asked_a_hundred_times(desk, admin, monkeypatch):
    aged(desk, admin, *range(14, 1, -1), 0)
    tried: list[str] = []

    class Counting(Refusing):
        def delete(self, key: str) -> None:
            tried.append(key)
            super().delete(key)

    locked = Counting(open_store(desk.settings), "manifests/", Misconfigured("No right.", ""))
    monkeypatch.setattr("services.protection.retention.job.open_store", lambda _settings: locked)
    before = ids(desk)
    ended = remove(desk, admin)
    assert len([key for key in tried if key.startswith("manifests/")]) == 5
    assert "The store refuses to delete: No right." in ended.result["notes"]
    assert ids(desk) == before


def test_a_network_that_fails_half_way_leaves_everything_listed_whole(desk, admin, monkeypatch):
    aged(desk, admin, 9, 5, 3, 0)
    broken = Refusing(open_store(desk.settings), "/vectors", Transient("It does not answer.", ""))
    broken._locked = "images.json"
    monkeypatch.setattr("services.protection.retention.job.open_store", lambda _settings: broken)
    with pytest.raises(Transient):
        remove(desk, admin)
    monkeypatch.undo()
    all_whole(desk, admin)
    remove(desk, admin)
    assert len(ids(desk)) == 1
    assert len({key.split("/")[2] for key in keys(desk, "data/")}) == 1


def test_clocks_that_disagree_hold_everything(desk, admin):
    aged(desk, admin, 5, 3, 0)
    later = desk.now() + timedelta(days=2)
    ahead = replace(desk, clock=lambda: later)
    before = keys(desk)
    plan = retention.plan(ahead, admin)
    with pytest.raises(Conflict, match="clocks of this machine"):
        retention.run(ahead, admin, plan, plan.word)
    assert keys(desk) == before


def test_after_a_failed_backup_nothing_goes(desk, admin, monkeypatch):
    aged(desk, admin, 5, 3, 0)
    desk.settings.shop_sqlite_path.rename(desk.settings.shop_sqlite_path.with_suffix(".away"))
    with pytest.raises(Exception, match="database"):
        backup.run(desk, admin)
    plan = retention.plan(desk, admin)
    assert [hold.name for hold in plan.holds] == ["failed"]
    with pytest.raises(Conflict, match="Retention holds, nothing was deleted"):
        retention.run(desk, admin, plan, plan.word)


def test_an_unreadable_store_holds(desk, admin):
    aged(desk, admin, 5, 3, 0)
    root = desk.settings.instance_dir / "backups" / "manifests" / "default"
    (root / "20260101T000000Z-zzzz.json").write_bytes(b"no manifest")
    (root / "readme.txt").write_bytes(b"somebody's note")
    backup.refresh(desk, admin)
    plan = retention.plan(desk, admin)
    assert [hold.name for hold in plan.holds] == ["catalog"]
    assert "20260101T000000Z-zzzz" in plan.holds[0].message


CHILD = "import sys; from tests.services.prune_child import main; sys.exit(main(sys.argv[1]))"


def _killed(desk, job: jobs.Job, at: str, count: int) -> int:
    environment = {
        **os.environ,
        **desk.settings.as_environment(),
        "KILL_AT": at,
        "KILL_COUNT": str(count),
    }
    process = subprocess.run(
        [sys.executable, "-c", CHILD, job.id],
        cwd=PROJECT_ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    return process.returncode


@matrix.faults
@pytest.mark.parametrize(
    ("at", "count"),
    matrix.times(
        [("manifest deleted", 1), ("object deleted", 3)],
        [
            ("before manifest", 2),
            ("manifest deleted", 1),
            ("index forgotten", 1),
            ("object deleted", 1),
            ("object deleted", 3),
            ("before orphan", 1),
            ("orphan deleted", 1),
            ("before picture", 1),
        ],
    ),
)
def test_killed_at_a_boundary_what_is_listed_is_whole_and_the_next_run_finishes(
    desk, admin, at, count
):
    (old,) = aged(desk, admin, 5)
    (desk.settings.images_dir / "1.png").unlink()
    _newer, newest = aged(desk, admin, 3, 0)
    orphan = leave_orphan(desk, "20260101T000000Z-aaaa", 2)
    age_objects(desk, "-", desk.now() - timedelta(days=4))
    plan = retention.plan(desk, admin)
    job = retention._queue(desk, admin, plan, plan.word)
    assert _killed(desk, job, at, count) == -signal.SIGKILL
    with matrix.cell(matrix.KILLED, "removing old backups", matrix.SQLITE):
        all_whole(desk, admin)
    jobs.reap(desk)
    assert jobs.get(desk, job.id).state is jobs.JobState.INTERRUPTED
    assert jobs.active(desk, PROTECTION_LOCK) is None
    if retention.plan(desk, admin).going:
        remove(desk, admin)
    else:
        finish(desk, admin)
    assert ids(desk) == [newest]
    assert orphan not in keys(desk)
    assert {key.split("/")[2] for key in keys(desk, "data/")} == {newest}
    assert old not in " ".join(keys(desk))
    assert len(keys(desk, "images/")) == 2
    all_whole(desk, admin)
