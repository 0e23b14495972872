"""How long copies stay: never lost with the first store, gone a week after retention spoke."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services import replication
from services.core.context import Context
from services.protection.index import catalog
from services.protection.manifest import manifest_key
from services.protection.replication import keeping
from services.protection.replication.listing import ids_in, sizes_in
from services.protection.stores import open_store
from services.protection.stores.local import LocalStore
from tests.conftest import Clock
from tests.faults.scene import back_up
from tests.services.second_store import desk_with_copy, folder_of, place_order, second_store


@pytest.fixture
def desk(ctx: Context, shop: Path) -> Context:
    return desk_with_copy(ctx)


@pytest.fixture
def timed(desk: Context, clock: Clock) -> tuple[Context, Clock]:
    clock.now = datetime.now(UTC)
    return replace(desk, clock=clock, settings=_keeping(desk, 1)), clock


def _keeping(desk: Context, count: int):
    return desk.settings.model_copy(update={"keep_minimum": count})


def _prune(desk: Context, snapshot_id: str) -> None:
    keeping.give_up(desk, [snapshot_id])
    _lose(desk, snapshot_id)


def _lose(desk: Context, snapshot_id: str) -> None:
    store = open_store(desk.settings)
    store.delete(manifest_key("default", snapshot_id))
    for key in sizes_in(store, f"data/default/{snapshot_id}/"):
        store.delete(key)
    catalog.refresh(desk, store)


def test_a_copy_goes_a_week_after_retention_gave_its_snapshot_up(timed, operator):
    desk, clock = timed
    old = back_up(desk, operator)
    clock.forward(days=1)
    place_order(desk, 901)
    new = back_up(desk, operator)
    replication.run(desk, operator)
    _prune(desk, old.id)
    clock.forward(days=6)
    assert replication.run(desk, operator).result["removed"] == []
    clock.forward(days=2)
    assert replication.run(desk, operator).result["removed"] == [old.id]
    assert ids_in(desk, second_store(desk)) == {new.id}
    kept = {part.key for part in new.components if part.origin == old.id}
    assert sizes_in(second_store(desk), f"data/default/{old.id}/").keys() == kept
    assert replication.listing(desk, operator)[0].complete


def test_an_object_that_a_newer_copy_shares_stays_when_the_older_one_goes(timed, operator):
    desk, clock = timed
    old = back_up(desk, operator)
    clock.forward(days=1)
    new = back_up(desk, operator)
    shared = {part.key for part in new.components if part.origin == old.id}
    assert shared, "an unchanged database is not sent twice"
    replication.run(desk, operator)
    keeping.give_up(desk, [old.id])
    open_store(desk.settings).delete(manifest_key("default", old.id))
    catalog.refresh(desk, open_store(desk.settings))
    clock.forward(days=9)
    assert replication.run(desk, operator).result["removed"] == [old.id]
    assert shared <= sizes_in(second_store(desk), "data/").keys()
    assert replication.listing(desk, operator)[0].complete


def test_a_snapshot_that_vanished_without_a_word_keeps_its_copy_for_good(timed, operator):
    desk, clock = timed
    lost = back_up(desk, operator)
    clock.forward(days=1)
    back_up(desk, operator)
    replication.run(desk, operator)
    _lose(desk, lost.id)
    clock.forward(days=400)
    replication.run(desk, operator)
    rows = {row.id: row for row in replication.listing(desk, operator)}
    assert rows[lost.id].complete and rows[lost.id].only_here


def test_a_first_store_that_was_emptied_takes_no_copy_with_it(timed, operator):
    desk, clock = timed
    made = back_up(desk, operator)
    replication.run(desk, operator)
    keeping.give_up(desk, [made.id])
    shutil.rmtree(folder_of(desk, "store"))
    clock.forward(days=30)
    replication.run(desk, operator)
    assert ids_in(desk, second_store(desk)) == {made.id}


def test_the_newest_copies_stay_whatever_was_given_up(timed, operator):
    desk, clock = timed
    desk = replace(desk, settings=_keeping(desk, 2))
    ids = []
    for _ in range(3):
        ids.append(back_up(desk, operator).id)
        clock.forward(days=1)
    replication.run(desk, operator)
    keeping.give_up(desk, ids[:2])
    for gone in ids[:2]:
        _lose(desk, gone)
    clock.forward(days=9)
    assert replication.run(desk, operator).result["removed"] == [ids[0]]
    assert ids_in(desk, second_store(desk)) == set(ids[1:])


def test_what_a_run_that_never_ended_left_is_swept_once_its_snapshot_is_gone(timed, operator):
    desk, clock = timed
    back_up(desk, operator)
    second: LocalStore = second_store(desk)
    import io

    key = "data/default/20200101T000000Z-aaaa/database.sqlite3.zst"
    second.put(key, io.BytesIO(b"half"))
    replication.run(desk, operator)
    assert second.stat(key)
    clock.forward(days=2)
    replication.run(desk, operator)
    assert second.stat(key) is None
