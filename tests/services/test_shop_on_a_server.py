"""A shop whose server does not answer: the desk opens, and says what it can't do, in words."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest, app_test

from services import backup, monitor, restore
from services.core.context import open_context
from services.core.errors import DeskError, Transient
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.desk import greeting, prepare
from services.knowledge import entries
from services.protection.model import Part
from services.shop.attach import ShopState, status
from tests.pages.people import TakenOver, browser_with, context_of, member, said, token_of
from tests.shops import build_shop
from ui import session

AWAY = "127.0.0.1:1"  # nobody listens on port 1


@pytest.fixture(params=["postgres", "postgresql"])
def settings(request, tmp_path):
    return load_settings(
        env_file=tmp_path / "none.env",
        desk_home=tmp_path / "desk",
        shop_root=tmp_path / "shop",
        database_url=f"{request.param}://shop:hunter2@{AWAY}/shop?sslpassword=hunter3",
    )


def test_every_door_says_that_the_server_does_not_answer(ctx, operator, admin):
    found = status(ctx)
    assert found.state is ShopState.UNREADABLE
    assert "The shop's database can't be reached" in found.message
    assert found.where == f"postgresql+psycopg://shop:***@{AWAY}/shop"
    with pytest.raises(Transient, match="can't be reached") as refused:
        backup.run(ctx, operator)
    assert "hunter" not in str(refused.value)
    with pytest.raises(Transient, match="can't be reached"):
        entries.sections(ctx, admin)
    facts, posture = monitor.posture(ctx, operator)
    assert facts.shop_trouble is not None and "can't be reached" in facts.shop_trouble.message
    assert posture
    assert not backup.snapshots(ctx, operator).total


def test_a_snapshot_of_a_file_is_not_put_into_a_server(ctx, operator, tmp_path):
    earlier = open_context(
        load_settings(
            env_file=tmp_path / "none.env",
            desk_home=ctx.settings.desk_home,
            shop_root=ctx.settings.shop_root,
        )
    )
    build_shop(earlier.settings.shop_sqlite_path)
    try:
        made = backup.run(earlier, operator).result["snapshot"]
    finally:
        earlier.close()
    with pytest.raises(DeskError, match="an SQLite file, and the shop runs on a PostgreSQL"):
        restore.preview(ctx, operator, made, frozenset({Part.DATABASE}))


def test_the_desk_starts_and_its_console_says_so_without_the_password(ctx, capsys):
    prepare(ctx)
    shown = capsys.readouterr().out + greeting(ctx, "127.0.0.1", 8501)
    assert "The shop is not attached. The shop's database can't be reached" in shown
    assert "hunter" not in shown


def test_cron_gets_exit_code_2_and_the_sentence(ctx, tmp_path):
    done = subprocess.run(
        [sys.executable, str(PROJECT_ROOT / "services" / "backup.py")],
        cwd=tmp_path,
        env={**os.environ, **ctx.settings.as_environment()},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "can't be reached" in done.stderr and "DATABASE_URL" in done.stderr
    assert "hunter" not in done.stderr


def test_the_front_page_opens_and_says_it(ctx, monkeypatch):
    for name, value in context_of(ctx).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(app_test, "PagesManager", TakenOver)
    st.cache_resource.clear()
    try:
        member("otto", "operator")
        monkeypatch.setattr(session, "token", lambda: token)
        token = token_of("otto")
        with browser_with(token):
            page = PROJECT_ROOT / "pages" / "overview.py"
            app = AppTest.from_file(str(page), default_timeout=30).run()
        boxes = " ".join(f"{box.proto.title} {box.value}" for box in (*app.error, *app.warning))
        assert not app.exception
        assert "can't be reached" in f"{said(app)} {boxes}".replace("\\", "")
        assert "hunter" not in said(app)
    finally:
        st.cache_resource.clear()
