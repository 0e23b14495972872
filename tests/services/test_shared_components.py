"""What did not change since the last backup is not sent again, and is as safe as what is."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyrage
import pytest

from services import restore
from services.protection import snapshots
from services.protection.index import catalog
from services.protection.model import Manifest, Part
from services.protection.stores import open_store
from services.shop.sample.vectors import write_vectors
from tests.drills import product
from tests.faults.scene import DATABASE, back_up, damage, facts, furnish


@pytest.fixture
def desk(ctx, shop):
    """A shop with everything; its vectors are real."""
    furnish(ctx)
    write_vectors(ctx.settings.vector_dir, [product(number) for number in range(1, 41)])
    return ctx


def stored(desk, made: Manifest) -> set[str]:
    return {found.key for found in open_store(desk.settings).list(f"data/default/{made.id}/")}


def change(desk) -> None:
    with closing(sqlite3.connect(desk.settings.shop_sqlite_path)) as database, database:
        database.execute("UPDATE products SET stock_quantity = stock_quantity + 1 WHERE id = 5")


def test_an_unchanged_shop_is_recognised_and_only_the_desks_own_records_are_sent(desk, operator):
    first = back_up(desk, operator)
    second = back_up(desk, operator)
    sent = {component.name for component in second.components if not component.origin}
    assert sent == {"control.sqlite3.zst", "images.json"}
    assert {component.origin for component in second.components} == {"", first.id}
    assert stored(desk, second) == {c.key for c in second.components if not c.origin}
    same = ("tables", "collections", "neighbours", "match", "revisions", "foreign_key_violations")
    assert all(getattr(first, name) == getattr(second, name) for name in same)
    assert any(note.startswith("Unchanged since the backup before") for note in second.notes)
    third = back_up(desk, operator)
    assert {component.origin for component in third.components} == {"", first.id}


def test_what_changed_is_sent_and_the_rest_is_not(desk, operator):
    first = back_up(desk, operator)
    change(desk)
    second = back_up(desk, operator)
    shared = {component.part for component in second.components if component.origin}
    assert shared == {Part.VECTORS}
    assert second.tables["products"] != first.tables["products"]


def test_a_vector_folder_that_changed_is_sent_anew_with_its_tables(desk, operator):
    back_up(desk, operator)
    segment = next(path for path in desk.settings.vector_dir.iterdir() if path.is_dir())
    (segment / "later.bin").write_bytes(b"later")
    second = back_up(desk, operator)
    assert not any(c.origin for c in second.components if c.part is Part.VECTORS)
    assert next(c for c in second.components if c.part is Part.DATABASE).origin


def test_a_snapshot_that_shares_is_restored_as_any_other(desk, operator):
    back_up(desk, operator)
    was = facts(desk)
    second = back_up(desk, operator)
    damage(desk)
    plan = restore.preview(desk, operator, second.id, DATABASE | {Part.VECTORS, Part.KNOWLEDGE})
    restore.run(desk, operator, plan, plan.word)
    assert facts(desk) == was


def test_a_damaged_object_is_found_and_never_shared(desk, operator):
    first = back_up(desk, operator)
    folder = Path(desk.settings.store_url.removeprefix("file:"))
    path = folder / next(c.key for c in first.components if c.part is Part.DATABASE)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    second = back_up(desk, operator)
    assert not any(component.origin for component in second.components)
    assert any(note.startswith("The backup before this one is damaged") for note in second.notes)
    assert "database.sqlite3.zst" in catalog.find(desk, first.id).verify_error
    snapshots.verify(desk, open_store(desk.settings), second)


def test_an_object_that_is_missing_is_not_shared(desk, operator):
    first = back_up(desk, operator)
    store = open_store(desk.settings)
    store.delete(next(c.key for c in first.components if c.part is Part.DATABASE))
    second = back_up(desk, operator)
    assert not next(c for c in second.components if c.part is Part.DATABASE).origin
    snapshots.verify(desk, store, second)


def test_everything_is_sent_anew_after_a_week(desk, operator):
    first = back_up(desk, operator)
    later = replace(desk, clock=lambda: first.created_at + timedelta(days=6))
    assert any(component.origin for component in back_up(later, operator).components)
    later = replace(desk, clock=lambda: first.created_at + timedelta(days=8))
    assert not any(component.origin for component in back_up(later, operator).components)


def test_objects_for_other_recipients_are_not_shared(desk, operator):
    keys = [str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2)]
    plain = back_up(desk, operator)
    made = []
    for key in (keys[0], keys[0], keys[1]):
        settings = desk.settings.model_copy(update={"backup_age_recipients": key})
        made.append(back_up(replace(desk, settings=settings), operator))
    origins = [{component.origin for component in each.components} - {""} for each in made]
    assert origins == [set(), {made[0].id}, set()]
    assert plain.id not in origins[1]


def test_a_backup_of_a_desk_that_lost_its_list_sends_everything(desk, operator):
    back_up(desk, operator)
    shutil.rmtree(Path(desk.settings.store_url.removeprefix("file:")) / "manifests")
    again = back_up(desk, operator)
    assert not any(component.origin for component in again.components)
