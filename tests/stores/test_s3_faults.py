"""What an S3 store says and leaves behind when the server or the line fails."""

from __future__ import annotations

import io
import random
import traceback
from datetime import timedelta

import pytest

from services.core.errors import Archived, Broken, DeskError, Misconfigured, Transient
from services.protection.stores import open_store, s3_client
from services.protection.stores.s3 import S3Store
from services.protection.stores.s3_client import Patience
from tests.servers import ACCESS_KEY, MOTO_PAGE, SECRET_KEY
from tests.stores.conftest import NO_PATIENCE, QUICK
from tests.stores.faulty import Line, answering, closed_port, silent

MIB = 1 << 20


def uses(store):
    """Every way to use a store."""
    return [
        store.check,
        lambda: store.put("data/x", io.BytesIO(b"x")),
        lambda: store.put("data/x", io.BytesIO(bytes(9 * MIB))),
        lambda: store.open("data/x").__enter__(),
        lambda: store.stat("data/x"),
        lambda: list(store.list("")),
        lambda: store.delete("data/x"),
    ]


def pending_uploads(server, bucket):
    return server.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])


def test_an_absent_bucket_is_named_and_never_looks_like_an_empty_store(quick_store, s3_server):
    for use in uses(quick_store(s3_server, "no-such-bucket")):
        with pytest.raises(Misconfigured, match="no bucket no-such-bucket") as caught:
            use()
        assert "BACKUP_STORE_URL" in caught.value.hint


@pytest.mark.parametrize("key_id", [ACCESS_KEY, "WRONGKEY99"])
def test_wrong_credentials_are_said_and_never_shown(quick_store, rclone_server, key_id):
    wrong = {"aws_access_key_id": key_id, "aws_secret_access_key": "wrong-hunter2-secret"}
    for use in uses(quick_store(rclone_server, rclone_server.make_bucket(), **wrong)):
        with pytest.raises(Misconfigured, match="credentials|forbids") as caught:
            use()
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_is_gone_is_transient_and_named(quick_store):
    server = closed_port()
    for use in uses(quick_store(server)):
        with pytest.raises(Transient, match="did not answer") as caught:
            use()
        assert server.endpoint in caught.value.message
        assert SECRET_KEY not in str(caught.value)


def test_a_server_that_never_answers_is_given_up(quick_store):
    with silent() as server:
        for use in uses(quick_store(server, patience=NO_PATIENCE)):
            with pytest.raises(Transient, match="did not answer"):
                use()


@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (403, "AccessDenied", Misconfigured, "forbids"),
        (403, "InvalidAccessKeyId", Misconfigured, "credentials"),
        (403, "SignatureDoesNotMatch", Misconfigured, "credentials"),
        (400, "ExpiredToken", Misconfigured, "credentials"),
        (403, "RequestTimeTooSkewed", Misconfigured, "clock"),
        (400, "AuthorizationHeaderMalformed", Misconfigured, "region"),
        (501, "NotImplemented", Transient, "could not do it now"),
        (500, "InternalError", Transient, "could not do it now"),
        (503, "SlowDown", Transient, "could not do it now"),
        (429, "TooManyRequests", Transient, "could not do it now"),
        (403, "InvalidObjectState", Archived, "archive"),
        (404, "NoSuchBucket", Misconfigured, "no bucket"),
        (418, "Teapot", Misconfigured, "refused"),
    ],
)
def test_each_refusal_becomes_words_that_hold_nothing_of_the_servers_own(
    quick_store, status, code, kind, said
):
    body = f"<Error><Code>{code}</Code><Message>echo hunter2</Message></Error>".encode()
    with answering(lambda _method, _path: (status, {"Content-Type": "application/xml"}, body)) as s:
        for use in uses(quick_store(s))[1:4]:
            with pytest.raises(kind, match=said) as caught:
                use()
            assert code in caught.value.message
            assert "hunter2" not in str(caught.value)
            assert caught.value.hint


def test_a_server_that_redirects_everything_is_said_to(quick_store):
    with answering(lambda _method, _path: (301, {"Location": "https://example.org"}, b"")) as s:
        for use in uses(quick_store(s)):
            with pytest.raises(Misconfigured, match="elsewhere|region"):
                use()


def test_something_that_is_not_s3_at_all_is_refused(quick_store):
    page = b"<!doctype html><title>Welcome</title>"
    with answering(lambda _method, _path: (200, {"Content-Type": "text/html"}, page)) as server:
        for use in uses(quick_store(server))[:3]:
            with pytest.raises(DeskError) as caught:
                use()
            assert caught.value.hint


def test_a_server_that_keeps_less_than_it_was_given_is_found_out(quick_store):
    asked = []

    def respond(method, path):
        asked.append(method)
        return (
            200,
            {"ETag": '"x"', "Last-Modified": "Sun, 22 Nov 2026 09:00:00 GMT"},
            (b"cut" if method == "HEAD" else b""),
        )

    with answering(respond) as server, pytest.raises(Broken, match="took 10 bytes .* holds 3"):
        quick_store(server).put("data/x", io.BytesIO(b"0123456789"))
    assert asked == ["PUT", "HEAD", "DELETE"]


@pytest.fixture
def big(rclone_server):
    """A bucket with one object of 24 MiB, and its bytes."""
    bucket = rclone_server.make_bucket()
    data = random.Random(3).randbytes(24 * MIB)
    rclone_server.client().put_object(Bucket=bucket, Key="data/big", Body=data)
    return bucket, data


@pytest.mark.parametrize("end", ["reset", "end"])
def test_a_line_that_breaks_while_reading_is_taken_up_again(quick_store, rclone_server, big, end):
    bucket, data = big
    with Line(rclone_server, [(5 * MIB, end), (9 * MIB, end), (9 * MIB, end)]) as line:
        # A reset also throws away what had arrived and was not read yet.
        patience = Patience(attempts=5)
        with quick_store(line.server, bucket, patience).open("data/big") as stream:
            assert stream.read() == data
        assert line.connections == 4


@pytest.mark.parametrize(
    ("end", "kind", "said"),
    [("reset", Transient, "broke after"), ("end", Broken, "ends after .* of 25165824 bytes")],
)
def test_a_line_that_always_breaks_is_an_error_and_never_a_short_object(
    quick_store, rclone_server, big, end, kind, said
):
    bucket, data = big
    got = b""
    with (
        Line(rclone_server, [(2 * MIB, end)] + [(1000, end)] * 20) as line,
        quick_store(line.server, bucket).open("data/big") as stream,
        pytest.raises(kind, match=said),
    ):
        while piece := stream.read(MIB):
            got += piece
    assert data.startswith(got)
    assert len(got) < len(data)


def test_an_object_that_is_replaced_while_it_is_read_is_never_mixed(
    quick_store, rclone_server, big
):
    bucket, data = big
    with (
        Line(rclone_server, [(5 * MIB, "reset")]) as line,
        quick_store(line.server, bucket).open("data/big") as stream,
    ):
        stream.read(MIB)
        rclone_server.client().put_object(Bucket=bucket, Key="data/big", Body=data[::-1])
        with pytest.raises(Broken, match="replaced or deleted"):
            stream.read()


def test_a_line_that_breaks_while_sending_leaves_no_object_and_no_parts(
    s3_settings, quick_store, moto_server
):
    bucket = moto_server.make_bucket()
    with (
        Line(moto_server, [(400, "reset")] + [(0, "reset")] * 40) as line,
        pytest.raises(Transient),
    ):
        quick_store(line.server, bucket).put("data/x", io.BytesIO(bytes(30 * MIB)))
    store = open_store(s3_settings(moto_server, bucket))
    assert store.stat("data/x") is None
    assert list(store.list("")) == []


def test_a_source_that_fails_half_way_leaves_no_unfinished_upload(s3_settings, moto_server):
    bucket = moto_server.make_bucket()
    seen = []

    class Fails:
        left = 40

        def read(self, size=-1, /):
            self.left -= 1
            if self.left == 5:
                seen.extend(pending_uploads(moto_server, bucket))
            if not self.left:
                raise ValueError("the source failed")
            return bytes(MIB)

    with pytest.raises(ValueError):
        open_store(s3_settings(moto_server, bucket)).put("data/x", Fails())
    assert len(seen) == 1
    assert pending_uploads(moto_server, bucket) == []


def test_check_clears_away_uploads_of_killed_processes_but_nobody_elses(
    monkeypatch, s3_settings, moto_server
):
    bucket = moto_server.make_bucket()
    for key in ("desk/data/ours", "desk/holiday/theirs", "data/theirs too"):
        moto_server.client().create_multipart_upload(Bucket=bucket, Key=key)
    store = open_store(s3_settings(moto_server, bucket, "desk"))
    # moto says of every upload that it began in 2010.
    monkeypatch.setattr("services.protection.stores.s3._STALE", timedelta(days=36500))
    store.check()
    assert len(pending_uploads(moto_server, bucket)) == 3
    monkeypatch.setattr("services.protection.stores.s3._STALE", timedelta(days=1))
    store.check()
    left = {found["Key"] for found in pending_uploads(moto_server, bucket)}
    assert left == {"desk/holiday/theirs", "data/theirs too"}


def test_a_store_sees_and_touches_only_what_lies_below_its_prefix(s3_settings, s3_server):
    bucket = s3_server.make_bucket()
    client = s3_server.client()
    others = ["backups/database/x.db", "desk2/data/x", "desk/other.txt", "data/x"]
    for key in others:
        client.put_object(Bucket=bucket, Key=key, Body=b"theirs")
    store = open_store(s3_settings(s3_server, bucket, "desk"))
    store.put("data/x", io.BytesIO(b"ours"))
    assert [found.key for found in store.list("")] == ["data/x", "other.txt"]
    store.delete("data/x")
    store.check()
    left = [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert sorted(left) == sorted(others)


def test_more_objects_than_one_answer_holds_are_all_listed(s3_settings, moto_server):
    bucket = moto_server.make_bucket()
    store = open_store(s3_settings(moto_server, bucket, "desk"))
    keys = [f"images/default/{number:05}" for number in range(MOTO_PAGE * 2 + 3)]
    client = moto_server.client()
    for key in keys:
        client.put_object(Bucket=bucket, Key=f"desk/{key}", Body=b"x")
    assert [found.key for found in store.list("images/")] == keys


def test_thousands_of_objects_are_listed_in_order(s3_settings, rclone_server):
    bucket = rclone_server.make_bucket()
    folder = rclone_server.folder / bucket / "desk" / "images" / "default"
    folder.mkdir(parents=True)
    for number in range(2503):
        (folder / f"{number:05}").write_bytes(b"x")
    store = open_store(s3_settings(rclone_server, bucket, "desk"))
    found = [found.key for found in store.list("images/")]
    assert found == [f"images/default/{number:05}" for number in range(2503)]


def test_amazon_gets_encryption_and_checksums_and_other_servers_get_neither(
    monkeypatch, s3_settings, moto_server
):
    client = moto_server.client()
    data = bytes(20 * MIB)
    for suffixes, encrypted in (((), None), (("127.0.0.1",), "AES256")):
        bucket = moto_server.make_bucket()
        monkeypatch.setattr(s3_client, "_AWS_HOSTS", suffixes or ("nowhere",))
        store = S3Store.from_settings(s3_settings(moto_server, bucket), QUICK)
        for key, body in (("data/small", b"x"), ("data/big", data)):
            store.put(key, io.BytesIO(body))
            found = client.get_object(Bucket=bucket, Key=key)
            assert found["Body"].read() == body
            assert found.get("ServerSideEncryption") == encrypted
        head = client.head_object(Bucket=bucket, Key="data/small", ChecksumMode="ENABLED")
        assert ("ChecksumCRC32" in head) == bool(encrypted)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"backup_store_url": "s3://"}, "names no place"),
        ({"backup_store_url": "s3://bucket/../other"}, "names no place"),
        ({"aws_secret_access_key": None}, "Only one of"),
        ({"aws_endpoint_url_s3": "not a url"}, "can't be used as it is set"),
        ({"backup_store_url": "s3://Bad_Bucket!"}, "can't be used as it is set"),
        ({"aws_region": "nowhere at all"}, "can't be used as it is set"),
    ],
)
def test_a_setting_that_cant_work_is_said_before_anything_is_sent(s3_settings, overrides, said):
    with pytest.raises(Misconfigured, match=said) as caught:
        open_store(s3_settings(closed_port(), "bucket", **overrides)).check()
    assert SECRET_KEY not in str(caught.value)


def test_without_credentials_anywhere_that_is_what_is_said(monkeypatch, tmp_path, s3_settings):
    monkeypatch.setenv("HOME", str(tmp_path))
    nothing = {"aws_access_key_id": None, "aws_secret_access_key": None}
    with pytest.raises(Misconfigured, match="no credentials"):
        open_store(s3_settings(closed_port(), "bucket", **nothing)).check()


def test_credentials_of_the_environments_own_chain_work(
    monkeypatch, tmp_path, s3_settings, rclone_server
):
    profile = tmp_path / "credentials"
    profile.write_text(
        f"[desk]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    monkeypatch.setenv("AWS_PROFILE", "desk")
    nothing = {"aws_access_key_id": None, "aws_secret_access_key": None}
    store = open_store(s3_settings(rclone_server, rclone_server.make_bucket(), **nothing))
    store.check()
    assert list(store.list("")) == []
