"""A bucket's lifecycle rules: nobody else's is lost, and ours archive data only."""

from __future__ import annotations

import pytest

from services import store
from services.core.context import Context
from services.core.errors import Broken, Conflict, Invalid
from services.protection.stores.s3_bucket import BucketKeeper
from services.protection.stores.s3_client import place_of
from services.protection.stores.s3_lifecycle import (
    FOLDERS,
    document,
    our_ids,
    problems,
    read_rules,
    wanted_rules,
)
from tests.stores.buckets import FOREIGN, rules_of


def raw_rules(context: Context) -> list[bytes]:
    settings = context.settings
    return list(BucketKeeper(place_of(settings), settings).read().lifecycle.texts)


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
