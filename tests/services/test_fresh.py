"""Recovery from the bucket alone, onto a machine that has nothing but the repository."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from services import backup
from services.core import jobs
from services.core.access import command_line_actor
from services.knowledge import transfer
from services.people import sessions
from services.people.sign_in import sign_in
from services.protection.digests import table_digests
from services.protection.manifest import manifest_key
from services.protection.rescue.execute import SAFETY
from services.protection.stores import open_store
from services.shop.attach import attach
from tests.faults.scene import KNOWLEDGE, back_up
from tests.services.lost import PASSWORD, NewMachine, audit_rows, lose, noted
from tests.shops import build_shop


@pytest.fixture
def ctx(old_desk, cheap_bcrypt):
    """The desk of the machine that will be lost, with a folder as its store."""
    return old_desk()


def _altered(lost, what: str) -> Path:
    """One object in the store, with a byte changed in the middle."""
    path = Path(lost.source.removeprefix("file:")) / what
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("store", ["folder", "bucket"])
def test_everything_comes_back_and_is_proven(
    store, request, old_desk, admin, tmp_path, cheap_bcrypt
):
    overrides = {}
    if store == "bucket":
        server = request.getfixturevalue("rclone_server")
        overrides = server.settings(server.make_bucket(), "desk/backups")
    lost = lose(old_desk(**overrides), admin)
    (tmp_path / "new").mkdir()
    machine = NewMachine(tmp_path / "new", lost)
    answer = machine.fresh()
    assert answer["snapshot"] == lost.manifest.id
    assert machine.equals_the_lost_one()
    proved = " ".join(answer["proved"].values())
    rows = sum(facts.rows for facts in lost.manifest.tables.values())
    assert f"{rows:,} rows, every count and digest as recorded" in proved
    assert "3 pictures, every one equal to its sha256" in proved and "Zero differences" in proved
    assert answer["seconds"] > 0 and set(answer["steps"]) >= set(answer["proved"])
    assert any("as ada" in step for step in answer["next"])
    desk = machine.desk()
    try:
        assert json.loads(transfer.canonical_json(desk.shop)) == KNOWLEDGE
        assert sign_in(desk, "ada", PASSWORD).account.role == "admin"
        # The audit log is the old one, and one line longer.
        rows = audit_rows(desk)
        assert rows[: len(lost.audit)] == lost.audit
        assert [row[5] for row in rows].count("recovery.done") == 1
        assert [row.id for row in backup.snapshots(desk, admin).rows] == [lost.manifest.id]
        # It works on: the next backup is made at once, and holds the same.
        again = backup.run(desk, admin).result["snapshot"]
        assert backup.manifest(desk, admin, again).tables == lost.manifest.tables
    finally:
        desk.close()
    assert not [name for name in machine.files() if ".recovery" in name or ".restore-" in name]
    assert machine.settings.shop_sqlite_path.stat().st_mode & 0o600 == 0o600
    assert (machine.settings.instance_dir / "control.db").stat().st_mode & 0o777 == 0o600


def test_what_belonged_to_the_old_machine_alone_is_ended(old_desk, admin, tmp_path, cheap_bcrypt):
    ctx = old_desk()
    lose(ctx, admin)
    token = sign_in(ctx, "ada", PASSWORD).token
    restoring = jobs.create(ctx, admin, "restore", lock="another")
    lost = noted(ctx, back_up(ctx, admin))
    machine = NewMachine(tmp_path / "new", lost)
    machine.home.mkdir()
    machine.fresh()
    desk = machine.desk()
    try:
        assert sessions.check(desk, token) is None
        assert jobs.active(desk, backup.LOCK) is None
        states = {job.id: job for job in jobs.recent(desk, ("backup", "restore"))}
        assert states[restoring.id].state is jobs.JobState.INTERRUPTED
        assert all(job.state.ended for job in states.values())
        assert "recovered from that snapshot" in states[restoring.id].hint
        with desk.control.connect() as connection:
            why = connection.scalar(text("SELECT revoked_why FROM auth_sessions"))
        assert why == "recovered from a backup"
    finally:
        desk.close()


def test_it_says_what_it_will_do_and_does_nothing_before_it_is_confirmed(machine, lost):
    done = machine.process("--from", lost.source, "--fresh", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "planned"
    for place in ("insightshop.db", "control.db", "vector_db", "generated_images"):
        assert place in done.stderr
    unasked = machine.run("--from", lost.source, "--fresh")
    assert unasked.returncode == 1 and "add --yes" in unasked.stderr
    assert machine.files() == {}


def test_a_live_shop_is_named_and_never_overwritten(machine):
    settings = machine.settings
    build_shop(settings.shop_sqlite_path)
    said = machine.refused()
    assert str(settings.shop_sqlite_path) in said and "never overwrites" in said
    assert "mv " in said and "restore.py ID" in said


def test_a_control_database_with_accounts_is_named_and_never_overwritten(machine):
    desk = machine.desk()
    try:
        from services.people import accounts

        accounts.create(desk, command_line_actor(), "eve", "Eve", "admin", password=PASSWORD)
    finally:
        desk.close()
    said = machine.refused()
    assert "control.db" in said and "1 accounts" in said


@pytest.mark.parametrize("name", ["vector_db", "generated_images"])
def test_a_folder_with_something_in_it_is_named_and_never_overwritten(machine, name):
    folder = machine.home / "shop" / name
    folder.mkdir(parents=True)
    (folder / "mine.bin").write_bytes(b"mine")
    said = machine.refused()
    assert str(folder) in said and "mine.bin" in said


def test_what_is_no_database_is_not_taken_for_nothing(machine):
    path = machine.settings.shop_sqlite_path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"notes about the outage" * 100)
    assert "can't be read as a database" in machine.refused()


def test_empty_places_are_set_aside_and_a_stale_journal_is_never_played(machine):
    """A desk that was started once, an empty database, and what a lost one left beside it."""
    machine.desk().close()
    path = machine.settings.shop_sqlite_path
    path.parent.mkdir(parents=True)
    path.touch()
    stale = path.with_name(path.name + "-wal")
    stale.write_bytes(b"old pages")
    (machine.home / "shop" / "vector_db").mkdir()
    machine.fresh()
    assert machine.equals_the_lost_one()
    assert not stale.exists()
    kept = list(path.parent.glob("*-wal.before-*"))
    assert [file.read_bytes() for file in kept] == [b"old pages"]


def test_a_desk_that_runs_keeps_its_database(machine):
    desk = machine.desk()
    try:
        with desk.control.connect() as connection:
            connection.execute(text("SELECT count(*) FROM jobs"))
            done = machine.run("--from", machine.lost.source, "--fresh", "--yes")
    finally:
        desk.close()
    assert done.returncode == 2 and "Stop the desk" in done.stderr
    machine.fresh()
    assert machine.equals_the_lost_one()


def test_of_several_shops_one_has_to_be_chosen(machine, old_desk, admin, lost):
    other = old_desk("other", instance_id="tenant-b")
    wanted = noted(other, back_up(other, admin))
    said = machine.refused()
    assert "default" in said and "tenant-b" in said and "--instance" in said
    assert wanted.manifest.id in said and lost.manifest.id in said
    assert "never-heard-of" in machine.refused("--instance", "never-heard-of", code=3)
    answer = machine.fresh("--instance", "tenant-b")
    assert answer["instance"] == "tenant-b" and answer["snapshot"] == wanted.manifest.id


def test_an_older_snapshot_can_be_chosen_and_what_a_restore_set_aside_is_not(
    machine, ctx, admin, lost
):
    with closing(sqlite3.connect(ctx.settings.shop_sqlite_path)) as database, database:
        database.execute("DELETE FROM orders")
    later = backup.run(ctx, admin).result["snapshot"]
    backup.run(ctx, admin, SAFETY)
    listed = machine.run("list", "--from", lost.source, "--json")
    found = json.loads(listed.stdout)["snapshots"]
    assert {row["id"] for row in found} >= {later, lost.manifest.id}
    plan = machine.run("--from", lost.source, "--fresh", "--dry-run", "--json")
    assert json.loads(plan.stdout)["snapshot"] == later
    machine.fresh(lost.manifest.id)
    assert machine.equals_the_lost_one()


@pytest.mark.parametrize(
    "what", ["manifest", "database.sqlite3.zst", "images.json", "knowledge.json"]
)
def test_a_damaged_newest_snapshot_is_said_and_the_one_before_is_offered(
    machine, ctx, admin, lost, what
):
    transfer.restore_document(ctx, admin, {"fabric_pairing": "changed"}, "since then")
    (ctx.settings.images_dir / "later.png").write_bytes(b"a new one")
    newest = backup.run(ctx, admin).result["snapshot"]
    key = f"data/default/{newest}/{what}"
    _altered(lost, manifest_key("default", newest) if what == "manifest" else key)
    said = machine.refused()
    assert newest in said and "Nothing was changed" in said
    assert f"--fresh {lost.manifest.id}" in said
    machine.fresh(lost.manifest.id)
    assert machine.equals_the_lost_one()


def test_a_picture_that_all_snapshots_share_does_not_stop_every_recovery(machine, ctx, admin, lost):
    backup.run(ctx, admin)
    picture = next(Path(lost.source.removeprefix("file:")).glob("images/default/*"))
    picture.write_bytes(b"scribbled over")
    said = machine.refused()
    assert "--without images" in said and "share objects" in said
    answer = machine.fresh("--without", "images")
    assert "the pictures" not in answer["places"]
    assert not machine.settings.images_dir.exists()
    assert table_digests(machine.settings.shop_sqlite_path) == lost.tables
    assert (
        "It may hold: control, images"
        in machine.run("--from", lost.source, "--fresh", "--without", "everything").stderr
    )


def test_a_part_that_is_missing_or_short_is_found_before_anything_is_fetched(machine, lost):
    folder = Path(lost.source.removeprefix("file:")) / f"data/default/{lost.manifest.id}"
    whole = (folder / "vectors.tar.zst").read_bytes()
    (folder / "vectors.tar.zst").write_bytes(whole[:-1])
    assert "vectors.tar.zst" in machine.refused()
    (folder / "vectors.tar.zst").unlink()
    said = machine.refused()
    assert "is missing" in said and "second copy" in said


def test_an_empty_place_is_not_taken_for_a_store_without_backups(machine, tmp_path, rclone_server):
    (tmp_path / "empty").mkdir()
    done = machine.run("--from", f"file:{tmp_path / 'empty'}", "--fresh")
    assert done.returncode == 3 and "no backup of this desk" in done.stderr
    assert "prefix" in done.stderr
    done = machine.run("--from", f"file:{tmp_path / 'absent'}", "--fresh")
    assert done.returncode == 3
    access = {
        name.upper(): str(value)
        for name, value in rclone_server.settings("x").items()
        if name.startswith("aws")
    }
    done = machine.run("--from", "s3://no-such-bucket-here", "--fresh", **access)
    assert done.returncode == 3 and "no bucket no-such-bucket-here" in done.stderr
    bucket = rclone_server.make_bucket()
    done = machine.run("--from", f"s3://{bucket}", "--fresh", **access)
    assert done.returncode == 3 and "no backup of this desk" in done.stderr
    nothing = {"HOME": str(tmp_path), "AWS_ENDPOINT_URL_S3": rclone_server.endpoint}
    done = machine.run("--from", f"s3://{bucket}", "--fresh", **nothing)
    assert done.returncode == 3 and "no credentials" in done.stderr
    assert machine.files() == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "file:/x"], "Add --fresh"),
        (["latest", "--from", "file:/x", "--fresh"], "brings everything"),
        (["--from", "ftp://x", "--fresh"], "file:FOLDER or s3://BUCKET/PREFIX"),
        (["--from", "file:/x", "--fresh", "--only", "images"], "brings everything"),
    ],
)
def test_a_wrong_command_line_is_said(machine, arguments, said):
    done = machine.run(*arguments, "--json")
    assert done.returncode == 3 and said in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 3


# ---- keys


@pytest.fixture
def keys(tmp_path):
    """Variables of a desk that encrypts and signs, and the identity that opens it."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    file = tmp_path / "identity.txt"
    file.write_text(f"# made for a test\n{identity}\n")
    return {
        "backup_age_recipients": str(identity.to_public()),
        "backup_signing_key": "s" * 40,
    }, file


def test_an_encrypted_and_signed_snapshot_needs_its_identity_and_its_key(
    old_desk, admin, tmp_path, keys, cheap_bcrypt
):
    overrides, identity = keys
    lost = lose(old_desk(**overrides), admin)
    machine = NewMachine(tmp_path / "new", lost)
    machine.home.mkdir()
    said = machine.refused(code=3)
    assert "is encrypted" in said and "BACKUP_AGE_IDENTITY_FILE" in said
    other = tmp_path / "other.txt"
    import pyrage

    other.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    machine.refused(code=3, BACKUP_AGE_IDENTITY_FILE=str(other))
    opens = {"BACKUP_AGE_IDENTITY_FILE": str(identity)}
    said = machine.refused(
        **opens, BACKUP_SIGNING_KEY="another key that is as long as it has to be"
    )
    assert "sign" in said
    machine.fresh(**opens)
    assert machine.equals_the_lost_one()


def test_an_unsigned_snapshot_is_refused_where_a_signing_key_is_set(machine):
    said = machine.refused(BACKUP_SIGNING_KEY="k" * 40)
    assert "sign" in said


def test_a_knowledge_base_that_is_in_no_table_is_imported(machine, lost, ctx, admin):
    """A snapshot of a shop that the desk was never attached to, with a knowledge base beside."""
    from services.protection.rescue.fresh import Fresh
    from services.protection.rescue.fresh_parts import Borrowed

    path = ctx.settings.shop_sqlite_path
    with closing(sqlite3.connect(path)) as database, database:
        for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'kb!_%' ESCAPE '!'"
        ).fetchall():
            database.execute(f"DROP TABLE {name}")
    bare = back_up(ctx, admin)
    store = open_store(ctx.settings)
    borrowed = Borrowed(transfer.canonical_json, attach, transfer.restore_document)
    fresh = Fresh(machine.settings, store, bare.id, "again", borrowed)
    # As LEGACY's adoption would list it: the document comes from another component.
    knowledge = next(part for part in lost.manifest.components if part.name == "knowledge.json")
    fresh.manifest = replace(bare, components=(*bare.components, knowledge))
    fresh.parts.manifest = fresh.manifest
    outcome = fresh.run(command_line_actor(), lambda _text, _fraction: None)
    assert "imported from knowledge.json" in outcome.proved["in its place"]
    desk = machine.desk()
    try:
        assert json.loads(transfer.canonical_json(desk.shop)) == KNOWLEDGE
    finally:
        desk.close()
