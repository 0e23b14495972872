"""A shop on PostgreSQL is backed up in one consistent state, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from db.migrate import CONTROL_HEAD, KNOWLEDGE_HEAD
from services import backup
from services.core import jobs
from services.core.errors import Broken, Misconfigured, Transient
from services.core.settings import PROJECT_ROOT
from services.knowledge import transfer
from services.protection import snapshots
from services.protection.model import Part
from services.protection.sources import pg_capture, postgres
from services.protection.stores import open_store
from tests.postgres import PASSWORD
from tests.services.postgres_desk import desk_on, name_of
from tests.shops import add_order_on

KNOWLEDGE = {"color_matching": {"basics": "\nOne → colour.\n", "by_color": {"navy": "white"}}}


@pytest.fixture
def ctx(postgres_server, tmp_path):
    context = desk_on(postgres_server, tmp_path)
    yield context
    context.close()


def made(ctx, operator):
    job = backup.run(ctx, operator)
    return backup.manifest(ctx, operator, job.result["snapshot"])


def everything_in(store_folder: Path) -> list[str]:
    return sorted(
        path.relative_to(store_folder).as_posix()
        for path in store_folder.rglob("*")
        if path.is_file()
    )


def store_folder(ctx) -> Path:
    return Path(ctx.settings.store_url.removeprefix("file:"))


def dump_of(ctx, manifest, part, target: Path) -> Path:
    return snapshots.fetch(ctx, open_store(ctx.settings), manifest, part, target)


@pytest.mark.parametrize("server", ["postgres_server", "postgres18_server"])
def test_a_backup_holds_both_databases_and_opens_with_standard_tools(
    server, request, tmp_path, operator, admin
):
    server = request.getfixturevalue(server)
    ctx = desk_on(server, tmp_path)
    transfer.restore_document(ctx, admin, KNOWLEDGE, "as it was")
    manifest = made(ctx, operator)
    assert manifest.engines == {"database": "postgresql", "control": "postgresql"}
    assert manifest.extra["table_digest"] == postgres.DIGEST
    assert manifest.revisions == {"control": CONTROL_HEAD, "knowledge": KNOWLEDGE_HEAD}
    assert manifest.tables["orders"].rows == 60 and "kb_restores" not in manifest.tables
    assert manifest.foreign_key_violations == 1
    assert manifest.tools["pg_dump"].startswith(f"{server.version}.")
    names = {component.name for component in manifest.components}
    assert names == {"database.pgdump.zst", "control.pgdump.zst", "knowledge.json"}
    component = snapshots.component_of(manifest, Part.DATABASE)
    shutil.copyfile(store_folder(ctx) / component.key, tmp_path / component.name)
    with server.connect(role="shop") as db:
        db.execute("CREATE DATABASE by_hand")
    try:
        # The very command that the manifest gives, with the new database's name put in.
        command = component.open_with.replace("A_NEW_DATABASE", "by_hand")
        environment = {
            "PATH": f"{server.bin_dir}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGUSER": "shop",
            "PGPASSWORD": PASSWORD,
        }
        subprocess.run(command, shell=True, check=True, cwd=tmp_path, env=environment)
        by_hand = server.url("by_hand")
        assert postgres.table_facts(by_hand) == manifest.tables
        assert postgres.foreign_key_violations(by_hand) == 1
    finally:
        with server.connect() as db:
            db.execute("DROP DATABASE by_hand")
        ctx.close()


def test_a_backup_goes_to_a_real_s3_server_and_reads_back(
    postgres_server, rclone_server, tmp_path, operator
):
    ctx = desk_on(postgres_server, tmp_path, **rclone_server.settings(rclone_server.make_bucket()))
    manifest = made(ctx, operator)
    dump = dump_of(ctx, manifest, Part.DATABASE, tmp_path / "dump")
    postgres.create_side(ctx.settings.shop_database_url, "from_s3")
    try:
        postgres.restore_into(
            ctx.settings.shop_database_url,
            "from_s3",
            dump,
            folders=ctx.settings.postgres_tools,
        )
        assert postgres.table_facts(postgres_server.url("from_s3")) == manifest.tables
    finally:
        postgres.drop_side(ctx.settings.shop_database_url, "from_s3")
        ctx.close()


def test_dump_digests_and_knowledge_base_are_of_one_instant_under_a_busy_shop(
    ctx, postgres_server, operator, admin, tmp_path
):
    # Every transaction keeps two sums equal; any mixture of two instants would show.
    transfer.restore_document(ctx, admin, KNOWLEDGE, "as it was")
    stop, began = threading.Event(), threading.Event()

    def sell() -> None:
        number = 1000
        with psycopg.connect(postgres_server.url(name_of(ctx))) as db:
            while not stop.is_set():
                number += 1
                add_order_on(db, number)
                db.execute("UPDATE kb_entries SET body = %s WHERE key = 'basics'", (f'"{number}"',))
                db.execute(
                    "INSERT INTO cart_items (user_id, product_id, quantity) VALUES (1, 1, 1)"
                )
                db.commit()
                began.set()

    thread = threading.Thread(target=sell)
    thread.start()
    try:
        assert began.wait(30)
        manifest = made(ctx, operator)
    finally:
        stop.set()
        thread.join()
    url = ctx.settings.shop_database_url
    postgres.create_side(url, "one_instant")
    try:
        dump = dump_of(ctx, manifest, Part.DATABASE, tmp_path / "dump")
        postgres.restore_into(url, "one_instant", dump, folders=ctx.settings.postgres_tools)
        side = postgres_server.url("one_instant")
        assert postgres.table_facts(side) == manifest.tables
        with psycopg.connect(side) as db:
            sold = db.execute("SELECT max(order_number) FROM orders").fetchone()[0]
            told = db.execute("SELECT body FROM kb_entries WHERE key = 'basics'").fetchone()[0]
        number = json.loads(told)
        assert sold == f"ORD-20260301-{int(number):08X}"
        assert manifest.tables["cart_items"].rows == int(number) - 1000
        document = dump_of(ctx, manifest, Part.KNOWLEDGE, tmp_path / "kb.json")
        assert json.loads(document.read_bytes())["color_matching"]["basics"] == number
    finally:
        postgres.drop_side(url, "one_instant")


@pytest.mark.parametrize("what", ["the server ends it", "it is killed", "it fails"])
def test_a_dump_that_does_not_end_properly_leaves_no_object_and_no_manifest(
    what, ctx, postgres_server, operator, monkeypatch
):
    read = pg_capture.Dump.read
    done = []

    def cut(self, size=-1):
        if not done and self._child.args[0].endswith("pg_dump"):
            done.append(True)
            if what == "it is killed":
                self._child.kill()
            elif what == "it fails":
                # What an unreadable file does to it: the last bytes come, then the code.
                self._child.wait = lambda: setattr(self._child, "returncode", 1)
            else:
                with postgres_server.connect() as db:
                    db.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = %s AND query LIKE 'COPY%%' OR "
                        "application_name = 'insightshop-desk' AND pid <> pg_backend_pid()",
                        (name_of(ctx),),
                    )
        return read(self, size)

    monkeypatch.setattr(pg_capture.Dump, "read", cut)
    with pytest.raises((Transient, Broken), match="nothing was backed up|nothing was changed"):
        backup.run(ctx, operator)
    assert done and everything_in(store_folder(ctx)) == []
    assert not backup.snapshots(ctx, operator).total
    monkeypatch.undo()
    assert made(ctx, operator).tables["orders"].rows == 60


def test_a_table_that_stays_locked_is_named_with_who_holds_it(
    ctx, postgres_server, operator, monkeypatch
):
    monkeypatch.setattr(pg_capture, "LOCK_PATIENCE_SECONDS", 0.5)
    url = postgres_server.url(name_of(ctx))
    with psycopg.connect(url, application_name="a migration") as holder:
        holder.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Transient) as refused:
            backup.run(ctx, operator)
        assert f"orders by process {holder.info.backend_pid}" in refused.value.message
        assert "program a migration" in refused.value.message and "since 20" in str(refused.value)
        assert "nothing was backed up" in refused.value.message
    assert everything_in(store_folder(ctx)) == []


def test_a_dump_that_waits_for_a_table_stops_and_leaves_nothing(
    ctx, postgres_server, operator, monkeypatch
):
    # Somebody locks a table that our own lock does not cover: one that was made meanwhile.
    monkeypatch.setattr(pg_capture, "LOCK_PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(pg_capture, "_lock", lambda *_args: None)
    with psycopg.connect(postgres_server.url(name_of(ctx))) as holder:
        capture = pg_capture._locked

        def then_lock(*args):
            tables = capture(*args)
            holder.execute("LOCK TABLE cart_items IN ACCESS EXCLUSIVE MODE")
            return tables

        monkeypatch.setattr(pg_capture, "_locked", then_lock)
        with pytest.raises(Transient, match="locked for 1 s; nothing was backed up"):
            backup.run(ctx, operator)
    assert everything_in(store_folder(ctx)) == []


def test_tools_of_another_version_are_refused_and_what_is_there_is_named(
    postgres_server, tmp_path, operator, monkeypatch
):
    ctx = desk_on(postgres_server, tmp_path, postgres_tools=None)
    monkeypatch.setenv("PATH", str(_fake_tools(tmp_path, "15.13 (Debian 15.13-1)")))
    monkeypatch.setattr("services.protection.sources.pg_tools._USUAL", ())
    with pytest.raises(Misconfigured) as refused:
        backup.run(ctx, operator)
    assert "runs PostgreSQL 16" in refused.value.message
    assert f"15.13 in {tmp_path}" in refused.value.message
    assert "postgresql-client-16" in refused.value.hint
    assert "POSTGRES_TOOLS" in refused.value.hint
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Misconfigured, match="none at all"):
        backup.run(ctx, operator)
    assert everything_in(store_folder(ctx)) == []


def _fake_tools(folder: Path, version: str) -> Path:
    tools = folder / "tools"
    tools.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (tools / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (tools / name).chmod(0o755)
    return tools


def test_the_password_is_on_no_command_line_and_in_no_row_log_or_error(
    ctx, postgres_server, operator, monkeypatch, caplog, tmp_path
):
    seen: list[str] = []
    read = pg_capture.Dump.read

    def look(self, size=-1):
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(line.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
        return read(self, size)

    monkeypatch.setattr(pg_capture.Dump, "read", look)
    manifest = made(ctx, operator)
    assert any("pg_dump" in line for line in seen)
    assert not [line for line in seen if PASSWORD in line]
    with pytest.raises(Transient) as failed, monkeypatch.context() as broken:
        broken.setattr(
            pg_capture.Dump, "read", lambda self, size=-1: (self._child.kill(), look(self))[1]
        )
        backup.run(ctx, operator)
    told = [str(failed.value), caplog.text, str(manifest)]
    told += [str(job) for job in jobs.recent(ctx, ("backup",))]
    with postgres_server.connect(ctx.settings.control_url.rpartition("/")[2]) as db:
        told += map(str, db.execute("SELECT * FROM audit_log").fetchall())
    assert not [text for text in told if PASSWORD in text]


def test_cron_backs_up_a_shop_on_a_server(ctx, tmp_path):
    done = subprocess.run(
        [sys.executable, str(PROJECT_ROOT / "services" / "backup.py"), "--json"],
        cwd=tmp_path,
        env={**os.environ, **ctx.settings.as_environment()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["state"] == "succeeded" and "database.pgdump.zst" in answer["components"]
    assert PASSWORD not in done.stdout + done.stderr


def test_a_database_of_another_program_is_refused_by_name(postgres_server, tmp_path, operator):
    ctx = desk_on(postgres_server, tmp_path, shop=postgres_server.make_database())
    with pytest.raises(Misconfigured, match="not InsightShop's: it has no table"):
        backup.run(ctx, operator)
    assert everything_in(store_folder(ctx)) == []
