"""Retention carried out against real stores: what the policy gives up goes, all else stays."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from db.control import audit_log
from db.engine import read
from services import backup, retention
from services.core import jobs
from services.core.errors import Conflict, Invalid
from services.core.loading import load_settings
from services.protection import unchanged
from services.protection.index import catalog
from services.protection.manifest import data_key, manifest_key
from services.protection.replication import keeping
from services.protection.stores import open_store
from tests.services.pruning import SMALL, aged, all_whole, finish, ids, keys, remove, strict_desk


@pytest.fixture
def desk(ctx, shop, monkeypatch):
    return strict_desk(ctx, monkeypatch)


def test_what_the_policy_does_not_keep_goes_and_everything_else_stays_whole(desk, admin):
    old, newer, newest = aged(desk, admin, 5, 3, 0)
    ended = remove(desk, admin)
    assert ended.result["removed"] == [old, newer]
    assert ids(desk) == [newest]
    assert not [key for key in keys(desk) if old in key or newer in key]
    assert {manifest_key("default", newest)} == keys(desk, "manifests/")
    all_whole(desk, admin)
    with read(desk.control) as connection:
        events = connection.execute(
            select(audit_log).where(audit_log.c.action == "retention.done")
        ).all()
    assert len(events) == 1
    assert events[0].details["removed"] == [old, newer]
    assert events[0].summary.startswith("Removed 2 backups that the policy does not keep")


def test_a_second_run_finds_nothing_to_do(desk, admin):
    aged(desk, admin, 5, 3, 0)
    remove(desk, admin)
    assert retention.plan(desk, admin).going == ()
    with pytest.raises(Invalid, match="nothing to remove"):
        remove(desk, admin)


def test_the_word_has_to_be_typed_and_names_how_many_go(desk, admin):
    aged(desk, admin, 5, 3, 0)
    plan = retention.plan(desk, admin)
    assert plan.word == "remove 2"
    before = keys(desk)
    with pytest.raises(Invalid, match="nothing was deleted"):
        retention.run(desk, admin, plan, "remove 3")
    assert keys(desk) == before


def test_a_plan_is_not_carried_out_when_the_world_moved(desk, admin):
    """A backup, a pin or a changed policy since the plan was shown: look again."""
    old, newer, _newest = aged(desk, admin, 5, 3, 0)
    plan = retention.plan(desk, admin)
    retention.pin(desk, admin, old, "the year's end")
    before = keys(desk)
    with pytest.raises(Conflict, match="changed since this was planned"):
        retention.run(desk, admin, plan, plan.word)
    plan = retention.plan(desk, admin)
    aged(desk, admin, 0)
    with pytest.raises(Conflict, match="changed since this was planned"):
        retention.run(desk, admin, plan, plan.word)
    wider = replace(desk, settings=desk.settings.model_copy(update={"keep_days": 2}))
    plan = retention.plan(desk, admin)
    with pytest.raises(Conflict, match="changed since this was planned"):
        retention.run(wider, admin, plan, plan.word)
    assert before <= keys(desk)
    assert newer in ids(desk)


def test_what_is_used_since_the_plan_was_made_is_skipped_and_the_others_go(desk, admin):
    """A drill that began meanwhile keeps its snapshot; it goes the next time."""
    old, newer, _newest = aged(desk, admin, 5, 3, 0)
    plan = retention.plan(desk, admin)
    drill = jobs.create(desk, admin, "drill", params={"snapshot": old})
    ended = retention.run(desk, admin, plan, plan.word)
    assert (ended.result["removed"], ended.result["skipped"]) == ([newer], [old])
    assert "a drill is using it" in retention.plan(desk, admin).decisions[-1].words
    jobs.run(desk, drill, lambda _handle: {})
    assert remove(desk, admin).result["removed"] == [old]


def test_nothing_of_another_instance_or_of_somebody_else_is_touched(desk, admin):
    aged(desk, admin, 5, 3, 0)
    store = open_store(desk.settings)
    foreign = {
        "notes.txt",
        "backups/database/insightshop_20260101_020000.db",
        "data/default/notes.txt",
        "data/default/not-a-snapshot/file",
        "data/default2/20200101T000000Z-aaaa/database.sqlite3.zst",
        "data/other/20200101T000000Z-aaaa/database.sqlite3.zst",
        "manifests/other/20200101T000000Z-aaaa.json",
        "images/default/holiday.png",
        "images/other/" + "ab" * 32,
        "pins/other/20200101T000000Z-aaaa.json",
    }
    old = (desk.now() - timedelta(days=900)).timestamp()
    for key in foreign:
        store.put(key, io.BytesIO(b"somebody else's"))
        os.utime(desk.settings.instance_dir / "backups" / key, (old, old))
    assert len(remove(desk, admin).result["removed"]) == 2
    assert foreign <= keys(desk)


def test_what_kept_snapshots_share_with_a_removed_one_stays_until_they_go(desk, admin, monkeypatch):
    """An unchanged shop: later snapshots point to the first one's objects."""
    monkeypatch.setattr(unchanged, "SHARED_DAYS", 7)
    first, second, newest = aged(desk, admin, 5, 3, 1.5)
    used = {
        part.key for part in backup.manifest(desk, admin, newest).components if part.origin == first
    }
    assert used, "the scene has to share something"
    plan = retention.plan(desk, admin)
    assert "what 1 kept backup shares with it stays" in plan.decisions[-1].words
    ended = remove(desk, admin)
    assert ended.result["removed"] == [first, second]
    assert keys(desk, data_key("default", first, "")) == used
    all_whole(desk, admin)
    finish(desk, admin)  # a night later they are still there
    assert keys(desk, data_key("default", first, "")) == used
    monkeypatch.setattr(unchanged, "SHARED_DAYS", -1)
    (last,) = aged(desk, admin, 0)
    assert remove(desk, admin).result["removed"] == [newest]
    assert {key.split("/")[2] for key in keys(desk, "data/")} == {last}
    all_whole(desk, admin)


def test_the_second_store_is_told_what_was_given_up(desk, admin, tmp_path):
    """Without that word a copy would stay for good."""
    old, _newest = aged(desk, admin, 5, 0)
    (tmp_path / "second").mkdir()
    settings = desk.settings.model_copy(update={"backup_copy_url": f"file:{tmp_path}/second"})
    remove(replace(desk, settings=settings), admin)
    assert set(keeping.given_up(desk)) == {old}


@pytest.mark.parametrize("server", ["moto_server", "rclone_server"])
def test_a_bucket_is_pruned_as_a_folder_is(desk, admin, server, request):
    """Of a real server's objects, written just now, everything of what goes is gone."""
    bucket = request.getfixturevalue(server)
    settings = load_settings(
        env_file=desk.settings.desk_home / "none.env",
        desk_home=desk.settings.desk_home,
        shop_root=desk.settings.shop_root,
        **bucket.settings(bucket.make_bucket(), "backups"),
        **SMALL,
    )
    cloud = replace(desk, settings=settings)
    old, newest = aged(cloud, admin, 5, 0)
    retention.pin(cloud, admin, newest, "why")
    assert remove(cloud, admin).result["removed"] == [old]
    assert old not in " ".join(keys(cloud))
    assert len(keys(cloud, "images/")) == 3
    all_whole(cloud, admin)
    backup.refresh(cloud, admin)
    assert catalog.find(cloud, newest).pin.note == "why"
