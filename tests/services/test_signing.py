"""Signed manifests: nothing is believed that no key of ours signed, where there is a key."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from db.engine import write
from services import backup, doctor, restore
from services.core import audit, jobs
from services.core.context import Context, open_context
from services.core.errors import Broken, Busy, Invalid, Misconfigured, Refused
from services.core.loading import load_settings
from services.desk import prepare, refuse_weak_secrets
from services.protection.index import catalog
from services.protection.manifest import from_json, manifest_key, to_json
from services.protection.model import PROTECTION_LOCK, Manifest, Part
from services.protection.sealing.keys import Keys, key_id, keys_of
from services.protection.sealing.signing import signature_state, signed, unsigned
from services.protection.stores import open_store
from tests.services.test_encryption import made, with_settings

OLD, NEW, FOREIGN = "o1d" * 16, "n3w" * 16, "f0r" * 16


def keys(*texts: str) -> Keys:
    return Keys(signing=tuple(each.encode() for each in texts))


def with_key(ctx: Context, *texts: str) -> Context:
    return with_settings(ctx, backup_signing_key=",".join(texts) or None)


def a_manifest(note: str = "") -> Manifest:
    return Manifest(
        id="20260301T020000Z-abcd",
        instance="default",
        created_at=datetime(2026, 3, 1, 2, tzinfo=UTC),
        reason="manual",
        asked_by="Operator → night",
        host="here",
        components=(),
        tables={},
        foreign_key_violations=0,
        collections={},
        image_count=0,
        image_bytes=0,
        revisions={},
        tools={},
        step_seconds={"send": 0.1},
        notes=(note,),
    )


def path_of(ctx: Context, snapshot_id: str):
    return open_store(ctx.settings)._root / manifest_key("default", snapshot_id)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_what_was_signed_is_read_again_as_it_was(note):
    manifest = a_manifest(note)
    data = to_json(manifest, keys(NEW, OLD))
    assert signature_state(data, keys(OLD, NEW)) == "signed"
    assert from_json(data, keys(NEW)) == manifest
    assert unsigned(data) == to_json(manifest)
    assert from_json(data) == manifest, "a desk without a key reads it too"
    assert json.loads(data)["signature"].keys() == {"algorithm", "key_id", "value"}
    assert NEW not in data.decode()


def test_every_flipped_bit_and_every_missing_byte_is_found():
    data = to_json(a_manifest("navy"), keys(NEW))
    for at in range(len(data)):
        for changed in (
            data[:at] + bytes([data[at] ^ (1 << (at % 8))]) + data[at + 1 :],
            data[:at],
        ):
            with pytest.raises(Broken):
                from_json(changed, keys(NEW))


@pytest.mark.parametrize("how", ["spaces", "order", "escapes", "end"])
def test_other_bytes_that_mean_the_same_are_refused_where_there_is_a_key(how):
    data = to_json(a_manifest("ü"), keys(NEW))
    values = json.loads(data)
    other = {
        "spaces": data.replace(b'"host": ', b'"host":  '),
        "order": json.dumps(dict(reversed(values.items())), indent=1, ensure_ascii=False).encode(),
        "escapes": json.dumps(values, indent=1, sort_keys=True).encode() + b"\n",
        "end": data + b"\n",
    }[how]
    assert other != data
    with pytest.raises(Broken, match="does not hold"):
        from_json(other, keys(NEW))


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "x",
        {},
        [],
        {"algorithm": "none", "key_id": "0" * 16, "value": ""},
        {"algorithm": "hmac-sha256", "key_id": "0" * 16, "value": None},
        {"algorithm": "hmac-sha256", "key_id": "0" * 16, "value": "é" * 64},
        {"algorithm": "hmac-sha256", "key_id": {"a": 1}, "value": "0" * 64},
        {"algorithm": "hmac-sha256", "key_id": "<script>", "value": "0" * 64},
    ],
)
def test_a_signature_of_another_kind_does_not_hold(signature):
    values = json.loads(to_json(a_manifest(), keys(NEW)))
    values["signature"] = signature
    text_of = json.dumps(values, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    with pytest.raises(Broken) as refused:
        from_json(text_of.encode(), keys(NEW))
    assert "script" not in str(refused.value)


def test_a_signature_of_an_unknown_key_is_refused_and_the_key_is_named():
    data = to_json(a_manifest(), keys(FOREIGN))
    with pytest.raises(Broken, match=key_id(FOREIGN.encode())) as refused:
        from_json(data, keys(NEW, OLD))
    assert FOREIGN not in str(refused.value) and NEW not in str(refused.value)


def test_a_signature_can_not_be_moved_to_another_manifest():
    one, two = (json.loads(to_json(a_manifest(note), keys(NEW))) for note in ("one", "two"))
    two["signature"] = one["signature"]
    moved = json.dumps(two, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    assert signature_state(moved.encode(), keys(NEW)) == "wrong"


def test_the_first_key_signs_and_each_is_accepted():
    assert json.loads(signed(to_json(a_manifest()), keys(NEW, OLD)))["signature"]["key_id"] == (
        key_id(NEW.encode())
    )
    old = to_json(a_manifest(), keys(OLD))
    assert signature_state(old, keys(NEW, OLD)) == "signed"
    assert signature_state(old, keys(NEW)) == "wrong"
    assert signature_state(to_json(a_manifest()), keys(NEW)) == "unsigned"
    assert signature_state(old, keys()) == "unsigned"


def test_a_backup_is_signed_listed_as_signed_and_restored(ctx, shop, operator):
    desk = with_key(ctx, NEW, OLD)
    manifest = made(desk, operator)
    [row] = backup.snapshots(desk, operator).rows
    assert row.signed
    data = path_of(desk, manifest.id).read_bytes()
    assert NEW.encode() not in data and signature_state(data, keys_of(desk.settings)) == "signed"
    plan = restore.preview(desk, operator, manifest.id, frozenset({Part.DATABASE}))
    restore.run(desk, operator, plan, plan.word)
    assert all(row.signed for row in backup.snapshots(desk, operator).rows)


def test_a_manifest_that_somebody_else_made_never_comes_into_the_list(ctx, shop, operator):
    """Whoever can write to the store, and knows the format, but has no key."""
    desk = with_key(ctx, NEW)
    manifest = made(desk, operator)
    forged = replace(manifest, id=manifest.id[:-4] + "zzzz", components=())
    for data in (to_json(forged), to_json(forged, keys(FOREIGN))):
        path_of(desk, forged.id).write_bytes(data)
        found = backup.refresh(desk, operator)
        assert forged.id in found.unreadable and found.added == ()
        with pytest.raises(Invalid):
            catalog.find(desk, forged.id)
    altered = replace(manifest, tables={})
    path_of(desk, manifest.id).write_bytes(to_json(altered, keys(FOREIGN)))
    with pytest.raises(Broken, match="does not hold"):
        backup.manifest(desk, operator, manifest.id)


def test_what_was_made_before_the_key_is_listed_unsigned_refused_and_signed_by_the_doctor(
    ctx, shop, operator, admin
):
    before = made(ctx, operator)
    desk = with_key(ctx, NEW)
    after = made(desk, operator)
    rows = {row.id: row.signed for row in backup.snapshots(desk, operator).rows}
    assert rows == {before.id: False, after.id: True}
    with pytest.raises(Refused, match="not signed") as refused:
        restore.preview(desk, operator, before.id, frozenset({Part.DATABASE}))
    assert "doctor.py sign" in refused.value.hint

    done = doctor.sign(desk, admin, (before.id,))
    assert (done.signed, done.already, done.refused) == ((before.id,), (), {})
    assert all(row.signed for row in backup.snapshots(desk, operator).rows)
    assert backup.manifest(desk, operator, before.id) == before
    assert restore.preview(desk, operator, before.id, frozenset({Part.DATABASE}))
    again = doctor.sign(desk, admin)
    assert again.signed == () and set(again.already) == {before.id, after.id}
    log = audit.export_csv(desk, admin, audit.AuditFilter(actions=("manifest.sign",)))
    assert log.count("manifest.sign") == 1 and before.id in log and NEW not in log


def test_the_doctor_signs_nothing_that_is_not_what_this_desk_saw_first(ctx, shop, operator, admin):
    good, altered, gone = (made(ctx, operator) for _ in range(3))
    desk = with_key(ctx, NEW)
    forged = to_json(replace(altered, tables={}))
    path_of(desk, altered.id).write_bytes(forged)
    swapped = path_of(desk, gone.id)
    done = doctor.sign(desk, admin)
    assert set(done.signed) == {good.id, gone.id}
    assert done.refused.keys() == {altered.id}
    assert path_of(desk, altered.id).read_bytes() == forged
    swapped.write_bytes(path_of(desk, good.id).read_bytes())
    assert doctor.sign(desk, admin).refused.keys() == {altered.id, gone.id}, "copied and renamed"
    log = audit.export_csv(desk, admin, audit.AuditFilter(outcome="refused"))
    assert altered.id in log and gone.id in log


def test_a_key_is_rotated_without_a_moment_in_which_a_backup_is_refused(ctx, shop, operator, admin):
    first = made(with_key(ctx, OLD), operator)
    both = with_key(ctx, NEW, OLD)
    second = made(both, operator)
    for manifest in (first, second):
        assert backup.manifest(both, operator, manifest.id) == manifest
    assert doctor.sign(both, admin).signed == (first.id,)
    alone = with_key(ctx, NEW)
    for manifest in (first, second):
        assert backup.manifest(alone, operator, manifest.id) == manifest
    with pytest.raises(Refused, match="does not hold"):
        backup.manifest(with_key(ctx, OLD), operator, first.id)


def test_another_desk_follows_when_a_manifest_was_signed_anew(ctx, shop, operator, admin, tmp_path):
    """Two desks with one store: the second indexed the manifest as it was before."""
    other = open_context(
        load_settings(
            env_file=tmp_path / "none.env",
            desk_home=tmp_path / "second",
            shop_root=ctx.settings.shop_root,
            backup_store_url=ctx.settings.store_url,
            backup_signing_key=f"{NEW},{OLD}",
        )
    )
    try:
        manifest = made(with_key(ctx, OLD), operator)
        backup.refresh(other, operator)
        doctor.sign(with_key(ctx, NEW, OLD), admin)
        assert backup.manifest(other, operator, manifest.id) == manifest
        alone = replace(
            other, settings=other.settings.model_copy(update={"backup_signing_key": None})
        )
        assert backup.manifest(alone, operator, manifest.id) == manifest, "its index followed"
    finally:
        other.close()


def test_a_key_that_is_taken_away_leaves_signed_backups_usable(ctx, shop, operator):
    manifest = made(with_key(ctx, NEW), operator)
    assert backup.manifest(ctx, operator, manifest.id) == manifest


def test_an_empty_index_takes_signed_manifests_only(ctx, shop, operator):
    unsigned_one = made(ctx, operator)
    desk = with_key(ctx, NEW)
    signed_one = made(desk, operator)
    with write(desk.control) as connection:
        connection.execute(text("DELETE FROM snapshots"))
    found = backup.refresh(desk, operator)
    assert found.added == (signed_one.id,)
    assert "BACKUP_SIGNING_KEY" in found.unreadable[unsigned_one.id]


def test_signing_waits_for_nobody_and_says_who_is_at_work(ctx, shop, operator, admin):
    made(ctx, operator)
    jobs.create(ctx, operator, "backup", lock=PROTECTION_LOCK)
    with pytest.raises(Busy):
        doctor.sign(with_key(ctx, NEW), admin)


def test_without_a_key_nothing_is_signed_and_the_setting_is_named(ctx, shop, operator, admin):
    manifest = made(ctx, operator)
    data = path_of(ctx, manifest.id).read_bytes()
    with pytest.raises(Misconfigured, match="BACKUP_SIGNING_KEY"):
        doctor.sign(ctx, admin)
    assert path_of(ctx, manifest.id).read_bytes() == data


@pytest.mark.parametrize("key", ["short", f"{NEW},short", "x" * 31])
def test_a_short_key_is_refused_everywhere_and_never_shown(ctx, shop, operator, key):
    with pytest.raises(Misconfigured, match="fewer than 32") as refused:
        backup.run(with_key(ctx, key), operator)
    assert key not in str(refused.value)
    with pytest.raises(Misconfigured, match="fewer than 32"):
        prepare(with_key(ctx, key))  # the desk does not even start


def test_production_refuses_a_key_that_somebody_typed(ctx):
    for key in ("a" * 40, "please-change-this-key-before-going-live"):
        desk = with_settings(ctx, backup_signing_key=key, app_env="production")
        with pytest.raises(Misconfigured, match="BACKUP_SIGNING_KEY is too easy") as refused:
            refuse_weak_secrets(desk.settings)
        assert key not in str(refused.value)
    refuse_weak_secrets(
        with_settings(
            ctx, backup_signing_key="8f3a9c1d" * 4 + "e7b05264" * 4, app_env="production"
        ).settings
    )
