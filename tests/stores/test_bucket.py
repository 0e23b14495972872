"""How a bucket is kept: seen, planned, made so, and nobody else's rule is lost."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from db.control import audit_log
from db.engine import read
from services import doctor, store
from services.core.context import Context, open_context
from services.core.errors import Broken, Conflict, Denied, Invalid, Misconfigured
from services.protection.bucket import plan as bucket_room
from services.protection.bucket.plan import Verdict
from services.protection.stores.s3_bucket import BucketKeeper, Item
from services.protection.stores.s3_client import place_of
from services.protection.stores.s3_lifecycle import (
    FOLDERS,
    document,
    our_ids,
    problems,
    read_rules,
    wanted_rules,
)
from tests.stores.faulty import answering

FOREIGN = [
    {
        "ID": "their logs & <more>",
        "Filter": {"And": {"Prefix": "logs/", "Tags": [{"Key": "kind", "Value": "a&b"}]}},
        "Status": "Enabled",
        "Expiration": {"Days": 14},
        "Transitions": [{"Days": 3, "StorageClass": "GLACIER"}],
    },
    {
        "ID": "the old way",
        "Prefix": "old/",
        "Status": "Disabled",
        "Expiration": {"Date": "2031-01-01T00:00:00Z"},
    },
]


@pytest.fixture
def desk(tmp_path, s3_settings):
    """`desk(server, bucket, prefix, ...)`: a desk whose store is that bucket."""
    opened: list[Context] = []

    def make(server, bucket: str, prefix: str = "desk", **overrides: Any) -> Context:
        context = open_context(s3_settings(server, bucket, prefix, **overrides))
        opened.append(context)
        return context

    yield make
    for context in opened:
        context.close()


def verdicts(plan) -> dict[Item, Verdict]:
    return {line.item: line.verdict for line in plan.lines}


def rules_of(server, bucket: str) -> dict[str, dict[str, Any]]:
    found = server.client().get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    return {rule["ID"]: rule for rule in found}


def raw_rules(context: Context) -> list[bytes]:
    settings = context.settings
    return list(BucketKeeper(place_of(settings), settings).read().lifecycle.texts)


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


def test_rules_of_others_stay_byte_for_byte_and_ours_are_replaced(desk, moto_server, admin):
    bucket = moto_server.make_bucket()
    moto_server.client().put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": FOREIGN}
    )
    context = desk(moto_server, bucket, archive_after_days=90)
    before = raw_rules(context)
    plan = store.bucket_plan(context, admin)
    assert set(plan.foreign_rules) == {"their logs & <more>", "the old way"}
    store.apply_bucket(context, admin, plan)
    assert [text for text in raw_rules(context) if text in before] == before
    assert len(raw_rules(context)) == 2 + 1 + len(FOLDERS)

    for changed, kept in (("DEEP_ARCHIVE", 1), ("GLACIER", 0)):
        settings = {"archive_after_days": 180 * kept, "archive_class": changed}
        context = desk(moto_server, bucket, **settings)
        store.apply_bucket(context, admin, store.bucket_plan(context, admin))
        assert [text for text in raw_rules(context) if text in before] == before
        assert len(raw_rules(context)) == 2 + kept + len(FOLDERS)
        found = rules_of(moto_server, bucket).get(our_ids("desk/", "default")["archive"])
        assert (found is not None) == bool(kept)


def test_two_desks_share_a_bucket_without_touching_each_other(desk, moto_server, admin):
    bucket = moto_server.make_bucket()
    for prefix, instance in (("one", "default"), ("two", "default"), ("one", "second")):
        context = desk(moto_server, bucket, prefix, instance_id=instance, archive_after_days=60)
        store.apply_bucket(context, admin, store.bucket_plan(context, admin))
    moved = [
        rule["Filter"]["Prefix"]
        for rule in rules_of(moto_server, bucket).values()
        if rule.get("Transitions")
    ]
    assert sorted(moved) == ["one/data/default/", "one/data/second/", "two/data/default/"]
    assert desk_is_settled(desk, moto_server, bucket, admin)


def desk_is_settled(desk, server, bucket, admin) -> bool:
    first = desk(server, bucket, "one", archive_after_days=60)
    return store.bucket_plan(first, admin).changes == ()


def test_only_data_is_ever_archived(desk, moto_server, admin):
    bucket = moto_server.make_bucket()
    context = desk(moto_server, bucket, "", archive_after_days=1)
    store.apply_bucket(context, admin, store.bucket_plan(context, admin))
    for rule in rules_of(moto_server, bucket).values():
        named = rule["Filter"]["Prefix"]
        assert named.endswith("/default/")
        assert bool(rule.get("Transitions")) <= (named == "data/default/")
        assert "Days" not in rule.get("Expiration", {}), "lifecycle never removes a backup"


def test_a_plan_that_the_bucket_outran_is_refused_and_changes_nothing(desk, moto_server, admin):
    bucket = moto_server.make_bucket()
    context = desk(moto_server, bucket)
    plan = store.bucket_plan(context, admin)
    moto_server.client().put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": FOREIGN}
    )
    with pytest.raises(Conflict, match="changed since the plan"):
        store.apply_bucket(context, admin, plan)
    assert set(rules_of(moto_server, bucket)) == {rule["ID"] for rule in FOREIGN}
    assert "Status" not in moto_server.client().get_bucket_versioning(Bucket=bucket)


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


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}, "backups would vanish"),
        ({"Filter": {"Prefix": "desk/da"}, "Expiration": {"Days": 30}}, "backups would vanish"),
        (
            {
                "Filter": {"Prefix": "desk/"},
                "Transitions": [{"Days": 9, "StorageClass": "DEEP_ARCHIVE"}],
            },
            "not even be listed",
        ),
        ({"Filter": {"Prefix": "other/"}, "Expiration": {"Days": 30}}, ""),
        ({"Filter": {"Prefix": "desk/data/x/"}, "Expiration": {"Days": 30}}, ""),
    ],
)
def test_rules_of_others_that_reach_into_the_backups_are_named(
    desk, moto_server, admin, rule, says
):
    bucket = moto_server.make_bucket()
    moto_server.client().put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={"Rules": [{"ID": "sweeper", "Status": "Enabled", **rule}]},
    )
    warnings = store.bucket_plan(desk(moto_server, bucket), admin).warnings
    named = [warning for warning in warnings if "sweeper" in warning]
    assert bool(named) == bool(says)
    assert says in " ".join(named)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"ID": "a"}, "no filter"),
        ({"ID": "x" * 256, "Filter": {}}, "more than 255"),
        ({"ID": "a", "Filter": {}, "Status": "On"}, "neither enabled nor disabled"),
        ({"ID": "a", "Filter": {}, "Expiration": {}}, "does nothing"),
        ({"Filter": {}, "Transitions": [{"Days": 5, "StorageClass": "ICE"}]}, "does not exist"),
        ({"Filter": {}, "Transitions": [{"Days": 5, "StorageClass": "STANDARD_IA"}]}, "day 30"),
        (
            {
                "Filter": {},
                "Transitions": [
                    {"Days": 9, "StorageClass": "GLACIER"},
                    {"Days": 5, "StorageClass": "DEEP_ARCHIVE"},
                ],
            },
            "back to a class",
        ),
        (
            {
                "Filter": {},
                "Transitions": [{"Days": 9, "StorageClass": "GLACIER"}],
                "Expiration": {"Days": 9},
            },
            "before it moves them",
        ),
        ({"Filter": {}, "Expiration": {"Days": 0}}, "a day old"),
        ({"Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 0}}, "a day old"),
    ],
)
def test_rules_that_servers_would_take_and_not_keep_are_judged_here(rule, says):
    assert says in " ".join(problems([{"Status": "Enabled", **rule}]))


def test_a_set_of_rules_is_judged_as_a_whole_too():
    good = {"Filter": {"Prefix": "x/"}, "Status": "Enabled", "Expiration": {"Days": 3}}
    assert problems([{"ID": "a", **good}, {"ID": "b", **good}]) == []
    assert "Two rules have the id a" in problems([{"ID": "a", **good}, {"ID": "a", **good}])[0]
    many = problems([{"ID": str(number), **good} for number in range(1001)])
    assert "takes 1000" in many[0]
    assert (
        problems(
            list(wanted_rules("", "a", archive_days=1, storage="GLACIER", old_version_days=30))
        )
        == []
    )


def test_a_bucket_full_of_rules_is_refused_before_anything_is_sent(desk, moto_server, admin):
    bucket = moto_server.make_bucket()
    many = [
        {
            "ID": f"r{n}",
            "Filter": {"Prefix": f"{n}/"},
            "Status": "Enabled",
            "Expiration": {"Days": 3},
        }
        for n in range(998)
    ]
    moto_server.client().put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": many}
    )
    context = desk(moto_server, bucket)
    with pytest.raises(Invalid, match="takes 1000"):
        store.apply_bucket(context, admin, store.bucket_plan(context, admin))
    assert len(rules_of(moto_server, bucket)) == 998
    assert "Status" not in moto_server.client().get_bucket_versioning(Bucket=bucket)


def test_what_the_desk_does_not_understand_is_carried_as_it_is():
    odd = b"<Rule><ID>odd</ID><Filter/><Future>&lt;Rule&gt;</Future><Status>Enabled</Status></Rule>"
    ours = our_ids("", "a")
    old = f"<Rule><ID>{ours['archive']}</ID></Rule>".encode()
    raw = b"<LifecycleConfiguration>" + odd + old + b"</LifecycleConfiguration>"
    found = read_rules(raw, [{"ID": "odd"}, {"ID": ours["archive"]}])
    sent = document(
        found,
        wanted_rules("", "a", archive_days=0, storage="GLACIER", old_version_days=30),
        tuple(ours.values()),
    )
    assert odd in sent and old not in sent
    with pytest.raises(Broken, match="word for word"):
        read_rules(raw.replace(b"<Rule>", b"<x:Rule>"), [{"ID": "odd"}])


def test_a_server_that_drops_the_rules_of_others_is_noticed_and_gets_them_back(
    s3_settings, moto_server, monkeypatch
):
    bucket = moto_server.make_bucket()
    client = moto_server.client()
    client.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": FOREIGN}
    )
    settings = s3_settings(moto_server, bucket, "desk")
    keeper = BucketKeeper(place_of(settings), settings)
    found, sent = keeper.read().lifecycle, []
    real = keeper._put_lifecycle

    def loses(text: bytes, minimum_size: str) -> None:
        first = not sent
        sent.append(text)
        real(text.replace(found.texts[0], b"") if first else text, minimum_size)

    monkeypatch.setattr(keeper, "_put_lifecycle", loses)
    wanted = wanted_rules(
        "desk/", "default", archive_days=9, storage="GLACIER", old_version_days=30
    )
    with pytest.raises(Broken, match="changed lifecycle rules of others"):
        keeper.put_rules(found, wanted, tuple(our_ids("desk/", "default").values()))
    assert keeper.read().lifecycle.texts == found.texts


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
