"""How a bucket is kept: seen, planned, made so, and who may look and change."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from sqlalchemy import select

from db.control import audit_log
from db.engine import read
from services import doctor, store
from services.core.context import open_context
from services.core.errors import Denied, Invalid, Misconfigured
from services.protection.bucket import plan as bucket_room
from services.protection.bucket.plan import Verdict
from services.protection.stores.s3_bucket import BucketKeeper, Item
from tests.stores.buckets import rules_of, verdicts
from tests.stores.faulty import answering


def test_a_new_bucket_is_prepared_line_by_line_and_then_nothing_is_left_to_do(
    desk, moto_server, admin
):
    bucket = moto_server.make_bucket()
    context = desk(moto_server, bucket, archive_after_days=400, backup_s3_encryption="sse-s3")
    plan = store.bucket_plan(context, admin)
    assert verdicts(plan) == {
        Item.PUBLIC: Verdict.CHANGE,
        Item.ENCRYPTION: Verdict.CHANGE,
        Item.VERSIONING: Verdict.CHANGE,
        Item.LIFECYCLE: Verdict.CHANGE,
        Item.LOCK: Verdict.OFF,
    }
    done = store.apply_bucket(context, admin, plan)
    assert set(verdicts(done).values()) == {Verdict.DONE, Verdict.OFF}

    client = moto_server.client()
    blocked = client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    assert client.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    encrypted = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    default = encrypted["Rules"][0]["ApplyServerSideEncryptionByDefault"]
    assert default == {"SSEAlgorithm": "AES256"}
    moved = [rule for rule in rules_of(moto_server, bucket).values() if rule.get("Transitions")]
    assert [rule["Filter"]["Prefix"] for rule in moved] == ["desk/data/default/"]
    assert moved[0]["Transitions"] == [{"Days": 400, "StorageClass": "GLACIER"}]

    again = store.bucket_plan(context, admin)
    assert again.changes == ()
    with read(context.control) as connection:
        noted = connection.execute(
            select(audit_log).where(audit_log.c.action == "store.prepare")
        ).one()
    assert noted.outcome == "done"
    was, now = noted.details["before"]["lines"], noted.details["after"]["lines"]
    assert [line["now"] for line in was][:3] == ["not blocked", "none", "off"]
    assert [line["now"] for line in now][:3] == ["blocked", "SSE-S3 (AES-256)", "on"]


def test_a_server_without_all_this_says_so_per_line_and_nothing_crashes(desk, rclone_server, admin):
    bucket = rclone_server.make_bucket()
    context = desk(
        rclone_server,
        bucket,
        archive_after_days=30,
        object_lock_days=5,
        backup_s3_encryption="sse-s3",
    )
    plan = store.bucket_plan(context, admin)
    assert {item for item, verdict in verdicts(plan).items() if verdict is Verdict.UNSUPPORTED} == {
        Item.PUBLIC,
        Item.ENCRYPTION,
        Item.LIFECYCLE,
        Item.LOCK,
    }
    done = store.apply_bucket(context, admin, plan)
    assert set(verdicts(done).values()) == {Verdict.UNSUPPORTED}
    assert any("archives nothing" in note for note in done.notes)
    server = rclone_server.client()
    server.put_object(Bucket=bucket, Key="x", Body=io.BytesIO(b"still a bucket"))


def test_object_lock_is_set_where_the_bucket_has_it_and_explained_where_not(
    desk, moto_server, admin
):
    client = moto_server.client()
    client.create_bucket(Bucket="locked-bucket", ObjectLockEnabledForBucket=True)
    plain = moto_server.make_bucket()
    without = store.bucket_plan(desk(moto_server, plain, object_lock_days=10), admin)
    assert verdicts(without)[Item.LOCK] is Verdict.IMPOSSIBLE
    context = desk(moto_server, "locked-bucket", object_lock_days=40)
    plan = store.bucket_plan(context, admin)
    assert any("stays in the bucket" in warning for warning in plan.warnings)
    store.apply_bucket(context, admin, plan)
    held = client.get_object_lock_configuration(Bucket="locked-bucket")["ObjectLockConfiguration"]
    retention = held["Rule"]["DefaultRetention"]
    assert (retention["Mode"], retention["Days"]) == ("GOVERNANCE", 40)
    ages = {
        rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
        for rule in rules_of(moto_server, "locked-bucket").values()
        if "NoncurrentVersionExpiration" in rule
    }
    assert ages == {40}
    # A lock that is stricter than what the settings ask for is never made weaker.
    client.put_object_lock_configuration(
        Bucket="locked-bucket",
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 1}},
        },
    )
    assert verdicts(store.bucket_plan(context, admin))[Item.LOCK] is Verdict.GOOD


def test_an_encryption_that_somebody_chose_is_not_made_weaker_by_a_default(
    desk, moto_server, admin
):
    bucket = moto_server.make_bucket()
    kms = desk(moto_server, bucket, backup_s3_encryption="sse-kms", backup_s3_kms_key="alias/shop")
    store.apply_bucket(kms, admin, store.bucket_plan(kms, admin))
    rule = moto_server.client().get_bucket_encryption(Bucket=bucket)
    default = rule["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert default["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": "alias/shop",
    }
    assert default["BucketKeyEnabled"] is True
    auto = store.bucket_plan(desk(moto_server, bucket, backup_s3_encryption="auto"), admin)
    assert Item.ENCRYPTION not in {line.item for line in auto.changes}


@pytest.mark.parametrize(
    ("days", "storage", "says"),
    [
        (7, "GLACIER", "Daily backups are removed on day 30, 23 days after"),
        (31, "GLACIER", "Weekly backups are removed on day 56, 25 days after"),
        (60, "DEEP_ARCHIVE", None),
        (300, "DEEP_ARCHIVE", "Monthly backups are removed on day 360, 60 days after"),
        (7, "GLACIER_IR", "paid for at least 90 days"),
    ],
)
def test_fees_for_removing_early_are_worked_out_before_they_are_paid(
    desk, moto_server, admin, days, storage, says
):
    context = desk(
        moto_server, moto_server.make_bucket(), archive_after_days=days, archive_class=storage
    )
    plan = store.bucket_plan(context, admin)
    told = " ".join(plan.warnings)
    assert "128 KB" in " ".join(plan.notes)
    assert (says in told) if says else ("paid for nothing" not in told)


def test_credentials_that_may_not_look_or_change_are_told_which_policy_does(desk, admin):
    def respond(method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        if "?" not in path or method == "HEAD":
            return 200, {}, b""
        return 403, {}, b"<Error><Code>AccessDenied</Code></Error>"

    with answering(respond) as server:
        plan = store.bucket_plan(desk(server, "some-bucket"), admin)
    assert set(verdicts(plan).values()) == {Verdict.FORBIDDEN}
    assert "s3-policy.json" in plan.lines[0].why
    assert plan.changes == ()


def test_one_line_that_is_forbidden_does_not_keep_the_others_from_being_done(
    desk, moto_server, admin, monkeypatch
):
    bucket = moto_server.make_bucket()
    context = desk(moto_server, bucket)
    plan = store.bucket_plan(context, admin)
    monkeypatch.setattr(
        BucketKeeper, "keep_versions", lambda _self: (_ for _ in ()).throw(Misconfigured("No."))
    )
    done = store.apply_bucket(context, admin, plan)
    assert verdicts(done)[Item.VERSIONING] is Verdict.FAILED
    assert verdicts(done)[Item.PUBLIC] is Verdict.DONE
    assert verdicts(done)[Item.LIFECYCLE] is Verdict.DONE


def test_a_folder_has_no_bucket_to_prepare_and_a_missing_bucket_is_named(
    settings, desk, moto_server, admin
):
    local = open_context(settings)
    with pytest.raises(Invalid, match="no bucket to prepare"):
        store.bucket_plan(local, admin)
    local.close()
    with pytest.raises(Misconfigured, match="no bucket missing-bucket"):
        store.bucket_plan(desk(moto_server, "missing-bucket"), admin)


def test_whoever_may_look_may_not_change(desk, moto_server, operator):
    context = desk(moto_server, moto_server.make_bucket())
    plan = store.bucket_plan(context, operator)
    with pytest.raises(Denied):
        store.apply_bucket(context, operator, plan)
    with pytest.raises(Denied):
        bucket_room.prepare(context, operator, replace(plan))


def test_the_doctor_shows_the_plan_applies_it_and_then_has_nothing_to_do(
    desk, moto_server, monkeypatch, capsys
):
    bucket = moto_server.make_bucket()
    context = desk(moto_server, bucket, archive_after_days=7)
    for name, value in context.settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert doctor.main(["bucket"]) == 0
    shown = capsys.readouterr().out
    assert "not blocked  ->  blocked" in shown and "Warning: Daily backups" in shown
    assert "--apply" in shown
    assert "Status" not in moto_server.client().get_bucket_versioning(Bucket=bucket)
    states = []
    for options in (["bucket", "--json"], ["bucket", "--apply", "--json"], ["bucket", "--json"]):
        assert doctor.main(options) == 0
        states.append(json.loads(capsys.readouterr().out.splitlines()[-1])["state"])
    assert states == ["planned", "done", "done"]
    monkeypatch.setenv("BACKUP_STORE_URL", "s3://never-made-bucket")
    assert doctor.main(["bucket"]) == 3
