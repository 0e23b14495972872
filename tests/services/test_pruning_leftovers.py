"""What goes with a removed backup: its pictures, its index, and data that nothing lists."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from db.control import drills, snapshots
from db.engine import read, write
from services import backup, retention
from services.protection import snapshots as snapshot_room
from services.protection.manifest import data_key, image_key, manifest_key
from services.protection.stores import open_store
from tests.services.pruning import (
    age_objects,
    aged,
    all_whole,
    keys,
    leave_orphan,
    remove,
    strict_desk,
)


@pytest.fixture
def desk(ctx, shop, monkeypatch):
    return strict_desk(ctx, monkeypatch)


def test_pictures_go_with_the_last_snapshot_that_shows_them(desk, admin):
    (old,) = aged(desk, admin, 5)
    shown = snapshot_room.picture_list(
        desk, open_store(desk.settings), backup.manifest(desk, admin, old)
    )
    (desk.settings.images_dir / "1.png").unlink()
    aged(desk, admin, 1.5)
    aged(desk, admin, 0)
    age_objects(desk, "-", desk.now() - timedelta(days=4))
    assert remove(desk, admin).result["pictures"] == 1
    left = keys(desk, "images/")
    assert image_key("default", shown["1.png"]) not in left
    assert image_key("default", shown["2.png"]) in left
    all_whole(desk, admin)


def test_pictures_younger_than_a_day_stay(desk, admin):
    aged(desk, admin, 5, 0)
    key = image_key("default", "ab" * 32)
    open_store(desk.settings).put(key, io.BytesIO(b"just sent by another machine"))
    remove(desk, admin)
    assert key in keys(desk)


def test_data_without_a_manifest_goes_once_it_is_a_day_old(desk, admin):
    aged(desk, admin, 5, 0)
    old = leave_orphan(desk, "20260101T000000Z-aaaa", 1.2)
    young = leave_orphan(desk, "20260102T000000Z-aaaa", 0.8)
    ended = remove(desk, admin)
    assert old not in keys(desk)
    assert young in keys(desk)
    assert ended.result["orphans"] == 1


def test_a_store_that_lost_its_manifests_keeps_the_data_of_all_of_them(desk, admin):
    """Somebody emptied manifests/: the data is the only way back, so the sweep leaves it."""
    lost = aged(desk, admin, 9, 8, 7, 6)
    aged(desk, admin, 5, 0)
    store = open_store(desk.settings)
    for snapshot_id in lost:
        store.delete(manifest_key("default", snapshot_id))
    ended = remove(desk, admin)
    assert all(keys(desk, data_key("default", each, "")) for each in lost)
    assert "Find out who removed the manifests" in " ".join(ended.result["notes"])


def test_pinned_data_without_a_manifest_stays(desk, admin):
    pinned, _old, _newest = aged(desk, admin, 9, 5, 0)
    retention.pin(desk, admin, pinned, "before the migration")
    open_store(desk.settings).delete(manifest_key("default", pinned))
    ended = remove(desk, admin)
    assert keys(desk, data_key("default", pinned, ""))
    assert "pinned" in " ".join(ended.result["notes"])


def test_evidence_and_index_of_a_removed_snapshot_go_too(desk, admin):
    old, newest = aged(desk, admin, 5, 0)
    evidence = f"drills/default/{old}/d1.json"
    store = open_store(desk.settings)
    store.put(evidence, io.BytesIO(b"{}"))
    with write(desk.control) as connection:
        for number, snapshot_id in enumerate((old, newest)):
            connection.execute(
                insert(drills).values(
                    id=f"d{number}",
                    snapshot_id=snapshot_id,
                    instance="default",
                    place="store",
                    at=desk.now(),
                    seconds=1.0,
                    passed=False,
                    host="h",
                    asked_by="a",
                    evidence=[],
                )
            )
    remove(desk, admin)
    assert evidence not in keys(desk)
    with read(desk.control) as connection:
        assert connection.scalars(select(drills.c.snapshot_id)).all() == [newest]
        assert connection.scalars(select(snapshots.c.id)).all() == [newest]


def test_a_machine_that_can_open_no_backup_prunes_the_pictures_too(desk, admin):
    """It holds the recipients only: what a backup shows is known without an identity."""
    from pyrage import x25519

    recipient = str(x25519.Identity.generate().to_public())
    settings = desk.settings.model_copy(update={"backup_age_recipients": recipient})
    sealed = replace(desk, settings=settings)
    aged(sealed, admin, 5)
    (desk.settings.images_dir / "1.png").unlink()
    aged(sealed, admin, 0)
    age_objects(desk, "-", desk.now() - timedelta(days=4))
    assert len(keys(sealed, "images/")) == 3
    ended = remove(sealed, admin)
    assert (ended.result["pictures"], ended.result["notes"]) == (1, [])
    assert len(keys(sealed, "images/")) == 2
    all_whole(sealed, admin)


def test_a_list_of_pictures_that_cant_be_read_keeps_them_all(desk, admin):
    old, newest = aged(desk, admin, 5, 0)
    spare = image_key("default", "ab" * 32)
    open_store(desk.settings).put(spare, io.BytesIO(b"shown by nothing"))
    age_objects(desk, "-", desk.now() - timedelta(days=4))
    store = desk.settings.instance_dir / "backups"
    (store / data_key("default", newest, "images.json")).write_bytes(b"{}")
    ended = remove(desk, admin)
    assert ended.result["removed"] == [old]
    assert "Pictures stay, because a list of them can't be read" in ended.result["notes"][0]
    assert spare in keys(desk)
