"""What a retrieval asks for: shared objects and pictures too, and faster where one waits."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from db.control import audit_log
from db.engine import read
from services import backup, drill, restore, store
from services.core.errors import Archived, Busy, Transient
from services.protection.archive import index as archive_index
from services.protection.archive.model import RetrievalState
from services.protection.index import catalog
from services.protection.model import Part, Storage
from services.protection.stores import open_store
from services.protection.stores.base import Tier
from services.protection.stores.s3 import S3Store
from tests.faults.scene import DATABASE, world
from tests.glacier import freeze, polled, slow_archive


def test_a_snapshot_that_shares_archived_objects_of_an_earlier_one_brings_those_back_too(
    s3, server, bucket, operator, snapshot
):
    shares = backup.run(s3, operator, "manual").result["snapshot"]
    manifest = backup.manifest(s3, operator, shares)
    assert any(f"/{snapshot}/" in component.key for component in manifest.components)
    freeze(server, bucket, f"desk/data/default/{snapshot}/")
    archive_index.look(s3, open_store(s3.settings))
    assert catalog.find(s3, shares).storage is Storage.ARCHIVED
    with pytest.raises(Archived) as caught:
        restore.preview(s3, operator, shares, DATABASE)
    assert f"retrieve {shares}" in caught.value.hint
    store.request_retrieval(s3, operator, shares, Tier.STANDARD, 3)
    (ready,) = polled(s3)
    assert (ready.snapshot_id, ready.state) == (shares, RetrievalState.READY)
    assert restore.preview(s3, operator, shares, DATABASE).snapshot_id == shares


def test_what_is_on_its_way_can_be_made_faster_at_the_full_price_and_never_slower(
    s3, server, bucket, operator, snapshot
):
    slow_archive(server, 40)
    freeze(server, bucket, "desk/data/")
    archived = snapshot
    first = store.request_retrieval(s3, operator, archived, Tier.BULK, 5)
    options = store.retrieval_options(s3, operator, archived)
    assert [offer.tier for offer in options.faster] == [Tier.EXPEDITED, Tier.STANDARD]
    quick = store.request_retrieval(s3, operator, archived, Tier.STANDARD, 2)
    # S3 takes the tier of a running one anew, and no other number of days.
    assert (quick.tier, quick.days, quick.state) == (Tier.STANDARD, 5, RetrievalState.WAITING)
    states = {each.id: each.state for each in archive_index.known(s3, archived)}
    assert states == {quick.id: RetrievalState.WAITING, first.id: RetrievalState.DROPPED}
    with read(s3.control) as connection:
        told = connection.scalars(
            select(audit_log.c.summary).where(audit_log.c.action == "retrieval.request")
        ).all()
    assert "standard instead of bulk, for 5 days" in told[-1] and "$" in told[-1]
    for tier in (Tier.STANDARD, Tier.BULK):
        with pytest.raises(Busy, match="already"):
            store.request_retrieval(s3, operator, archived, tier, 5)


def test_a_faster_way_that_is_refused_leaves_what_was_on_its_way(
    s3, server, operator, archived, monkeypatch
):
    first = store.request_retrieval(s3, operator, archived, Tier.BULK, 5)

    def full(*_arguments, **_more):
        raise Transient("The archive has no capacity for expedited retrievals now.")

    monkeypatch.setattr(S3Store, "request_retrieval", full)
    with pytest.raises(Transient):
        store.request_retrieval(s3, operator, archived, Tier.EXPEDITED, 5)
    (row,) = archive_index.known(s3, archived)
    assert (row.id, row.state) == (first.id, RetrievalState.WAITING)


def test_pictures_that_a_rule_of_somebody_else_archived_are_brought_back_too(
    s3, server, bucket, operator, picture
):
    snapshot = backup.run(s3, operator, "manual").result["snapshot"]
    frozen = freeze(server, bucket, "desk/images/")
    assert len(frozen) == 1
    # While the shop still has it, no store is needed for it.
    images = frozenset({Part.IMAGES})
    assert restore.preview(s3, operator, snapshot, images)
    picture.unlink()
    with pytest.raises(Archived, match=r"1 pictures .* Nothing was changed") as caught:
        restore.preview(s3, operator, snapshot, images)
    assert f"retrieve {snapshot}" in caught.value.hint
    with pytest.raises(Archived):
        drill.run(s3, operator, snapshot)
    assert catalog.find(s3, snapshot).verify_error is None, "nothing is wrong with it"

    options = store.retrieval_options(s3, operator, snapshot)
    assert (options.storage, options.objects, options.classes) == (
        Storage.ARCHIVED,
        1,
        ("GLACIER",),
    )
    assert store.request_retrieval(s3, operator, snapshot, Tier.STANDARD, 3).objects == 1
    assert polled(s3)[0].state is RetrievalState.READY
    plan = restore.preview(s3, operator, snapshot, images)
    restore.run(s3, operator, plan, plan.word)
    assert picture.is_file()


def test_pictures_that_go_into_the_archive_after_the_preview_stop_the_restore_of_everything(
    s3, server, bucket, operator, picture
):
    snapshot = backup.run(s3, operator, "manual").result["snapshot"]
    picture.rename(picture.with_name("other.png"))
    with closing(sqlite3.connect(s3.settings.shop_sqlite_path)) as shop, shop:
        shop.execute("UPDATE products SET price = 0")
    plan = restore.preview(s3, operator, snapshot, DATABASE | {Part.IMAGES})
    freeze(server, bucket, "desk/images/")
    before = world(s3)
    with pytest.raises(Archived, match="Nothing was changed") as caught:
        restore.run(s3, operator, plan, plan.word)
    assert f"retrieve {snapshot}" in caught.value.hint
    assert world(s3) == before and not picture.exists()


def test_where_the_list_of_pictures_is_archived_itself_all_of_them_are_brought_back(
    s3, server, bucket, operator, picture
):
    snapshot = backup.run(s3, operator, "manual").result["snapshot"]
    components = len(freeze(server, bucket, "desk/data/"))
    freeze(server, bucket, "desk/images/")
    found = store.retrieval_options(s3, operator, snapshot)
    assert found.objects == components + 1


@pytest.fixture
def picture(s3) -> Path:
    """One picture of the shop."""
    path = s3.settings.images_dir / "red.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), "red").save(path)
    return path
