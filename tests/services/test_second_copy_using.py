"""The second store in use: the shop comes back from it, backups feed it, Overview watches it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services import monitor, replication, restore
from services.core import audit
from services.core.audit import AuditFilter
from services.core.context import Context
from services.core.errors import Broken, Misconfigured
from services.core.loading import load_settings
from services.protection.index import catalog
from services.protection.stores import as_the_only_store, open_store
from tests.faults.scene import back_up, damage, world
from tests.services.second_store import cli, desk_with_copy, folder_of


@pytest.fixture
def desk(ctx: Context, shop: Path) -> Context:
    return desk_with_copy(ctx)


@pytest.mark.parametrize(
    ("option", "more"), [(["--place", "copy"], ["--place", "copy"]), (["--from", "copy"], [])]
)
def test_with_the_first_store_gone_the_shop_comes_back_from_the_second_and_is_undone_there(
    desk, operator, option, more
):
    made = back_up(desk, operator)
    before = world(desk)
    replication.run(desk, operator)
    shutil.rmtree(folder_of(desk, "store"))
    damage(desk)
    damaged = world(desk)
    with closing(sqlite3.connect(desk.settings.instance_dir / "control.db")) as db, db:
        db.execute("DELETE FROM snapshots")  # as on a desk that looked and found nothing
    code, answer, said = cli(desk, "restore", made.id, "--yes", *option)
    assert (code, answer["state"]) == (0, "succeeded"), said
    assert world(desk) == before
    # The first store is back and empty, and whoever looks into it forgets what lies in neither.
    folder_of(desk, "store").mkdir()
    catalog.refresh(desk, open_store(desk.settings))
    offer = restore.undo_offer(desk, operator)
    assert offer is not None and restore._undo(desk, operator, offer).parts
    code, answer, said = cli(desk, "restore", "--undo", "--yes", *more)
    assert (code, answer["state"]) == (0, "succeeded"), said
    assert world(desk)["database"] == damaged["database"]


def test_a_whole_machine_comes_back_from_the_second_store(desk, operator):
    made = back_up(desk, operator)
    before = world(desk)
    replication.run(desk, operator)
    for lost in (desk.settings.desk_home / "instance", desk.settings.shop_dir):
        shutil.rmtree(lost)
    code, answer, said = cli(desk, "restore", "--from", "copy", "--fresh", "--yes")
    assert (code, answer["state"], answer["snapshot"]) == (0, "recovered", made.id), said
    assert world(desk) == before


def test_looking_into_the_second_store_forgets_nothing_of_the_first(desk, operator):
    copied = back_up(desk, operator)
    replication.run(desk, operator)
    later = back_up(desk, operator)
    code, _answer, _said = cli(desk, "restore", "list", "--place", "copy")
    assert code == 0 and catalog.find(desk, later.id).read_back_at
    code, _answer, said = cli(desk, "restore", later.id, "--dry-run", "--place", "copy")
    assert code == 1 and "no longer in the store" in said
    assert cli(desk, "restore", copied.id, "--dry-run", "--place", "copy")[0] == 0


@pytest.mark.parametrize("asked", [["list", "--place", "copy"], ["--from", "copy", "--fresh"]])
def test_what_is_wrong_with_the_second_store_names_its_own_setting(desk, asked):
    folder_of(desk).rmdir()
    if "--fresh" in asked:
        shutil.rmtree(desk.settings.desk_home / "instance")
    code, answer, said = cli(desk, "restore", *asked)
    assert code != 0 and "correct BACKUP_COPY_URL" in said, answer
    assert "BACKUP_STORE_URL" not in said


def test_so_does_a_process_that_was_started_to_undo_from_there(desk, monkeypatch, tmp_path):
    folder_of(desk).rmdir()
    for name, value in as_the_only_store(desk.settings).as_environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as caught:
        list(open_store(load_settings(tmp_path / "none.env")).list(""))
    assert "correct BACKUP_COPY_URL" in caught.value.hint


# At the end of a backup, and from the command line


def test_the_nightly_backup_copies_what_it_made(desk, operator):
    code, answer, _said = cli(desk, "backup")
    assert (code, answer["state"], answer["copy"]["state"]) == (0, "succeeded", "succeeded")
    assert answer["copy"]["copied"] == [answer["snapshot"]]
    assert replication.status(desk, operator).waiting == 0


def test_a_copy_that_fails_leaves_the_backup_successful_and_says_so(desk, operator):
    folder_of(desk).rmdir()
    code, answer, said = cli(desk, "backup")
    assert answer["state"] == "succeeded" and answer["copy"]["state"] == "failed"
    assert code == 3 and "The backup is made; its copy failed." in said
    assert catalog.find(desk, answer["snapshot"]).read_back_at
    assert replication.status(desk, operator).waiting == 1


def test_the_command_line_copies_proves_and_lists(desk, operator):
    made = back_up(desk, operator)
    code, answer, _said = cli(desk, "replication")
    assert (code, answer["state"], answer["copied"]) == (0, "succeeded", [made.id])
    code, answer, _said = cli(desk, "replication", "latest")
    assert (code, answer["objects"]) == (0, 0)
    code, answer, _said = cli(desk, "replication", "--list")
    assert answer["copies"] == [
        {"complete": True, "error": "", "id": made.id, "missing": [], "only_here": False}
    ]
    code, answer, said = cli(desk, "replication", "20200101T000000Z-aaaa")
    assert code == 1 and "There is no snapshot" in said


def test_a_copy_is_in_the_audit_log(desk, operator, admin):
    back_up(desk, operator)
    replication.run(desk, operator)
    (event,) = audit.events(desk, admin, AuditFilter(actions=("backup.copy",))).events
    assert event.summary == "Copied 1 backups to the second store"


# What Overview says


def _findings(desk, operator) -> dict[str, str]:
    _facts, posture = monitor.posture(desk, operator)
    return {found.code: f"{found.tone.value}: {found.text}" for found in posture.findings}


def test_overview_warns_of_a_copy_that_failed_and_is_content_once_it_is_there(desk, operator):
    made = back_up(desk, operator)
    assert "copy" not in _findings(desk, operator)  # it may still be on its way
    shutil.move(folder_of(desk), away := folder_of(desk).with_name("unmounted"))
    with pytest.raises(Misconfigured):
        replication.run(desk, operator)
    later = replace(desk, clock=lambda: datetime.now(UTC) + timedelta(hours=7))
    assert _findings(later, operator)["copy"] == (
        "warning: The newest backup has no copy in the second store."
    )
    shutil.move(away, folder_of(desk))
    replication.run(desk, operator)
    assert "copy" not in _findings(later, operator)
    (folder_of(desk, "store") / made.components[0].key).unlink()
    (folder_of(desk) / made.components[0].key).unlink()
    with pytest.raises(Broken):
        replication.run(desk, operator, made.id)
    assert "The last copy to the second store failed." in _findings(desk, operator)["copy"]


def test_overview_warns_of_a_second_store_that_is_the_first(desk, operator):
    back_up(desk, operator)
    same = desk.settings.model_copy(update={"backup_copy_url": desk.settings.store_url})
    assert "the same folder" in _findings(replace(desk, settings=same), operator)["copy"]
