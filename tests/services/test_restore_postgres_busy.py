"""A restore on a server that others use: their sessions, their rights, their own comments."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import psycopg
import pytest

from services import restore
from services.core import jobs
from services.core.context import open_context
from services.core.errors import Conflict, Misconfigured, Transient
from services.core.loading import load_settings
from services.protection.model import Part
from services.protection.rescue import live as live_file
from services.protection.rescue import pg_beside
from services.shop.attach import attach
from tests.faults import matrix
from tests.faults.scene import DATABASE, back_up, do, furnish, leftovers
from tests.faults.scene_postgres import (
    beside,
    damage_on,
    desk_on,
    facts_on,
    name_of,
    settings_for,
    shop_of,
    world_on,
)
from tests.postgres import PASSWORD
from tests.shops import add_order_on

PARTS = DATABASE | {Part.IMAGES}


@pytest.fixture
def desk(settings, postgres_server, monkeypatch):
    """A desk beside a furnished shop on a server."""
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.05)
    with desk_on(settings, postgres_server, postgres_server.make_shop(attached=True)) as ctx:
        furnish(ctx)
        yield ctx


@pytest.fixture
def furnished(desk, operator):
    """A backup of it."""
    return back_up(desk, operator)


def test_a_session_idle_in_a_transaction_is_ended_and_holds_nothing_up(desk, operator):
    snapshot = back_up(desk, operator)
    good = world_on(desk)
    damage_on(desk)
    plan = restore.preview(desk, operator, snapshot.id, PARTS)
    with shop_of(desk) as idle:
        idle.execute("BEGIN")
        idle.execute("SELECT id FROM orders ORDER BY id LIMIT 1 FOR UPDATE")
        restore.run(desk, operator, plan, plan.word)
        with pytest.raises(psycopg.OperationalError):
            idle.execute("SELECT 1")
    assert world_on(desk) == good


def test_the_preview_tells_whose_connections_will_be_cut_and_who_writes(desk, operator):
    snapshot = back_up(desk, operator)
    with shop_of(desk, application_name="shop"), shop_of(desk, application_name="mailer"):
        plan = restore.preview(desk, operator, snapshot.id, DATABASE)
    said = " ".join(line.text for line in plan.lines)
    assert "2 connections of other programs will be cut for a moment" in said


@contextmanager
def orders_placed_without_pause(desk):
    """A shop that writes all through, and comes back when its connection is cut."""
    stop, placed = threading.Event(), []

    def write() -> None:
        number = 2000
        while not stop.is_set():
            try:
                with shop_of(desk) as db:
                    while not stop.is_set():
                        number += 1
                        with db.transaction():
                            add_order_on(db, number)
                        placed.append(number)
                        time.sleep(0.005)
            except psycopg.Error:
                time.sleep(0.01)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while not placed:
            time.sleep(0.01)
        yield placed
    finally:
        stop.set()
        thread.join()


@matrix.tried(
    matrix.BUSY,
    "writes without pause, during a restore: it ends, every order is on one side",
    matrix.POSTGRESQL,
)
def test_while_a_shop_writes_without_pause_the_restore_ends_and_undo_has_every_order(
    desk, operator, monkeypatch
):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 1.5)  # the server counts once a second
    snapshot = back_up(desk, operator)
    damage_on(desk)
    with orders_placed_without_pause(desk) as placed:
        plan = restore.preview(desk, operator, snapshot.id, DATABASE)
        assert "Stop the shop first" in plan.writer
        job = restore.run(desk, operator, plan, plan.word)
        after = len(placed)
        while len(placed) < after + 5:
            time.sleep(0.01)
    assert job.state is jobs.JobState.SUCCEEDED
    said = " ".join(job.result["notes"])
    assert "wrote to the database up to the last moment" in said
    with shop_of(desk) as db:
        restored = {row[0] for row in db.execute("SELECT order_number FROM orders")}
        assert db.execute("SELECT count(*) FROM products").fetchone() == (40,)
    url = desk.settings.shop_database_url.replace("+psycopg", "")
    kept = url.replace(name_of(desk), f"{name_of(desk)}_before_{job.id}")
    with psycopg.connect(kept) as db:
        before = {row[0] for row in db.execute("SELECT order_number FROM orders")}
    # Every order that a shop was told is placed is on one side or the other.
    assert {f"ORD-20260301-{number:08X}" for number in placed} <= restored | before


def test_sessions_that_may_not_be_ended_are_named_within_the_deadline_and_nothing_changes(
    desk, operator, postgres_server, monkeypatch
):
    monkeypatch.setattr(live_file, "PATIENCE_SECONDS", 0.5)
    snapshot = back_up(desk, operator)
    damage_on(desk)
    before = world_on(desk)
    plan = restore.preview(desk, operator, snapshot.id, PARTS)
    with (
        postgres_server.connect(name_of(desk), "postgres") as superuser,
        pytest.raises(Transient, match="sessions on it could not be ended.*role postgres"),
    ):
        superuser.execute("SELECT 1")
        restore.run(desk, operator, plan, plan.word)
    assert world_on(desk) == before
    assert (beside(desk), leftovers(desk)) == ([], [])


@pytest.fixture
def stranger(desk, postgres_server, operator):
    """A role that may read and write everything in the shop and own nothing, and its desk."""
    role = f"desk_{name_of(desk)}"
    with postgres_server.connect() as server:
        server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        server.execute(f"GRANT pg_read_all_data, pg_write_all_data TO {role}")
    url = postgres_server.url(name_of(desk), role)
    ctx = open_context(settings_for(desk.settings, postgres_server, url))
    yield ctx, role
    ctx.close()
    with postgres_server.connect() as server:
        server.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_missing_rights_are_refused_in_the_preview_with_the_commands_that_grant_them(
    desk, operator, stranger, postgres_server
):
    ctx, role = stranger
    snapshot = back_up(desk, operator)
    with shop_of(desk), pytest.raises(Misconfigured) as told:
        restore.preview(ctx, operator, snapshot.id, DATABASE)
    said = str(told.value)
    assert "it may not create databases and it is not its owner (shop)" in said
    assert "it may not end the sessions of shop" in said
    assert f'ALTER ROLE "{role}" CREATEDB;' in said
    assert f'GRANT "shop" TO "{role}";' in said and "pg_signal_backend" in said
    assert PASSWORD not in said
    assert beside(desk) == []
    # Exactly these commands are enough.
    _message, _words, commands = said.partition("say: ")
    with postgres_server.connect() as server:
        server.execute(commands)
    good = facts_on(desk)
    damage_on(desk)
    do(ctx, operator, snapshot.id)
    assert facts_on(desk) == good


def test_the_shops_database_keeps_its_comment_its_rights_and_its_settings(
    desk, operator, postgres_server
):
    name = name_of(desk)
    with postgres_server.connect() as server:
        server.execute(f"""COMMENT ON DATABASE "{name}" IS 'Ask Otto ''first'''""")
        server.execute(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
        server.execute(f"ALTER DATABASE \"{name}\" SET work_mem = '7MB'")
    snapshot = back_up(desk, operator)

    def properties() -> tuple[object, ...]:
        with postgres_server.connect() as server:
            return server.execute(
                "SELECT shobj_description(oid, 'pg_database'), pg_get_userbyid(datdba), "
                "has_database_privilege('public', oid, 'CONNECT'), datcollate, "
                "(SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid) "
                "FROM pg_database d WHERE datname = %s",
                (name,),
            ).fetchone()

    before = properties()
    assert before[0] == "Ask Otto 'first'" and before[2] is False
    do(desk, operator, snapshot.id)
    assert properties() == before
    offer = restore.undo_offer(desk, operator)
    plan = restore._undo(desk, operator, offer)
    restore.run(desk, operator, plan, plan.word, undo_of=offer.job_id)
    assert properties() == before


def test_the_database_of_before_goes_with_the_next_restore_or_after_seven_days(
    settings, postgres_server, operator, clock, monkeypatch
):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.05)
    url = postgres_server.make_shop()
    ctx = open_context(settings_for(settings, postgres_server, url), clock)
    try:
        attach(ctx)
        furnish(ctx)
        snapshot = back_up(ctx, operator)
        clock.forward(minutes=1)
        do(ctx, operator, snapshot.id)
        clock.forward(minutes=1)
        job = do(ctx, operator, snapshot.id)
        assert beside(ctx) == [f"_before_{job.id}"]
        clock.forward(days=pg_beside.UNDO_DAYS - 1)
        restore.recover(ctx)
        assert beside(ctx) == [f"_before_{job.id}"]
        clock.forward(days=2)
        restore.recover(ctx)
        assert beside(ctx) == []
        # Undo is still there: from the safety snapshot.
        assert restore.undo_offer(ctx, operator).safety_id == job.result["safety"]
    finally:
        ctx.close()


def test_what_is_not_ours_is_never_dropped_whatever_its_name(desk, operator, postgres_server):
    snapshot = back_up(desk, operator)
    name = name_of(desk)
    strangers = [f"{name}_before_0123456789abcdef", f"{name}_preview_old", f"{name}_restore_x"]
    with postgres_server.connect() as server:
        for stranger_name in strangers:
            server.execute(f'CREATE DATABASE "{stranger_name}"')
    do(desk, operator, snapshot.id)
    restore.recover(desk)
    there = {f"{name}{ending}" for ending in beside(desk)}
    assert set(strangers) < there


def test_previews_that_nobody_used_are_removed_after_a_while(
    settings, postgres_server, operator, clock
):
    ctx = open_context(settings_for(settings, postgres_server, postgres_server.make_shop()), clock)
    try:
        attach(ctx)
        snapshot = back_up(ctx, operator)
        restore.preview(ctx, operator, snapshot.id, DATABASE)
        assert len(beside(ctx)) == 1
        clock.forward(hours=1)
        restore.recover(ctx)
        assert len(beside(ctx)) == 1
        clock.forward(hours=2)
        restore.recover(ctx)
        assert beside(ctx) == []
    finally:
        ctx.close()


def test_a_server_that_is_down_is_said_and_recovery_waits_for_it(settings, operator, tmp_path):
    ctx = open_context(
        load_settings(
            env_file=tmp_path / "none.env",
            desk_home=settings.desk_home,
            shop_root=settings.shop_root,
            database_url=f"postgresql://shop:{PASSWORD}@127.0.0.1:1/shop",
        )
    )
    try:
        assert restore.recover(ctx) == []
    finally:
        ctx.close()


def test_more_orders_than_were_seen_stop_the_restore_before_anything_is_touched(
    desk, operator, furnished
):
    plan = restore.preview(desk, operator, furnished.id, DATABASE)
    with shop_of(desk) as db:
        add_order_on(db, 701)
    before = world_on(desk)
    with pytest.raises(Conflict, match=r"orders \(1 more\).*Nothing was changed"):
        restore.run(desk, operator, plan, plan.word)
    assert world_on(desk) == before
    assert (beside(desk), leftovers(desk)) == ([], [])


def test_orders_placed_during_the_safety_snapshot_stop_the_restore_too(
    desk, operator, furnished, monkeypatch
):
    from services.protection.rescue import execute

    plan = restore.preview(desk, operator, furnished.id, PARTS)
    real = execute.snapshots.create

    def create(*arguments, **options):
        made = real(*arguments, **options)
        with shop_of(desk) as db:
            add_order_on(db, 702)
        return made

    before = len(facts_on(desk))
    monkeypatch.setattr(execute.snapshots, "create", create)
    with pytest.raises(Conflict, match=r"orders \(1 more\)"):
        restore.run(desk, operator, plan, plan.word)
    with shop_of(desk) as db:
        assert db.execute("SELECT count(*) FROM orders").fetchone() == (61,)
    assert len(facts_on(desk)) == before
    assert (beside(desk), leftovers(desk)) == ([], [])
