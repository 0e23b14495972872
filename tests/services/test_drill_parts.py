"""Each kind of damage is found by the step of a drill that looks for it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from services.core.context import Context
from services.core.errors import Broken
from services.protection import workspace as workspaces
from services.protection.manifest import image_key
from services.protection.model import Manifest
from services.protection.proving import pictures
from tests.drills import (
    failed,
    flip,
    forge,
    furnished_fixtures,
    in_json,
    in_sqlite,
    outcomes,
    proven,
    put_manifest,
    said,
    stored,
)
from tests.faults.scene import back_up

desk, settings, made = furnished_fixtures(vectors=False)


def test_one_flipped_bit_in_each_object_is_found_when_the_objects_are_fetched(ctx, made, admin):
    pictures_of = [
        stored(ctx, path.relative_to(_root(ctx)).as_posix())
        for path in (_root(ctx) / "images").rglob("*")
        if path.is_file()
    ]
    assert len(pictures_of) == 3 and len(made.components) == 4
    for component in made.components:
        path = stored(ctx, component.key)
        good = path.read_bytes()
        flip(path)
        evidence = proven(ctx, admin, made)
        assert not evidence.passed and "Objects" in failed(evidence), component.name
        assert component.name in said(evidence, "Objects")
        path.write_bytes(good)
    for path in pictures_of:
        good = path.read_bytes()
        flip(path)
        evidence = proven(ctx, admin, made)
        assert failed(evidence) == ["Pictures"] and path.name in said(evidence, "Pictures")
        path.write_bytes(good)
    assert proven(ctx, admin, made).passed


def _root(ctx: Context) -> Path:
    return Path(ctx.settings.store_url.removeprefix("file:"))


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("database.sqlite3.zst", "Database"),
        ("control.sqlite3.zst", "Desk's records"),
        ("knowledge.json", "Knowledge base"),
        ("images.json", "Pictures"),
    ],
)
def test_a_missing_object_is_named_and_what_needs_it_is_not_looked_at(ctx, made, admin, name, step):
    component = next(found for found in made.components if found.name == name)
    stored(ctx, component.key).unlink()
    evidence = proven(ctx, admin, made)
    assert "Objects" in failed(evidence) and name in said(evidence, "Objects")
    assert outcomes(evidence)[step] is None and "Not looked at" in said(evidence, step)
    assert not evidence.passed


def test_a_missing_picture_is_named(ctx, made, admin):
    stored(ctx, _pictures(ctx, made)[0]).unlink()
    evidence = proven(ctx, admin, made)
    assert failed(evidence) == ["Pictures"] and "missing" in said(evidence, "Pictures")


def _pictures(ctx: Context, made: Manifest) -> list[str]:
    component = next(found for found in made.components if found.name == "images.json")
    names = json.loads(stored(ctx, component.key).read_bytes())
    return [image_key(made.instance, digest) for digest in names.values()]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE orders SET total = total + 0.01 WHERE id = 7",
        "INSERT INTO cart_items VALUES (1, 1, 1, 1)",
        "DELETE FROM orders WHERE id = 3",
        "CREATE TABLE uninvited (id INTEGER PRIMARY KEY)",
    ],
)
def test_a_changed_row_is_found_though_every_digest_of_the_file_was_recomputed(
    ctx, made, admin, statement
):
    forged = forge(ctx, made, "database.sqlite3.zst", in_sqlite(statement))
    evidence = proven(ctx, admin, forged)
    assert failed(evidence) == ["Database"]
    assert "not what its manifest says" in said(evidence, "Database")


def test_a_damaged_page_is_found_though_every_digest_of_the_file_was_recomputed(ctx, made, admin):
    def tear(data: bytes) -> bytes:
        page = int.from_bytes(data[16:18], "big")
        return data[: 3 * page] + b"\xff" * page + data[4 * page :]

    forged = forge(ctx, made, "database.sqlite3.zst", tear)
    assert "Database" in failed(proven(ctx, admin, forged))
    no_database = forge(ctx, made, "control.sqlite3.zst", lambda data: b"x" * len(data))
    assert "Desk's records" in failed(proven(ctx, admin, no_database))


def test_references_that_lead_nowhere_are_held_against_the_recorded_number(ctx, made, admin):
    put_manifest(ctx, forged := replace(made, foreign_key_violations=0))
    evidence = proven(ctx, admin, forged)
    assert failed(evidence) == ["Database"] and "and 0 were recorded" in said(evidence, "Database")


def test_a_control_database_of_another_revision_is_found(ctx, made, admin):
    change = in_sqlite("UPDATE alembic_version SET version_num = 'c0009'")
    evidence = proven(ctx, admin, forge(ctx, made, "control.sqlite3.zst", change))
    assert failed(evidence) == ["Desk's records"]
    assert "c0009" in said(evidence, "Desk's records")


def test_a_knowledge_base_that_does_not_survive_an_import_is_found(ctx, made, admin):
    spaced = forge(ctx, made, "knowledge.json", lambda data: data + b"\n")
    assert failed(proven(ctx, admin, spaced)) == ["Knowledge base"]
    listed = forge(ctx, made, "knowledge.json", lambda _data: b"[1, 2]")
    evidence = proven(ctx, admin, listed)
    assert failed(evidence) == ["Knowledge base"]
    assert "can't be imported" in said(evidence, "Knowledge base")


def test_a_list_of_fewer_pictures_than_recorded_is_found(ctx, made, admin):
    change = in_json(lambda names: names.pop("1.png"))
    evidence = proven(ctx, admin, forge(ctx, made, "images.json", change))
    assert failed(evidence) == ["Pictures"] and "3 were recorded" in said(evidence, "Pictures")


def test_a_picture_that_never_decoded_is_told_and_is_not_the_backups_fault(ctx, made, admin):
    (ctx.settings.images_dir / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    evidence = proven(ctx, admin, back_up(ctx, admin))
    assert evidence.passed
    assert "1 can't be decoded" in said(evidence, "Pictures")
    assert "torn.png" in said(evidence, "Pictures")
    assert "not the backup's fault" in said(evidence, "Pictures")


def test_of_very_many_pictures_a_sample_is_looked_at_and_its_number_said(
    ctx, made, admin, monkeypatch
):
    monkeypatch.setattr(pictures, "ALL_UP_TO", 2)
    monkeypatch.setattr(pictures, "SAMPLE", 2)
    assert "A sample of 2 of 3 pictures" in said(proven(ctx, admin, made), "Pictures")


def test_a_manifest_that_was_exchanged_is_the_first_thing_found(ctx, made, admin):
    put_manifest(ctx, replace(made, reason="other"))
    assert failed(proven(ctx, admin, made)) == ["Manifest"]


def test_a_machine_without_room_is_no_verdict_on_the_backup(ctx, made, admin, monkeypatch):
    usage = shutil.disk_usage(ctx.settings.instance_dir)
    monkeypatch.setattr(
        workspaces.shutil, "disk_usage", lambda _path: usage._replace(free=1_000_000)
    )
    with pytest.raises(Broken, match="nothing was proven"):
        proven(ctx, admin, made)
