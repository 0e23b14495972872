"""Encryption at rest by the S3 server: asked for as configured, and believed by its answer only."""

from __future__ import annotations

import io
import random
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import md5
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from services.core.errors import Broken, Misconfigured
from services.protection.stores import open_store
from services.protection.stores.probes import clock_ahead, conditional_writes
from services.protection.stores.s3 import S3Store
from services.protection.stores.s3_client import S3Place, place_of
from services.protection.stores.s3_encryption import asked_for, compared, require_done
from tests.servers import ACCESS_KEY, SECRET_KEY
from tests.stores.faulty import answering

SMALL, LARGE = b"small", random.Random(1).randbytes(9 << 20)  # one request, and several parts


@pytest.fixture
def bucket(moto_server) -> str:
    return moto_server.make_bucket()


@pytest.fixture
def kms_key(moto_server) -> str:
    """The ARN of a key."""
    import boto3

    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
    client = session.client("kms", endpoint_url=moto_server.endpoint)
    return client.create_key()["KeyMetadata"]["Arn"]


def head(server: Any, bucket: str, key: str) -> dict[str, Any]:
    return server.client().head_object(Bucket=bucket, Key=key)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "parts"])
@pytest.mark.parametrize("named", ["arn", "id", "default"])
def test_an_object_is_encrypted_with_the_kms_key_that_was_named(
    moto_server, s3_settings, bucket, kms_key, data, named
):
    key = {"arn": kms_key, "id": kms_key.rpartition("/")[2], "default": None}[named]
    store = open_store(
        s3_settings(moto_server, bucket, backup_s3_encryption="sse-kms", backup_s3_kms_key=key)
    )
    store.put("data/x", io.BytesIO(data))
    found = head(moto_server, bucket, "data/x")
    assert found["ServerSideEncryption"] == "aws:kms"
    assert key is None or found["SSEKMSKeyId"].endswith(key.rpartition("/")[2])
    with store.open("data/x") as stream:
        assert stream.read() == data


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "parts"])
@pytest.mark.parametrize(("mode", "says"), [("sse-s3", "AES256"), ("none", None), ("auto", None)])
def test_an_object_is_encrypted_as_configured_and_auto_asks_only_amazon(
    moto_server, s3_settings, bucket, data, mode, says
):
    store = open_store(s3_settings(moto_server, bucket, backup_s3_encryption=mode))
    store.put("data/x", io.BytesIO(data))
    found = head(moto_server, bucket, "data/x").get("ServerSideEncryption")
    assert found == says or (says is None and found in (None, "AES256"))


@pytest.mark.parametrize("mode", ["none", "auto"])
def test_a_server_that_knows_no_encryption_works_without(rclone_server, s3_settings, mode):
    bucket = rclone_server.make_bucket()
    store = open_store(s3_settings(rclone_server, bucket, backup_s3_encryption=mode))
    store.check()
    store.put("data/x", io.BytesIO(LARGE))
    with store.open("data/x") as stream:
        assert stream.read() == LARGE


@pytest.mark.parametrize(
    ("mode", "headers", "said"),
    [
        ("sse-s3", {}, "not at all"),
        ("sse-kms", {}, "not at all"),
        ("sse-kms", {"x-amz-server-side-encryption": "AES256"}, "as AES256"),
        (
            "sse-kms",
            {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu:1:key/other",
            },
            "with the key arn:aws:kms:eu:1:key/other",
        ),
    ],
)
def test_a_server_that_does_something_else_than_asked_keeps_no_object(
    quick_store, mode, headers, said
):
    """It takes the header, and what it says of the object is another matter."""
    stored = set()

    def respond(method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        if method == "PUT":
            stored.add(path)
        elif method == "DELETE":
            stored.discard(path)
        elif method == "HEAD":
            dated = {"Last-Modified": "Sun, 22 Nov 2026 09:00:00 GMT"}
            return 200, {"Content-Length": str(len(SMALL)), **dated, **headers}, b""
        return 200, {}, b""

    with answering(respond) as server:
        key = "wanted" if mode == "sse-kms" else None
        store = quick_store(server, backup_s3_encryption=mode, backup_s3_kms_key=key)
        with pytest.raises(Broken, match=f"encrypted {said}; the object was removed") as refused:
            store.put("data/x", io.BytesIO(SMALL))
    assert "BACKUP_S3_ENCRYPTION" in refused.value.hint
    assert not stored


@pytest.mark.parametrize(
    ("asked", "answer", "fits"),
    [
        ({}, {}, True),
        ({"ServerSideEncryption": "AES256"}, {"ServerSideEncryption": "AES256"}, True),
        ({"ServerSideEncryption": "AES256"}, {"ServerSideEncryption": "aws:kms"}, False),
        ({"ServerSideEncryption": "aws:kms"}, {"ServerSideEncryption": "AES256"}, False),
        ({"ServerSideEncryption": "aws:kms"}, {}, False),
        (("k1",), ("arn:aws:kms:eu:1:key/k1",), True),
        (("arn:aws:kms:eu:1:key/k1",), ("arn:aws:kms:eu:1:key/k1",), True),
        (("k1",), ("arn:aws:kms:eu:1:key/k2",), False),
        (("k1",), ("",), False),
        (("alias/shop",), ("arn:aws:kms:eu:1:key/k1",), True),
        (("alias/shop",), ("",), False),
    ],
)
def test_what_the_server_says_is_held_against_what_was_asked(asked, answer, fits):
    def full(value: Any) -> dict[str, Any]:
        if isinstance(value, tuple):
            return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": value[0]}
        return value

    if fits:
        require_done(full(asked), full(answer), "data/x", "s3://b")
    else:
        with pytest.raises(Broken, match="the object was removed"):
            require_done(full(asked), full(answer), "data/x", "s3://b")


def test_which_key_an_alias_stands_for_is_asked_and_otherwise_said_to_be_unknown(
    moto_server, rclone_server, s3_settings, bucket, kms_key
):
    import boto3

    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
    alias = f"alias/{bucket}"
    kms = session.client("kms", endpoint_url=moto_server.endpoint)
    kms.create_alias(AliasName=alias, TargetKeyId=kms_key)
    other = kms.create_key()["KeyMetadata"]["Arn"]

    def held_against(server: Any, found: str) -> bool | None:
        more = {"backup_s3_encryption": "sse-kms", "backup_s3_kms_key": alias}
        settings = s3_settings(server, bucket, **more)
        return compared(settings, place_of(settings), found)

    assert held_against(moto_server, kms_key) is held_against(moto_server, alias) is True
    assert held_against(moto_server, other) is False
    assert held_against(rclone_server, kms_key) is None


def test_amazon_is_asked_for_its_own_encryption_by_default(s3_settings, moto_server):
    settings = s3_settings(moto_server, "b")
    assert asked_for(settings, S3Place("b", "")) == {"ServerSideEncryption": "AES256"}
    assert asked_for(settings, S3Place("b", "", endpoint="http://127.0.0.1:9")) == {}


def test_a_kms_key_that_can_not_be_used_is_said_in_words(quick_store, moto_server):
    from botocore.exceptions import ClientError

    from services.protection.stores.s3_client import s3_errors

    answer = {"Error": {"Code": "KMS.DisabledException"}, "ResponseMetadata": {}}
    with (
        pytest.raises(Misconfigured, match=r"KMS key .*KMS\.DisabledException") as refused,
        s3_errors(S3Place("b", "")),
    ):
        raise ClientError(answer, "PutObject")
    assert "BACKUP_S3_KMS_KEY" in refused.value.hint


def test_whether_a_store_honours_conditional_writes_is_found_out_and_leaves_nothing(
    moto_server, rclone_server, s3_settings, settings
):
    honours = open_store(s3_settings(moto_server, moto_server.make_bucket()))
    ignores = open_store(s3_settings(rclone_server, rclone_server.make_bucket()))
    folder = open_store(settings)
    assert conditional_writes(honours) is True
    assert conditional_writes(ignores) is False
    assert conditional_writes(folder) is None
    for store in (honours, ignores):
        assert list(store.list("")) == []


@pytest.mark.parametrize("hours", [-3, 0, 3])
def test_a_clock_that_is_wrong_is_told_by_how_much_and_which_way(store, hours):
    skew = timedelta(hours=hours)
    ahead = clock_ahead(store, lambda: datetime.now(UTC) + skew)
    assert abs(ahead - skew) < timedelta(seconds=30)
    assert list(store.list("")) == []


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _uploads_of(store: S3Store, data: bytes) -> list[dict[str, str]]:
    """Headers of each upload that a store sends; nothing leaves this machine."""
    sent: list[dict[str, str]] = []

    def answer(request: Any, **_more: Any) -> AWSResponse:
        told = {"Last-Modified": "Sun, 22 Nov 2026 09:00:00 GMT", "ETag": "x"}
        body = b"<I><UploadId>u</UploadId></I>" if request.method == "POST" else b""
        if request.method == "PUT":
            # botocore gives some of them as bytes.
            sent.append({name.lower(): _text(value) for name, value in request.headers.items()})
        elif request.method == "HEAD":
            told |= {"Content-Length": str(len(data)), "x-amz-server-side-encryption": "AES256"}
        raw = SimpleNamespace(stream=lambda **_more: iter([body]))
        return AWSResponse(request.url, 200, told, raw)

    events = store._client.meta.events
    events.register("before-send.s3", answer, "answer")
    try:
        store.put("data/x", io.BytesIO(data))
    finally:
        events.unregister("before-send.s3", unique_id="answer")
    return sent


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "parts"])
def test_every_upload_carries_the_checksum_that_object_lock_demands(
    s3_settings, moto_server, monkeypatch, data
):
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    settings = s3_settings(moto_server, "locked")
    elsewhere = _uploads_of(
        S3Store(S3Place("locked", "", endpoint="http://[::1]:9"), settings), data
    )
    assert len(elsewhere) == (1 if data is SMALL else 2)
    parts = [data] if data is SMALL else [data[: 8 << 20], data[8 << 20 :]]
    digests = {b64encode(md5(part).digest()).decode() for part in parts}
    assert {headers["content-md5"] for headers in elsewhere} == digests
    amazon = _uploads_of(S3Store(S3Place("locked", "", region="eu-central-1"), settings), data)
    assert len(amazon) == len(elsewhere)
    assert all("x-amz-checksum-crc32" in str(headers) for headers in amazon)
