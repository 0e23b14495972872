"""The page Backups shows what old scripts left, and Store how far the second copy is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest, app_test

from services import backup, legacy, replication
from services.core import jobs
from services.core.access import command_line_actor
from services.core.settings import PROJECT_ROOT
from services.people import passwords
from services.protection.index import catalog
from tests.legacy_bucket import OldBucket
from tests.pages.people import TakenOver, context_of, member, said, token_of
from ui import copy_status, session

ROOT = command_line_actor("root")


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch, tmp_path):
    """Pages find a desk with a second store, and old backups in its first."""
    (tmp_path / "second").mkdir()
    for name, value in context_of(ctx).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BACKUP_COPY_URL", f"file:{tmp_path / 'second'}")
    monkeypatch.setattr(passwords, "COST", 4)
    monkeypatch.setattr(app_test, "PagesManager", TakenOver)
    monkeypatch.setattr(session, "token", lambda: st.session_state.get("test_token", ""))
    st.cache_resource.clear()
    st.cache_data.clear()
    yield session.context()
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def old(desk) -> OldBucket:
    made = OldBucket(Path(desk.settings.store_url.removeprefix("file:")), Path("unused"))
    made.database("20261101_020000")
    made.put("database/insightshop_20261102_020000.db", b"")
    return made


def seen(page: str, role: str = "operator", **query: str) -> AppTest:
    app = AppTest.from_file(str(PROJECT_ROOT / "pages" / f"{page}.py"), default_timeout=30)
    for name, value in query.items():
        app.query_params[name] = value
    member(role, role)
    app.session_state["test_token"] = token_of(role)
    return app.run()


def keys(app: AppTest) -> set[str]:
    return {button.key for button in app.button}


def warned(app: AppTest) -> str:
    """What boxes say, heading and body."""
    boxes = [*app.error, *app.warning]
    return "\n".join(f"{box.proto.title} {box.value}" for box in boxes).replace("\\", "")


def choose(desk, app: AppTest, number: int) -> AppTest:
    """Select a row of the old backups, as a click in the table does."""
    rows = legacy.legacy(desk, ROOT).backups
    key = f"legacy_{len(rows)}_{rows[0].key}"
    app.session_state[key] = {"selection": {"rows": [number], "columns": [], "cells": []}}
    return app.run()


def wait(desk, kind: str) -> jobs.Job:
    for _ in range(600):
        job = jobs.recent(desk, (kind,), 1)[0]
        if job.state.ended:
            return job
        time.sleep(0.1)
    raise AssertionError(f"the {kind} did not end")


def test_old_backups_stand_beside_the_others_marked_as_not_verified(desk, old):
    app = seen("backups")
    assert not app.exception
    (shown,) = [each for each in app.expander if each.label.startswith("Legacy")]
    assert shown.label == "Legacy backups: 2 not verified"
    table = shown.dataframe[0].value
    assert list(table["State"]) == ["unusable here", "not verified"]
    assert list(table["What"]) == ["Database", "Database"]
    assert "only read" in said(app)


def test_without_old_backups_nothing_is_said_of_them(desk):
    app = seen("backups")
    assert not app.exception and "Legacy" not in str([each.label for each in app.expander])


def test_a_manager_sees_them_and_gets_no_button(desk, old):
    app = choose(desk, seen("backups", "manager"), 1)
    assert "insightshop_20261101_020000.db" in said(app).replace("\\", "")
    assert not keys(app) & {"legacy_adopt", "legacy_restore"}


def test_adopt_makes_a_verified_backup_of_it(desk, old):
    app = choose(desk, seen("backups"), 1)
    app.button(key="legacy_adopt").click().run()
    job = wait(desk, legacy.KIND)
    assert job.error is None
    assert catalog.find(desk, job.result["snapshot"]).verified_at
    app = choose(desk, app.run(), 1)
    assert {"legacy_opened"} <= keys(app) and "legacy_adopt" not in keys(app)


def test_restore_brings_it_in_and_opens_it_for_the_usual_preview(desk, old):
    app = choose(desk, seen("backups"), 1)
    app.button(key="legacy_restore").click().run()
    job = wait(desk, legacy.KIND)
    app.run()
    assert app.query_params["snapshot"] == job.result["snapshot"]
    assert not app.exception and "preview" in keys(app)


def adopted(desk) -> str:
    """A backup that was made of the old one."""
    (key,) = [each.key for each in legacy.legacy(desk, ROOT).backups if not each.unusable]
    return legacy.run_adopt(desk, ROOT, key, drill=False).result["snapshot"]


def test_what_was_adopted_can_be_removed_and_the_old_files_stay(desk, old):
    made = adopted(desk)
    kept = backup.run(desk, ROOT, "manual").result["snapshot"]
    app = seen("backups", "admin", snapshot=made)
    app.button(key="legacy_remove").click().run()
    assert "can't be undone" in said(app) and "stay where they are" in said(app)
    assert app.button(key="legacy_remove_do").disabled
    app.text_input(key="legacy_remove_typed").input(kept).run()
    assert app.button(key="legacy_remove_do").disabled, "another id does not confirm"
    app.text_input(key="legacy_remove_typed").input(made).run()
    app.button(key="legacy_remove_do").click().run()
    assert not app.exception and "snapshot" not in app.query_params
    assert [row.id for row in catalog.everything(desk)] == [kept]
    # The list beside it, which is kept for minutes, offers the old backup again.
    app = choose(desk, app.run(), 1)
    assert {"legacy_adopt"} <= keys(app) and "legacy_opened" not in keys(app)


def test_the_last_whole_backup_is_not_removed_and_the_dialog_says_why(desk, old):
    made = adopted(desk)
    app = seen("backups", "admin", snapshot=made)
    app.button(key="legacy_remove").click().run()
    app.text_input(key="legacy_remove_typed").input(made).run()
    app.button(key="legacy_remove_do").click().run()
    assert "is the last backup that is known to be whole" in warned(app)
    assert "Make another one first" in warned(app)
    assert [row.id for row in catalog.everything(desk)] == [made]


def test_only_what_was_adopted_has_the_button_and_only_for_whoever_may(desk, old):
    made = adopted(desk)
    ours = backup.run(desk, ROOT, "manual").result["snapshot"]
    for role, opened in (("admin", ours), ("operator", made)):
        shown = keys(seen("backups", role, snapshot=opened))
        assert "close_panel" in shown and "legacy_remove" not in shown, role


def test_one_that_can_not_be_used_says_why_and_offers_nothing(desk, old):
    app = choose(desk, seen("backups"), 0)
    assert "is an empty file" in said(app) and "legacy_adopt" not in keys(app)


def test_one_that_turns_out_damaged_says_why(desk, old):
    old.put("database/insightshop_20261103_020000.db", b"SQLite format 3\0" + b"x" * 9000)
    app = choose(desk, seen("backups"), 0)
    app.button(key="legacy_adopt").click().run()
    wait(desk, legacy.KIND)
    assert "The last legacy import failed" in warned(app.run())
    assert "was cut short" in warned(app)


def test_the_store_page_copies_what_is_missing(desk):
    made = backup.run(desk, ROOT, "manual").result["snapshot"]
    app = seen("store")
    assert not app.exception and "0 of 1 backup copied" in said(app)
    app.button(key="copy_missing").click().run()
    wait(desk, replication.KIND)
    app.run()
    assert "1 of 1 backup copied" in said(app)
    row = catalog.find(desk, made)
    assert copy_status.line(row, desk.now()).startswith("Complete there")


def test_the_store_page_says_when_the_second_store_can_not_be_used(desk, monkeypatch):
    same = desk.settings.model_copy(update={"backup_copy_url": desk.settings.store_url})
    monkeypatch.setenv("BACKUP_COPY_URL", same.store_url)
    st.cache_resource.clear()
    app = seen("store")
    assert "the same folder as the first store" in warned(app)
    assert "copy_missing" not in keys(app)


def test_a_manager_sees_the_copy_and_gets_no_button(desk):
    backup.run(desk, ROOT, "manual")
    app = seen("store", "manager")
    assert "0 of 1 backup copied" in said(app) and "copy_missing" not in keys(app)
