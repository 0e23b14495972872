"""The second copy: complete or absent, and proven on both sides."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from services import replication
from services.core.context import Context
from services.core.errors import Broken, Misconfigured
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.protection.index import catalog
from services.protection.manifest import image_key
from services.protection.replication import job as copy_job
from services.protection.replication.listing import ids_in, sizes_in
from services.protection.stores import open_store
from tests.faults.scene import back_up
from tests.services.second_store import (
    desk_with_copy,
    folder_of,
    objects_in,
    place_order,
    second_store,
)


@pytest.fixture
def desk(ctx: Context, shop: Path) -> Context:
    return desk_with_copy(ctx)


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


def test_every_stored_byte_arrives_in_a_bucket_and_a_second_run_sends_nothing(to_s3, operator):
    first = back_up(to_s3, operator)
    place_order(to_s3, 901)
    second = back_up(to_s3, operator)
    done = replication.run(to_s3, operator).result
    assert set(done["copied"]) == {second.id, first.id}
    ours, theirs = objects_in(open_store(to_s3.settings)), objects_in(second_store(to_s3))
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
    ours, theirs = objects_in(open_store(desk.settings)), objects_in(second_store(desk))
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
    assert ids_in(desk, second_store(desk)) == set()
    assert replication.listing(desk, operator) == ()
    assert catalog.find(desk, made.id).copied_at is None
    there = len(sizes_in(second_store(desk), "data/")) + len(
        sizes_in(second_store(desk), "images/")
    )
    assert min(after, 3) <= there <= after  # pictures on their way side by side die together
    done = replication.run(desk, operator).result
    assert done["already"] == there
    assert objects_in(second_store(desk)) == objects_in(open_store(desk.settings))


def test_an_object_that_was_altered_over_there_is_found_said_and_sent_again(desk, operator):
    made = back_up(desk, operator)
    replication.run(desk, operator)
    victim = folder_of(desk) / made.components[0].key
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
    victim = next((folder_of(desk) / image_key("default", "")).iterdir())
    sound = victim.read_bytes()
    victim.write_bytes(b"x" * len(sound))
    assert len(replication.run(desk, operator, made.id).result["notes"]) == 1
    assert victim.read_bytes() == sound


def test_what_is_missing_over_there_is_listed_without_asking_the_index(desk, operator):
    made = back_up(desk, operator)
    replication.run(desk, operator)
    (folder_of(desk) / made.components[0].key).unlink()
    (row,) = replication.listing(desk, operator)
    assert not row.complete and row.missing == (made.components[0].name,)


def test_what_is_altered_in_the_first_store_never_replaces_a_good_copy(desk, operator):
    made = back_up(desk, operator)
    replication.run(desk, operator)
    good = objects_in(second_store(desk))
    victim = folder_of(desk, "store") / made.components[0].key
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    (folder_of(desk) / made.components[0].key).unlink()
    with pytest.raises(Broken, match=r"altered or cut short.*not copied"):
        replication.run(desk, operator, made.id)
    assert good.keys() - objects_in(second_store(desk)).keys() == {made.components[0].key}
    row = catalog.find(desk, made.id)
    assert "altered" in row.copy_error and row.copied_at is None
    assert "altered" in replication.status(desk, operator).error


def test_one_damaged_snapshot_does_not_keep_the_others_from_being_copied(desk, operator):
    bad = back_up(desk, operator)
    place_order(desk, 901)
    good = back_up(desk, operator)
    (folder_of(desk, "store") / bad.components[0].key).unlink()
    with pytest.raises(Broken, match="1 of 2 backups could not be copied"):
        replication.run(desk, operator)
    assert ids_in(desk, second_store(desk)) == {good.id}
    assert catalog.find(desk, bad.id).copy_error and catalog.find(desk, good.id).copied_at


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
