"""Encryption end to end: who has only the recipients makes backups and can read none."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest
from sqlalchemy import text

from db.engine import write
from services import backup, drill, restore
from services.core.context import Context
from services.core.errors import Broken, Misconfigured
from services.core.loading import load_settings
from services.protection import reading
from services.protection.model import Part
from services.protection.stores import open_store
from services.shop.attach import attach
from tests.drills import furnish_fully
from tests.services.test_backup import pictures, store_dir
from tests.shops import build_shop

__all__ = ["pictures", "store_dir"]

SECRETS = (b"user3@example.org", b"Product 7", b"ORD-2026", b"flower", b"coat", b"SQLite format")


@pytest.fixture
def operators_key() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def recovery_key() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


def with_settings(ctx: Context, **changed: object) -> Context:
    """The same desk with other settings."""
    same = {
        "desk_home": ctx.settings.desk_home,
        "shop_root": ctx.settings.shop_root,
        "env_file": Path("none.env"),
    }
    return replace(ctx, settings=load_settings(**(same | changed)))


@pytest.fixture
def sealed(ctx, shop, pictures, operators_key, recovery_key) -> Context:
    """A desk that has the recipients only."""
    public = f"{operators_key.to_public()}, {recovery_key.to_public()}"
    return with_settings(ctx, backup_age_recipients=public)


def opening(sealed: Context, identity: object, folder: Path) -> Context:
    """The same desk, with an identity."""
    return with_settings(
        sealed,
        backup_age_recipients=sealed.settings.backup_age_recipients,
        backup_age_identity_file=identity_file(identity, folder),
    )


def made(ctx: Context, actor):
    return backup.manifest(ctx, actor, backup.run(ctx, actor, "manual").result["snapshot"])


def test_nothing_of_the_shop_can_be_read_in_the_whole_store(sealed, operator, store_dir):
    with write(sealed.shop) as connection:
        connection.execute(
            text(
                "INSERT INTO kb_entries (section, key, kind, body, position, version, updated_at,"
                " updated_by) VALUES ('', 'basics', 'text', '\"Navy goes with KBWORD\"', 1, 1,"
                " '2026-01-01', 'me')"
            )
        )
    manifest = made(sealed, operator)
    assert manifest.encrypted and backup.snapshots(sealed, operator).rows[0].encrypted
    stored = {path: path.read_bytes() for path in store_dir.rglob("*") if path.is_file()}
    assert len(stored) > 6
    for path, content in stored.items():
        for word in (*SECRETS, b"KBWORD", "blüte".encode(), b"coat.png", b"\x28\xb5\x2f\xfd"):
            assert word not in content, (path, word)
    names = {component.name for component in manifest.components if component.encryption == "none"}
    assert names == {"images.objects.json"}
    sealed_files = {path.name for path, content in stored.items() if b"age-encryption" in content}
    assert sealed_files >= {
        "database.sqlite3.zst.age",
        "control.sqlite3.zst.age",
        "knowledge.json.age",
        "images.json.age",
    }
    assert sum("-" in name for name in sealed_files) == 2, "two different pictures"


def test_the_machine_that_makes_backups_reads_back_what_it_stored_and_nothing_more(
    sealed, operator, store_dir, tmp_path
):
    manifest = made(sealed, operator)
    assert not reading.can_open(sealed, manifest)
    assert backup.verify(sealed, operator, manifest.id).read_back_at
    with pytest.raises(Misconfigured, match="no identity") as refused:
        backup_part(sealed, manifest, tmp_path)
    assert "BACKUP_AGE_IDENTITY_FILE" in refused.value.hint
    for component in manifest.components:
        stored = store_dir / component.key
        whole = stored.read_bytes()
        stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(Broken, match=component.name.split(".")[0]):
            backup.verify(sealed, operator, manifest.id)
        stored.write_bytes(whole)


def backup_part(ctx: Context, manifest, folder: Path) -> Path:
    return reading.fetch(ctx, open_store(ctx.settings), manifest, Part.DATABASE, folder / "out")


def test_a_preview_without_the_identity_says_what_is_missing_and_changes_nothing(
    sealed, shop, operator
):
    manifest = made(sealed, operator)
    before = shop.read_bytes()
    for parts in (frozenset({Part.DATABASE}), frozenset({Part.IMAGES})):
        with pytest.raises(Misconfigured, match="no identity") as refused:
            restore.preview(sealed, operator, manifest.id, parts)
        assert "BACKUP_AGE_IDENTITY_FILE" in refused.value.hint
    assert shop.read_bytes() == before
    assert not list((sealed.settings.temp_dir / "preview").glob("*"))


@pytest.mark.parametrize("whose", ["operators_key", "recovery_key"])
def test_whoever_holds_one_of_the_identities_gets_everything_back(
    sealed, shop, pictures, operator, tmp_path, request, whose
):
    manifest = made(sealed, operator)
    desk = opening(sealed, request.getfixturevalue(whose), tmp_path)
    with write(desk.shop) as connection:
        connection.execute(text("DELETE FROM order_items"))
        connection.execute(text("DELETE FROM orders"))
    (pictures / "coat.png").unlink()
    assert backup.verify(desk, operator, manifest.id).read_back_at
    plan = restore.preview(desk, operator, manifest.id, frozenset({Part.DATABASE, Part.IMAGES}))
    restore.run(desk, operator, plan, plan.word)
    with desk.shop.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM orders")).scalar() == 60
    assert (pictures / "coat.png").read_bytes() == b"coat" * 1000
    assert (pictures / "more" / "again.png").read_bytes() == b"flower"
    safety = backup.manifest(desk, operator, "latest")
    assert safety.reason != "manual" and safety.encrypted, "the way back is encrypted too"


def test_another_identity_is_told_from_a_damaged_object(sealed, operator, store_dir, tmp_path):
    manifest = made(sealed, operator)
    desk = opening(sealed, pyrage.x25519.Identity.generate(), tmp_path)
    with pytest.raises(Misconfigured, match="encrypted for other keys"):
        backup_part(desk, manifest, tmp_path)
    assert not list(tmp_path.glob("out*"))
    stored = store_dir / reading.component_of(manifest, Part.DATABASE).key
    content = bytearray(stored.read_bytes())
    content[60] ^= 1  # in the part that says for whom it is
    stored.write_bytes(bytes(content))
    with pytest.raises(Broken, match="altered"):
        backup_part(desk, manifest, tmp_path)


def test_a_restore_that_could_not_be_undone_here_is_refused(ctx, sealed, shop, operator):
    """Its safety snapshot would be encrypted for keys that this machine can't open."""
    plain = made(ctx, operator)
    with pytest.raises(Misconfigured, match="nothing could be undone"):
        restore.preview(sealed, operator, plain.id, frozenset({Part.DATABASE}))


def test_backups_from_before_encryption_stay_readable_beside_the_encrypted_ones(
    ctx, sealed, operator, operators_key, tmp_path, store_dir
):
    plain, later = made(ctx, operator), made(sealed, operator)
    desk = opening(sealed, operators_key, tmp_path)
    assert not plain.encrypted and later.encrypted
    for manifest in (plain, later):
        store = open_store(desk.settings)
        target = reading.fetch(desk, store, manifest, Part.DATABASE, tmp_path / manifest.id)
        assert target.read_bytes().startswith(b"SQLite format 3")
        assert backup.verify(desk, operator, manifest.id).read_back_at
        names = reading.picture_list(desk, store, manifest)
        for name, digest in names.items():
            reading.fetch_image(desk, store, manifest, digest, tmp_path / "picture")
            assert (tmp_path / "picture").read_bytes() == (
                desk.settings.images_dir / name
            ).read_bytes()


def keys_in(store_dir: Path) -> set[str]:
    return {path.name for path in (store_dir / "images/default").iterdir()}


def test_an_encrypted_picture_is_sent_once_while_the_recipients_stay(
    sealed, operator, store_dir, pictures
):
    made(sealed, operator)
    first = keys_in(store_dir)
    made(sealed, operator)
    assert keys_in(store_dir) == first and len(first) == 2
    (pictures / "new.png").write_bytes(b"new")
    made(sealed, operator)
    assert len(keys_in(store_dir)) == 3


def test_a_changed_list_of_recipients_sends_new_objects_and_leaves_the_old_ones(
    sealed, operator, store_dir, tmp_path, operators_key
):
    """Rotation: whoever was added opens all of the new, older snapshots keep what they had."""
    old = made(sealed, operator)
    first = keys_in(store_dir)
    added = pyrage.x25519.Identity.generate()
    rotated = with_settings(sealed, backup_age_recipients=str(added.to_public()))
    new = made(rotated, operator)
    assert keys_in(store_dir) > first and len(keys_in(store_dir)) == 4
    reordered = with_settings(sealed, backup_age_recipients=str(added.to_public()) + " ,")
    made(reordered, operator)
    assert len(keys_in(store_dir)) == 4, "the same recipients, written otherwise"
    for manifest, identity in ((old, operators_key), (new, added)):
        desk = opening(sealed, identity, tmp_path)
        store = open_store(desk.settings)
        assert {each.key for each in reading.picture_objects(desk, store, manifest).values()} == (
            reading.picture_keys(desk, store, manifest)
        )
        reading.verify(desk, store, manifest)
    with pytest.raises(Misconfigured, match="encrypted for other keys"):
        reading.verify(desk, store, old)


def test_a_desk_that_remembers_nothing_sends_every_picture_again(sealed, operator, store_dir):
    """What lies in the store under a good name may be anybody's."""
    made(sealed, operator)
    with write(sealed.control) as connection:
        connection.execute(text("DELETE FROM stored_pictures"))
    made(sealed, operator)
    assert len(keys_in(store_dir)) == 4


def test_a_damaged_picture_is_found_without_the_identity_and_sent_again(
    sealed, operator, store_dir
):
    manifest = made(sealed, operator)
    first = keys_in(store_dir)
    damaged = store_dir / "images/default" / min(first)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 4]))
    with pytest.raises(Broken, match="picture"):
        backup.verify(sealed, operator, manifest.id)
    again = made(sealed, operator)
    assert len(keys_in(store_dir) - first) == 1
    assert backup.verify(sealed, operator, again.id).read_back_at


def test_a_list_of_objects_that_points_elsewhere_is_refused(sealed, operator, store_dir):
    from services.protection.pictures import objects_from_json

    manifest = made(sealed, operator)
    [component] = [each for each in manifest.components if each.name == "images.objects.json"]
    values = json.loads((store_dir / component.key).read_bytes())
    digest, good = next(iter(values.items()))
    assert objects_from_json(json.dumps(values).encode(), "default")
    hostile = [
        {digest: good | {"key": "manifests/default/x.json"}},
        {digest: good | {"key": good["key"].replace("default", "other")}},
        {digest: good | {"key": f"images/default/../{digest}"}},
        {digest: good | {"encryption": "none"}},
        {digest: good | {"encryption": "rot13"}},
        {digest: good | {"plain_bytes": -1}},
        {digest: good | {"stored_bytes": True}},
        {digest: good | {"stored_bytes": "9"}},
        {digest: good | {"stored_sha256": "x"}},
        {digest: good | {"more": 1}},
        {digest: {}},
        {"x": good},
        {"0" * 64: good},
        {digest: None},
        [good],
        None,
    ]
    for each in hostile:
        with pytest.raises(Broken, match="no list of stored pictures"):
            objects_from_json(json.dumps(each).encode(), "default")
    with pytest.raises(Broken):
        objects_from_json(b"[" * 100_000, "default")


def test_debians_age_and_zstd_open_it_with_the_command_in_the_manifest(
    sealed, operator, operators_key, store_dir, tmp_path
):
    manifest = made(sealed, operator)
    work = tmp_path / "by hand"
    work.mkdir()
    (work / "identity.txt").write_text(f"{operators_key}\n")
    for component in manifest.components:
        (work / component.name).write_bytes((store_dir / component.key).read_bytes())
        if component.encryption == "age":
            command = component.open_with.replace("&& sqlite3", "&& echo .tables | sqlite3")
            subprocess.run(["sh", "-ec", command], cwd=work, check=True, capture_output=True)
    assert (work / "database.sqlite3").read_bytes().startswith(b"SQLite format 3")
    assert (work / "control.sqlite3").read_bytes().startswith(b"SQLite format 3")
    names = json.loads((work / "images.json").read_bytes())
    objects = json.loads((work / "images.objects.json").read_bytes())
    for name, digest in names.items():
        stored = store_dir / objects[digest]["key"]
        plain = subprocess.run(
            ["age", "-d", "-i", work / "identity.txt", stored], check=True, capture_output=True
        ).stdout
        assert plain == (sealed.settings.images_dir / name).read_bytes()


def test_an_identity_file_that_is_none_is_named_and_nothing_is_touched(sealed, operator, tmp_path):
    manifest = made(sealed, operator)
    files = {
        "nothing.txt": b"# only a comment\n",
        "other.txt": b"hello\n",
        "binary.txt": b"\xff\xfe\x00",
        "locked.txt": b"age-encryption.org/v1\n-> scrypt",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in (*files, "missing.txt", "."):
        desk = with_settings(sealed, backup_age_identity_file=tmp_path / name)
        with pytest.raises(Misconfigured, match="BACKUP_AGE_IDENTITY_FILE") as refused:
            backup_part(desk, manifest, tmp_path)
        assert "hello" not in str(refused.value)


@pytest.mark.parametrize(
    "recipients", ["age1wrong", "hello", "AGE-SECRET-KEY-1ABC", "age1yubikey1qwt50d05nh5vutpdz"]
)
def test_a_wrong_recipient_stops_the_backup_before_anything_is_sent(
    ctx, shop, operator, store_dir, recipients
):
    desk = with_settings(ctx, backup_age_recipients=recipients)
    with pytest.raises(Misconfigured, match="BACKUP_AGE_RECIPIENTS") as refused:
        backup.run(desk, operator)
    assert "SECRET-KEY-1ABC" not in str(refused.value)
    assert not store_dir.exists() or not list(store_dir.rglob("*.*"))


def test_a_drill_proves_an_encrypted_backup_where_the_identity_is_and_nowhere_else(
    ctx, operators_key, admin, tmp_path
):
    """Vectors, portable tables, pictures, knowledge base: all of it, decrypted and compared."""
    build_shop(ctx.settings.shop_sqlite_path)
    attach(ctx)
    furnish_fully(ctx)
    desk = with_settings(
        ctx,
        backup_age_recipients=str(operators_key.to_public()),
        backup_signing_key="drill" * 8,
    )
    manifest = made(desk, admin)
    assert {"vectors.tar.zst.age"} < {component.name for component in manifest.components}
    assert any(component.is_table for component in manifest.components)
    with pytest.raises(Misconfigured, match="no identity"):
        drill.run(desk, admin, manifest.id)
    [row] = backup.snapshots(desk, admin).rows
    assert row.verified_at is None and row.verify_error is None, "it is not the backup's fault"
    where = with_settings(
        ctx,
        backup_age_recipients=desk.settings.backup_age_recipients,
        backup_signing_key="drill" * 8,
        backup_age_identity_file=identity_file(operators_key, tmp_path),
    )
    drill.run(where, admin, manifest.id)
    [row] = backup.snapshots(where, admin).rows
    assert row.verified_at and row.signed and row.encrypted
    steps = drill.history(where, admin, manifest.id)[0].steps
    assert any("portable table holds the same ids" in step.found for step in steps)


def identity_file(identity: object, folder: Path) -> Path:
    file = folder / "identity.txt"
    file.write_text(f"# made for a test\n{identity}\n")
    return file
