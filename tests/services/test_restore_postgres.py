"""Restore, verify, undo on PostgreSQL: built beside the live database, then exchanged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services import restore
from services.core import jobs
from services.core.errors import Broken, Invalid, Refused
from services.core.settings import PROJECT_ROOT
from services.knowledge import transfer
from services.protection.model import Part
from services.protection.rescue import live as live_file
from services.protection.rescue.database import LiveState
from services.protection.sources import postgres
from tests.faults import matrix
from tests.faults.scene import DATABASE, KNOWLEDGE, back_up, do, furnish, leftovers, tree
from tests.faults.scene_postgres import (
    beside,
    damage_on,
    desk_on,
    facts_on,
    name_of,
    shop_of,
    world_on,
)
from tests.postgres import PASSWORD, SHOP_ROLE
from tests.shops import add_order_on

PARTS = DATABASE | {Part.IMAGES}


@pytest.fixture(autouse=True)
def _no_long_watch(monkeypatch):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.05)


@pytest.fixture
def desk(settings, postgres_server):
    """A desk beside a furnished shop on a server."""
    with desk_on(settings, postgres_server, postgres_server.make_shop(attached=True)) as ctx:
        furnish(ctx)
        yield ctx


@pytest.fixture
def furnished(desk, operator):
    """A backup of it."""
    return back_up(desk, operator)


def undo(ctx, operator) -> jobs.Job:
    offer = restore.undo_offer(ctx, operator)
    assert offer is not None
    plan = restore._undo(ctx, operator, offer)
    return restore.run(ctx, operator, plan, plan.word, undo_of=offer.job_id)


def said_in(job: jobs.Job) -> str:
    assert job.result is not None
    return " ".join(job.result["notes"])


def test_everything_comes_back_equal_and_undo_brings_the_damage_back(desk, operator, furnished):
    good = world_on(desk)
    damage_on(desk)
    bad = world_on(desk)
    assert bad != good

    job = do(desk, operator, furnished.id, PARTS)
    assert job.state is jobs.JobState.SUCCEEDED
    assert world_on(desk) == good
    assert json.loads(transfer.canonical_json(desk.shop)) == KNOWLEDGE
    assert beside(desk) == [f"_before_{job.id}"]
    assert f"kept on the server as {name_of(desk)}_before_{job.id}" in said_in(job)

    again = undo(desk, operator)
    assert world_on(desk) == bad
    assert beside(desk) == [f"_before_{again.id}"]
    undo(desk, operator)
    assert world_on(desk) == good
    assert leftovers(desk) == []


def test_undo_takes_the_database_of_before_as_it_is_with_what_no_snapshot_has(
    desk, operator, furnished
):
    job = do(desk, operator, furnished.id)
    kept = f"{name_of(desk)}_before_{job.id}"
    url = desk.settings.shop_database_url.replace(name_of(desk), kept)
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as db:
        add_order_on(db, 777)  # somebody was faster than the exchange
    undo(desk, operator)
    with shop_of(desk) as db:
        assert db.execute(
            "SELECT count(*) FROM orders WHERE order_number LIKE '%%-00000309'"
        ).fetchone() == (1,)


def test_undo_comes_from_the_safety_snapshot_when_the_database_of_before_is_gone(
    desk, operator, furnished, postgres_server
):
    damage_on(desk)
    bad = world_on(desk)
    job = do(desk, operator, furnished.id, PARTS)
    with postgres_server.connect() as server:
        server.execute(f'DROP DATABASE "{name_of(desk)}_before_{job.id}"')
    undo(desk, operator)
    assert world_on(desk) == bad


def test_a_chosen_older_backup_comes_back_not_the_latest(desk, operator, furnished):
    first = facts_on(desk)
    damage_on(desk)
    back_up(desk, operator)
    do(desk, operator, furnished.id)
    assert facts_on(desk) == first
    assert restore.preview(desk, operator, "latest", DATABASE).snapshot_id != furnished.id


def test_the_preview_says_what_would_happen_and_changes_nothing(desk, operator, furnished):
    damage_on(desk)
    before = world_on(desk)
    plan = restore.preview(desk, operator, furnished.id, PARTS)
    said = "\n".join(line.text for line in plan.lines)
    assert "1 order that the backup does not hold would be lost (total 45.49)" in said
    assert "2 order lines that the backup does not hold would be lost" in said
    assert "3 products, 1 customer and " in said and "order lines come back" in said
    assert "30 prices go back to their earlier value" in said
    assert "1 knowledge base entry goes back to its earlier text" in said
    assert "1 picture comes back" in said
    assert "stays on the server for 7 days, or until the next restore" in said
    assert (plan.word, plan.live, plan.writer) == (name_of(desk), LiveState.READY, "")
    assert world_on(desk) == before


def test_what_the_preview_restored_is_used_by_the_restore_and_by_the_next_preview(
    desk, operator, furnished, monkeypatch
):
    from services.protection.rescue import pg_fill

    filled = []
    real = pg_fill.restore_into
    monkeypatch.setattr(
        pg_fill, "restore_into", lambda *a, **k: (filled.append(a[1]), real(*a, **k))[1]
    )
    plan = restore.preview(desk, operator, furnished.id, DATABASE)
    restore.preview(desk, operator, furnished.id, DATABASE)
    restore.run(desk, operator, plan, plan.word)
    assert len(filled) == 1


def test_what_the_preview_held_to_the_manifest_is_not_digested_again_while_nobody_wrote(
    desk, operator, furnished, monkeypatch
):
    from services.protection.rescue import pg_swap, postgres_database

    digested = []
    real = pg_swap.table_facts
    monkeypatch.setattr(pg_swap, "table_facts", lambda url: (digested.append(url), real(url))[1])
    for module in (pg_swap, postgres_database):
        # The server counts a moment later what a session wrote before it ended.
        monkeypatch.setattr(module, "witness", lambda *_database: "nobody wrote")
    plan = restore.preview(desk, operator, furnished.id, DATABASE)
    restore.run(desk, operator, plan, plan.word)
    assert [url.rpartition("/")[2] for url in digested] == [name_of(desk)]  # what is live now


def test_a_preview_that_somebody_altered_is_made_anew(desk, operator, furnished):
    good = facts_on(desk)
    plan = restore.preview(desk, operator, furnished.id, DATABASE)
    (aside,) = beside(desk)
    url = desk.settings.shop_database_url + aside
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as db:
        db.execute("UPDATE users SET is_admin = true")
    restore.run(desk, operator, plan, plan.word)
    assert facts_on(desk) == good


@pytest.mark.parametrize("how", ["altered", "cut short", "missing"])
def test_an_altered_dump_is_found_before_anything_is_touched(desk, operator, furnished, how):
    damage_on(desk)
    before = world_on(desk)
    plan = restore.preview(desk, operator, furnished.id, PARTS)
    for name in beside(desk):
        postgres.drop_side(desk.settings.shop_database_url, name_of(desk) + name)
    store = Path(desk.settings.store_url.removeprefix("file:"))
    (path,) = (p for p in store.rglob("database.*") if furnished.id in str(p))
    data = path.read_bytes()
    if how == "altered":
        path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    elif how == "cut short":
        path.write_bytes(data[:-9])
    else:
        path.unlink()
    with pytest.raises(Broken):
        restore.run(desk, operator, plan, plan.word)
    assert world_on(desk) == before
    assert (beside(desk), leftovers(desk)) == ([], [])


def test_a_restored_database_unlike_its_manifest_never_becomes_the_live_one(
    desk, operator, furnished, monkeypatch
):
    from services.protection.rescue import pg_fill

    real = pg_fill.restore_into

    def lossy(url, name, *arguments, **options):
        notes = real(url, name, *arguments, **options)
        with postgres.connect(url, name) as db:
            db.execute("DELETE FROM cart_items; DELETE FROM order_items WHERE id = 1")
        return notes

    damage_on(desk)
    before = world_on(desk)
    monkeypatch.setattr(pg_fill, "restore_into", lossy)
    with pytest.raises(Broken, match=r"not what its manifest says \(order_items\)"):
        do(desk, operator, furnished.id, PARTS)
    assert world_on(desk) == before
    assert beside(desk) == []


def test_a_verification_that_fails_puts_the_old_database_back(
    desk, operator, furnished, monkeypatch
):
    from services.protection.rescue import execute

    damage_on(desk)
    before = world_on(desk)

    def unlike(*_args):
        raise Broken("The restored database is not what was fetched (orders).")

    monkeypatch.setattr(execute._Restore, "_verify", unlike)
    with pytest.raises(Broken, match="not what was fetched.*Everything is as it was before"):
        do(desk, operator, furnished.id, PARTS)
    assert world_on(desk) == before
    assert restore.undo_offer(desk, operator) is None
    assert (beside(desk), leftovers(desk)) == ([], [])


def test_a_missing_database_comes_back_whole(desk, operator, furnished, postgres_server):
    good = facts_on(desk)
    desk.shop.dispose()
    with postgres_server.connect() as server:
        server.execute(f'DROP DATABASE "{name_of(desk)}" WITH (FORCE)')
    plan = restore.preview(desk, operator, furnished.id, DATABASE)
    assert plan.live is LiveState.MISSING
    assert "The server has no database" in plan.lines[0].text
    job = restore.run(desk, operator, plan, plan.word)
    assert facts_on(desk) == good
    assert "No safety snapshot" in said_in(job)
    assert beside(desk) == []


def test_a_database_without_tables_is_kept_and_replaced(desk, operator, furnished):
    good = facts_on(desk)
    with shop_of(desk) as db:
        db.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    plan = restore.preview(desk, operator, furnished.id, DATABASE)
    assert plan.live is LiveState.DAMAGED
    assert "holds no table" in plan.lines[0].text
    job = restore.run(desk, operator, plan, plan.word)
    assert facts_on(desk) == good
    assert beside(desk) == [f"_before_{job.id}"]


def test_the_knowledge_base_alone_comes_back_as_one_change(desk, operator, furnished):
    damage_on(desk)
    before = facts_on(desk)
    do(desk, operator, furnished.id, frozenset({Part.KNOWLEDGE}))
    after = facts_on(desk)
    assert json.loads(transfer.canonical_json(desk.shop)) == KNOWLEDGE
    assert {name for name in after if after[name] != before[name]} <= {
        "kb_entries",
        "kb_state",
        "kb_changes",
        "kb_change_sets",
    }
    assert beside(desk) == []


def test_pictures_alone_come_back_and_the_database_is_not_touched(desk, operator, furnished):
    good = tree(desk.settings.images_dir)
    damage_on(desk)
    before = facts_on(desk)
    do(desk, operator, furnished.id, frozenset({Part.IMAGES}))
    assert tree(desk.settings.images_dir) == good
    assert facts_on(desk) == before
    assert beside(desk) == []


def test_a_dump_is_refused_where_the_shop_is_a_file_now(desk, operator, furnished, tmp_path):
    from dataclasses import replace

    from services.core.loading import load_settings

    settings = load_settings(
        env_file=tmp_path / "none.env",
        desk_home=desk.settings.desk_home,
        shop_root=desk.settings.shop_root,
    )
    with pytest.raises(Invalid, match="holds a PostgreSQL database, and the shop runs on an SQL"):
        restore.preview(replace(desk, settings=settings), operator, furnished.id, DATABASE)


@matrix.tried(
    matrix.FULL,
    "known to be too small: refused before a restore begins",
    matrix.POSTGRESQL,
)
def test_too_small_a_disk_is_said_with_figures_before_anything_starts(
    desk, operator, furnished, monkeypatch
):
    from collections import namedtuple

    from services.protection.rescue import space

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _path: usage(10**9, 10**9, 5_000_000))
    with pytest.raises(Refused, match=r"needs \d+ MB .* 5 MB are free; nothing was started"):
        restore.preview(desk, operator, furnished.id, DATABASE)
    assert beside(desk) == []


@pytest.mark.parametrize("name", ['Shop "No 1"', "ß" * 31])
def test_any_name_of_a_database_will_do(settings, postgres_server, operator, name):
    from urllib.parse import quote

    from tests.shops import build_shop_on

    with postgres_server.connect("postgres", SHOP_ROLE) as server:
        server.execute('CREATE DATABASE "{}"'.format(name.replace('"', '""')))
    url = postgres_server.url(quote(name))
    build_shop_on(url)
    with desk_on(settings, postgres_server, url) as desk:
        furnish(desk)
        snapshot = back_up(desk, operator)
        good = world_on(desk)
        damage_on(desk)
        bad = world_on(desk)
        do(desk, operator, snapshot.id, PARTS)
        assert world_on(desk) == good
        undo(desk, operator)
        assert world_on(desk) == bad


def test_the_command_line_restores_and_undoes_and_shows_no_password(
    desk, operator, furnished, tmp_path
):
    good = world_on(desk)
    damage_on(desk)
    bad = world_on(desk)

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(PROJECT_ROOT / "services" / "restore.py"), *arguments],
            cwd=tmp_path,
            env={**os.environ, **desk.settings.as_environment()},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    dry = command("latest", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "3 products" in dry.stderr
    done = command("latest", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert world_on(desk) == good
    undone = command("--undo", "--yes")
    assert undone.returncode == 0, undone.stderr
    assert world_on(desk) == bad
    assert PASSWORD not in "".join(p.stdout + p.stderr for p in (dry, done, undone))
