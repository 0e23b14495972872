"""The rules every room stands on: migrations, attach, jobs, audit, settings."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

import db.control
import db.knowledge
from db.migrate import CONTROL_HEAD, KNOWLEDGE_HEAD, upgrade_control, upgrade_knowledge
from services.core import access, audit, jobs
from services.core.errors import Broken, Busy, Denied, Misconfigured
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT, mask_url
from services.shop.attach import ShopState, attach, status


@pytest.mark.parametrize(
    ("metadata", "upgrade", "table", "head"),
    [
        (db.control.metadata, upgrade_control, "alembic_version", CONTROL_HEAD),
        (db.knowledge.metadata, upgrade_knowledge, "kb_alembic_version", KNOWLEDGE_HEAD),
    ],
)
def test_migrations_give_exactly_the_tables_that_the_code_declares(metadata, upgrade, table, head):
    engine = create_engine("sqlite://")
    assert upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": table})
        assert context.get_current_revision() == head
        assert compare_metadata(context, metadata) == []
    assert not upgrade(engine)


def test_attaching_adds_only_kb_tables_and_leaves_the_shop_byte_for_byte_alone(ctx, shop):
    with closing(sqlite3.connect(shop)) as database:
        tables = {
            r[0] for r in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
        }
        mode = database.execute("PRAGMA journal_mode").fetchone()[0]
        orders = database.execute("SELECT count(*) FROM orders").fetchone()[0]
    added = {name for name in tables if name.startswith("kb_")}
    assert tables - added - {"sqlite_sequence"} == {
        "users",
        "products",
        "orders",
        "order_items",
        "cart_items",
        "payment_logs",
    }
    assert added == {*db.knowledge.metadata.tables, "kb_alembic_version"}
    assert all(name.startswith("kb_") for name in added)
    assert (mode, orders) == ("delete", 60)
    assert not attach(ctx)


def test_a_missing_shop_is_said_and_never_created(ctx):
    assert status(ctx).state is ShopState.MISSING
    with pytest.raises(Misconfigured, match="no shop database"):
        attach(ctx)
    assert not ctx.settings.shop_sqlite_path.exists()


def test_a_file_that_is_no_database_is_said_and_left_alone(ctx):
    path = ctx.settings.shop_sqlite_path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is a shopping list\n" * 400)
    assert status(ctx).state is ShopState.UNREADABLE
    with pytest.raises(Broken, match="damaged"):
        attach(ctx)
    assert path.read_bytes() == b"this is a shopping list\n" * 400


def test_a_database_of_another_program_is_refused(ctx):
    path = ctx.settings.shop_sqlite_path
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE music (id INTEGER)")
    with pytest.raises(Misconfigured, match="not InsightShop's"):
        attach(ctx)


def test_one_job_holds_a_lock_and_a_second_is_refused_by_name(ctx, operator):
    jobs.create(ctx, operator, "backup", lock="protection")
    with pytest.raises(Busy, match="A backup is running since .* Operator"):
        jobs.create(ctx, operator, "restore", lock="protection")


def test_a_job_records_steps_result_and_frees_its_lock(ctx, operator):
    seen: list[tuple[str, float | None]] = []

    def work(handle: jobs.JobHandle) -> dict[str, object]:
        handle.step("Counting", 0.5)
        return {"answer": 42}

    job = jobs.create(ctx, operator, "backup", lock="protection")
    done = jobs.run(ctx, job, work, watcher=lambda *seen_: seen.append(seen_))
    assert (done.state, done.result, done.fraction) == (
        jobs.JobState.SUCCEEDED,
        {"answer": 42},
        1.0,
    )
    assert [text for _at, text in done.log] == ["Counting"]
    assert seen == [("Counting", 0.5)]
    assert jobs.active(ctx, "protection") is None


def test_an_unforeseen_error_never_shows_its_text(ctx, operator):
    def work(_handle: jobs.JobHandle) -> dict[str, object]:
        raise ValueError("password=hunter2")

    job = jobs.create(ctx, operator, "backup")
    with pytest.raises(ValueError):
        jobs.run(ctx, job, work)
    failed = jobs.get(ctx, job.id)
    assert failed.state is jobs.JobState.FAILED
    assert "hunter2" not in f"{failed.error} {failed.hint} {failed.log}"


_SLEEPER = """
import sys, time
from services.core import jobs
from services.core.context import open_context
ctx = open_context()
def work(handle):
    handle.step("Sleeping", 0.1)
    print("ready", flush=True)
    for moment in range(600):
        time.sleep(0.1)
        handle.progress(moment / 600)
    return {}
jobs.run(ctx, jobs.get(ctx, sys.argv[1]), work)
"""


@pytest.fixture
def sleeping_job(ctx, operator):
    job = jobs.create(ctx, operator, "backup", lock="protection")
    process = subprocess.Popen(
        [sys.executable, "-c", _SLEEPER, job.id],
        cwd=PROJECT_ROOT,
        env={**os.environ, **ctx.settings.as_environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield job, process
    process.kill()
    process.wait()


def test_a_killed_job_becomes_interrupted_and_its_lock_is_taken_over(ctx, operator, sleeping_job):
    job, process = sleeping_job
    assert jobs.active(ctx, "protection").id == job.id
    process.kill()
    process.wait()
    second = jobs.create(ctx, operator, "backup", lock="protection")
    assert jobs.get(ctx, job.id).state is jobs.JobState.INTERRUPTED
    assert second.state is jobs.JobState.QUEUED
    log = audit.events(ctx, _admin(), audit.AuditFilter(actions=("backup.interrupted",)))
    assert log.total == 1


def test_sigterm_leaves_a_cleanly_failed_job(ctx, sleeping_job):
    job, process = sleeping_job
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) != 0
    ended = jobs.get(ctx, job.id)
    assert ended.state is jobs.JobState.FAILED
    assert "asked to stop" in (ended.error or "")


def _admin():
    from tests.conftest import person

    return person("admin")


def test_the_audit_log_is_for_administrators(ctx, operator):
    with pytest.raises(Denied):
        audit.events(ctx, operator, audit.AuditFilter())


def test_audit_csv_neutralises_spreadsheet_formulas(ctx, admin):
    audit.note(ctx, admin, "kb.edit", ("entry", "x"), "=cmd|' /C calc'!A0")
    assert "\n\"'=cmd" in audit.export_csv(ctx, admin, audit.AuditFilter()).replace(",", "\n") or (
        "'=cmd" in audit.export_csv(ctx, admin, audit.AuditFilter())
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("INSTANCE_ID", "../other", "INSTANCE_ID"),
        ("BACKUP_STORE_URL", "ftp://x", "BACKUP_STORE_URL"),
        ("APP_ENV", "prod", "APP_ENV"),
        ("DATABASE_URL", "the old server", "DATABASE_URL"),
        ("DATABASE_URL", "sqlite://", "DATABASE_URL"),
        ("DATABASE_URL", "postgresql://shop:hunter2@:none/shop", "DATABASE_URL"),
        ("CONTROL_DATABASE_URL", "oracle://shop:hunter2@db/shop", "CONTROL_DATABASE_URL"),
        ("DRILL_DATABASE_URL", "sqlite:////srv/shop.db", "DRILL_DATABASE_URL"),
        ("POSTGRES_TOOLS", "/usr:/nowhere/bin", "POSTGRES_TOOLS"),
        ("BACKUP_COPY_URL", "/mnt/hunter2", "BACKUP_COPY_URL"),
        ("BACKUP_S3_ENCRYPTION", "aes", "BACKUP_S3_ENCRYPTION"),
        ("BACKUP_S3_KMS_KEY", "alias/hunter2", "BACKUP_S3_KMS_KEY"),
        ("KEEP_DAYS", "-1", "KEEP_DAYS"),
        ("KEEP_WEEKS", "some", "KEEP_WEEKS"),
        ("KEEP_MONTHS", "2000", "KEEP_MONTHS"),
        ("KEEP_MINIMUM", "0", "KEEP_MINIMUM"),
        ("ARCHIVE_AFTER_DAYS", "soon", "ARCHIVE_AFTER_DAYS"),
        ("ARCHIVE_CLASS", "DEEP", "ARCHIVE_CLASS"),
        ("OBJECT_LOCK_DAYS", "-5", "OBJECT_LOCK_DAYS"),
        ("LEGACY_TIME_ZONE", "Mars", "LEGACY_TIME_ZONE"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_its_name(monkeypatch, tmp_path, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=rf"{said} holds .*\. It may hold: .*") as refused:
        load_settings(env_file=tmp_path / "none.env")
    assert "hunter2" not in f"{refused.value} {refused.value.__cause__}"


def test_a_user_of_the_system_without_a_name_still_has_one_in_the_audit_log(monkeypatch):
    def no_name() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(access.getpass, "getuser", no_name)
    monkeypatch.setattr(access.os, "getuid", lambda: 12345)
    assert access.command_line_actor().name == "uid 12345"


def test_an_address_is_shown_without_its_password_wherever_it_stands():
    for url in (
        "postgresql://shop:hunter2@db:5432/shop",
        "postgresql://db/shop?user=shop&password=hunter2",
        "postgresql://shop:hunter2@db/shop?sslmode=require&sslpassword=hunter2",
    ):
        assert "hunter2" not in mask_url(url) and "db" in mask_url(url)


def test_secrets_never_show_in_settings_or_errors(tmp_path):
    settings = load_settings(
        env_file=tmp_path / "none.env", database_url="postgresql://shop:hunter2@db/shop"
    )
    assert "hunter2" not in repr(settings)
    assert settings.shop_database_url.startswith("postgresql+psycopg://")


def test_the_shops_own_env_file_works_unchanged(tmp_path):
    (tmp_path / ".env").write_text(
        "DB_PATH=shop.db\nVECTOR_DB_PATH=./vector_db\nS3_BACKUP_BUCKET=insightshop-backups\n"
        "INSTANCE_ID=eu\nAWS_REGION=eu-central-1\nFLASK_SECRET=whatever\n"
    )
    settings = load_settings(env_file=tmp_path / ".env", shop_root=tmp_path)
    assert settings.shop_sqlite_path == tmp_path / "instance" / "shop.db"
    assert settings.store_url == "s3://insightshop-backups"
    assert settings.vector_dir == tmp_path / "vector_db"


def test_a_folder_that_cant_be_written_is_named(tmp_path):
    from services.core.context import open_context

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Misconfigured, match="can't write"):
        open_context(load_settings(env_file=tmp_path / "x", desk_home=Path(tmp_path / "file")))
