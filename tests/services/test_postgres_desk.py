"""The whole desk on PostgreSQL: knowledge base, audit, jobs, people, watching, all as on SQLite."""

from __future__ import annotations

import json
import threading

import psycopg
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest, app_test

from db.control import metadata as control_metadata
from db.engine import read, write
from db.migrate import KNOWLEDGE_HEAD, NewerDatabase, knowledge_revision
from services import backup, monitor
from services.core import audit, jobs
from services.core.access import ROLES, Actor, ActorKind
from services.core.context import open_context
from services.core.errors import Busy, Invalid, Misconfigured, Refused, Transient, describe
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.knowledge import entries, transfer
from services.people import accounts, sign_in
from services.people.model import Account
from services.protection.model import PROTECTION_LOCK
from services.shop.attach import ShopState, attach, status
from services.watch import samples
from tests.pages.people import TakenOver, browser_with, said
from tests.postgres import PASSWORD
from tests.services import people
from tests.services.postgres_desk import desk_on, name_of
from ui import session

KNOWLEDGE = {
    "color_matching": {"basics": "\nOne → colour.\n    ", "by_color": {"navy": "white \x00 zero"}},
    "numbers": {"large": 9223372036854775808, "one": 1.0, "small": 1e-7, "none": None, "on": True},
    "fabric_guide": {"silk": {"description": "smooth", "care": "cold"}},
}


@pytest.fixture
def ctx(postgres_server, tmp_path):
    context = desk_on(postgres_server, tmp_path)
    yield context
    context.close()


def test_a_knowledge_base_goes_in_and_out_to_the_last_digit(ctx, admin):
    transfer.restore_document(ctx, admin, KNOWLEDGE, "as it was")
    document = transfer.canonical_json(ctx.shop)
    assert json.loads(document) == KNOWLEDGE
    assert b"9223372036854775808" in document and b"1.0" in document
    transfer.restore_document(ctx, admin, {"numbers": {"one": 1}}, "another")
    assert json.loads(transfer.canonical_json(ctx.shop)) == {"numbers": {"one": 1}}
    found = audit.events(ctx, admin, audit.AuditFilter(actions=("knowledge.restore",)))
    assert found.total == 2


def test_attaching_is_rehearsed_leaves_nothing_behind_when_it_fails_and_is_done_once(
    postgres_server, tmp_path
):
    ctx = desk_on(postgres_server, tmp_path, shop=postgres_server.make_shop())
    name = name_of(ctx)
    with postgres_server.connect(name, "shop") as db:
        db.execute("CREATE TABLE kb_changes (id INT)")  # in the way of the migration's third step
    with pytest.raises(Transient, match="could not be used; nothing was changed"):
        attach(ctx)
    with postgres_server.connect(name, "shop") as db:
        left = db.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'kb\\_%'").fetchone()
        assert left == (1,)
        db.execute("DROP TABLE kb_changes")
    assert attach(ctx) is True and attach(ctx) is False
    assert knowledge_revision(ctx.shop) == KNOWLEDGE_HEAD
    with postgres_server.connect(name, "shop") as db:
        db.execute("UPDATE kb_alembic_version SET version_num = 'k9999'")
    with pytest.raises(Misconfigured, match="belongs to a newer version") as newer:
        attach(ctx)
    assert isinstance(newer.value.__cause__, NewerDatabase) and PASSWORD not in str(newer.value)
    ctx.close()


def test_two_desks_that_start_at_once_both_find_their_tables(postgres_server, tmp_path):
    settings = load_settings(
        env_file=tmp_path / "none.env",
        desk_home=tmp_path / "desk",
        database_url=postgres_server.make_shop(),
        control_database_url=postgres_server.make_database(),
    )
    failed: list[BaseException] = []

    def start() -> None:
        try:
            context = open_context(settings)
            attach(context)
            context.close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    ctx = open_context(settings)
    assert status(ctx).state is ShopState.READY
    with read(ctx.control) as connection:
        assert set(control_metadata.tables) <= set(
            connection.exec_driver_sql("SELECT tablename FROM pg_tables").scalars()
        )
    ctx.close()


def test_two_desks_write_one_after_the_other_and_neither_loses_a_count(ctx):
    twin = open_context(ctx.settings)

    def count(context) -> None:
        for _ in range(40):
            with write(context.control) as connection:
                found = connection.exec_driver_sql(
                    "SELECT (value->>'n')::int FROM desk_state WHERE key = 'n'"
                ).scalar()
                connection.exec_driver_sql(
                    "INSERT INTO desk_state VALUES ('n', json_build_object('n', %(n)s::int)) "
                    "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    {"n": (found or 0) + 1},
                )

    threads = [threading.Thread(target=count, args=(each,)) for each in (ctx, twin, ctx, twin)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with read(ctx.control) as connection:
        found = connection.exec_driver_sql("SELECT value->>'n' FROM desk_state").scalar()
    assert found == "160"
    twin.close()


def test_one_reading_sees_one_state_and_can_not_write(ctx):
    with read(ctx.control) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM desk_state").scalar() == 0
        with write(ctx.control) as other:
            other.exec_driver_sql("INSERT INTO desk_state VALUES ('x', '1')")
        assert connection.exec_driver_sql("SELECT count(*) FROM desk_state").scalar() == 0
        with pytest.raises(Exception, match="read-only") as refused:
            connection.exec_driver_sql("DELETE FROM desk_state")
    message, hint, error_id = describe(refused.value)
    assert "can only be read" in message and hint and not error_id


def test_only_one_job_holds_a_lock_whichever_desk_starts_it(ctx, operator):
    twin = open_context(ctx.settings)
    jobs.create(ctx, operator, "backup", lock=PROTECTION_LOCK)
    with pytest.raises(Busy, match="A backup is running"):
        jobs.create(twin, operator, "backup", lock=PROTECTION_LOCK)
    with pytest.raises(Busy):
        backup.run(twin, operator)
    twin.close()


def test_a_key_that_postgresql_can_not_hold_is_refused_in_words(ctx, admin):
    transfer.restore_document(ctx, admin, {"style_advice": {"fit": "a", "layering": "b"}}, "")
    with pytest.raises(Invalid, match="characters that were entered"):
        transfer.restore_document(ctx, admin, {"style_advice": {"f\x00t": "a"}}, "")
    assert json.loads(transfer.canonical_json(ctx.shop))["style_advice"]["fit"] == "a"


def test_people_sign_in_and_the_last_administrator_stays_whoever_asks_at_once(ctx):
    first, second = people.member(ctx, "anna"), people.member(ctx, "berta")
    assert people.token_of(ctx, "anna")
    for typed in ("anna\x00", "x" * 5000, "Größe →", "' OR 1=1 --"):
        with pytest.raises(Refused, match="password"):
            sign_in.sign_in(ctx, typed, "wrong")
    twin = open_context(ctx.settings)
    anna, berta = (actor_of(each) for each in (first, second))
    results = people.both(
        lambda: accounts.set_role(ctx, anna, second.id, "manager", second.version),
        lambda: accounts.set_role(twin, berta, first.id, "manager", first.version),
    )
    assert sum(isinstance(each, Exception) for each in results) == 1
    admins = [each for each in accounts.list_accounts(ctx, anna) if each.role == "admin"]
    assert len(admins) == 1
    twin.close()


def actor_of(account: Account) -> Actor:
    return Actor(account.id, account.username, ActorKind.ACCOUNT, ROLES["admin"], "admin")


def test_sizes_and_rows_are_measured_on_the_server(ctx, operator):
    readings = {(each.metric, each.subject): each.value for each in samples.collect(ctx)}
    assert readings["shop.rows", "orders"] == 60
    assert readings["shop.database_bytes", ""] > 1_000_000
    assert readings["control.bytes", ""] > 1_000_000
    facts, posture = monitor.posture(ctx, operator)
    assert facts.shop_trouble is None and posture


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"port": 1}, Transient, "can't be reached"),
        ({"password": "wrong"}, Misconfigured, "refused the desk's sign-in"),
        ({"name": "nowhere"}, Misconfigured, "has no database of that name"),
    ],
)
def test_a_server_that_does_not_let_the_desk_in_is_said_in_words(
    change, error, words, postgres_server, tmp_path, admin
):
    url = postgres_server.url(change.get("name", "postgres"))
    url = url.replace(f":{postgres_server.port}/", f":{change.get('port', postgres_server.port)}/")
    url = url.replace(PASSWORD, change.get("password", PASSWORD))
    ctx = desk_on(postgres_server, tmp_path, shop=url)
    for act in (attach, lambda context: entries.sections(context, admin)):
        with pytest.raises(error, match=words) as refused:
            act(ctx)
        assert "DATABASE_URL" in refused.value.hint
        assert PASSWORD not in str(refused.value) and "wrong" not in str(refused.value)
    found = status(ctx)
    wanted = ShopState.MISSING if "name" in change else ShopState.UNREADABLE
    assert found.state is wanted and words in found.message and "***" in found.where
    only_control = {"control_database_url": ctx.settings.database_url, "database_url": None}
    with pytest.raises(error, match=words) as refused:
        open_context(ctx.settings.model_copy(update=only_control))
    assert "CONTROL_DATABASE_URL" in refused.value.hint
    assert PASSWORD not in str(refused.value)
    ctx.close()


def test_a_database_that_is_locked_or_cut_off_is_said_and_nothing_is_changed(
    ctx, postgres_server, admin
):
    transfer.restore_document(ctx, admin, {"style_advice": {"fit": "a"}}, "")
    with psycopg.connect(postgres_server.url(name_of(ctx))) as holder:
        holder.execute("LOCK TABLE kb_entries IN ACCESS EXCLUSIVE MODE")
        with write(ctx.shop) as connection:
            connection.exec_driver_sql("SELECT 1")  # not everything is locked
        with pytest.raises(Transient, match="is locked by another program; nothing was changed"):
            entries.sections(ctx, admin)
    with postgres_server.connect() as db:
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (name_of(ctx),),
        )
    assert entries.sections(ctx, admin)  # a new connection takes the place of the old one


def test_the_shop_and_the_desk_do_not_share_one_database(postgres_server, tmp_path):
    url = postgres_server.make_shop()
    with pytest.raises(Misconfigured, match="the same database"):
        desk_on(postgres_server, tmp_path, shop=url, control_database_url=url)


@pytest.mark.parametrize("room", ["overview", "backups", "monitoring", "knowledge", "audit"])
def test_every_page_opens_on_postgresql(room, ctx, admin, operator, monkeypatch):
    transfer.restore_document(ctx, admin, {"style_advice": {"fit": "a"}}, "")
    backup.run(ctx, operator)
    for name, value in ctx.settings.as_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(app_test, "PagesManager", TakenOver)
    st.cache_resource.clear()
    try:
        people.member(ctx, "anna")
        token = people.token_of(ctx, "anna")
        monkeypatch.setattr(session, "token", lambda: token)
        with browser_with(token):
            page = PROJECT_ROOT / "pages" / f"{room}.py"
            app = AppTest.from_file(str(page), default_timeout=60).run()
        assert not app.exception and not app.error
        assert PASSWORD not in said(app)
    finally:
        st.cache_resource.clear()
