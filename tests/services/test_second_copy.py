"""The second copy: complete or absent, proven on both sides, and never lost with the first."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from services import monitor, replication, restore
from services.core import audit
from services.core.audit import AuditFilter
from services.core.context import Context
from services.core.errors import Broken, Misconfigured
from services.core.settings import PROJECT_ROOT, load_settings
from services.protection.index import catalog
from services.protection.manifest import image_key, manifest_key
from services.protection.replication import job as copy_job
from services.protection.replication import keeping
from services.protection.replication.listing import ids_in, sizes_in
from services.protection.stores import open_store
from services.protection.stores.local import LocalStore
from tests.conftest import Clock
from tests.doors import run_door
from tests.faults.scene import back_up, damage, furnish, world
from tests.shops import add_order


@pytest.fixture
def desk(ctx: Context, shop: Path) -> Context:
    """A desk with a furnished shop and a second store in a folder of its own."""
    furnish(ctx)
    folder = ctx.settings.desk_home.parent / "second"
    folder.mkdir()
    return replace(
        ctx, settings=ctx.settings.model_copy(update={"backup_copy_url": f"file:{folder}"})
    )


@pytest.fixture
def to_s3(desk: Context, rclone_server) -> Context:
    """The same with its second store in a bucket."""
    values = rclone_server.settings(rclone_server.make_bucket(), "second")
    url = values.pop("backup_store_url")
    overrides = {"desk_home": desk.settings.desk_home, "shop_root": desk.settings.shop_root}
    settings = load_settings(
        env_file=desk.settings.desk_home / "none.env", backup_copy_url=url, **overrides, **values
    )
    return replace(desk, settings=settings)


def _second(desk: Context):
    return open_store(desk.settings, place="copy")


def _objects(store) -> dict[str, bytes]:
    found = {}
    for each in store.list(""):
        with store.open(each.key) as stream:
            found[each.key] = stream.read()
    return found


def _folder(desk: Context, place: str = "copy") -> Path:
    url = desk.settings.copy_url if place == "copy" else desk.settings.store_url
    return Path(url.removeprefix("file:"))


def _order(desk: Context, number: int) -> None:
    with closing(sqlite3.connect(desk.settings.shop_sqlite_path)) as db, db:
        add_order(db, number, random.Random(number))


def test_every_stored_byte_arrives_in_a_bucket_and_a_second_run_sends_nothing(to_s3, operator):
    first = back_up(to_s3, operator)
    _order(to_s3, 901)
    second = back_up(to_s3, operator)
    done = replication.run(to_s3, operator).result
    assert set(done["copied"]) == {second.id, first.id}
    ours, theirs = _objects(open_store(to_s3.settings)), _objects(_second(to_s3))
    assert theirs == ours and len(theirs) > 8
    assert all(catalog.find(to_s3, each.id).copied_at for each in (first, second))
    again = replication.run(to_s3, operator).result
    assert (again["copied"], again["objects"]) == ([], 0)
    proven = replication.run(to_s3, operator, "all").result
    assert (len(proven["copied"]), proven["objects"], proven["notes"]) == (2, 0, [])
    assert all(row.complete and not row.only_here for row in replication.listing(to_s3, operator))


def test_an_encrypted_snapshot_is_copied_as_it_is_by_a_machine_that_can_not_open_it(
    desk, operator, tmp_path
):
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    keys = {
        "backup_age_recipients": str(identity.to_public()),
        "backup_signing_key": SecretStr("s" * 40),
    }
    desk = replace(desk, settings=desk.settings.model_copy(update=keys))
    made = back_up(desk, operator)
    assert made.encrypted
    replication.run(desk, operator)
    assert replication.run(desk, operator, made.id).result["notes"] == []
    ours, theirs = _objects(open_store(desk.settings)), _objects(_second(desk))
    assert theirs == ours and any(key.startswith("images/") for key in theirs)
    assert all(row.complete for row in replication.listing(desk, operator))


def test_pictures_that_snapshots_share_are_sent_once(desk, operator):
    back_up(desk, operator)
    replication.run(desk, operator)
    later = back_up(desk, operator)
    done = replication.run(desk, operator).result
    assert done["copied"] == [later.id]
    own = [part for part in later.components if not part.origin]
    shared = len(later.components) - len(own)
    assert (done["objects"], done["already"]) == (len(own), shared + later.image_count)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from services import monitor, replication
from services.protection.stores import local
left = int(sys.argv[2])
put = local.LocalStore.put
def dying(self, key, source):
    global left
    if "second" in self.url and not key.startswith("desk-check/"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return put(self, key, source)
local.LocalStore.put = dying
sys.exit(replication.main([]))
"""


@pytest.mark.parametrize("after", [0, 2, 5])
def test_a_copy_that_is_killed_is_no_copy_and_the_next_run_goes_on_where_it_was(
    desk, operator, after
):
    made = back_up(desk, operator)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(PROJECT_ROOT), str(after)],
        env={**os.environ, **desk.settings.as_environment()},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL
    assert ids_in(desk, _second(desk)) == set()
    assert replication.listing(desk, operator) == ()
    assert catalog.find(desk, made.id).copied_at is None
    there = len(sizes_in(_second(desk), "data/")) + len(sizes_in(_second(desk), "images/"))
    assert min(after, 3) <= there <= after  # pictures on their way side by side die together
    done = replication.run(desk, operator).result
    assert done["already"] == there
    assert _objects(_second(desk)) == _objects(open_store(desk.settings))


def test_an_object_that_was_altered_over_there_is_found_said_and_sent_again(desk, operator):
    made = back_up(desk, operator)
    replication.run(desk, operator)
    victim = _folder(desk) / made.components[0].key
    sound = victim.read_bytes()
    victim.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert replication.run(desk, operator).result["notes"] == []  # the size is right: not read
    done = replication.run(desk, operator, made.id).result
    assert victim.read_bytes() == sound
    assert "was missing or altered" in done["notes"][0] and made.components[0].name in str(done)
    assert catalog.find(desk, made.id).copied_at


def test_a_picture_that_was_altered_over_there_is_found_too(desk, operator):
    made = back_up(desk, operator)
    replication.run(desk, operator)
    victim = next((_folder(desk) / image_key("default", "")).iterdir())
    sound = victim.read_bytes()
    victim.write_bytes(b"x" * len(sound))
    assert len(replication.run(desk, operator, made.id).result["notes"]) == 1
    assert victim.read_bytes() == sound


def test_what_is_missing_over_there_is_listed_without_asking_the_index(desk, operator):
    made = back_up(desk, operator)
    replication.run(desk, operator)
    (_folder(desk) / made.components[0].key).unlink()
    (row,) = replication.listing(desk, operator)
    assert not row.complete and row.missing == (made.components[0].name,)


def test_what_is_altered_in_the_first_store_never_replaces_a_good_copy(desk, operator):
    made = back_up(desk, operator)
    replication.run(desk, operator)
    good = _objects(_second(desk))
    victim = _folder(desk, "store") / made.components[0].key
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    (_folder(desk) / made.components[0].key).unlink()
    with pytest.raises(Broken, match=r"altered or cut short.*not copied"):
        replication.run(desk, operator, made.id)
    assert good.keys() - _objects(_second(desk)).keys() == {made.components[0].key}
    row = catalog.find(desk, made.id)
    assert "altered" in row.copy_error and row.copied_at is None
    assert "altered" in replication.status(desk, operator).error


def test_one_damaged_snapshot_does_not_keep_the_others_from_being_copied(desk, operator):
    bad = back_up(desk, operator)
    _order(desk, 901)
    good = back_up(desk, operator)
    (_folder(desk, "store") / bad.components[0].key).unlink()
    with pytest.raises(Broken, match="1 of 2 backups could not be copied"):
        replication.run(desk, operator)
    assert ids_in(desk, _second(desk)) == {good.id}
    assert catalog.find(desk, bad.id).copy_error and catalog.find(desk, good.id).copied_at


@pytest.mark.parametrize(
    ("option", "more"), [(["--place", "copy"], ["--place", "copy"]), (["--from", "copy"], [])]
)
def test_with_the_first_store_gone_the_shop_comes_back_from_the_second_and_is_undone_there(
    desk, operator, option, more
):
    made = back_up(desk, operator)
    before = world(desk)
    replication.run(desk, operator)
    shutil.rmtree(_folder(desk, "store"))
    damage(desk)
    damaged = world(desk)
    with closing(sqlite3.connect(desk.settings.instance_dir / "control.db")) as db, db:
        db.execute("DELETE FROM snapshots")  # as on a desk that looked and found nothing
    code, answer, said = _cli(desk, "restore", made.id, "--yes", *option)
    assert (code, answer["state"]) == (0, "succeeded"), said
    assert world(desk) == before
    # The first store is back and empty, and whoever looks into it forgets what lies in neither.
    _folder(desk, "store").mkdir()
    catalog.refresh(desk, open_store(desk.settings))
    offer = restore.undo_offer(desk, operator)
    assert offer is not None and restore._undo(desk, operator, offer).parts
    code, answer, said = _cli(desk, "restore", "--undo", "--yes", *more)
    assert (code, answer["state"]) == (0, "succeeded"), said
    assert world(desk)["database"] == damaged["database"]


def test_a_whole_machine_comes_back_from_the_second_store(desk, operator):
    made = back_up(desk, operator)
    before = world(desk)
    replication.run(desk, operator)
    for lost in (desk.settings.desk_home / "instance", desk.settings.shop_dir):
        shutil.rmtree(lost)
    code, answer, said = _cli(desk, "restore", "--from", "copy", "--fresh", "--yes")
    assert (code, answer["state"], answer["snapshot"]) == (0, "recovered", made.id), said
    assert world(desk) == before


def test_looking_into_the_second_store_forgets_nothing_of_the_first(desk, operator):
    copied = back_up(desk, operator)
    replication.run(desk, operator)
    later = back_up(desk, operator)
    code, _answer, _said = _cli(desk, "restore", "list", "--place", "copy")
    assert code == 0 and catalog.find(desk, later.id).read_back_at
    code, _answer, said = _cli(desk, "restore", later.id, "--dry-run", "--place", "copy")
    assert code == 1 and "no longer in the store" in said
    assert _cli(desk, "restore", copied.id, "--dry-run", "--place", "copy")[0] == 0


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("file:{home}/a", "file:{home}/a", "the same folder"),
        ("file:{home}/a", "file:{home}/link", "the same folder"),
        ("file:{home}/a", "file:{home}/a/b", "inside the first store"),
        ("file:{home}/a/b", "file:{home}/a", "holds the first store"),
        ("s3://bucket/x", "s3://bucket/x/", "the same place"),
        ("s3://bucket", "s3://bucket/x", "inside the first store"),
        ("s3://bucket/x/y", "s3://bucket/x", "holds the first store"),
    ],
)
def test_a_second_store_that_is_the_first_is_refused_in_words(
    ctx, operator, tmp_path, first, second, says
):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    urls = {
        "backup_store_url": first.format(home=tmp_path),
        "backup_copy_url": second.format(home=tmp_path),
    }
    desk = replace(ctx, settings=ctx.settings.model_copy(update=urls))
    with pytest.raises(Misconfigured, match=says):
        replication.run(desk, operator)
    assert says in replication.status(desk, operator).problem[0]


def test_stores_that_only_look_alike_are_two(settings):
    for first, second in (("s3://a/x", "s3://a/xy"), ("s3://a", "s3://b"), ("file:/a", "file:/ab")):
        urls = {"backup_store_url": first, "backup_copy_url": second}
        assert open_store(settings.model_copy(update=urls), place="copy").url == second


def test_a_folder_and_the_server_that_serves_it_are_one_place(desk, to_s3, operator, rclone_server):
    bucket, _, prefix = to_s3.settings.copy_url.removeprefix("s3://").partition("/")
    folder = rclone_server.folder / bucket / prefix
    folder.mkdir(exist_ok=True)
    same = to_s3.settings.model_copy(update={"backup_store_url": f"file:{folder}"})
    there = replace(to_s3, settings=same)
    back_up(there, operator)
    with pytest.raises(Misconfigured, match="leads to the first store under another name"):
        replication.run(there, operator)


def test_without_a_second_store_nothing_is_said_and_a_run_tells_what_to_set(ctx, shop, operator):
    assert replication.status(ctx, operator).url is None
    assert copy_job.after_backup(ctx, lambda _t, _f: None, operator) is None
    with pytest.raises(Misconfigured, match="BACKUP_COPY_URL is not set"):
        replication.run(ctx, operator)


# How long copies stay


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
    _order(desk, 901)
    new = back_up(desk, operator)
    replication.run(desk, operator)
    _prune(desk, old.id)
    clock.forward(days=6)
    assert replication.run(desk, operator).result["removed"] == []
    clock.forward(days=2)
    assert replication.run(desk, operator).result["removed"] == [old.id]
    assert ids_in(desk, _second(desk)) == {new.id}
    kept = {part.key for part in new.components if part.origin == old.id}
    assert sizes_in(_second(desk), f"data/default/{old.id}/").keys() == kept
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
    assert shared <= sizes_in(_second(desk), "data/").keys()
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
    shutil.rmtree(_folder(desk, "store"))
    clock.forward(days=30)
    replication.run(desk, operator)
    assert ids_in(desk, _second(desk)) == {made.id}


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
    assert ids_in(desk, _second(desk)) == set(ids[1:])


def test_what_a_run_that_never_ended_left_is_swept_once_its_snapshot_is_gone(timed, operator):
    desk, clock = timed
    back_up(desk, operator)
    second: LocalStore = _second(desk)
    import io

    key = "data/default/20200101T000000Z-aaaa/database.sqlite3.zst"
    second.put(key, io.BytesIO(b"half"))
    replication.run(desk, operator)
    assert second.stat(key)
    clock.forward(days=2)
    replication.run(desk, operator)
    assert second.stat(key) is None


# At the end of a backup, and from the command line


def _cli(desk: Context, door: str, *arguments: str, **environment: str):
    done = run_door(desk, f"services.{door}", *arguments, "--json", more=environment)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_the_nightly_backup_copies_what_it_made(desk, operator):
    code, answer, _said = _cli(desk, "backup")
    assert (code, answer["state"], answer["copy"]["state"]) == (0, "succeeded", "succeeded")
    assert answer["copy"]["copied"] == [answer["snapshot"]]
    assert replication.status(desk, operator).waiting == 0


def test_a_copy_that_fails_leaves_the_backup_successful_and_says_so(desk, operator):
    _folder(desk).rmdir()
    code, answer, said = _cli(desk, "backup")
    assert answer["state"] == "succeeded" and answer["copy"]["state"] == "failed"
    assert code == 3 and "The backup is made; its copy failed." in said
    assert catalog.find(desk, answer["snapshot"]).read_back_at
    assert replication.status(desk, operator).waiting == 1


def test_the_command_line_copies_proves_and_lists(desk, operator):
    made = back_up(desk, operator)
    code, answer, _said = _cli(desk, "replication")
    assert (code, answer["state"], answer["copied"]) == (0, "succeeded", [made.id])
    code, answer, _said = _cli(desk, "replication", "latest")
    assert (code, answer["objects"]) == (0, 0)
    code, answer, _said = _cli(desk, "replication", "--list")
    assert answer["copies"] == [
        {"complete": True, "error": "", "id": made.id, "missing": [], "only_here": False}
    ]
    code, answer, said = _cli(desk, "replication", "20200101T000000Z-aaaa")
    assert code == 1 and "There is no snapshot" in said


def test_a_copy_is_in_the_audit_log(desk, operator, admin):
    back_up(desk, operator)
    replication.run(desk, operator)
    (event,) = audit.events(desk, admin, AuditFilter(actions=("backup.copy",))).events
    assert event.summary == "Copied 1 backups to the second store"


# What Overview says


def _findings(desk, operator) -> dict[str, str]:
    _facts, posture = monitor.posture(desk, operator)
    return {found.code: f"{found.tone.value}: {found.text}" for found in posture.findings}


def test_overview_warns_of_a_copy_that_failed_and_is_content_once_it_is_there(desk, operator):
    made = back_up(desk, operator)
    assert "copy" not in _findings(desk, operator)  # it may still be on its way
    shutil.move(_folder(desk), away := _folder(desk).with_name("unmounted"))
    with pytest.raises(Misconfigured):
        replication.run(desk, operator)
    later = replace(desk, clock=lambda: datetime.now(UTC) + timedelta(hours=7))
    assert _findings(later, operator)["copy"] == (
        "warning: The newest backup has no copy in the second store."
    )
    shutil.move(away, _folder(desk))
    replication.run(desk, operator)
    assert "copy" not in _findings(later, operator)
    (_folder(desk, "store") / made.components[0].key).unlink()
    (_folder(desk) / made.components[0].key).unlink()
    with pytest.raises(Broken):
        replication.run(desk, operator, made.id)
    assert "The last copy to the second store failed." in _findings(desk, operator)["copy"]


def test_overview_warns_of_a_second_store_that_is_the_first(desk, operator):
    back_up(desk, operator)
    same = desk.settings.model_copy(update={"backup_copy_url": desk.settings.store_url})
    assert "the same folder" in _findings(replace(desk, settings=same), operator)["copy"]
