"""Snapshots in the archive: seen as such, asked for, waited for, restored, archived again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import select

from db.control import audit_log
from db.engine import read
from services import backup, monitor, restore, store
from services.core.context import open_context
from services.core.errors import Archived, Busy, Invalid, Transient
from services.protection.archive import index as archive_index
from services.protection.archive import retrieval as archive
from services.protection.archive.model import RetrievalState
from services.protection.index import catalog
from services.protection.model import Part, Storage
from services.protection.stores import open_store
from services.protection.stores.base import Tier
from services.protection.stores.s3 import S3Store
from tests.conftest import Clock
from tests.faults.scene import DATABASE, damage, facts, world
from tests.glacier import freeze, polled, slow_archive


def restarted(ctx):
    """The desk after a restart: nothing is remembered but what was written down."""
    ctx.close()
    return open_context(ctx.settings)


def actions(ctx) -> list[str]:
    with read(ctx.control) as connection:
        found = connection.scalars(
            select(audit_log.c.action)
            .where(audit_log.c.action.like("retrieval.%"))
            .order_by(audit_log.c.id)
        )
        return list(found)


def test_a_snapshot_shows_as_archived_and_what_was_not_moved_does_not(
    s3, server, bucket, operator, archived
):
    fresh = backup.run(s3, operator, "manual").result["snapshot"]
    assert catalog.find(s3, archived).storage is Storage.ARCHIVED
    assert catalog.find(s3, fresh).storage is Storage.STANDARD
    freeze(server, bucket, f"desk/data/default/{fresh}/", "GLACIER_IR")
    archive_index.look(s3, open_store(s3.settings))
    assert catalog.find(s3, fresh).storage is Storage.INSTANT
    found = store.retrieval_options(s3, operator, fresh)
    assert (found.storage, found.objects, found.offers) == (Storage.INSTANT, 0, ())
    assert found.reading_cost > 0


def test_an_archived_snapshot_says_how_to_bring_it_back_wherever_it_is_read(s3, operator, archived):
    calls = (
        lambda: restore.preview(s3, operator, archived, DATABASE),
        lambda: backup.verify(s3, operator, archived),
        lambda: backup.open_component(s3, operator, archived, "knowledge.json").__enter__(),
    )
    for call in calls:
        with pytest.raises(Archived) as caught:
            call()
        assert f"retrieve {archived}" in caught.value.hint
    row = catalog.find(s3, archived)
    assert row.verify_error is None and row.read_back_at, "nothing is wrong with it"


def test_the_ways_back_have_a_wait_and_a_price_and_the_deepest_archive_has_fewer(
    s3, server, bucket, operator, archived
):
    found = store.retrieval_options(s3, operator, archived)
    assert [offer.tier for offer in found.offers] == list(Tier)
    fast, usual, slow = found.offers
    assert fast.cost > usual.cost > slow.cost >= 0
    assert fast.longest_hours < usual.longest_hours < slow.longest_hours
    assert found.objects == len(
        catalog.load_manifest(s3, open_store(s3.settings), archived).components
    )
    for_long = store.retrieval_options(s3, operator, archived, 30)
    assert for_long.offers[1].cost > usual.cost, "the copies cost by the day"
    slow_archive(server, None)
    client = server.client()
    keys = client.list_objects_v2(Bucket=bucket, Prefix="desk/data/")["Contents"]
    for key in keys[:1]:
        client.put_object(Bucket=bucket, Key=key["Key"], Body=b"x", StorageClass="DEEP_ARCHIVE")
    found = store.retrieval_options(s3, operator, archived)
    assert found.classes == ("DEEP_ARCHIVE", "GLACIER")
    assert [offer.tier for offer in found.offers] == [Tier.STANDARD, Tier.BULK]
    assert found.offers[0].wait == "up to 12 hours"
    with pytest.raises(Invalid, match="can't be brought back by expedited"):
        store.request_retrieval(s3, operator, archived, Tier.EXPEDITED, 3)


def test_asked_for_waited_for_over_a_restart_restored_and_archived_again(
    s3, server, bucket, operator, archived
):
    before = facts(s3)
    damage(s3)
    asked = store.request_retrieval(s3, operator, archived, Tier.STANDARD, 3)
    assert asked.state is RetrievalState.WAITING and asked.objects_ready == 0
    with pytest.raises(Busy, match="already"):
        store.request_retrieval(s3, operator, archived, Tier.BULK, 3)
    with pytest.raises(Archived):
        restore.preview(s3, operator, archived, DATABASE)

    desk = restarted(s3)
    (ready,) = polled(desk)
    assert (ready.id, ready.state) == (asked.id, RetrievalState.READY)
    assert catalog.find(desk, archived).storage is Storage.READY
    archive_index.look(desk, open_store(desk.settings))
    assert catalog.find(desk, archived).storage is Storage.READY, "its class is still GLACIER"

    plan = restore.preview(desk, operator, archived, DATABASE)
    assert restore.run(desk, operator, plan, plan.word).state.value == "succeeded"
    assert facts(desk) == before

    freeze(server, bucket, f"desk/data/default/{archived}/")
    (over,) = polled(desk, 1)
    assert over.state is RetrievalState.EXPIRED
    assert catalog.find(desk, archived).storage is Storage.ARCHIVED
    again = store.retrieval_options(desk, operator, archived)
    assert again.storage is Storage.ARCHIVED and again.offers, "it is offered anew"
    assert store.request_retrieval(desk, operator, archived, Tier.BULK, 1).state is (
        RetrievalState.WAITING
    )
    assert actions(desk) == [
        "retrieval.request",
        "retrieval.ready",
        "retrieval.expired",
        "retrieval.request",
    ]
    desk.close()


def test_a_copy_whose_time_is_over_is_archived_again_by_the_clock_alone(
    s3, server, bucket, operator, archived
):
    slow_archive(server, None)
    clock = Clock(s3.now())
    desk = replace(s3, clock=clock)
    ready = store.request_retrieval(desk, operator, archived, Tier.EXPEDITED, 2)
    assert ready.state is RetrievalState.READY
    clock.forward(hours=47)
    assert store.retrievals(desk, operator)[0].state is RetrievalState.READY
    clock.forward(hours=2)
    freeze(server, bucket, "desk/data/")
    assert store.retrievals(desk, operator)[0].state is RetrievalState.EXPIRED


def test_a_copy_that_expires_while_it_is_fetched_changes_nothing_live(
    s3, server, bucket, operator, archived, monkeypatch
):
    slow_archive(server, None)
    damage(s3)
    store.request_retrieval(s3, operator, archived, Tier.STANDARD, 1)
    plan = restore.preview(s3, operator, archived, DATABASE | {Part.KNOWLEDGE})
    before = world(s3)
    opened, reading = [], S3Store.open

    def expires(self, key):
        if f"/{archived}/" in key and not opened:
            opened.append(key)
            freeze(server, bucket, f"desk/data/default/{archived}/")
        return reading(self, key)

    for file in s3.settings.temp_dir.rglob("*"):
        if file.is_file():
            file.unlink()  # what the preview fetched, so that the restore has to fetch it again
    monkeypatch.setattr(S3Store, "open", expires)
    with pytest.raises(Archived, match="lies in the archive"):
        restore.run(s3, operator, plan, plan.word)
    assert opened
    assert world(s3) == before


def test_whoever_was_killed_while_asking_is_finished_by_the_next_look(
    s3, operator, archived, monkeypatch
):
    real, asked = S3Store.request_retrieval, []

    def dies(self, key, tier, days, **more):
        if asked:
            raise KeyboardInterrupt
        asked.append(key)
        real(self, key, tier, days, **more)

    monkeypatch.setattr(S3Store, "request_retrieval", dies)
    with pytest.raises(KeyboardInterrupt):
        store.request_retrieval(s3, operator, archived, Tier.STANDARD, 3)
    monkeypatch.setattr(S3Store, "request_retrieval", real)
    desk = restarted(s3)
    (waiting,) = archive_index.known(desk)
    assert (waiting.state, waiting.looked_at) == (RetrievalState.WAITING, None)
    (ready,) = polled(desk)
    assert ready.state is RetrievalState.READY
    desk.close()


def test_a_refused_request_leaves_nothing_waiting_and_says_why(s3, operator, archived, monkeypatch):
    def refuses(self, key, tier, days, **_more):
        raise Transient("There is no capacity now.", "Choose standard.")

    monkeypatch.setattr(S3Store, "request_retrieval", refuses)
    with pytest.raises(Transient, match="no capacity"):
        store.request_retrieval(s3, operator, archived, Tier.EXPEDITED, 3)
    (failed,) = archive_index.known(s3)
    assert (failed.state, failed.error) == (RetrievalState.FAILED, "There is no capacity now.")
    assert catalog.find(s3, archived).storage is Storage.ARCHIVED
    monkeypatch.undo()
    asked = store.request_retrieval(s3, operator, archived, Tier.STANDARD, 3)
    assert asked.state is RetrievalState.WAITING


@pytest.mark.parametrize("days", [0, -1, 31, 10**9])
def test_a_senseless_number_of_days_is_refused(s3, operator, archived, days):
    with pytest.raises(Invalid, match="1 to 30 days"):
        store.request_retrieval(s3, operator, archived, Tier.STANDARD, days)
    assert archive_index.known(s3) == ()


def test_what_can_be_read_is_not_asked_for(s3, operator, snapshot, ctx, shop):
    with pytest.raises(Invalid, match="can be read now"):
        store.request_retrieval(s3, operator, snapshot, Tier.STANDARD, 3)
    local = backup.run(ctx, operator, "manual").result["snapshot"]
    assert store.retrieval_options(ctx, operator, local).storage is Storage.STANDARD
    with pytest.raises(Invalid, match="can be read now"):
        store.request_retrieval(ctx, operator, local, Tier.STANDARD, 3)


def test_a_ready_copy_can_be_kept_longer(s3, server, operator, archived):
    slow_archive(server, None)
    first = store.request_retrieval(s3, operator, archived, Tier.STANDARD, 1)
    second = store.request_retrieval(s3, operator, archived, Tier.STANDARD, 9)
    assert second.state is RetrievalState.READY
    assert second.ready_until > first.ready_until
    newest, old = archive_index.known(s3)
    assert (newest.id, old.state) == (second.id, RetrievalState.DROPPED)


def test_a_retrieval_of_a_snapshot_that_is_gone_ends(s3, server, bucket, operator, archived):
    store.request_retrieval(s3, operator, archived, Tier.STANDARD, 3)
    server.client().delete_object(Bucket=bucket, Key=f"desk/manifests/default/{archived}.json")
    catalog.refresh(s3, open_store(s3.settings))
    (ended,) = archive.poll(s3, open_store(s3.settings), everything=True)
    assert ended.state is RetrievalState.DROPPED
    assert store.retrievals(s3, operator)[0].state is RetrievalState.DROPPED


def test_a_silent_store_keeps_nobody_from_what_is_known(s3, operator, archived, monkeypatch):
    asked = store.request_retrieval(s3, operator, archived, Tier.STANDARD, 3)

    def silent(self, key):
        raise Transient("It does not answer.")

    monkeypatch.setattr(S3Store, "archive_state", silent)
    later = replace(s3, clock=Clock(s3.now()))
    later.clock.forward(minutes=5)
    (found,) = store.retrievals(later, operator)
    assert (found.id, found.state) == (asked.id, RetrievalState.WAITING)
    with pytest.raises(Transient):
        store.poll(s3)


def test_the_command_line_brings_back_waits_and_says_until_when(
    s3, operator, archived, monkeypatch, capsys
):
    for name, value in s3.settings.as_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(s3.settings.desk_home)
    assert restore.main([archived, "--dry-run"]) == 1
    assert f"python services/store.py retrieve {archived}" in capsys.readouterr().err
    assert store.main(["show", archived, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert shown["storage"] == "archived" and len(shown["offers"]) == 3
    assert store.main(["retrieve", archived, "--tier", "bulk", "--days", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "waiting"
    assert store.main(["retrieve", archived, "--wait", "--every", "0.01"]) == 0
    assert f"{archived} can be read until" in capsys.readouterr().out
    assert store.main(["poll", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [each["state"] for each in answer["retrievals"]] == ["ready"]
    assert restore.main([archived, "--dry-run"]) == 0
    assert store.main(["retrieve", "20200101T000000Z-none"]) == 1
    assert store.main(["retrieve", archived, "--tier", "soon"]) == 3
    assert store.main([]) == 3


def test_the_overview_says_that_a_backup_is_back_and_until_when_and_that_one_failed(
    s3, server, operator, archived, monkeypatch
):
    def told() -> list[str]:
        return [f.text for f in monitor.posture(s3, operator)[1].findings if f.code == "archive"]

    asked = store.request_retrieval(s3, operator, archived, Tier.STANDARD, 3)
    assert asked.state is RetrievalState.WAITING and told() == []
    polled(s3)
    assert told() == [f"{archived} is back from the archive."]
    monkeypatch.setattr(
        S3Store,
        "request_retrieval",
        lambda *_ignored, **_more: (_ for _ in ()).throw(Transient("No capacity.")),
    )
    with pytest.raises(Transient):
        store.request_retrieval(s3, operator, archived, Tier.EXPEDITED, 3)
    assert told() == [f"{archived} did not come back from the archive. No capacity."]


def test_an_index_that_was_lost_finds_out_again_what_is_archived(s3, archived):
    s3.close()
    (s3.settings.instance_dir / "control.db").unlink()
    desk = open_context(s3.settings)
    assert store.poll(desk) == ()
    catalog.refresh(desk, open_store(desk.settings))
    store.poll(desk)
    assert catalog.find(desk, archived).storage is Storage.ARCHIVED
    desk.close()


def test_the_shop_database_is_never_asked_for_any_of_this(s3, server, operator, archived):
    path = s3.settings.shop_sqlite_path
    with closing(sqlite3.connect(path)) as database:
        before = list(database.iterdump())
    store.request_retrieval(s3, operator, archived, Tier.STANDARD, 3)
    polled(s3)
    with closing(sqlite3.connect(path)) as database:
        assert list(database.iterdump()) == before
