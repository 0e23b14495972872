"""The Store page and the way back from the archive, as people use them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest, app_test

from services import backup, store
from services.core.context import open_context
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.people import passwords
from services.protection.archive import index as archive_index
from services.protection.stores import open_store
from services.protection.stores.base import Tier
from services.shop.attach import attach
from tests.conftest import person
from tests.glacier import freeze, slow_archive
from tests.pages.people import TakenOver, context_of, member, said, token_of
from tests.shops import build_shop
from ui import session


@pytest.fixture
def server(moto_server) -> Iterator[object]:
    slow_archive(moto_server, 30)
    yield moto_server
    slow_archive(moto_server, None)


@pytest.fixture
def bucket(server) -> str:
    return server.make_bucket()


@pytest.fixture
def make_desk(tmp_path, monkeypatch):
    """`make_desk(**settings)`: a desk with a shop that the pages find."""
    opened = []

    def make(**overrides):
        settings = load_settings(
            env_file=tmp_path / "none.env",
            desk_home=tmp_path / "home",
            shop_root=tmp_path / "its-shop",
            **overrides,
        )
        context = open_context(settings)
        opened.append(context)
        build_shop(settings.shop_sqlite_path)
        attach(context)
        for name, value in context_of(context).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(passwords, "COST", 4)
        monkeypatch.setattr(app_test, "PagesManager", TakenOver)
        monkeypatch.setattr(session, "token", lambda: st.session_state.get("test_token", ""))
        st.cache_resource.clear()
        return context

    yield make
    st.cache_resource.clear()
    for context in opened:
        context.close()


@pytest.fixture
def cloud(make_desk, server, bucket):
    """A desk whose store is a bucket, beside rules of others."""
    server.client().put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "their *logs*",
                    "Filter": {"Prefix": "logs/"},
                    "Status": "Enabled",
                    "Expiration": {"Days": 14},
                }
            ]
        },
    )
    return make_desk(archive_after_days=30, **server.settings(bucket, "desk"))


@pytest.fixture
def archived(cloud, server, bucket) -> str:
    snapshot = backup.run(cloud, person("operator"), "manual").result["snapshot"]
    freeze(server, bucket, "desk/data/")
    archive_index.look(cloud, open_store(cloud.settings))
    return snapshot


def seen(page: str, role: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(PROJECT_ROOT / "pages" / f"{page}.py"), default_timeout=30)
    for name, value in query.items():
        app.query_params[name] = value
    member(role, role)
    app.session_state["test_token"] = token_of(role)
    return app.run()


def keys_of(app: AppTest) -> set[str]:
    return {button.key for button in app.button}


def test_the_bucket_is_prepared_from_the_page_and_others_rules_are_named(cloud, server, bucket):
    app = seen("store", "admin")
    assert not app.exception
    told = said(app)
    for words in ("not blocked", "will be", "Prepare bucket", "Second copy"):
        assert words in told or words in str(app.main)
    assert "their \\*logs\\*" in told, "a name from outside is no Markdown"
    app.button(key="apply_bucket").click().run()
    assert not app.exception
    assert "apply_bucket" not in keys_of(app), "nothing is left to do"
    assert ":material/check: changed" in said(app)
    assert server.client().get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    rules = server.client().get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert "their *logs*" in {rule["ID"] for rule in rules}


@pytest.mark.parametrize("role", ["operator", "manager"])
def test_whoever_may_only_look_sees_the_plan_and_can_not_press(cloud, role):
    app = seen("store", role)
    assert not app.exception
    assert app.button(key="apply_bucket").disabled


def test_an_editor_has_no_business_with_the_store(cloud):
    app = seen("store", "editor")
    assert "This visit was recorded" in said(app)
    assert "s3://" not in said(app)


def test_a_folder_is_said_to_be_one_and_how_to_use_a_bucket(make_desk):
    make_desk(archive_after_days=30, object_lock_days=3)
    app = seen("store", "admin")
    assert not app.exception
    told = said(app)
    assert "not from the loss of this machine" in told
    assert "BACKUP_STORE_URL=s3://BUCKET/PREFIX" in told
    assert "ARCHIVE_AFTER_DAYS and OBJECT_LOCK_DAYS can do nothing" in told
    assert "apply_bucket" not in keys_of(app)


def test_a_bucket_that_is_gone_leaves_the_rest_of_the_page(make_desk, server):
    make_desk(**server.settings("never-made-bucket"))
    app = seen("store", "admin")
    assert not app.exception
    told = said(app)
    assert "Create the bucket" in told
    assert "not encrypted" in told and "none" in told


def test_no_secret_is_on_the_page(make_desk, server, bucket):
    secret = "signing-key-of-at-least-32-characters"
    make_desk(backup_signing_key=secret, **server.settings(bucket))
    app = seen("store", "admin")
    everything = said(app) + str(app.main)
    assert secret not in everything and "TESTSECRET123" not in everything
    assert "signed" in said(app)


def test_an_archived_backup_offers_ways_back_instead_of_a_preview(cloud, archived):
    app = seen("backups", "operator", snapshot=archived)
    assert not app.exception
    assert "lies in the archive" in said(app)
    assert "preview" not in keys_of(app)
    (choice,) = [radio for radio in app.radio if radio.key == f"retrieve_tier_{archived}"]
    assert len(choice.options) == 3 and choice.value is Tier.STANDARD
    app.button(key="retrieve").click().run()
    assert not app.exception
    assert "Coming back from the archive" in said(app)
    assert {"retrieve", "preview"} & keys_of(app) == set()
    (waiting,) = archive_index.known(cloud)
    assert (waiting.tier, waiting.days, waiting.asked_by) == (Tier.STANDARD, 3, "Operator")


def test_what_is_on_its_way_can_be_made_faster_with_its_price_before_one_presses(cloud, archived):
    slow = store.request_retrieval(cloud, person("operator"), archived, Tier.BULK, 4)
    app = seen("backups", "operator", snapshot=archived)
    assert not app.exception
    faster = app.button(key=f"faster_standard_{slow.id}")
    assert "3 to 5 hours" in faster.label and "US\\$" in faster.label
    faster.click().run()
    assert not app.exception
    newest = archive_index.known(cloud)[0]
    assert (newest.tier, newest.days, newest.asked_by) == (Tier.STANDARD, 4, "Operator")
    assert not [key for key in keys_of(app) if str(key).startswith("faster_bulk")]


def test_a_backup_that_came_back_can_be_previewed_until_its_time_and_is_offered_anew_after(
    cloud, archived, server, bucket
):
    slow_archive(server, None)
    store.request_retrieval(cloud, person("operator"), archived, Tier.EXPEDITED, 2)
    app = seen("backups", "operator", snapshot=archived)
    assert "readable until" in said(app)
    assert "preview" in keys_of(app)
    slow_archive(server, 30)
    freeze(server, bucket, "desk/data/")
    later = replace(cloud, clock=lambda: cloud.now().replace(year=cloud.now().year + 1))
    store.poll(later)
    app.run()
    assert "that copy has expired" in said(app)
    assert "retrieve" in keys_of(app) and "preview" not in keys_of(app)


def test_retrievals_are_listed_on_the_store_page(cloud, archived):
    store.request_retrieval(cloud, person("operator"), archived, Tier.BULK, 4)
    app = seen("store", "manager")
    assert not app.exception
    assert "waiting" in said(app) and "bulk" in said(app)
