"""Jobs that die, start together or outlive their surroundings: one lock, one owner, always."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from db.control import jobs as rows
from db.engine import write
from services import backup, restore
from services.core import audit, jobs, liveness, spawning, stopping
from services.core.context import open_context
from services.core.errors import Broken, Busy, Conflict
from services.core.settings import PROJECT_ROOT
from services.protection.model import PROTECTION_LOCK
from tests.conftest import person
from tests.faults.scene import DATABASE, back_up, damage

LOCK = PROTECTION_LOCK


def _wait(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)


def _sleeper(ctx, job) -> subprocess.Popen[bytes]:
    """A process that runs the job until it is killed."""
    code = (
        "import sys, time\nfrom services.core import jobs\n"
        "from services.core.context import open_context\nctx = open_context()\n"
        "def work(handle):\n    print('ready', flush=True)\n    time.sleep(600)\n"
        "jobs.run(ctx, jobs.get(ctx, sys.argv[1]), work)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, job.id],
        cwd=PROJECT_ROOT,
        env={**os.environ, **ctx.settings.as_environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    return process


@pytest.fixture
def running(ctx, operator):
    job = jobs.create(ctx, operator, "backup", lock=LOCK)
    with _sleeper(ctx, job) as process:
        yield job, process
        process.kill()


def test_a_process_that_ends_at_once_gives_its_lock_back_and_says_so(ctx, operator):
    job = jobs.create(ctx, operator, "backup", lock=LOCK)
    spawning.spawn(ctx, job, "services.no_such_module")
    _wait(lambda: jobs.get(ctx, job.id).state.ended)
    ended = jobs.get(ctx, job.id)
    assert ended.state is jobs.JobState.FAILED
    assert "did not begin" in ended.error and "exit code 1" in ended.error
    assert f"{job.id}.log" in ended.hint
    log = ctx.settings.instance_dir / "jobs" / f"{job.id}.log"
    assert "no_such_module" in log.read_text()
    failed = audit.AuditFilter(actions=("backup.failed",))
    assert audit.events(ctx, person("admin"), failed).total == 1
    assert jobs.create(ctx, operator, "backup", lock=LOCK).state is jobs.JobState.QUEUED


def test_a_process_that_died_before_it_began_is_seen_after_a_restart_of_the_server(ctx, operator):
    """Nobody waits for it any more: its number is in the row, and no such process is there."""
    job = jobs.create(ctx, operator, "backup", lock=LOCK)
    with subprocess.Popen(["true"]) as gone:
        pass
    with write(ctx.control) as connection:
        connection.execute(update(rows).where(rows.c.id == job.id).values(pid=gone.pid))
    assert jobs.active(ctx, LOCK) is None
    assert jobs.get(ctx, job.id).state is jobs.JobState.INTERRUPTED


def test_a_server_that_dies_before_it_started_the_process_leaves_no_lock(ctx, operator):
    code = (
        "import os\nfrom services.core import jobs\nfrom services.core.context import open_context"
        "\nfrom tests.conftest import person\n"
        f"jobs.create(open_context(), person('operator'), 'backup', lock={LOCK!r})\n"
        "os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, **ctx.settings.as_environment()}
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, env=environment)
    assert done.returncode == -signal.SIGKILL
    assert jobs.active(ctx, LOCK) is None


def test_a_process_that_cant_be_started_fails_the_job_and_frees_the_lock(ctx, operator):
    job = jobs.create(ctx, operator, "backup", lock=LOCK)
    (ctx.settings.instance_dir / "jobs" / f"{job.id}.log").mkdir(parents=True)
    with pytest.raises(Broken, match="could not be started"):
        spawning.spawn(ctx, job, "services.backup")
    assert jobs.get(ctx, job.id).state is jobs.JobState.FAILED
    assert jobs.active(ctx, LOCK) is None


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_an_hour_takes_no_lock_from_a_living_job(ctx, running, hours):
    job, process = running
    jumped = replace(ctx, clock=lambda: ctx.now() + timedelta(hours=hours))
    assert jobs.active(jumped, LOCK).id == job.id
    process.kill()
    process.wait()
    assert jobs.active(jumped, LOCK) is None


def test_a_host_that_was_renamed_knows_its_living_job(ctx, running):
    job, process = running
    renamed = replace(ctx, host="another-name", clock=lambda: ctx.now() + timedelta(hours=1))
    assert jobs.active(renamed, LOCK).id == job.id
    process.kill()
    process.wait()
    later = replace(renamed, clock=lambda: ctx.now() + 2 * liveness.REMOTE_STALE)
    assert jobs.active(later, LOCK) is None


def test_a_heartbeat_that_still_moves_is_alive_whatever_the_clock_says(ctx, running):
    """On another host only the heartbeat can be seen; the clock here is an hour ahead."""
    job, _process = running
    lock_file = ctx.settings.instance_dir / "jobs" / f"{job.id}.lock"
    lock_file.unlink()
    elsewhere = replace(ctx, host="another", clock=lambda: ctx.now() + timedelta(hours=1))
    assert jobs.active(elsewhere, LOCK).id == job.id


def test_emptying_the_jobs_folder_takes_no_lock_from_a_living_job(ctx, running):
    job, process = running
    shutil.rmtree(ctx.settings.instance_dir / "jobs")
    assert jobs.active(ctx, LOCK).id == job.id
    process.kill()
    process.wait()
    assert jobs.active(ctx, LOCK) is None


def test_reapers_that_meet_mark_and_record_a_dead_job_once(ctx, running):
    job, process = running
    process.kill()
    process.wait()
    with ThreadPoolExecutor(8) as pool:
        reaped = [found for made in pool.map(lambda _: jobs.reap(ctx), range(8)) for found in made]
    assert [found.id for found in reaped] == [job.id]
    interrupted = audit.AuditFilter(actions=("backup.interrupted",))
    assert audit.events(ctx, person("admin"), interrupted).total == 1


def _together(calls: list[Callable[[], object]]) -> tuple[list[object], list[Exception]]:
    barrier = threading.Barrier(len(calls))
    made: list[object] = []
    failed: list[Exception] = []

    def go(call: Callable[[], object]) -> None:
        barrier.wait()
        try:
            made.append(call())
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=go, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return made, failed


def _ended(ctx) -> list[jobs.Job]:
    _wait(lambda: jobs.active(ctx, LOCK) is None)
    return jobs.recent(ctx, ("backup", "restore"))


def test_two_people_who_click_at_once_get_one_backup(ctx, shop, operator, admin):
    made, failed = _together(
        [lambda who=who: backup.start(ctx, who) for who in (operator, admin) * 3]
    )
    assert len(made) == 1
    assert [type(error) for error in failed] == [Busy] * 5
    assert all("asked for by" in str(error) for error in failed)
    (job,) = _ended(ctx)
    assert job.state is jobs.JobState.SUCCEEDED, job.error


def test_a_click_and_cron_in_the_same_second_make_one_backup(ctx, shop, operator):
    environment = {**os.environ, **ctx.settings.as_environment()}
    command = [sys.executable, str(PROJECT_ROOT / "services" / "backup.py")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as cron:
        clicked = None
        while cron.poll() is None:
            try:
                clicked = backup.start(ctx, operator)
                break
            except Busy:
                time.sleep(0.02)
        _nothing, said = cron.communicate()
    ended = _ended(ctx)
    assert all(job.state is jobs.JobState.SUCCEEDED for job in ended)
    if clicked is not None and cron.returncode:
        assert cron.returncode == 1 and b"A backup is running" in said
    assert len(ended) == backup.snapshots(ctx, operator).total


def test_backup_restore_and_undo_at_once_run_one_at_a_time(ctx, shop, operator, admin):
    back_up(ctx, operator)
    damage(ctx)
    plans = [restore.preview(ctx, operator, "latest", DATABASE) for _ in range(3)]
    made, failed = _together(
        [
            lambda: backup.start(ctx, operator),
            *(lambda plan=plan: restore.start(ctx, admin, plan, plan.word) for plan in plans),
        ]
    )
    assert len(made) == 1 and [type(error) for error in failed] == [Busy] * 3
    _ended(ctx)
    if jobs.recent(ctx, ("restore",)):
        assert jobs.recent(ctx, ("restore",))[0].state is jobs.JobState.SUCCEEDED
    else:
        plan = restore.preview(ctx, operator, restore.resolved(ctx, "latest"), DATABASE)
        restore.run(ctx, operator, plan, plan.word)
    offer = restore.undo_offer(ctx, operator)
    made, failed = _together([lambda: restore.start_undo(ctx, operator, offer) for _ in range(4)])
    assert len(made) == 1
    assert {type(error) for error in failed} <= {Busy, Conflict} and len(failed) == 3
    _ended(ctx)
    assert restore.undo_offer(ctx, operator).was_undo


def test_a_control_database_locked_for_ten_seconds_fails_no_backup(ctx, shop):
    environment = {**os.environ, **ctx.settings.as_environment()}
    control = ctx.settings.instance_dir / "control.db"
    command = [sys.executable, str(PROJECT_ROOT / "services" / "backup.py")]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    with closing(sqlite3.connect(control, isolation_level=None, timeout=30)) as other, process:
        _wait(lambda: [job for job in jobs.recent(ctx, ("backup",)) if job.started_at])
        other.execute("BEGIN IMMEDIATE")
        time.sleep(10)
        other.execute("ROLLBACK")
        _nothing, said = process.communicate()
    assert (process.returncode, said) == (0, b"")
    (job,) = jobs.recent(ctx, ("backup",))
    assert job.state is jobs.JobState.SUCCEEDED


def test_a_control_database_deleted_under_a_backup_is_said_and_the_backup_is_found_again(
    ctx, shop, operator
):
    environment = {**os.environ, **ctx.settings.as_environment()}
    command = [sys.executable, str(PROJECT_ROOT / "services" / "backup.py")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        _wait(lambda: [job for job in jobs.recent(ctx, ("backup",)) if job.started_at])
        ctx.control.dispose()
        for ending in ("", "-wal", "-shm"):
            (ctx.settings.instance_dir / f"control.db{ending}").unlink(missing_ok=True)
        _nothing, said = process.communicate()
    assert b"Traceback" not in said
    anew = open_context(ctx.settings)
    try:
        listed = backup.snapshots(anew, operator)
        assert listed.store_error is None
        assert listed.total == (1 if process.returncode == 0 else 0)
        assert backup.run(anew, operator).state is jobs.JobState.SUCCEEDED
    finally:
        anew.close()


def test_a_stop_signal_waits_for_a_safe_place_and_is_not_lost_where_it_was_swallowed(ctx, operator):
    job = jobs.create(ctx, operator, "backup", lock=LOCK)
    passed: list[str] = []

    def work(handle: jobs.JobHandle) -> dict[str, object]:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        passed.append("not struck in the middle")
        try:
            raise ValueError("something failed on its own")
        except ValueError:
            handle.step("Tidying up after it")
            passed.append("tidied up")
        with suppress(BaseException):
            handle.progress(0.5)
            passed.append("never here")
        handle.step("Going on as if nothing was")
        passed.append("never here")
        return {}

    with pytest.raises(jobs.Stopped, match="asked to stop"):
        jobs.run(ctx, job, work)
    assert passed == ["not struck in the middle", "tidied up"]
    ended = jobs.get(ctx, job.id)
    assert ended.state is jobs.JobState.FAILED and "SIGTERM" in ended.error
    stopping.check()  # the next job is not asked


def test_a_job_in_a_job_does_not_forget_that_both_were_asked_to_stop(ctx, operator):
    outer, inner = (jobs.create(ctx, operator, "drill") for _ in range(2))

    def work(handle: jobs.JobHandle) -> dict[str, object]:
        def within(_handle: jobs.JobHandle) -> dict[str, object]:
            os.kill(os.getpid(), signal.SIGTERM)
            return {}

        jobs.run(ctx, inner, within)
        handle.step("The next one")
        return {}

    with pytest.raises(jobs.Stopped):
        jobs.run(ctx, outer, work)


def test_a_stop_signal_that_comes_after_the_last_step_ends_the_next_job_and_not_this_one(
    ctx, operator
):
    done, next_one = (jobs.create(ctx, operator, "drill") for _ in range(2))

    def late(_handle: jobs.JobHandle) -> dict[str, object]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {"proven": True}

    assert jobs.run(ctx, done, late).state is jobs.JobState.SUCCEEDED
    with pytest.raises(jobs.Stopped):
        jobs.run(ctx, next_one, lambda handle: {"never": handle.step("The next one")})
    assert jobs.get(ctx, next_one.id).state is jobs.JobState.FAILED
    stopping.check()  # and nobody after it


def test_a_second_stop_signal_ends_the_process_at_once():
    """Work that comes to no safe place can still be ended by who may not use kill -9."""
    child = (
        "import os, signal, time\n"
        "from services.core import stopping\n"
        "with stopping.heard():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still here', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", child], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 128 + signal.SIGINT
    assert ended.stdout == "still here\n" and "next start tidies up" in ended.stderr
