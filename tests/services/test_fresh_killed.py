"""A recovery from the bucket that is killed at any instant is taken up where it was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services import backup
from services.core.errors import Conflict
from services.core.settings import PROJECT_ROOT
from services.core.unfinished import marker
from tests.faults import matrix
from tests.services.lost import NewMachine, audit_rows
from tests.shops import build_shop


@pytest.fixture
def ctx(old_desk, cheap_bcrypt):
    """The desk of the machine that will be lost, with a folder as its store."""
    return old_desk()


PASSED = [
    "begun",
    "the shop's database staged",
    "the desk's own database staged",
    "the knowledge base staged",
    "vectors fetched",
    "the vectors staged",
    "the pictures staged",
    "placing",
    "vectors moved in",
    "vectors placed",
    "images moved in",
    "images placed",
    "control.db free",
    "control.db placed",
    "insightshop.db free",
    "insightshop.db placed",
    "finishing",
    "finished",
]


def _child(machine: NewMachine, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.child", "fresh", machine.lost.source],
        cwd=PROJECT_ROOT,
        env={**os.environ, **machine.variables, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_passes_these_instants_in_this_order(machine):
    done = _child(machine)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if not line.startswith("{")] == PASSED


@matrix.faults
def test_killed_at_any_instant_and_run_again_it_brings_everything_back(machine):
    for name in matrix.some(PASSED, 2):
        shutil.rmtree(machine.home)
        machine.home.mkdir()
        assert _child(machine, KILL_AT=name).returncode == -signal.SIGKILL
        # What lies there now is not whole, and neither the desk nor a backup takes it so.
        with pytest.raises(Conflict, match="has not ended.*--fresh"):
            machine.desk()
        placed = machine.settings.shop_sqlite_path.exists()
        assert placed == (PASSED.index(name) >= PASSED.index("insightshop.db placed"))
        with matrix.cell(matrix.KILLED, "a recovery from the bucket", matrix.SQLITE):
            machine.fresh()
            assert machine.equals_the_lost_one(), name
        desk = machine.desk()
        try:
            assert [row[5] for row in audit_rows(desk)].count("recovery.done") == 1
        finally:
            desk.close()
        left = [file for file in machine.files() if ".recovery-" in file or ".restore-" in file]
        assert left == []


def test_what_was_fetched_before_a_kill_is_not_fetched_again(machine, lost):
    assert _child(machine, KILL_AT="the pictures staged").returncode == -signal.SIGKILL
    folder = Path(lost.source.removeprefix("file:"))
    database = folder / f"data/default/{lost.manifest.id}/database.sqlite3.zst"
    whole = database.read_bytes()
    database.write_bytes(bytes(len(whole)))  # would be found out if it were read
    machine.fresh()
    assert machine.equals_the_lost_one()


def test_killed_while_placing_it_goes_on_and_begins_nothing_else(machine, ctx, admin, lost):
    assert _child(machine, KILL_AT="images placed").returncode == -signal.SIGKILL
    later = backup.run(ctx, admin).result["snapshot"]
    assert "Let it end first" in machine.refused(later)
    elsewhere = machine.refused(lost.manifest.id, SHOP_ROOT=str(machine.home / "elsewhere"))
    assert "Set the variables as they were" in elsewhere
    assert machine.fresh()["snapshot"] == lost.manifest.id
    assert machine.equals_the_lost_one()


def test_killed_while_fetching_another_snapshot_may_be_taken_instead(machine, ctx, admin, lost):
    later = backup.run(ctx, admin).result["snapshot"]
    assert _child(machine, KILL_AT="the vectors staged").returncode == -signal.SIGKILL
    assert machine.fresh(lost.manifest.id)["snapshot"] == lost.manifest.id
    assert machine.equals_the_lost_one()
    assert not [name for name in machine.files() if later in name and "manifest" not in name]


def test_a_shop_that_makes_a_database_meanwhile_keeps_it_and_nothing_is_lost(machine):
    assert _child(machine, KILL_AT="control.db placed").returncode == -signal.SIGKILL
    path = machine.settings.shop_sqlite_path
    build_shop(path)
    said = machine.run("--from", machine.lost.source, "--fresh", "--yes")
    assert said.returncode == 1 and str(path) in said.stderr
    path.rename(path.with_suffix(".theirs"))
    machine.fresh()
    assert machine.equals_the_lost_one()


def test_doors_stay_shut_while_a_recovery_has_not_ended(machine):
    assert _child(machine, KILL_AT="insightshop.db placed").returncode == -signal.SIGKILL
    for door in ("backup.py", "restore.py"):
        done = subprocess.run(
            [sys.executable, str(PROJECT_ROOT / "services" / door), "list"][: 2 + (door > "c")],
            env={**os.environ, **machine.variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1 and "has not ended" in done.stderr
    assert str(marker(machine.settings)) in done.stderr
