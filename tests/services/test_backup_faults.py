"""What goes wrong during a backup: the message, and that nothing was stored or listed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from services import backup
from services.core import jobs
from services.core.context import Context
from services.core.errors import Broken, Busy, DeskError, Misconfigured, Transient
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.protection import sending, workspace
from services.protection.making import job as making
from services.protection.sources import sqlite
from services.protection.stores import open_store
from services.protection.stores.s3 import S3Store
from services.protection.stores.s3_client import Patience
from tests.faults import matrix
from tests.shops import build_shop
from tests.stores import faulty


def _stored(ctx: Context) -> list[str]:
    folder = Path(ctx.settings.store_url.removeprefix("file:"))
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def _refused(ctx: Context, actor, error: type[DeskError], said: str) -> None:
    with pytest.raises(error, match=said):
        backup.run(ctx, actor)
    job = jobs.recent(ctx, ("backup",))[0]
    assert job.state is jobs.JobState.FAILED and job.error and job.hint
    assert not backup.snapshots(ctx, actor).total
    assert not list(ctx.settings.temp_dir.iterdir())
    assert backup.current(ctx) is None


def _corrupt(path: Path) -> None:
    """A database that opens and copies, and is broken inside."""
    data = bytearray(path.read_bytes())
    for page in range(3, len(data) // 4096):
        data[page * 4096 : page * 4096 + 60] = b"\xee" * 60
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("ruin", "error", "said"),
    [
        (lambda path: path.write_bytes(b""), Broken, "empty file of 0 bytes"),
        (lambda path: path.write_bytes(b"shopping list\n" * 999), Broken, "not an SQLite database"),
        (_corrupt, Broken, "is damaged"),
        (lambda path: path.unlink(), Misconfigured, "There is no database"),
    ],
)
def test_a_database_that_is_none_is_never_stored(ctx, shop, operator, ruin, error, said):
    ruin(shop)
    _refused(ctx, operator, error, said)
    assert _stored(ctx) == []


def test_a_database_of_another_program_is_never_stored(ctx, operator):
    path = ctx.settings.shop_sqlite_path
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE music (id INTEGER)")
    _refused(ctx, operator, Misconfigured, "not InsightShop's: it has no table order_items")
    assert _stored(ctx) == []


def test_a_shop_that_stays_locked_is_given_up(ctx, shop, operator, monkeypatch):
    monkeypatch.setattr(sqlite, "LOCK_PATIENCE_SECONDS", 0.5)
    with closing(sqlite3.connect(shop, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        _refused(ctx, operator, Transient, "locked for 0 s|locked for 1 s")
    assert _stored(ctx) == []


def test_a_shop_without_kb_tables_is_backed_up_with_a_note(ctx, operator):
    build_shop(ctx.settings.shop_sqlite_path)
    job = backup.run(ctx, operator)
    assert "knowledge.json" not in job.result["components"]
    assert any("no tables for it yet" in note for note in job.result["notes"])


@matrix.tried(
    matrix.FULL,
    "known to be too small: refused before a backup begins",
    matrix.SQLITE,
)
def test_no_room_for_the_copy_is_said_before_anything_is_copied(ctx, shop, operator, monkeypatch):
    usage = shutil.disk_usage(shop.parent)
    monkeypatch.setattr(
        workspace.shutil, "disk_usage", lambda _path: usage._replace(free=20_000_000 - 4_000_000)
    )
    captured = []
    monkeypatch.setattr(sqlite, "capture", lambda *args, **_more: captured.append(args))
    _refused(ctx, operator, Broken, "16 MB free in .*tmp/snapshot-.* the copies need")
    assert not captured and _stored(ctx) == []


@matrix.tried(
    matrix.FULL,
    "becomes full while a backup copies the database",
    matrix.SQLITE,
)
def test_a_disk_that_fills_up_during_the_copy_is_said(ctx, operator, shop):
    build_shop(shop.with_name("large.db"), orders=30_000)
    environment = {
        **os.environ,
        **ctx.settings.as_environment(),
        "DB_PATH": str(shop.with_name("large.db")),
    }
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000));"
        "from services.backup import main; sys.exit(main(['--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "disk became full or failed while large.db was copied" in done.stderr
    assert _stored(ctx) == [] and not list(ctx.settings.temp_dir.iterdir())


def test_a_store_whose_disk_fills_up_keeps_nothing_of_the_snapshot(
    ctx, shop, operator, monkeypatch
):
    real, count = sending.Sender.send, 0

    def full(self, *args, **more):
        nonlocal count
        count += 1
        if count == 3:
            raise Broken("The store's disk is full.", "Free some space.")
        return real(self, *args, **more)

    monkeypatch.setattr(sending.Sender, "send", full)
    _refused(ctx, operator, Broken, "disk is full")
    assert _stored(ctx) == []


def test_a_store_that_gives_back_something_else_is_found_before_the_snapshot_is_listed(
    ctx, shop, operator, monkeypatch
):
    store = open_store(ctx.settings)

    class Forgetful:
        """A store that loses the last byte of what it was sent."""

        def __getattr__(self, name):
            return getattr(store, name)

        def put(self, key, source):
            done = store.put(key, source)
            if key.endswith("database.sqlite3.zst"):
                file = Path(store.url.removeprefix("file:")) / key
                file.write_bytes(file.read_bytes()[:-1])
            return done

    monkeypatch.setattr(making, "open_store", lambda _settings: Forgetful())
    _refused(ctx, operator, Broken, r"something else than database\.sqlite3\.zst")
    assert _stored(ctx) == []


def test_what_can_not_be_taken_back_is_still_never_listed(ctx, shop, operator, monkeypatch):
    store = open_store(ctx.settings)

    class Stubborn:
        """A store that refuses the manifest and any deletion."""

        def __getattr__(self, name):
            return getattr(store, name)

        def put(self, key, source):
            if key.startswith("manifests/"):
                raise Transient("The store does not answer.")
            return store.put(key, source)

        def delete(self, key):
            raise Transient("The store does not answer.")

    monkeypatch.setattr(making, "open_store", lambda _settings: Stubborn())
    with pytest.raises(Transient, match="does not answer"):
        backup.run(ctx, operator)
    assert [key for key in _stored(ctx) if key.startswith("manifests/")] == []
    assert backup.refresh(ctx, operator).total == 0


@pytest.fixture
def s3_desk(ctx, shop, rclone_server, tmp_path):
    """The desk with a bucket as its store: `s3_desk(bucket, **overrides)`."""

    def make(bucket: str, **overrides: object) -> Context:
        values = {
            "desk_home": ctx.settings.desk_home,
            "shop_root": ctx.settings.shop_root,
            **rclone_server.settings(bucket, "desk"),
            **overrides,
        }
        return replace(ctx, settings=load_settings(env_file=tmp_path / "none.env", **values))

    return make


def test_a_snapshot_in_a_real_bucket_is_whole_and_found_again(s3_desk, rclone_server, operator):
    (folder := s3_desk("x").settings.images_dir).mkdir(parents=True)
    (folder / "blüte.png").write_bytes(b"flower" * 100)
    bucket = rclone_server.make_bucket()
    desk = s3_desk(bucket)
    job = backup.run(desk, operator)
    snapshot = job.result["snapshot"]
    assert backup.verify(desk, operator, snapshot).read_back_at
    with backup.open_component(desk, operator, snapshot, "database.sqlite3.zst") as (part, stream):
        assert len(stream.read()) == part.stored_bytes
    client = rclone_server.client()
    client.delete_object(Bucket=bucket, Key=f"desk/data/default/{snapshot}/knowledge.json")
    with pytest.raises(Broken, match=r"knowledge\.json is missing from s3://"):
        backup.verify(desk, operator, snapshot)


def test_an_absent_bucket_is_said_and_the_index_still_lists(s3_desk, rclone_server, ctx, operator):
    desk = s3_desk("no-such-bucket-at-all")
    with pytest.raises(Misconfigured, match="no-such-bucket-at-all"):
        backup.run(desk, operator)
    page = backup.snapshots(desk, operator)
    assert page.rows == () and page.store_error is not None
    assert "no-such-bucket-at-all" in page.store_error[0] and page.store_error[1]


def test_a_forbidden_bucket_is_said_without_the_secret(s3_desk, rclone_server, operator):
    desk = s3_desk(rclone_server.make_bucket(), aws_secret_access_key="WRONGSECRET999")
    with pytest.raises(Misconfigured) as refused:
        backup.run(desk, operator)
    assert "WRONGSECRET999" not in str(refused.value)


def test_a_bucket_that_never_answers_is_a_network_error(s3_desk, operator, monkeypatch):
    with faulty.silent() as server:
        desk = s3_desk("some-bucket", aws_endpoint_url_s3=server.endpoint)
        impatient = Patience(connect_seconds=1, read_seconds=0.3, attempts=1)
        monkeypatch.setattr(
            backup, "open_store", lambda settings: S3Store.from_settings(settings, impatient)
        )
        with pytest.raises(Transient) as failed:
            backup.run(desk, operator)
    assert failed.value.exit_code == 2


def test_a_second_backup_is_refused_while_one_runs(ctx, shop, operator):
    first = jobs.create(ctx, operator, "backup", lock=backup.LOCK)
    with pytest.raises(Busy, match="A backup is running since .* Operator"):
        backup.run(ctx, operator)
    with pytest.raises(Busy):
        backup.start(ctx, operator)
    assert backup.current(ctx).id == first.id
    assert len(jobs.recent(ctx, ("backup",))) == 1


# ---- a process that is stopped half way


@pytest.fixture
def slow_backup(ctx, shop):
    """A backup process that has sent something and now waits; gives the process."""
    waiting = (
        "import sys\n"
        "from services import backup\n"
        "from services.core import stopping\n"
        "from services.protection import sending\n"
        "real = sending.Sender.send\n"
        "def slow(self, name, *args, **more):\n"
        "    done = real(self, name, *args, **more)\n"
        "    if name.startswith('control'):\n"
        "        print('half way', flush=True)\n"
        "        stopping.pause(120)\n"
        "    return done\n"
        "sending.Sender.send = slow\n"
        "sys.exit(backup.main(['--json']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", waiting],
        cwd=PROJECT_ROOT,
        env={**os.environ, **ctx.settings.as_environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"half way\n"
    yield process
    process.kill()
    process.wait()


def test_after_kill_9_nothing_is_listed_and_the_next_backup_works_and_sweeps(
    ctx, operator, slow_backup
):
    assert list(ctx.settings.temp_dir.iterdir())
    slow_backup.kill()
    slow_backup.wait()
    assert backup.refresh(ctx, operator).total == 0
    job = backup.run(ctx, operator)
    assert job.state is jobs.JobState.SUCCEEDED
    assert [row.id for row in backup.snapshots(ctx, operator).rows] == [job.result["snapshot"]]
    assert not list(ctx.settings.temp_dir.iterdir())
    states = [job.state for job in jobs.recent(ctx, ("backup",))]
    assert states == [jobs.JobState.SUCCEEDED, jobs.JobState.INTERRUPTED]


def test_sigterm_leaves_a_cleanly_failed_job_and_nothing_stored(ctx, operator, slow_backup):
    assert [key for key in _stored(ctx) if key.startswith("data/")]
    slow_backup.send_signal(signal.SIGTERM)
    out, _nothing = slow_backup.communicate(timeout=30)
    assert slow_backup.returncode == 1
    assert '"state": "failed"' in out.decode().splitlines()[-1]
    job = jobs.recent(ctx, ("backup",))[0]
    assert job.state is jobs.JobState.FAILED and "asked to stop" in job.error
    assert _stored(ctx) == [] and not list(ctx.settings.temp_dir.iterdir())


def test_the_folder_of_a_living_job_is_never_swept(ctx, operator, slow_backup):
    """Another tenant may share the temporary folder."""
    before = sorted(ctx.settings.temp_dir.iterdir())
    assert workspace.sweep(ctx.settings.temp_dir) == 0
    assert sorted(ctx.settings.temp_dir.iterdir()) == before
    for folder in before:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_backup_outlives_the_process_that_started_it(ctx, shop, operator):
    starting = (
        "from services import backup\n"
        "from services.core.access import command_line_actor\n"
        "from services.core.context import open_context\n"
        "print(backup.start(open_context(), command_line_actor('web')).id, flush=True)\n"
    )
    parent = subprocess.run(
        [sys.executable, "-c", starting],
        cwd=PROJECT_ROOT,
        env={**os.environ, **ctx.settings.as_environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    job_id = parent.stdout.strip()
    deadline = time.monotonic() + 60
    while not (job := jobs.get(ctx, job_id)).state.ended:
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
    assert job.state is jobs.JobState.SUCCEEDED
    assert backup.snapshots(ctx, operator).rows[0].asked_by == "web"
