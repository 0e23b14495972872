"""Overview, Backups and Monitoring: what each role sees, and what every button does."""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
from contextlib import closing
from datetime import timedelta

import pytest
import streamlit as st
from sqlalchemy import delete, insert
from streamlit.testing.v1 import AppTest, app_test

from db.control import jobs as jobs_table
from db.control import samples as samples_table
from db.engine import write
from services import backup, restore
from services.core import jobs
from services.core.access import ROLES, command_line_actor
from services.core.errors import Refused
from services.core.jobs import JobState
from services.core.settings import PROJECT_ROOT
from services.people import passwords, sessions
from services.protection.model import Part
from tests.conftest import person
from tests.pages.people import (
    TakenOver,
    browser_with,
    context_of,
    member,
    said,
    token_of,
)
from ui import session, snapshot_panel

ROOT = command_line_actor("root")


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch):
    """Pages find the test's desk, which has a shop."""
    for name, value in context_of(ctx).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(passwords, "COST", 4)
    monkeypatch.setattr(app_test, "PagesManager", TakenOver)
    # Each page of a test is a browser of its own, signed in as somebody of its own.
    monkeypatch.setattr(session, "token", lambda: st.session_state.get("test_token", ""))
    st.cache_resource.clear()
    yield session.context()
    st.cache_resource.clear()


def seen(page: str, role: str = "admin", **query: str) -> AppTest:
    """A page as somebody with this role gets it."""
    app = AppTest.from_file(str(PROJECT_ROOT / "pages" / f"{page}.py"), default_timeout=30)
    for name, value in query.items():
        app.query_params[name] = value
    return as_(app, role).run()


def as_(app: AppTest, role: str) -> AppTest:
    app.session_state["test_token"] = _tokens[role] if role in _tokens else _signed_in(role)
    return app


_tokens: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _no_old_tokens():
    _tokens.clear()


def _signed_in(role: str) -> str:
    member(role, role)
    _tokens[role] = token_of(role)
    return _tokens[role]


def make_backup(desk) -> str:
    job = backup.run(desk, ROOT, "manual")
    assert job.result is not None
    return str(job.result["snapshot"])


def keys(app: AppTest) -> set[str]:
    return {button.key for button in app.button}


def alerts(app: AppTest) -> str:
    """What warnings and errors say, without the backslashes that make it safe."""
    boxes = (*app.error, *app.warning, *app.info)
    return "\n".join(f"{box.proto.title} {box.value}" for box in boxes).replace("\\", "")


def wait_for_the_job(desk, kind: str) -> jobs.Job:
    for _ in range(300):
        (job,) = jobs.recent(desk, (kind,), 1)
        if job.state.ended:
            return job
        time.sleep(0.1)
    raise AssertionError(f"the {kind} did not end: {job}")


def test_every_role_sees_exactly_the_pages_it_may(desk):
    make_backup(desk)
    for role, page in itertools.product(ROLES, ("overview", "backups", "monitoring")):
        app = seen(page, role)
        assert not app.exception
        if page == "backups" and role == "editor":
            assert "does not include this page" in alerts(app) and not app.dataframe
        else:
            assert app.title[0].value == page.title() and not app.error


def test_nobody_sees_anything_without_signing_in(desk):
    for page in ("overview", "backups", "monitoring"):
        with browser_with(""):
            app = AppTest.from_file(str(PROJECT_ROOT / "pages" / f"{page}.py")).run()
        assert not app.exception and not app.metric and not app.title
        assert "Sign in" in alerts(app)


def test_a_desk_without_a_backup_says_so_and_offers_one(desk):
    app = seen("overview")
    assert "Not protected yet" in said(app) and "nothing would come back" in said(app)
    assert "There is no backup yet" in said(app)
    assert "back_up" in keys(app)
    empty = seen("backups")
    assert "There is no backup yet" in said(empty)
    for shown in (app, empty):
        offers = [button for button in shown.button if button.label == "Back up now"]
        assert len(offers) == 1, "one thing to do is offered once"


def test_after_a_backup_the_front_page_says_safe_and_how_old_and_offers_a_drill(desk):
    make_backup(desk)
    app = seen("overview")
    assert "Safe" in said(app) and "read back in full just now" in said(app)
    values = {metric.label: metric.value for metric in app.metric}
    assert values["Newest backup"] == "just now" and values["Coverage"] == "1 of 1 day"
    assert values["Recovery time"] == "not measured"
    chart = app.get("plotly_chart")[0].proto
    assert "1 not verified yet" in str(chart)
    assert values["Last proof"] == "none yet" and "Not proven yet" in said(app)


@pytest.mark.parametrize(("role", "offered"), [("operator", True), ("manager", False)])
def test_only_who_may_back_up_gets_the_button(desk, role, offered):
    for page in ("overview", "backups"):
        assert ("back_up" in keys(seen(page, role))) is offered


def test_back_up_now_runs_in_a_process_of_its_own_and_a_second_press_starts_no_other(desk):
    first, second = seen("overview", "operator"), seen("backups", "operator")
    first.button(key="back_up").click().run()
    second.button(key="back_up").click().run()
    assert not first.exception and not second.exception
    job = wait_for_the_job(desk, "backup")
    assert job.state is JobState.SUCCEEDED and job.pid
    assert len(jobs.recent(desk, ("backup",), 10)) == 1 or not second.button(key="back_up").disabled
    assert len(backup.snapshots(desk, ROOT).rows) >= 1


def test_a_running_job_is_found_again_after_a_refresh_and_blocks_the_button(desk):
    job = jobs.create(desk, person("operator"), "backup", lock=backup.LOCK)
    app = seen("backups", "operator")
    assert "Backing up" in said(app) and "goes on when you leave this page" in said(app)
    assert app.button(key="back_up").disabled
    assert app.get("progress")
    again = seen("overview", "manager")
    assert "asked for by Operator" in said(again)
    assert jobs.get(desk, job.id).state is JobState.QUEUED


def test_a_failed_backup_says_what_happened_on_both_pages(desk):
    make_backup(desk)
    _failed_backup(desk, "The disk is full. Nothing was stored.")
    app = seen("overview")
    shown = said(app).replace("\\", "")
    assert "At risk" in shown and "The last backup failed. The disk is full." in shown
    assert "The last backup failed just now. The disk is full." in alerts(seen("backups"))


def test_a_failed_backup_is_no_news_once_a_newer_one_is_there(desk):
    _failed_backup(desk, "The disk is full. Nothing was stored.")
    backup.run(desk, ROOT, "safety")
    with write(desk.control) as connection:  # as one that another machine made
        connection.execute(delete(jobs_table).where(jobs_table.c.id != "failed"))
    assert "The last backup failed" not in alerts(seen("backups"))


def _failed_backup(desk, error):
    now = desk.now()
    with write(desk.control) as connection:
        connection.execute(
            insert(jobs_table).values(
                id="failed", kind="backup", state="failed", actor_id="x", actor_name="Cron",
                actor_kind="system", host=desk.host, params={}, step="", created_at=now,
                started_at=now, heartbeat_at=now, ended_at=now, error=error,
                hint="Free some space.", log=[],
            )
        )  # fmt: skip


def test_text_from_data_is_shown_and_never_rendered(desk):
    _failed_backup(desk, "![x](http://evil.example/p.png) :red[boo]")
    for page in ("overview", "backups"):
        app = seen(page)
        shown = said(app) + "".join(box.proto.title + box.value for box in app.error)
        assert "evil" in shown and "![x](" not in shown and ":red[boo]" not in shown


def test_a_lost_shop_database_is_the_first_thing_said_and_the_way_back_is_offered(desk, shop):
    make_backup(desk)
    shop.unlink()
    app = seen("overview", "operator")
    assert not app.exception
    assert "At risk" in said(app) and "There is no shop database" in said(app)
    assert "act_0" in keys(app)


def test_a_store_that_is_away_is_told_and_the_known_backups_stay_listed(desk):
    snapshot_id = make_backup(desk)
    backup.refresh(desk, ROOT)
    store = desk.settings.instance_dir / "backups"
    store.rename(store.with_name("away"))
    store.write_text("no folder")
    desk_minute_later(desk)
    app = seen("backups", snapshot=snapshot_id)
    assert not app.exception
    assert "The list below is what the desk knew before" in alerts(app)
    assert len(app.dataframe[0].value) == 1
    front = seen("overview")
    assert "At risk" in said(front) and "Safe" not in said(front)


def desk_minute_later(desk):
    """Let the last listing of the store be old, so that the next page lists it again."""
    with closing(sqlite3.connect(desk.settings.control_url.removeprefix("sqlite:///"))) as database:
        (value,) = database.execute(
            "SELECT value FROM desk_state WHERE key LIKE 'catalog:%'"
        ).fetchone()
        old = (desk.now() - timedelta(hours=1)).isoformat()
        database.execute(
            "UPDATE desk_state SET value=? WHERE key LIKE 'catalog:%'",
            [json.dumps({**json.loads(value), "at": old})],
        )
        database.commit()


def test_the_list_filters_and_the_address_opens_a_backup_beside_it(desk):
    snapshot_id = make_backup(desk)
    app = seen("backups", "manager", snapshot=snapshot_id)
    assert not app.exception and not app.error
    table = app.dataframe[0].value
    assert list(table["Why"]) == ["by hand"] and list(table["State"][0]) == ["read back"]
    assert snapshot_id in str(app.table[0].value) and "Preview" not in str(app.button)
    codes = "\n".join(code.value for code in app.code)
    assert "zstd -d" in codes and "database.sqlite3.zst" in codes
    nothing = seen("backups", "manager", q="no such thing")
    assert "No backup matches" in said(nothing)


def test_an_unknown_backup_in_the_address_is_told_and_the_list_stays(desk):
    make_backup(desk)
    app = seen("backups", snapshot="20200101T000000Z-aaaa")
    assert not app.exception and "There is no snapshot" in alerts(app)
    assert len(app.dataframe[0].value) == 1


def test_a_part_is_read_only_when_asked_for_and_only_for_who_is_still_signed_in(desk, monkeypatch):
    snapshot_id = make_backup(desk)
    token = _signed_in("operator")
    monkeypatch.setattr(session, "token", lambda: token)
    read = snapshot_panel._reader(snapshot_id, "knowledge.json")
    assert json.loads(read()) == {}
    sessions.end(desk, token)
    with pytest.raises(Refused, match="signed out"):
        read()


def test_a_large_part_comes_with_the_command_that_fetches_it(desk, monkeypatch):
    snapshot_id = make_backup(desk)
    monkeypatch.setattr(snapshot_panel, "DOWNLOAD_LIMIT", 1)
    app = seen("backups", "operator", snapshot=snapshot_id)
    codes = [code.value for code in app.code]
    assert any(code.startswith("cp '/") and snapshot_id in code for code in codes)
    assert not app.get("download_button")


def test_restoring_shows_what_changes_wants_the_word_puts_back_and_undoes(desk, shop):
    snapshot_id = make_backup(desk)
    with closing(sqlite3.connect(shop)) as database:
        database.execute("DELETE FROM products WHERE id <= 4")
        database.commit()
    app = seen("backups", "operator", snapshot=snapshot_id)
    app.button(key="preview").click().run()
    assert not app.exception and "4 products come back" in said(app)
    app.text_input(key="typed").input("no")
    app.button(key="restore").click().run()
    assert "not the word" in alerts(app) and not jobs.recent(desk, ("restore",), 1)
    app.text_input(key="typed").input("insightshop")
    app.button(key="restore").click().run()
    assert not app.exception
    assert wait_for_the_job(desk, "restore").state is JobState.SUCCEEDED
    assert products(shop) == 40
    after = seen("backups", "operator")
    assert "Restored" in said(after) and "everything live equalled the backup" in said(after)
    assert "undo" not in keys(seen("backups", "manager"))
    after.button(key="undo").click().run()
    assert not after.exception
    assert wait_for_the_job(desk, "restore").state is JobState.SUCCEEDED
    assert products(shop) == 36
    assert "Undone" in said(seen("backups", "operator"))
    recovery = {m.label: m.value for m in seen("overview").metric}["Recovery time"]
    assert recovery.endswith("s") and recovery != "not measured"


def products(shop) -> int:
    with closing(sqlite3.connect(shop)) as database:
        return int(database.execute("SELECT count(*) FROM products").fetchone()[0])


def test_a_preview_of_other_parts_is_not_taken_for_these(desk):
    snapshot_id = make_backup(desk)
    app = seen("backups", "operator", snapshot=snapshot_id)
    app.button(key="preview").click().run()
    assert "restore" in keys(app)
    app.button_group(key=f"parts_{snapshot_id}").set_value([Part.KNOWLEDGE]).run()
    assert not app.exception and "restore" not in keys(app)


def test_verifying_again_finds_damage_and_the_front_page_says_it(desk):
    snapshot_id = make_backup(desk)
    folder = desk.settings.instance_dir / "backups" / "data"
    (part,) = folder.rglob("database.sqlite3.zst")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 255
    part.chmod(0o600)
    part.write_bytes(bytes(data))
    app = seen("backups", "operator", snapshot=snapshot_id)
    app.button(key="verify").click().run()
    assert not app.exception and "database.sqlite3.zst" in alerts(app)
    assert "At risk" in said(seen("overview")) and "can't be trusted" in said(seen("overview"))


def test_opening_monitoring_measures_and_draws_every_chart_with_words(desk):
    make_backup(desk)
    app = seen("monitoring", "manager")
    assert not app.exception and not app.error
    drawn = [chart.proto.alt for chart in app.get("plotly_chart")]
    for what in ("Backups per day: 1 of 1", "Backup size:", "Data growth:", "Rows:", "Disk space:"):
        assert any(alt.startswith(what) for alt in drawn), (what, drawn)
    tables = seen("monitoring", "manager", view="Tables")
    assert not tables.get("plotly_chart") and len(tables.dataframe) == 5
    assert "60" in str(tables.dataframe[3].value)


def test_monitoring_without_a_shop_says_what_is_missing(desk, shop):
    shop.unlink()
    app = seen("monitoring", "manager")
    assert not app.exception and not app.error
    assert "No backup has run" in said(app) and "was not measured" in said(app)


def test_a_page_takes_a_sample_only_when_the_newest_is_old(desk):
    def taken() -> int:
        with closing(
            sqlite3.connect(desk.settings.control_url.removeprefix("sqlite:///"))
        ) as found:
            return int(
                found.execute(
                    f"SELECT count(*) FROM {samples_table.name} WHERE metric='control.bytes'"
                ).fetchone()[0]
            )

    seen("overview")
    seen("monitoring")
    before = taken()
    assert before == 1
    with closing(sqlite3.connect(desk.settings.control_url.removeprefix("sqlite:///"))) as database:
        database.execute("UPDATE samples SET at='2026-01-01 00:00:00.000000'")
        database.commit()
    seen("overview")
    assert taken() == before + 1


def test_the_desk_opens_on_the_overview(desk):
    app = as_(AppTest.from_file(str(PROJECT_ROOT / "app.py"), default_timeout=30), "manager").run()
    assert not app.exception and app.title[0].value == "Overview"


def test_undo_is_offered_only_for_a_week(desk, shop):
    snapshot_id = make_backup(desk)
    plan = restore.preview(desk, ROOT, snapshot_id, frozenset({Part.DATABASE}))
    restore.run(desk, ROOT, plan, plan.word)
    assert "undo" in keys(seen("backups", "operator"))
    with closing(sqlite3.connect(desk.settings.control_url.removeprefix("sqlite:///"))) as database:
        database.execute("UPDATE jobs SET ended_at='2026-01-01 00:00:00.000000'")
        database.commit()
    assert "undo" not in keys(seen("backups", "operator"))
