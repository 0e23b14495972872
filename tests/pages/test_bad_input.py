"""What is wrong with the world is said on the page where somebody meets it, and costs nothing."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing

import pytest
import streamlit as st
from streamlit.testing.v1 import app_test

from services import backup
from services.core import jobs
from services.core.jobs import JobState
from services.knowledge import transfer
from services.people import passwords
from services.protection.index import catalog
from services.protection.rescue import live as live_file
from tests.knowledge_base import load
from tests.pages import test_front as front
from tests.pages.people import TakenOver, context_of, said
from tests.pages.test_front import alerts, keys, make_backup, products, seen
from tests.pages.test_knowledge_page import at, type_into_grid
from tests.stores import faulty
from ui import session


@pytest.fixture
def variables() -> dict[str, str]:
    """What a test sets beside the desk's own settings."""
    return {}


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch, variables):
    """Pages find the test's desk, which has a shop and a knowledge base."""
    for name, value in (context_of(ctx) | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(passwords, "COST", 4)
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(app_test, "PagesManager", TakenOver)
    monkeypatch.setattr(session, "token", lambda: st.session_state.get("test_token", ""))
    front._tokens.clear()
    load(ctx)
    st.cache_resource.clear()
    yield session.context()
    st.cache_resource.clear()


def _corrupt(shop):
    data = bytearray(shop.read_bytes())
    data[4096:] = b"\xee" * (len(data) - 4096)
    shop.write_bytes(bytes(data))


def _of_another_program(shop):
    shop.unlink()
    with closing(sqlite3.connect(shop)) as other, other:
        other.execute("CREATE TABLE music (id INTEGER)")


RUINS = {
    "gone": (lambda shop: shop.unlink(), "There is no shop database"),
    "no database": (lambda shop: shop.write_bytes(b"shopping list\n" * 999), "damaged"),
    "damaged": (_corrupt, "damaged"),
    "empty": (lambda shop: shop.write_bytes(b""), "no table"),
    "another program's": (_of_another_program, "not InsightShop's"),
}


@pytest.mark.parametrize("name", sorted(RUINS))
def test_whatever_became_of_the_shops_database_every_page_opens_and_says_so(desk, shop, name):
    made = make_backup(desk)
    ruin, words = RUINS[name]
    desk.shop.dispose()
    ruin(shop)
    left = hashlib.sha256(shop.read_bytes()).digest() if shop.exists() else None
    st.cache_resource.clear()  # as after a restart of the desk
    first = seen("overview", "operator")
    assert not first.exception and "At risk" in said(first) and words in said(first) + alerts(first)
    entries = seen("knowledge", "editor")
    assert not entries.exception and alerts(entries)
    for page in ("backups", "monitoring"):
        assert not seen(page, "operator").exception
    # The way back is there: the preview of the backup works.
    app = seen("backups", "operator", snapshot=made)
    app.button(key="preview").click().run()
    assert not app.exception and "restore" in keys(app), alerts(app)
    assert (hashlib.sha256(shop.read_bytes()).digest() if shop.exists() else None) == left


def test_a_locked_shop_is_said_and_the_pages_open(desk, shop):
    st.cache_resource.clear()
    with closing(sqlite3.connect(shop, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        app = seen("overview", "operator")
        assert not app.exception
        assert "locked by another program" in said(app) + alerts(app)
        entries = seen("knowledge", "editor")
        assert not entries.exception and "locked by another program" in alerts(entries)
        other.execute("ROLLBACK")
    assert not alerts(seen("knowledge", "editor"))


@pytest.mark.parametrize("harm", ["missing", "altered"])
def test_a_backup_with_a_missing_or_altered_object_is_refused_at_its_preview(desk, shop, harm):
    made = make_backup(desk)
    (part,) = (desk.settings.instance_dir / "backups" / "data").rglob("database.sqlite3.zst")
    if harm == "missing":
        part.unlink()
    else:
        data = bytearray(part.read_bytes())
        data[len(data) // 2] ^= 255
        part.chmod(0o600)
        part.write_bytes(bytes(data))
    app = seen("backups", "operator", snapshot=made)
    app.button(key="preview").click().run()
    assert not app.exception and "database.sqlite3.zst" in alerts(app)
    assert "restore" not in keys(app), "nothing to press"
    assert products(shop) == 40 and not jobs.recent(desk, ("restore",))


def test_a_restore_while_a_backup_runs_is_refused_on_the_page(desk, shop, operator):
    made = make_backup(desk)
    app = seen("backups", "operator", snapshot=made)
    app.button(key="preview").click().run()
    with closing(sqlite3.connect(shop)) as database, database:
        database.execute("DELETE FROM products WHERE id = 1")
    app.text_input(key="typed").input("insightshop")
    running = jobs.create(desk, operator, "backup", lock=backup.LOCK)
    app.button(key="restore").click().run()
    assert not app.exception
    shown = said(app) + alerts(app)
    assert "backup is running" in shown.lower(), shown
    assert not jobs.recent(desk, ("restore",)) and products(shop) == 39
    assert jobs.get(desk, running.id).state is JobState.QUEUED


def test_a_second_press_of_back_up_now_starts_no_second_one(desk, operator):
    app = seen("backups", "operator")
    jobs.create(desk, operator, "backup", lock=backup.LOCK)
    app.button(key="back_up").click().run()
    assert not app.exception and len(jobs.recent(desk, ("backup",))) == 1


@pytest.mark.parametrize(
    "variables",
    [
        {
            "BACKUP_STORE_URL": "s3://no-such-bucket-at-all",
            "AWS_ENDPOINT_URL_S3": "absent",
            "AWS_ACCESS_KEY_ID": "TESTKEY123",
            "AWS_SECRET_ACCESS_KEY": "TESTSECRET123",
            "AWS_REGION": "us-east-1",
        },
        {
            "BACKUP_STORE_URL": "s3://no-such-bucket-at-all",
            "AWS_ENDPOINT_URL_S3": "forbidden",
            "AWS_ACCESS_KEY_ID": "TESTKEY123",
            "AWS_SECRET_ACCESS_KEY": "PLANTEDWRONG",
            "AWS_REGION": "us-east-1",
        },
        {"BACKUP_STORE_URL": "file:/nowhere/at/all"},
    ],
    ids=["absent", "forbidden", "no folder"],
)
def test_a_store_that_cant_be_used_is_said_on_every_page_that_needs_it(
    desk, monkeypatch, rclone_server, variables
):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", rclone_server.endpoint)
    st.cache_resource.clear()
    place = variables["BACKUP_STORE_URL"].partition(":")[2].strip("/").partition("/")[0]
    app = seen("backups", "operator")
    assert not app.exception and place in alerts(app), alerts(app)
    first = seen("overview", "operator")
    assert not first.exception and place in said(first).replace("\\", "")
    assert "PLANTEDWRONG" not in said(first) + alerts(first) + alerts(app)


def test_a_bucket_that_never_answers_costs_a_page_seconds_once(desk, monkeypatch):
    with faulty.silent() as server:
        for name, value in {
            "BACKUP_STORE_URL": "s3://a-silent-bucket",
            "AWS_ENDPOINT_URL_S3": server.endpoint,
            "AWS_ACCESS_KEY_ID": "TESTKEY123",
            "AWS_SECRET_ACCESS_KEY": "TESTSECRET123",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        st.cache_resource.clear()
        # The page's own limit is 30 s; a store that is given all its time takes 95.
        app = seen("backups", "operator")
        assert not app.exception and "a-silent-bucket" in alerts(app), alerts(app)
        asked = catalog._state(desk)["tried"]
        first = seen("overview", "operator")
        assert not first.exception and "a-silent-bucket" in said(first).replace("\\", "")
        assert catalog._state(desk)["tried"] == asked, "it is not asked again with every page"


def test_a_save_into_a_locked_shop_is_said_and_the_edit_stays(desk, shop):
    before = transfer.canonical_json(desk.shop)
    app = at(seen("knowledge", "editor"), "color_matching")
    app = type_into_grid(app, {1: {"cell:text": "Rust likes teal."}})
    assert "1 unsaved change" in said(app)
    with closing(sqlite3.connect(shop, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        app.button(key="kb_save").click().run()
        assert not app.exception and "locked by another program" in alerts(app)
        other.execute("ROLLBACK")
    assert transfer.canonical_json(desk.shop) == before
    assert "1 unsaved change" in said(app)
    app.button(key="kb_save").click().run()
    assert not app.exception and b"Rust likes teal." in transfer.canonical_json(desk.shop)
