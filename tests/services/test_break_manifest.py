"""Whoever can write to the store can write a manifest: none of these is taken."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services import backup, restore
from services.core import jobs
from services.core.context import Context
from services.core.errors import DeskError
from services.protection.rescue import live as live_file
from tests.drills import desk_as_left
from tests.faults.scene import EVERYTHING, furnish, leftovers, world

Change = Callable[[dict[str, Any]], object]


class Bucket:
    """The files of one real snapshot, which somebody rewrites."""

    def __init__(self, ctx, operator, snapshot: str) -> None:
        self.ctx, self.operator, self.id = ctx, operator, snapshot
        self.root = ctx.settings.instance_dir / "backups"
        self.manifest = self.root / f"manifests/default/{self.id}.json"
        self.good = json.loads(self.manifest.read_text())

    def rewrite(self, change: Change) -> None:
        values = copy.deepcopy(self.good)
        change(values)
        self.lay(json.dumps(values).encode())

    def lay(self, data: bytes) -> None:
        """What is in the store, to a desk that never saw the real one."""
        self.manifest.write_bytes(data)
        with self.ctx.control.begin() as connection:
            connection.exec_driver_sql("DELETE FROM snapshots")

    def list_pictures(self, data: bytes) -> None:
        """Another list of pictures, with digests that fit it."""
        (self.root / f"data/default/{self.id}/images.json").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()

        def change(values: dict[str, Any]) -> None:
            (mine,) = (one for one in values["components"] if one["name"] == "images.json")
            mine |= {"plain_bytes": len(data), "stored_bytes": len(data)}
            mine |= {"plain_sha256": digest, "stored_sha256": digest}

        self.rewrite(change)

    def refused(self) -> str:
        """Try to use it all the way; gives what was said."""
        unreadable = backup.refresh(self.ctx, self.operator).unreadable
        if unreadable:
            assert backup.snapshots(self.ctx, self.operator).total == 0
            return unreadable[self.id]
        with pytest.raises(DeskError) as said:
            plan = restore.preview(self.ctx, self.operator, self.id, EVERYTHING)
            restore.run(self.ctx, self.operator, plan, plan.word)
        return str(said.value)


@pytest.fixture
def snapshot(tmp_path, tmp_path_factory, operator) -> str:
    """A desk and its one backup, as the backup door made it."""

    def make(ctx: Context) -> str:
        furnish(ctx, vectors=True)
        made = backup.run(ctx, operator).result
        assert made is not None
        return str(made["snapshot"])

    return desk_as_left(tmp_path, tmp_path_factory, "backed up by its door", make)


@pytest.fixture
def bucket(snapshot, ctx, operator, monkeypatch) -> Bucket:
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.02)
    return Bucket(ctx, operator, snapshot)


def _component(**values: object) -> Change:
    return lambda manifest: manifest["components"][0].update(values)


def _every(**values: object) -> Change:
    return lambda manifest: [one.update(values) for one in manifest["components"]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_component(name="../../x"), "'name' does not have the form"),
        (_component(name=".."), "'name' does not have the form"),
        (_component(name="a\nb"), "'name' does not have the form"),
        (_component(key="/etc/passwd"), "points outside its snapshot"),
        (_component(key="data/eu/20200101T000000Z-aaaa/x"), "points outside its snapshot"),
        (lambda m: m.update(instance="eu"), "points outside its snapshot"),
        (lambda m: m.update(instance="eu", components=[]), "says that it is eu/"),
        (_component(plain_bytes=10**400), "not a number of things"),
        (_component(plain_bytes=-1), "not a number of things"),
        (_component(plain_bytes=True), "not a number of things"),
        (_component(plain_bytes=2**62), "needs .* nothing was started"),
        (_component(stored_bytes=2**62), "cut short"),
        (_every(plain_bytes=2**62, stored_bytes=2**62), "larger than anything"),
        (_component(encryption="rot13"), "does not know"),
        (lambda m: m.update(created_at="9999-12-31T23:59:59+00:00"), "not that of its name"),
        (lambda m: m.update(created_at="0001-01-01T00:00:00+14:00"), "is not a time"),
        (lambda m: m.update(reason="x" * 1_000_000), "very long"),
        (lambda m: m.update(notes=["\ud800"]), "not valid JSON"),
        (lambda m: m["tables"].pop("orders"), "not what its manifest says"),
        (lambda m: m["tables"]["orders"].update(digest="0" * 64), "not what its manifest says"),
        (lambda m: m.update(more=1), "'more' is missing or unknown"),
        (lambda m: m.update(format=3), "format 3"),
    ],
)
def test_a_hostile_manifest_is_refused_and_changes_nothing(bucket, change, said):
    before = world(bucket.ctx)
    bucket.rewrite(change)
    assert re.search(said, bucket.refused())
    assert world(bucket.ctx) == before and leftovers(bucket.ctx) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 200_000 + b"]" * 200_000,
        b'{"format": 1, "extra": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
        b'{"format": ' + b"9" * 5000 + b"}",
        b'{"format": 1, "format": 1}',
        b'{"format": NaN}',
        b"\xff\xfe{}",
        b" " * 17_000_000,
    ],
    ids=["empty", "deep", "deep inside", "digits", "twice", "NaN", "bytes", "large"],
)
def test_what_is_no_manifest_is_refused_by_name(bucket, data):
    bucket.lay(data)
    assert "can't be used" in bucket.refused()


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.png",
        "/tmp/evil.png",
        "a\0b",
        ".",
        "",
        "a//b",
        "a/./b",
        "x" * 300,
        "\ud800",
        "1/2",
    ],
)
def test_a_list_of_pictures_that_leads_elsewhere_is_refused(bucket, name):
    listed = bucket.root / f"data/default/{bucket.id}/images.json"
    digest = next(iter(json.loads(listed.read_text()).values()))
    before = world(bucket.ctx)
    bucket.list_pictures(json.dumps({"1": digest, name: digest}).encode())
    assert "names a picture that no folder can hold" in bucket.refused()
    assert world(bucket.ctx) == before and leftovers(bucket.ctx) == []
    assert not Path("/tmp/evil.png").exists()


@pytest.mark.parametrize("data", [b"[1]", b"[" * 100_000, b"\xff\xfe", b'{"x.png": "ABC"}'])
def test_what_is_no_list_of_pictures_is_refused(bucket, data):
    bucket.list_pictures(data)
    assert "is no list of pictures" in bucket.refused()


def test_a_manifest_that_changes_after_it_was_seen_starts_no_restore(bucket):
    values = copy.deepcopy(bucket.good) | {"reason": "another"}
    bucket.manifest.write_text(json.dumps(values))
    with pytest.raises(DeskError, match="altered since the desk first saw it"):
        restore.preview(bucket.ctx, bucket.operator, bucket.id, EVERYTHING)
    assert jobs.recent(bucket.ctx, ("restore",)) == []
