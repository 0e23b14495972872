"""Restore, verify, undo: the data comes back equal, and nothing is lost on the way."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from services import restore
from services.core import audit, jobs
from services.core.errors import Broken, Busy, Conflict, Denied, Invalid
from services.knowledge import transfer
from services.protection.index import catalog
from services.protection.model import PROTECTION_LOCK, Part
from services.protection.rescue import live as live_file
from services.protection.rescue.live import LiveState
from services.protection.stores import open_store
from tests.conftest import person
from tests.faults import matrix
from tests.faults.scene import (
    DATABASE,
    EVERYTHING,
    KNOWLEDGE,
    back_up,
    damage,
    do,
    facts,
    furnish,
    leftovers,
    tree,
    world,
)
from tests.shops import add_order


@pytest.fixture(autouse=True)
def _no_long_watch(monkeypatch):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.05)


@pytest.fixture
def furnished(ctx, shop, operator):
    """A shop with a knowledge base and pictures, and a backup of it."""
    furnish(ctx)
    return back_up(ctx, operator)


def new_order(path: Path, number: int) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        add_order(database, number, random.Random(number))


def test_everything_comes_back_equal_and_undo_brings_the_damage_back(ctx, shop, operator):
    furnish(ctx, vectors=True)
    snapshot = back_up(ctx, operator)
    good = world(ctx)
    damage(ctx)
    bad = world(ctx)
    assert bad != good

    job = do(ctx, operator, snapshot.id, EVERYTHING)
    assert job.state is jobs.JobState.SUCCEEDED
    assert world(ctx) == good
    assert json.loads(transfer.canonical_json(ctx.shop)) == KNOWLEDGE

    offer = restore.undo_offer(ctx, operator)
    assert offer is not None
    assert (offer.snapshot_id, offer.job_id) == (snapshot.id, job.id)
    plan = restore._undo(ctx, operator, offer)
    restore.run(ctx, operator, plan, plan.word, undo_of=offer.job_id)
    assert world(ctx) == bad

    again = restore.undo_offer(ctx, operator)
    assert again is not None
    assert again.was_undo
    plan = restore._undo(ctx, operator, again)
    restore.run(ctx, operator, plan, plan.word, undo_of=again.job_id)
    assert world(ctx) == good
    assert leftovers(ctx) == []


def test_the_preview_says_what_would_happen_and_changes_nothing(ctx, shop, operator, furnished):
    damage(ctx)
    before = world(ctx)
    plan = restore.preview(ctx, operator, furnished.id, DATABASE | {Part.IMAGES})
    said = "\n".join(line.text for line in plan.lines)
    assert "1 order that the backup does not hold would be lost" in said
    assert "3 products and 1 customer come back" in said
    assert "30 prices go back to their earlier value" in said
    assert "1 knowledge base entry goes back to its earlier text" in said
    assert plan.entries.changed == ("fabric_pairing",)
    assert "1 picture that the backup does not hold would be lost" in said
    assert "1 picture comes back" in said
    assert "1 picture goes back to its earlier version" in said
    assert (plan.word, plan.live, plan.writer) == ("insightshop", LiveState.READY, "")
    assert world(ctx) == before


def test_a_preview_of_equal_data_says_that_nothing_differs(ctx, shop, operator, furnished):
    plan = restore.preview(ctx, operator, "latest", DATABASE | {Part.IMAGES})
    assert [line.text for line in plan.lines] == [
        "Nothing differs: the live data equals the backup"
    ]


def test_the_typed_word_is_checked(ctx, shop, operator, furnished):
    plan = restore.preview(ctx, operator, furnished.id, DATABASE)
    with pytest.raises(Invalid, match="not the word that confirms.*Type insightshop exactly"):
        restore.start(ctx, operator, plan, "yes")
    assert jobs.recent(ctx, ("restore",)) == []


@pytest.mark.parametrize("role", ["editor", "manager"])
def test_only_who_may_restore_can_look_start_or_undo(ctx, shop, operator, furnished, role):
    other = person(role)
    plan = restore.preview(ctx, operator, furnished.id, DATABASE)
    with pytest.raises(Denied):
        restore.preview(ctx, other, furnished.id, DATABASE)
    with pytest.raises(Denied):
        restore.start(ctx, other, plan, plan.word)
    do(ctx, operator, furnished.id)
    offer = restore.undo_offer(ctx, operator)
    with pytest.raises(Denied):
        restore.start_undo(ctx, other, offer)


def test_a_restore_while_a_backup_runs_is_refused(ctx, shop, operator, furnished):
    plan = restore.preview(ctx, operator, furnished.id, DATABASE)
    jobs.create(ctx, operator, "backup", lock=PROTECTION_LOCK)
    before = facts(ctx)
    with pytest.raises(Busy, match="A backup is running"):
        restore.start(ctx, operator, plan, plan.word)
    assert facts(ctx) == before


def test_more_orders_than_were_seen_stop_the_restore_before_anything_is_touched(
    ctx, shop, operator, furnished
):
    new_order(shop, 700)
    plan = restore.preview(ctx, operator, furnished.id, DATABASE)
    new_order(shop, 701)
    before = facts(ctx)
    with pytest.raises(Conflict, match=r"orders \(1 more\).*Nothing was changed"):
        restore.run(ctx, operator, plan, plan.word)
    assert facts(ctx) == before
    assert restore.undo_offer(ctx, operator) is None
    assert leftovers(ctx) == []


def test_the_knowledge_base_alone_comes_back_as_one_change(ctx, shop, operator, furnished):
    damage(ctx)
    before = facts(ctx)
    do(ctx, operator, furnished.id, frozenset({Part.KNOWLEDGE}))
    after = facts(ctx)
    assert json.loads(transfer.canonical_json(ctx.shop)) == KNOWLEDGE
    assert {name for name in after if after[name] != before[name]} <= {
        "kb_entries",
        "kb_state",
        "kb_changes",
        "kb_change_sets",
    }


def test_pictures_alone_come_back_and_the_database_is_not_touched(ctx, shop, operator, furnished):
    good = tree(ctx.settings.images_dir)
    damage(ctx)
    before = shop.read_bytes()
    do(ctx, operator, furnished.id, frozenset({Part.IMAGES}))
    assert tree(ctx.settings.images_dir) == good
    assert shop.read_bytes() == before


def test_a_missing_database_comes_back_whole(ctx, shop, operator, furnished):
    good = facts(ctx)
    ctx.shop.dispose()
    shop.unlink()
    plan = restore.preview(ctx, operator, furnished.id, DATABASE)
    assert "There is no shop database" in plan.lines[0].text
    job = restore.run(ctx, operator, plan, plan.word)
    assert facts(ctx) == good
    assert "No safety snapshot" in " ".join(job.result["notes"])


@pytest.mark.parametrize("how", ["garbage", "empty", "a page"])
def test_a_damaged_database_is_kept_aside_and_replaced(ctx, shop, operator, furnished, how):
    good = facts(ctx)
    ctx.shop.dispose()
    if how == "a page":
        with open(shop, "r+b") as file:
            file.seek(4096 * 3)
            file.write(b"\xee" * 4096 * 4)
    else:
        shop.write_bytes(b"" if how == "empty" else b"a shopping list\n" * 500)
    spoiled, inode = shop.read_bytes(), shop.stat().st_ino
    plan = restore.preview(ctx, operator, furnished.id, DATABASE)
    assert plan.live is LiveState.DAMAGED
    assert "can't be read" in plan.lines[0].text
    job = restore.run(ctx, operator, plan, plan.word)
    assert facts(ctx) == good
    (kept,) = job.result["kept"]
    assert Path(kept).read_bytes() == spoiled
    # A program that has it open sees the new content, wherever SQLite can open the file.
    assert (shop.stat().st_ino == inode) == (how != "garbage")


def objects(ctx, marker: str) -> list[Path]:
    store = Path(ctx.settings.store_url.removeprefix("file:"))
    return [path for path in store.rglob("*") if path.is_file() and marker in str(path)]


@pytest.mark.parametrize("how", ["altered", "cut short", "missing"])
@pytest.mark.parametrize("marker", ["database.sqlite3.zst", "/images/"])
def test_an_altered_or_missing_object_is_found_before_anything_is_touched(
    ctx, shop, operator, furnished, how, marker
):
    damage(ctx)
    before = world(ctx)
    plan = restore.preview(ctx, operator, furnished.id, DATABASE | {Part.IMAGES})
    for file in (ctx.settings.temp_dir / "preview").iterdir():
        file.unlink()
    for path in objects(ctx, marker):
        data = path.read_bytes()
        if how == "altered":
            path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
        elif how == "cut short":
            path.write_bytes(data[:-9])
        else:
            path.unlink()
    with pytest.raises(Broken):
        restore.run(ctx, operator, plan, plan.word)
    assert world(ctx) == before
    assert leftovers(ctx) == []


def test_a_cached_preview_that_somebody_altered_is_not_used(ctx, shop, operator, furnished):
    good = facts(ctx)
    plan = restore.preview(ctx, operator, furnished.id, DATABASE)
    (cached,) = (ctx.settings.temp_dir / "preview").iterdir()
    with closing(sqlite3.connect(cached)) as database, database:
        database.execute("UPDATE users SET is_admin = 1")
    restore.run(ctx, operator, plan, plan.word)
    assert facts(ctx) == good


def test_a_verification_that_fails_puts_everything_back(
    ctx, shop, operator, furnished, monkeypatch
):
    from services.protection.rescue import execute

    damage(ctx)
    before = world(ctx)

    def unlike(*_args):
        raise Broken("The restored database is not what was fetched (orders).")

    monkeypatch.setattr(execute._Restore, "_verify", unlike)
    with pytest.raises(Broken, match="not what was fetched.*Everything is as it was before"):
        do(ctx, operator, furnished.id, DATABASE | {Part.IMAGES})
    assert world(ctx) == before
    assert restore.undo_offer(ctx, operator) is None
    assert leftovers(ctx) == []


def test_what_could_not_be_put_back_yet_is_said_blocks_others_and_is_settled_later(
    ctx, shop, operator, furnished, monkeypatch
):
    """The store loses the safety snapshot's database just when it is needed."""
    from services.protection.rescue import execute

    damage(ctx)
    before = world(ctx)
    hidden = Path(ctx.settings.desk_home) / "hidden"

    def unlike(*_args):
        found = objects(ctx, "database.sqlite3.zst")
        (safety,) = [path for path in found if furnished.id not in str(path)]
        hidden.write_text(str(safety))
        safety.rename(safety.with_suffix(".away"))
        raise Broken("The restored database is not what was fetched (orders).")

    monkeypatch.setattr(execute._Restore, "_verify", unlike)
    with pytest.raises(Broken, match="putting everything back failed too.*safety snapshot 2"):
        do(ctx, operator, furnished.id, DATABASE | {Part.IMAGES})
    plan = restore.preview(ctx, operator, furnished.id, DATABASE)
    with pytest.raises(Conflict, match="could not be settled yet.*No other restore was started"):
        restore.run(ctx, operator, plan, plan.word)

    place = Path(hidden.read_text())
    place.with_suffix(".away").rename(place)
    (found,) = restore.recover(ctx)
    assert (found.side, "data of before, all of it" in found.message) == ("old", True)
    assert world(ctx) == before
    assert leftovers(ctx) == []


def test_undo_is_not_offered_for_what_was_not_there_before(ctx, shop, operator, furnished):
    import shutil

    shutil.rmtree(ctx.settings.images_dir)
    do(ctx, operator, furnished.id, frozenset({Part.IMAGES}))
    assert restore.undo_offer(ctx, operator) is None


def test_every_restore_is_in_the_audit_log_with_its_safety_snapshot(
    ctx, shop, operator, admin, furnished
):
    job = do(ctx, operator, furnished.id)
    found = audit.events(ctx, admin, audit.AuditFilter(text=furnished.id)).events
    assert [event.action for event in found if event.action.startswith("restore")] == [
        "restore.done",
        "restore.start",
    ]
    assert found[0].details["safety"] == job.result["safety"]
    assert catalog.find(ctx, job.result["safety"]).reason == "safety"


def test_an_undo_offer_that_is_no_longer_the_newest_is_refused(ctx, shop, operator, furnished):
    do(ctx, operator, furnished.id)
    old = restore.undo_offer(ctx, operator)
    do(ctx, operator, furnished.id)
    with pytest.raises(Conflict, match="Another restore ended"):
        restore.start_undo(ctx, operator, old)


def test_an_undo_whose_safety_snapshot_is_gone_is_not_offered(ctx, shop, operator, furnished):
    job = do(ctx, operator, furnished.id)
    for path in objects(ctx, f"{job.result['safety']}.json"):
        path.unlink()
    catalog.refresh(ctx, open_store(ctx.settings))
    assert restore.undo_offer(ctx, operator) is None


def test_parts_that_a_snapshot_lacks_or_that_never_go_back_are_refused(
    ctx, shop, operator, furnished
):
    with pytest.raises(Invalid, match="does not hold: vectors"):
        restore.preview(ctx, operator, furnished.id, frozenset({Part.VECTORS}))
    with pytest.raises(Invalid, match="desk's own database"):
        restore.preview(ctx, operator, furnished.id, frozenset({Part.CONTROL}))
    with pytest.raises(Invalid, match="No part"):
        restore.preview(ctx, operator, furnished.id, frozenset())


@matrix.tried(
    matrix.FULL,
    "known to be too small: refused before a restore begins",
    matrix.SQLITE,
)
def test_too_small_a_disk_is_said_with_figures_before_anything_starts(
    ctx, shop, operator, furnished, monkeypatch
):
    from collections import namedtuple

    from services.core.errors import Refused
    from services.protection.rescue import space

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _path: usage(10**9, 10**9, 5_000_000))
    with pytest.raises(Refused, match=r"needs \d+ MB .* 5 MB are free; nothing was started"):
        restore.preview(ctx, operator, furnished.id, DATABASE)


def test_a_snapshot_of_another_kind_of_database_is_refused_with_what_to_do(
    ctx, shop, operator, furnished, tmp_path
):
    from dataclasses import replace

    from services.core.loading import load_settings

    settings = load_settings(
        env_file=tmp_path / "none.env",
        desk_home=ctx.settings.desk_home,
        shop_root=ctx.settings.shop_root,
        database_url="postgresql://shop:hunter2@localhost:1/shop",
    )
    with pytest.raises(Invalid, match="holds an SQLite file, and the shop runs on a PostgreSQL"):
        restore.preview(replace(ctx, settings=settings), operator, furnished.id, DATABASE)


def test_a_restore_ends_with_a_sample_for_the_charts(ctx, shop, operator, furnished):
    damage(ctx)
    do(ctx, operator, furnished.id)
    with closing(sqlite3.connect(ctx.settings.instance_dir / "control.db")) as control:
        (rows,) = control.execute(
            "SELECT value FROM samples WHERE metric = 'shop.rows' AND subject = 'products' "
            "ORDER BY id DESC LIMIT 1"
        ).fetchone()
    assert rows == 40
