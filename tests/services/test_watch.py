"""Samples are true, thinned without losing the newest, and seen only by who may."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from db.control import accounts, jobs, snapshots
from db.control import samples as samples_table
from db.engine import read, write
from services.core import audit
from services.core.access import system_actor
from services.core.errors import Denied
from services.core.settings import PROJECT_ROOT
from services.watch import facts, samples
from services.watch.metrics import METRICS
from services.watch.samples import Reading

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def values(readings, metric):
    return {r.subject: r.value for r in readings if r.metric == metric}


def add_job(ctx, job_id, state, ended_at, *, kind="backup", seconds=30, error=None):
    with write(ctx.control) as connection:
        connection.execute(
            insert(jobs).values(
                id=job_id,
                kind=kind,
                state=state,
                actor_id="x",
                actor_name="Cron",
                actor_kind="system",
                host=ctx.host,
                params={},
                step="",
                created_at=ended_at - timedelta(seconds=seconds),
                started_at=ended_at - timedelta(seconds=seconds),
                heartbeat_at=ended_at,
                ended_at=ended_at,
                error=error,
                hint="Try again." if error else None,
                log=[],
            )
        )


def add_snapshot(ctx, snapshot_id, created_at, *, plain=1000, stored=400):
    with write(ctx.control) as connection:
        connection.execute(
            insert(snapshots).values(
                id=snapshot_id,
                instance=ctx.settings.instance_id,
                created_at=created_at,
                reason="manual",
                asked_by="Cron",
                plain_bytes=plain,
                stored_bytes=stored,
                components=[],
                headline={},
                manifest_sha256="0" * 64,
                indexed_at=created_at,
            )
        )


def test_a_sample_tells_what_really_lies_there(ctx, shop):
    pictures = ctx.settings.images_dir
    (pictures / "deep").mkdir(parents=True)
    (pictures / "a.png").write_bytes(b"x" * 10)
    (pictures / "deep" / "b.png").write_bytes(b"x" * 5)
    readings = samples.collect(ctx)
    assert values(readings, "shop.database_bytes") == {"": shop.stat().st_size}
    rows = values(readings, "shop.rows")
    assert (rows["orders"], rows["products"], rows["users"], rows["kb_entries"]) == (60, 40, 12, 0)
    assert values(readings, "images.count") == {"": 2} and values(readings, "images.bytes") == {
        "": 15
    }
    total, free = values(readings, "disk.total_bytes"), values(readings, "disk.free_bytes")
    usage = shutil.disk_usage(shop.parent)
    assert set(total) == {"shop + desk + store"} and total["shop + desk + store"] == usage.total
    assert 0 < free["shop + desk + store"] <= usage.total
    assert values(readings, "control.bytes")[""] > 0
    assert {r.metric for r in readings} <= set(METRICS)


def test_what_cannot_be_measured_is_left_out_and_never_zero(ctx):
    readings = samples.collect(ctx)
    found = {r.metric for r in readings}
    assert not found & {
        "shop.database_bytes",
        "shop.rows",
        "vectors.bytes",
        "images.count",
        "backup.age_seconds",
    }
    assert "control.bytes" in found and not ctx.settings.shop_sqlite_path.exists()


def test_counting_vectors_takes_no_lock_and_a_damaged_index_is_left_out(ctx):
    folder = ctx.settings.vector_dir
    folder.mkdir(parents=True)
    index = folder / "chroma.sqlite3"
    with closing(sqlite3.connect(index)) as database:
        database.execute("CREATE TABLE embeddings (id INTEGER PRIMARY KEY)")
        database.executemany("INSERT INTO embeddings VALUES (?)", [(n,) for n in range(7)])
        database.commit()
        # A writer that holds the file exclusively would block any reader that locks.
        database.execute("BEGIN EXCLUSIVE")
        assert values(samples.collect(ctx), "vectors.count") == {"": 7}
        database.rollback()
    index.write_bytes(b"not a database")
    readings = samples.collect(ctx)
    assert values(readings, "vectors.count") == {} and values(readings, "vectors.bytes") == {"": 14}


def test_each_ended_backup_and_each_snapshot_is_told_once_at_its_own_time(ctx, manager):
    add_job(ctx, "good", "succeeded", NOW - timedelta(days=1), seconds=42)
    add_job(ctx, "bad", "failed", NOW, error="No space.")
    add_job(ctx, "cut", "interrupted", NOW + timedelta(hours=1), error="Gone.")
    add_snapshot(ctx, "s1", NOW - timedelta(days=1))
    add_snapshot(ctx, "s2", NOW, plain=2000)
    for _ in range(2):
        samples.take(ctx, samples.collect(ctx))
    outcomes = samples.series(ctx, manager, "backup.outcome")
    told = {s.subject: [(p.at, p.value) for p in s.points] for s in outcomes}
    assert told == {
        "good": [(NOW - timedelta(days=1), 1.0)],
        "bad": [(NOW, 0.0)],
        "cut": [(NOW + timedelta(hours=1), 0.0)],
    }
    assert samples.series(ctx, manager, "backup.seconds")[0].points[0].value == 42
    (sizes,) = samples.series(ctx, manager, "backup.data_bytes")
    assert [p.value for p in sizes.points] == [1000, 2000]


def test_long_series_are_thinned_but_keep_the_newest_value(ctx, manager):
    readings = [
        Reading("shop.rows", table, n, NOW + timedelta(minutes=n))
        for table in ("orders", "users")
        for n in range(2345)
    ]
    assert samples.take(ctx, readings) == 4690
    found = samples.series(ctx, manager, "shop.rows")
    assert [s.subject for s in found] == ["orders", "users"]
    for one in found:
        times = [p.at for p in one.points]
        assert 250 <= len(times) <= 500 and times == sorted(times)
        assert one.last.value == 2344 and one.points[0].value < 5
    since = NOW + timedelta(minutes=2000)
    (recent,) = samples.series(ctx, manager, "shop.rows", "users", since=since)
    assert recent.points[0].at == since and len(recent.points) == 345


def test_the_newest_value_of_everything_is_one_query_away(ctx, manager):
    samples.take(ctx, [Reading("control.bytes", "", n, NOW + timedelta(hours=n)) for n in range(3)])
    samples.take(ctx, [Reading("shop.rows", "orders", 9, NOW)])
    newest = samples.newest(ctx, manager)
    assert {key: point.value for key, point in newest.items()} == {
        ("control.bytes", ""): 2,
        ("shop.rows", "orders"): 9,
    }
    assert samples.taken_at(ctx) == NOW + timedelta(hours=2)


def test_samples_are_refused_to_who_may_not_see_them(ctx, nobody):
    for ask in (
        lambda: samples.series(ctx, nobody, "shop.rows"),
        lambda: samples.newest(ctx, nobody),
        lambda: facts.since_last_visit(ctx, nobody),
    ):
        with pytest.raises(Denied):
            ask()


def test_a_sample_of_an_unknown_metric_is_a_bug_and_stores_nothing(ctx):
    with pytest.raises(KeyError):
        samples.take(ctx, [Reading("control.bytes", "", 1), Reading("made.up", "", 1)])
    with read(ctx.control) as connection:
        assert connection.execute(select(samples_table)).all() == []


def test_trouble_lasts_until_a_later_run_succeeds(ctx):
    assert facts.failed_backup(ctx) is None
    add_job(ctx, "bad", "failed", NOW, error="No space.")
    trouble = facts.failed_backup(ctx)
    assert (trouble.message, trouble.hint, trouble.at) == ("No space.", "Try again.", NOW)
    add_job(ctx, "good", "succeeded", NOW + timedelta(hours=1))
    assert facts.failed_backup(ctx) is None
    add_job(ctx, "cut", "interrupted", NOW, kind="restore", error="It stopped.")
    assert facts.interrupted_restore(ctx).message == "It stopped."
    assert facts.measured_restore(ctx) is None
    add_job(ctx, "back", "succeeded", NOW + timedelta(hours=1), kind="restore", seconds=228)
    assert facts.interrupted_restore(ctx) is None
    measured = facts.measured_restore(ctx)
    assert measured is not None and (measured.seconds, measured.how) == (228, "restore")


def test_news_holds_what_a_person_may_hear_since_the_visit_before(ctx, admin, manager):
    desk = system_actor("cron")
    audit.note(ctx, desk, "backup.create", ("snapshot", "s1"), "Backup made, long ago")
    with write(ctx.control) as connection:
        for person in (admin, manager):
            connection.execute(
                insert(accounts).values(
                    id=person.id,
                    username=person.name.lower(),
                    display_name=person.name,
                    role=person.role,
                    enabled=True,
                    valid_after=NOW,
                    created_at=NOW,
                    created_by="x",
                    version=1,
                )
            )
        connection.execute(update(accounts).values(seen_audit_id=1))
    audit.note(ctx, desk, "backup.create", ("snapshot", "s2"), "Backup made")
    audit.note(ctx, admin, "account.disable", ("account", "eve"), "Disabled Eve")
    audit.note(ctx, admin, "sign_in.succeeded", ("account", "x"), "Signed in")
    audit.note(ctx, desk, "backup.create", ("job", "j"), "No space left", outcome="failed")
    heard = facts.since_last_visit(ctx, admin)
    assert [item.what for item in heard.items] == ["No space left", "Disabled Eve", "Backup made"]
    assert heard.items[0].failed and heard.total == 3 and heard.since is not None
    assert [i.what for i in facts.since_last_visit(ctx, manager).items] == [
        "No space left",
        "Backup made",
    ]


def test_cron_takes_a_sample_from_any_folder_and_prints_it_as_json(ctx, shop, tmp_path, manager):
    environment = {
        **os.environ,
        "DESK_HOME": str(ctx.settings.desk_home),
        "SHOP_ROOT": str(ctx.settings.shop_root),
    }
    command = [sys.executable, str(PROJECT_ROOT / "services" / "monitor.py")]
    done = subprocess.run(
        [*command, "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    answer = json.loads(line)
    assert (answer["state"], answer["exit_code"]) == ("succeeded", 0)
    told = {(v["metric"], v["subject"]): v["value"] for v in answer["readings"]}
    assert told["shop.rows", "orders"] == 60
    assert samples.newest(ctx, manager)["shop.rows", "orders"].value == 60
    quiet = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    wrong = subprocess.run(
        [*command, "--nope"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert wrong.returncode == 3
    environment["INSTANCE_ID"] = "a/b"
    failed = subprocess.run(
        [*command, "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert failed.returncode == json.loads(failed.stdout)["exit_code"] == 3
    assert "INSTANCE_ID" in failed.stderr
