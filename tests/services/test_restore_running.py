"""A restore while other programs use the database, and restores that run by themselves."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from services import restore
from services.core import jobs
from services.core.settings import PROJECT_ROOT
from services.protection.model import PROTECTION_LOCK, Part
from services.protection.rescue import live as live_file
from tests.doors import run_door
from tests.faults import matrix
from tests.faults.beside import READER, WRITER, seen_until
from tests.faults.scene import DATABASE, back_up, damage, facts, furnish, leftovers, world


@matrix.tried(
    matrix.BUSY,
    "writes without pause, during a restore: it ends, every order is on one side",
    matrix.SQLITE,
)
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_while_another_program_writes_readers_see_only_old_or_new(
    ctx, shop, operator, beside, tmp_path, mode
):
    furnish(ctx)
    with closing(sqlite3.connect(shop)) as database:
        database.execute(f"PRAGMA journal_mode={mode}")
        database.execute("CREATE TABLE bulk (id INTEGER PRIMARY KEY, data BLOB)")
        database.execute("INSERT INTO bulk (data) VALUES (randomblob(8000000))")
        database.commit()
    snapshot = back_up(ctx, operator)
    damage(ctx)
    writer = beside(WRITER)
    assert writer.stdout.readline() == b"writing\n"
    reader = beside(READER, tmp_path / "seen")

    plan = restore.preview(ctx, operator, snapshot.id, DATABASE | {Part.IMAGES})
    assert "Stop the shop first" in plan.writer
    job = restore.run(ctx, operator, plan, plan.word)

    assert job.state is jobs.JobState.SUCCEEDED
    assert writer.poll() is None, "the writer survived the restore"
    assert reader.poll() is None
    states = seen_until(tmp_path / "seen", 40)
    old_prices = {state[3] for state in states if state[0] == 37}
    new_prices = {state[3] for state in states if state[0] == 40}
    assert {state[:3] for state in states} == {(37, 11, 0), (40, 12, 0)}, "every order has items"
    assert len(old_prices) == len(new_prices) == 1
    said = " ".join(job.result["notes"])
    assert "very last state before the restore is kept aside" in said
    (kept,) = job.result["kept"]
    with closing(sqlite3.connect(kept)) as late, closing(sqlite3.connect(shop)) as live:
        assert late.execute("SELECT count(*) FROM products").fetchone()[0] == 37
        assert live.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert live.execute("PRAGMA journal_mode").fetchone()[0] == mode


def test_a_database_that_is_locked_all_the_time_is_said_and_nothing_changes(
    ctx, shop, operator, monkeypatch
):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(live_file, "PATIENCE_SECONDS", 0.5)
    furnish(ctx)
    snapshot = back_up(ctx, operator)
    damage(ctx)
    before = world(ctx)
    plan = restore.preview(ctx, operator, snapshot.id, DATABASE | {Part.IMAGES})
    with closing(sqlite3.connect(shop, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM orders").fetchone()
        with pytest.raises(Exception, match="in use.*nothing was changed.*Stop the shop"):
            restore.run(ctx, operator, plan, plan.word)
    assert world(ctx) == before
    assert leftovers(ctx) == []


def waited(ctx, job: jobs.Job) -> jobs.Job:
    for _ in range(600):
        now = jobs.get(ctx, job.id)
        if now.state.ended:
            return now
        time.sleep(0.05)
    raise AssertionError(f"still {now.state} at {now.step}")


def test_a_started_restore_and_its_undo_run_in_processes_of_their_own(ctx, shop, operator):
    furnish(ctx)
    snapshot = back_up(ctx, operator)
    good = world(ctx)
    damage(ctx)
    bad = world(ctx)
    plan = restore.preview(ctx, operator, snapshot.id, DATABASE | {Part.IMAGES})
    job = waited(ctx, restore.start(ctx, operator, plan, "insightshop"))
    assert (job.state, job.error) == (jobs.JobState.SUCCEEDED, None)
    assert job.pid != os.getpid()
    assert world(ctx) == good
    offer = restore.undo_offer(ctx, operator)
    job = waited(ctx, restore.start_undo(ctx, operator, offer))
    assert (job.state, job.error) == (jobs.JobState.SUCCEEDED, None)
    assert world(ctx) == bad


@pytest.fixture
def command(ctx, shop, operator, tmp_path):
    """Runs the command line as an operator does: from somewhere else."""
    furnish(ctx)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_door(ctx, "services.restore", *arguments, cwd=tmp_path)

    return run


def test_the_command_line_restores_and_undoes(ctx, command, operator):
    snapshot = back_up(ctx, operator)
    good = world(ctx)
    damage(ctx)
    bad = world(ctx)

    dry = command("latest", "--dry-run")
    assert dry.returncode == 0
    assert "3 products and 1 customer come back" in dry.stderr
    asked = command("latest")
    assert asked.returncode == 1
    assert "has to be confirmed; nothing was started" in asked.stderr
    assert world(ctx) == bad

    done = command("latest", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert (answer["state"], answer["snapshot"]) == ("succeeded", snapshot.id)
    assert world(ctx) == good

    # The safety snapshot is newer; latest is still what somebody backed up.
    assert snapshot.id in command("latest", "--dry-run").stderr
    assert command("--undo", "--yes").returncode == 0
    assert world(ctx) == bad

    only = command("latest", "--only", "images", "--yes")
    assert only.returncode == 0, only.stderr
    assert world(ctx)["pictures"] == good["pictures"]
    assert facts(ctx) == bad["database"]

    listed = command("list", "--json")
    assert snapshot.id in [row["id"] for row in json.loads(listed.stdout)["snapshots"]]


def test_a_restore_beside_a_running_backup_is_refused_in_words_and_in_json(ctx, command, operator):
    back_up(ctx, operator)
    damage(ctx)
    before = world(ctx)
    jobs.create(ctx, operator, "backup", lock=PROTECTION_LOCK)
    done = command("latest", "--yes", "--json")
    (line,) = done.stdout.splitlines()
    answer = json.loads(line)
    assert done.returncode == answer["exit_code"] == 1
    assert answer["state"] == "failed" and "A backup is running since" in answer["error"]
    assert "A backup is running since" in done.stderr
    assert world(ctx) == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nope", "--yes"], 1, "There is no snapshot 'nope'"),
        ([], 3, "Say what to restore"),
        (["latest", "--only", "pictures"], 3, "It may hold: database, images"),
        (["--bogus"], 3, "unrecognized"),
        (["--undo", "--yes"], 1, "no restore to undo"),
    ],
)
def test_wrong_use_is_answered_clearly(command, arguments, code, said):
    done = command(*arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("typed", "code"), [("insightshop", 0), ("yes", 1)])
def test_at_a_terminal_the_word_is_asked_for(ctx, command, operator, shop, typed, code):
    back_up(ctx, operator)
    good = facts(ctx)
    damage(ctx)
    bad = facts(ctx)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "services.restore", "latest", "--only", "database"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **ctx.settings.as_environment()},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        said = b""
        while b"Type insightshop to restore" not in said:
            said += os.read(ours, 4096)
        os.write(ours, f"{typed}\n".encode())
        try:
            while data := os.read(ours, 4096):
                said += data
        except OSError:
            pass  # the other side of a terminal is gone
    os.close(ours)
    assert process.returncode == code, said.decode()
    assert facts(ctx) == (good if code == 0 else bad)
    assert (b"Replacing the database" in said) == (code == 0)


def test_a_desk_set_up_anew_restores_from_the_store_alone(ctx, command, operator, shop):
    """Everything on this machine is gone but the store."""
    back_up(ctx, operator)
    good = facts(ctx)
    ctx.close()
    shop.unlink()
    for ending in ("", "-wal", "-shm"):
        (ctx.settings.instance_dir / f"control.db{ending}").unlink(missing_ok=True)
    done = command("latest", "--only", "database", "--yes")
    assert done.returncode == 0, done.stderr
    assert facts(ctx) == good
