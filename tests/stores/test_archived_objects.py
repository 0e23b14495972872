"""Objects in S3's archive: what can be read, what has to be asked for, and what may be asked."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from services.core.errors import Archived, Invalid, Misconfigured, Transient
from services.protection.stores import open_store
from services.protection.stores.base import Access, Tier
from services.protection.stores.s3_archive import state_of
from tests.glacier import slow_archive
from tests.servers import S3Server
from tests.stores.faulty import answering

KEY = "data/default/20261101T020000Z-abcd/database.sqlite3.zst"
DATA = b"what was archived"


@pytest.fixture
def archive(moto_server) -> Iterator[S3Server]:
    slow_archive(moto_server, 3)
    yield moto_server
    slow_archive(moto_server, None)


@pytest.fixture
def bucket(archive) -> str:
    return archive.make_bucket()


@pytest.fixture
def store(archive, bucket, s3_settings):
    return open_store(s3_settings(archive, bucket, "desk"))


def archived(archive: S3Server, bucket: str, storage: str = "GLACIER") -> None:
    archive.client().put_object(
        Bucket=bucket, Key=f"desk/{KEY}", Body=io.BytesIO(DATA), StorageClass=storage
    )


@pytest.mark.parametrize("storage", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_object_says_so_and_reading_it_says_how_to_bring_it_back(
    store, archive, bucket, storage
):
    archived(archive, bucket, storage)
    assert [found.storage for found in store.list("data/")] == [storage]
    assert store.stat(KEY).storage == storage
    assert store.archive_state(KEY).access is Access.ARCHIVED
    with pytest.raises(Archived) as caught, store.open(KEY):
        pass
    assert "retrieve 20261101T020000Z-abcd" in caught.value.hint
    assert "database.sqlite3.zst of the snapshot 20261101T020000Z-abcd" in caught.value.message


@pytest.mark.parametrize("storage", ["GLACIER_IR", "STANDARD_IA", "ONEZONE_IA"])
def test_a_cheaper_class_that_is_no_archive_is_read_at_once(store, archive, bucket, storage):
    archived(archive, bucket, storage)
    state = store.archive_state(KEY)
    assert (state.access, state.storage, state.ready_until) == (Access.READABLE, storage, None)
    with store.open(KEY) as stream:
        assert stream.read() == DATA


def test_what_is_asked_for_comes_back_after_a_while_and_until_when_is_said(store, archive, bucket):
    archived(archive, bucket)
    store.request_retrieval(KEY, Tier.STANDARD, 3)
    assert store.archive_state(KEY).access is Access.RETRIEVING
    store.request_retrieval(KEY, Tier.BULK, 3)  # asking again is fine
    states = [store.archive_state(KEY) for _ in range(6)]
    ready = states[-1]
    assert ready.access is Access.READABLE
    assert abs(ready.ready_until - datetime.now(UTC) - timedelta(days=3)) < timedelta(hours=1)
    with store.open(KEY) as stream:
        assert stream.read() == DATA


def test_a_copy_that_is_there_can_be_kept_longer(store, archive, bucket):
    slow_archive(archive, None)
    archived(archive, bucket)
    for days in (1, 9):
        store.request_retrieval(KEY, Tier.STANDARD, days)
    left = store.archive_state(KEY).ready_until - datetime.now(UTC)
    assert timedelta(days=8) < left <= timedelta(days=9)


def test_the_deepest_archive_is_not_asked_for_an_expedited_retrieval(store, archive, bucket):
    archived(archive, bucket, "DEEP_ARCHIVE")
    with pytest.raises(Invalid, match="no expedited"):
        store.request_retrieval(KEY, Tier.EXPEDITED, 3)
    assert store.archive_state(KEY).access is Access.ARCHIVED


def test_the_header_is_read_in_every_form_it_takes():
    head = {"StorageClass": "GLACIER"}
    date = {"ResponseMetadata": {"HTTPHeaders": {"date": "Sun, 22 Nov 2026 09:00:00 GMT"}}}
    until = 'ongoing-request="false", expiry-date="Fri, 27 Nov 2026 00:00:00 GMT"'
    gone = 'ongoing-request="false", expiry-date="Fri, 20 Nov 2026 00:00:00 GMT"'
    assert state_of(head).access is Access.ARCHIVED
    assert state_of(head | {"Restore": 'ongoing-request="true"'}).access is Access.RETRIEVING
    assert state_of(head | date | {"Restore": until}).ready_until == datetime(
        2026, 11, 27, tzinfo=UTC
    )
    # A server that still shows an old header: its own clock decides, not this machine's.
    assert state_of(head | date | {"Restore": gone}).access is Access.ARCHIVED
    for nonsense in ("", "?", 'ongoing-request="false", expiry-date="soon"'):
        assert state_of(head | {"Restore": nonsense}).access is Access.ARCHIVED
    tiering = {"StorageClass": "INTELLIGENT_TIERING"}
    assert state_of(tiering).access is Access.READABLE
    assert state_of(tiering | {"ArchiveStatus": "ARCHIVE_ACCESS"}).access is Access.ARCHIVED


@pytest.mark.parametrize(
    ("code", "status", "kind", "says"),
    [
        ("RestoreAlreadyInProgress", 409, None, ""),
        ("GlacierExpeditedRetrievalNotAvailable", 503, Transient, "no capacity for expedited"),
        ("NotImplemented", 501, Misconfigured, "can't bring objects back"),
        ("AccessDenied", 403, Misconfigured, "forbids"),
        ("NoSuchKey", 404, KeyError, KEY),
    ],
)
def test_every_answer_to_asking_is_understood(quick_store, code, status, kind, says):
    def respond(method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        if method == "HEAD":
            return 200, {"x-amz-storage-class": "GLACIER", "Content-Length": "5"}, b""
        return status, {}, f"<Error><Code>{code}</Code></Error>".encode()

    with answering(respond) as server:
        store = quick_store(server)
        if kind is None:
            store.request_retrieval(KEY, Tier.STANDARD, 3)
            return
        with pytest.raises(kind, match=says):
            store.request_retrieval(KEY, Tier.STANDARD, 3)
