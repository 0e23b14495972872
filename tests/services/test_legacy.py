"""Backups of the old scripts: found, told apart, never believed, never touched."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services import backup, legacy, restore, retention
from services.core.context import Context
from services.core.errors import Broken, Conflict, Denied, Invalid, Misconfigured
from services.core.loading import load_settings
from services.protection.index import catalog
from services.protection.model import Part
from tests.conftest import person
from tests.doors import run_door
from tests.faults.scene import facts, tree, world
from tests.legacy_bucket import OldBucket, Runs, chroma_folder, furnished_over, latest, rows

DATABASE = frozenset({Part.DATABASE})


@pytest.fixture(scope="session")
def vector_folder(tmp_path_factory) -> Path:
    return chroma_folder(tmp_path_factory.mktemp("old-chroma") / "vector_db")


@pytest.fixture
def desk(ctx: Context, shop: Path) -> Context:
    """A desk whose store is a folder that old scripts used before it."""
    return furnished_over(ctx)


@pytest.fixture
def old(desk: Context, vector_folder: Path) -> OldBucket:
    return OldBucket(_root(desk), vector_folder)


def _root(desk: Context) -> Path:
    return Path(desk.settings.store_url.removeprefix("file:"))


def _listed(desk: Context, operator) -> list[tuple[str | None, str | None]]:
    return [
        (
            each.database.key.removeprefix("backups/") if each.database else None,
            each.vectors.key.removeprefix("backups/") if each.vectors else None,
        )
        for each in legacy.legacy(desk, operator).backups
    ]


def _key(desk: Context, operator, at: int = 0) -> str:
    return legacy.legacy(desk, operator).backups[at].key


# Finding them


def test_databases_are_paired_with_the_vectors_of_their_run(desk, old, operator):
    old.database("20261101_020000")
    old.vectors("20261101_020007")
    old.database("20261102_020000")
    old.vectors("20261102_015958")
    old.vectors("20261105_020000")
    old.database("20261107_020000")
    assert _listed(desk, operator) == [
        ("database/insightshop_20261107_020000.db", None),
        (None, "vector_db/vector_db_20261105_020000.tar.gz"),
        (
            "database/insightshop_20261102_020000.db",
            "vector_db/vector_db_20261102_015958.tar.gz",
        ),
        (
            "database/insightshop_20261101_020000.db",
            "vector_db/vector_db_20261101_020007.tar.gz",
        ),
    ]
    remarks = [each.remarks for each in legacy.legacy(desk, operator).backups]
    assert "No vectors" in remarks[0][0] and "Vectors alone" in remarks[1][0]


def test_names_tell_the_local_time_of_the_old_machine(desk, old, operator):
    old.database("20260701_020000")
    old.database("20261201_020000")
    zoned = desk.settings.model_copy(update={"legacy_time_zone": "Europe/Berlin"})
    found = legacy.legacy(replace(desk, settings=zoned), operator).backups
    assert [each.at for each in found] == [
        datetime(2026, 12, 1, 1, tzinfo=UTC),
        datetime(2026, 7, 1, 0, tzinfo=UTC),
    ]


def test_a_time_zone_that_nobody_has_stops_the_start(tmp_path):
    with pytest.raises(Misconfigured, match="LEGACY_TIME_ZONE"):
        load_settings(env_file=tmp_path / "none", legacy_time_zone="Europe/Nowhere")


def test_a_latest_is_seen_as_the_copy_that_it_is_and_a_stale_one_is_told(desk, old, operator):
    first = old.database("20261101_020000", products=40)
    latest(first)
    assert len(_listed(desk, operator)) == 1
    assert "is the copy of insightshop_20261101_020000.db" in str(
        legacy.legacy(desk, operator).remarks
    )
    old.database("20261102_020000", products=41)
    (remark,) = legacy.legacy(desk, operator).remarks
    assert "stale" in remark and "insightshop_20261102_020000.db is newer" in remark
    assert len(_listed(desk, operator)) == 2


def test_a_latest_that_is_no_copy_is_listed_by_itself(desk, old, operator):
    old.database("20261101_020000")
    old.put("database/insightshop_latest.db", b"something else entirely")
    assert ("database/insightshop_latest.db", None) in _listed(desk, operator)
    assert "no copy of any other" in str(legacy.legacy(desk, operator).remarks)


def test_a_tenant_sees_its_own_and_foreign_objects_are_nobodys(desk, old, vector_folder, operator):
    mine, other = (OldBucket(_root(desk), vector_folder, name) for name in ("mine", "other"))
    old.database("20261101_010000")
    mine.database("20261101_020000")
    other.database("20261101_030000")
    for name in (
        "database/insightshop_20261131_020000.db",
        "database/insightshop_20261101_020000.db.bak",
        "database/notes.txt",
        "database/deep/insightshop_20261101_020000.db",
        "insightshop_20261101_020000.db",
        "vector_db/vector_db_20261101.tar.gz",
    ):
        mine.put(name, b"x")
    of_mine = desk.settings.model_copy(update={"instance_id": "mine"})
    assert _listed(replace(desk, settings=of_mine), operator) == [
        ("mine/database/insightshop_20261101_020000.db", None)
    ]
    assert _listed(desk, operator) == [("database/insightshop_20261101_010000.db", None)]


def test_a_place_that_does_not_answer_is_a_remark(desk, operator):
    shutil.rmtree(_root(desk))
    found = legacy.legacy(desk, operator)
    assert found.backups == () and "no backup folder" in found.problem[0]


# Bringing them in


def test_adopting_makes_a_proven_snapshot_of_that_time_with_its_origin(desk, old, operator):
    database, vectors = old.both("20261101_020000")
    before = tree(old.root)
    done = legacy.run_adopt(desk, operator, _key(desk, operator)).result
    row = catalog.find(desk, done["snapshot"])
    assert row.id.startswith("20261101T020000Z-") and row.reason == "legacy"
    assert row.created_at == datetime(2026, 11, 1, 2, tzinfo=UTC)
    assert row.verified_at and row.read_back_at and not row.verify_error
    assert row.parts == {Part.DATABASE, Part.VECTORS}
    made = backup.manifest(desk, operator, row.id)
    sources = made.extra["legacy"]
    assert [each["bytes"] for each in sources] == [
        database.stat().st_size,
        vectors.stat().st_size,
    ]
    assert sources[0]["key"] in str(made.notes) and sources[0]["sha256"] in str(made.notes)
    assert made.tables["products"].rows == 40 and made.collections["insightshop_products"].count
    assert made.match.missing == made.match.stray == 0
    assert tree(old.root) == before
    assert legacy.legacy(desk, operator).backups[0].snapshot_id == row.id
    with pytest.raises(Conflict, match="is the snapshot"):
        legacy.run_adopt(desk, operator, _key(desk, operator))


def test_without_a_drill_it_is_not_called_verified(desk, old, operator):
    old.database("20261101_020000")
    done = legacy.run_adopt(desk, operator, _key(desk, operator), drill=False).result
    assert catalog.find(desk, done["snapshot"]).verified_at is None


def test_it_is_restored_by_the_usual_preview_safety_backup_and_undo(desk, old, operator):
    database, _vectors = old.both("20261101_020000", products=33)
    done = legacy.run_adopt(desk, operator, _key(desk, operator), drill=False).result
    before = world(desk)
    plan = restore.preview(desk, operator, done["snapshot"], DATABASE | {Part.VECTORS})
    assert any("product" in line.text for line in plan.lines)
    restore.run(desk, operator, plan, plan.word)
    assert rows(desk.settings.shop_sqlite_path, "products") == rows(database, "products") == 33
    assert (desk.settings.vector_dir / "chroma.sqlite3").is_file()
    offer = restore.undo_offer(desk, operator)
    undo = restore._undo(desk, operator, offer)
    restore.run(desk, operator, undo, undo.word, undo_of=offer.job_id)
    assert world(desk)["database"] == before["database"]


def test_the_newest_backup_is_still_the_newest(desk, old, operator):
    backup.run(desk, operator)
    newest = catalog.find(desk, "latest").id
    old.database("20261101_020000")
    legacy.run_adopt(desk, operator, _key(desk, operator), drill=False)
    assert catalog.find(desk, "latest").id == newest


def _nothing_made(desk: Context) -> bool:
    root = _root(desk)
    return not any((root / name).exists() for name in ("manifests", "data", "images"))


def _torn(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:12288] = os.urandom(4096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(b""), "empty file of 0 bytes"),
        (lambda path: path.write_bytes(b"<html>404</html>" * 99), "is no SQLite database"),
        (lambda path: path.write_bytes(path.read_bytes()[:50]), "is no SQLite database"),
        (lambda path: path.write_bytes(path.read_bytes()[:-4096]), "was cut short"),
        (lambda path: path.write_bytes(path.read_bytes()[: 2 * 4096]), "was cut short"),
        (_torn, "damaged"),
    ],
)
def test_a_database_that_is_none_any_more_is_refused(desk, old, operator, spoil, says):
    spoil(old.database("20261101_020000"))
    with pytest.raises(Broken, match=says):
        legacy.run_adopt(desk, operator, _key(desk, operator))
    assert _nothing_made(desk)


def test_another_programs_database_is_refused(desk, old, operator):
    path = old.database("20261101_020000")
    path.unlink()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE notes (text)")
    with pytest.raises(Misconfigured, match="not InsightShop's: it has no table"):
        legacy.run_adopt(desk, operator, _key(desk, operator))
    assert _nothing_made(desk)


def test_a_database_in_wal_mode_says_what_it_may_lack(desk, old, operator):
    path = old.database("20261101_020000")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("INSERT INTO cart_items VALUES (1, 1, 1, 1)")
        db.commit()
    done = legacy.run_adopt(desk, operator, _key(desk, operator)).result
    assert "was in WAL mode" in str(done["notes"])
    assert not Path(f"{path}-wal").exists()


def test_a_postgresql_dump_is_refused_where_the_shop_runs_on_sqlite(desk, old, operator):
    old.put("database/insightshop_20261101_020000.sql", b"-- PostgreSQL database dump\n")
    assert "the shop runs on SQLite" in legacy.legacy(desk, operator).backups[0].unusable
    with pytest.raises(Misconfigured, match="PostgreSQL backup, and the shop runs on SQLite"):
        legacy.run_adopt(desk, operator, _key(desk, operator))
    assert _nothing_made(desk)


def test_torn_vectors_beside_a_good_database_are_left_out_and_said(desk, old, operator):
    _database, vectors = old.both("20261101_020000")
    vectors.write_bytes(vectors.read_bytes()[:-3000])
    done = legacy.run_adopt(desk, operator, _key(desk, operator)).result
    assert backup.manifest(desk, operator, done["snapshot"]).parts == {Part.DATABASE}
    assert "The database is here without them" in str(done["notes"])


def test_an_object_that_vanished_since_it_was_listed_is_said(desk, old, operator):
    old.database("20261101_020000")
    key = _key(desk, operator)
    shutil.rmtree(old.root)
    with pytest.raises(Invalid, match="There is no legacy backup"):
        legacy.run_adopt(desk, operator, key)


def test_an_index_file_that_would_run_a_program_is_found_without_loading_it(
    desk, old, operator, vector_folder, tmp_path
):
    folder = shutil.copytree(vector_folder, tmp_path / "vector_db")
    segment = next(found for found in folder.iterdir() if found.is_dir())
    (segment / "index_metadata.pickle").write_bytes(pickle.dumps(Runs()))
    OldBucket(_root(desk), folder).vectors("20261101_020000")
    with pytest.raises(Broken, match="would run a program"):
        legacy.run_adopt(desk, operator, _key(desk, operator))
    assert _nothing_made(desk) and not Path("/tmp/it-ran").exists()


# The real thing


def test_the_real_old_bucket_is_listed_and_its_newest_database_adopted(desk, operator, shared_shop):
    with tarfile.open(shared_shop / "legacy-bucket.tar.gz") as tar:
        tar.extractall(_root(desk).parent / "real", filter="data")
    shutil.copytree(_root(desk).parent / "real" / "bucket", _root(desk), dirs_exist_ok=True)
    before = tree(_root(desk) / "backups")
    page = legacy.legacy(desk, operator)
    assert len(page.backups) == 6 and all(each.vectors for each in page.backups)
    assert sum("is the copy of" in remark for remark in page.remarks) == 3
    newest = next(each for each in page.backups if each.database.key.endswith(".db"))
    done = legacy.run_adopt(desk, operator, newest.key).result
    row = catalog.find(desk, done["snapshot"])
    assert row.verified_at and row.headline["products"] == 73
    assert tree(_root(desk) / "backups") == before


def test_the_command_line_lists_and_adopts(desk, old, operator):
    old.database("20261101_020000")

    def ask(*arguments: str) -> tuple[int, dict]:
        done = run_door(desk, "services.legacy", *arguments, "--json")
        return done.returncode, json.loads(done.stdout.splitlines()[-1])

    code, listed = ask()
    assert code == 0 and listed["backups"][0]["snapshot"] is None
    code, answer = ask(listed["backups"][0]["key"])
    assert (code, answer["state"], answer["passed"]) == (0, "succeeded", True)
    assert ask()[1]["backups"][0]["snapshot"] == answer["snapshot"]
    assert ask("nothing")[0] == 1


def test_facts_of_the_shop_are_untouched_by_all_this(desk, old, operator):
    old.both("20261101_020000")
    before = facts(desk)
    legacy.run_adopt(desk, operator, _key(desk, operator))
    assert facts(desk) == before


def test_what_was_made_of_an_old_backup_goes_only_when_somebody_says_so(desk, old, operator, admin):
    old.both("20261101_020000")
    before = facts(desk)
    adopted = legacy.run_adopt(desk, operator, _key(desk, operator), drill=False).result["snapshot"]
    with pytest.raises(Conflict, match="last backup that is known to be whole"):
        legacy.remove(desk, admin, adopted, adopted)
    own = backup.run(desk, operator).result["snapshot"]
    with pytest.raises(Denied):
        legacy.remove(desk, person("manager"), adopted, adopted)
    with pytest.raises(Invalid, match="not made of an old backup"):
        legacy.remove(desk, admin, own, own)
    with pytest.raises(Invalid, match="not what confirms"):
        legacy.remove(desk, admin, adopted, "yes")
    retention.pin(desk, admin, adopted, "for the auditor")
    with pytest.raises(Conflict, match="pinned by Admin: for the auditor"):
        legacy.remove(desk, admin, adopted, adopted)
    retention.unpin(desk, admin, adopted)
    assert adopted in {row.id for row in catalog.everything(desk)}

    done = legacy.remove(desk, admin, adopted, f" {adopted} ").result
    assert done["removed"] == [adopted]
    assert [row.id for row in catalog.everything(desk)] == [own]
    left = {path.as_posix() for path in _root(desk).rglob("*") if adopted in path.as_posix()}
    assert left == set()
    (found,) = legacy.legacy(desk, operator).backups
    assert found.snapshot_id == "" and found.database is not None
    assert backup.verify(desk, operator, own).verify_error is None
    assert facts(desk) == before
