"""What every store must do, whatever lies behind it."""

from __future__ import annotations

import hashlib
import io
import random
from datetime import UTC, datetime, timedelta

import pytest

from services.core.errors import Invalid
from services.protection.stores.base import Access, ArchiveState, Store, Tier

MIB = 1 << 20
BIG = 17 * MIB + 3
"""More than two parts of a multipart upload, and no whole number of them."""


class Dribble:
    """A source that gives fewer bytes than it is asked for, as a pipe does."""

    def __init__(self, data: bytes) -> None:
        self.left = memoryview(data)
        self.random = random.Random(5)

    def read(self, size: int = -1, /) -> bytes:
        count = min(self.random.randint(1, 100_000), size if size >= 0 else 100_000)
        piece, self.left = bytes(self.left[:count]), self.left[count:]
        return piece


class Fails:
    """A source that fails after some bytes, as a dying database dump does."""

    def __init__(self, after: int) -> None:
        self.left = after

    def read(self, size: int = -1, /) -> bytes:
        if self.left <= 0:
            raise ValueError("the source failed")
        piece = b"x" * min(size, self.left)
        self.left -= len(piece)
        return piece


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def get(store: Store, key: str) -> bytes:
    pieces = []
    with store.open(key) as stream:
        while piece := stream.read(300_000):
            pieces.append(piece)
    return b"".join(pieces)


def keys(store: Store, prefix: str = "") -> list[str]:
    return [found.key for found in store.list(prefix)]


def test_check_passes_where_all_is_well_and_leaves_nothing(store):
    store.check()
    assert keys(store) == []


@pytest.mark.parametrize("size", [0, 1, MIB, 8 * MIB, BIG])
def test_what_is_put_comes_back_and_is_listed_with_its_size(store, size):
    data = content(size)
    stored = store.put("data/default/a/thing.zst", io.BytesIO(data))
    assert (stored.key, stored.size) == ("data/default/a/thing.zst", size)
    assert hashlib.sha256(get(store, stored.key)).digest() == hashlib.sha256(data).digest()
    assert store.stat(stored.key).size == size
    assert [(found.key, found.size) for found in store.list("data/")] == [(stored.key, size)]


def test_the_time_of_an_object_is_now_and_has_a_zone(store):
    stored = store.put("manifests/one.json", io.BytesIO(b"{}"))
    assert stored.modified.tzinfo is UTC
    assert abs(datetime.now(UTC) - stored.modified) < timedelta(minutes=1)


def test_a_source_that_reads_short_is_stored_whole(store):
    data = content(BIG)
    assert store.put("data/pipe", Dribble(data)).size == BIG
    assert get(store, "data/pipe") == data


@pytest.mark.parametrize("after", [0, 10, 9 * MIB, BIG])
def test_a_source_that_fails_passes_its_error_on_and_leaves_nothing(store, after):
    with pytest.raises(ValueError, match="the source failed"):
        store.put("data/x", Fails(after))
    assert store.stat("data/x") is None
    assert keys(store) == []


@pytest.mark.parametrize("after", [10, 9 * MIB])
def test_a_failed_overwrite_leaves_the_old_object_as_it_was(store, after):
    store.put("data/x", io.BytesIO(b"old"))
    with pytest.raises(ValueError):
        store.put("data/x", Fails(after))
    assert get(store, "data/x") == b"old"


def test_overwriting_replaces_all_of_it(store):
    store.put("data/x", io.BytesIO(content(BIG)))
    store.put("data/x", io.BytesIO(b"new"))
    assert get(store, "data/x") == b"new"
    assert store.stat("data/x").size == 3


def test_keys_come_in_byte_order_and_only_below_the_prefix(store):
    wanted = ["a-b/1", "a/b/2", "a/c", "a0", "b", "manifests/2", "manifests/10", "manifests2/1"]
    for key in random.Random(1).sample(wanted, len(wanted)):
        store.put(key, io.BytesIO(b"x"))
    assert keys(store) == sorted(wanted, key=str.encode)
    assert keys(store, "a/") == ["a/b/2", "a/c"]
    assert keys(store, "a") == ["a-b/1", "a/b/2", "a/c", "a0"]
    assert keys(store, "manifests/") == ["manifests/10", "manifests/2"]
    assert keys(store, "none/") == []


@pytest.mark.parametrize(
    "key",
    [
        "images/default/with a space and + % & ? #.png",
        "images/default/größe → 服装.png",
        "images/default/quote'\"<&>.png",
        "images/default/..hidden",
    ],
)
def test_any_reasonable_name_works_everywhere(store, key):
    store.put(key, io.BytesIO(b"picture"))
    assert get(store, key) == b"picture"
    assert keys(store, "images/") == [key]
    store.delete(key)
    assert keys(store) == []


def test_names_that_differ_only_in_accents_written_otherwise_are_two_objects(store):
    store.put("images/\u00e9", io.BytesIO(b"one"))
    store.put("images/e\u0301", io.BytesIO(b"two"))
    assert get(store, "images/\u00e9") == b"one"


def test_deleting_is_final_and_deleting_again_is_no_error(store):
    store.put("data/x", io.BytesIO(b"x"))
    store.put("data/xy", io.BytesIO(b"y"))
    for _ in range(2):
        store.delete("data/x")
    assert store.stat("data/x") is None
    assert keys(store) == ["data/xy"]


def test_an_object_that_is_not_there_is_a_key_error_and_no_stat(store):
    store.put("data/x/y", io.BytesIO(b"x"))
    for key in ("data/none", "none", "data/x", "data/x/y/z"):
        assert store.stat(key) is None
        with pytest.raises(KeyError), store.open(key):
            pass
    assert keys(store) == ["data/x/y"]


def test_reading_part_of_an_object_and_leaving_is_fine(store):
    store.put("data/x", io.BytesIO(content(BIG)))
    with store.open("data/x") as stream:
        assert stream.read(10) == content(BIG)[:10]
    assert store.stat("data/x").size == BIG


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../outside",
        "data/../../outside",
        "data/./x",
        "data//x",
        "data/",
        "data/nul\0",
        "data/line\nbreak",
        "data\\x",
        "data/" + "x" * 256,
        "/".join(["x" * 200] * 5),
        "data/\ud800",
    ],
)
def test_a_name_that_could_lead_elsewhere_is_refused_before_anything_happens(store, key):
    for use in (
        lambda: store.put(key, io.BytesIO(b"x")),
        lambda: store.open(key).__enter__(),
        lambda: store.stat(key),
        lambda: store.delete(key),
    ):
        with pytest.raises(Invalid, match="can't be the name"):
            use()
    assert keys(store) == []


def test_a_store_says_of_every_object_its_class_and_that_it_can_be_read(store):
    stored = store.put("data/x", io.BytesIO(b"x"))
    assert stored.storage == "STANDARD"
    assert [found.storage for found in store.list("data/")] == ["STANDARD"]
    assert store.archive_state("data/x") == ArchiveState(Access.READABLE)


@pytest.mark.parametrize("tier", Tier)
def test_asking_for_what_is_no_archive_is_no_error_and_changes_nothing(store, tier):
    store.put("data/x", io.BytesIO(b"x"))
    store.request_retrieval("data/x", tier, 3)
    assert store.archive_state("data/x") == ArchiveState(Access.READABLE)
    assert get(store, "data/x") == b"x"


def test_an_object_that_is_not_there_has_no_place_in_an_archive(store):
    store.put("data/x/y", io.BytesIO(b"x"))
    for ask in (store.archive_state, lambda key: store.request_retrieval(key, Tier.BULK, 1)):
        with pytest.raises(KeyError):
            ask("data/x/none")
        with pytest.raises(Invalid):
            ask("../outside")
