"""Old backups are removed after the nightly one, or from the command line."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import select

from db.control import audit_log
from db.engine import read
from services import backup, retention
from services.core.errors import Transient
from services.protection.stores import open_store
from tests.services.pruning import Refusing, aged, all_whole, ids, remove, strict_desk


@pytest.fixture
def desk(ctx, shop, monkeypatch):
    return strict_desk(ctx, monkeypatch)


def nightly(desk, capsys, *more: str) -> tuple[int, dict, str]:
    """What cron runs, with its answer and what it would mail."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in desk.settings.as_environment().items():
            patched.setenv(name, value)
        code = backup.main(["--json", *more])
    said = capsys.readouterr()
    return code, json.loads(said.out.splitlines()[-1]), said.err


def test_the_nightly_backup_removes_old_ones_after_it_succeeded(desk, admin, capsys):
    old, newer = aged(desk, admin, 5, 3)
    code, answer, mailed = nightly(desk, capsys)
    assert (code, answer["state"], mailed) == (0, "succeeded", "")
    assert answer["retention"]["state"] == "succeeded"
    assert answer["retention"]["removed"] == [old, newer]
    assert ids(desk) == [answer["snapshot"]]
    all_whole(desk, admin)


@pytest.mark.parametrize("more", [["--no-prune"], ["--reason", "before the migration"]])
def test_other_backups_and_no_prune_remove_nothing(desk, admin, capsys, more):
    aged(desk, admin, 5, 3)
    code, answer, _mailed = nightly(desk, capsys, *more)
    assert code == 0
    assert "retention" not in answer
    assert len(ids(desk)) == 3


def test_a_failed_backup_removes_nothing(desk, admin, capsys):
    aged(desk, admin, 5, 3)
    desk.settings.shop_sqlite_path.write_bytes(b"")
    code, answer, _mailed = nightly(desk, capsys)
    assert (code != 0, answer["state"]) == (True, "failed")
    assert len(ids(desk)) == 2


def test_a_shop_that_lost_its_orders_holds_the_old_backups_and_the_backup_counts(
    desk, admin, capsys
):
    aged(desk, admin, *range(12, 4, -1))
    with closing(sqlite3.connect(desk.settings.shop_sqlite_path)) as database, database:
        database.execute("DELETE FROM orders")
    code, answer, mailed = nightly(desk, capsys)
    assert (code, answer["state"]) == (0, "succeeded")
    assert answer["retention"]["state"] == "held"
    assert "orders has 0 rows instead of" in mailed
    assert len(ids(desk)) == 9
    with read(desk.control) as connection:
        held = connection.scalars(
            select(audit_log.c.outcome).where(audit_log.c.action == "retention.held")
        ).all()
    assert held == ["refused"]
    # A person who looked may go on.
    assert len(remove(desk, admin).result["removed"]) == 8


def test_removing_that_fails_does_not_make_the_backup_fail(desk, admin, capsys, monkeypatch):
    aged(desk, admin, 5, 3)
    real = open_store(desk.settings)
    broken = Refusing(real, "manifests/", Transient("The store went away.", "Try later."))
    monkeypatch.setattr("services.protection.retention.job.open_store", lambda _settings: broken)
    code, answer, mailed = nightly(desk, capsys)
    assert (code, answer["state"]) == (0, "succeeded")
    assert answer["retention"]["state"] == "failed"
    assert "The backup is made; removing old ones failed. The store went away." in mailed
    assert len(ids(desk)) == 3


def command(desk, capsys, *arguments: str) -> tuple[int, dict]:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in desk.settings.as_environment().items():
            patched.setenv(name, value)
        code = retention.main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_command_line_shows_removes_and_holds(desk, admin, capsys):
    old, newest = aged(desk, admin, 5, 0)
    code, answer = command(desk, capsys, "--dry-run")
    assert (code, answer["state"], answer["would_go"]) == (0, "planned", 1)
    assert [each["snapshot"] for each in answer["decisions"]] == [newest, old]
    assert answer["decisions"][1]["why"].startswith("goes: older than the 1 day kept")
    code, answer = command(desk, capsys)
    assert (code, "Nobody is there to confirm" in answer["error"]) == (1, True)
    assert len(ids(desk)) == 2
    code, answer = command(desk, capsys, "--yes")
    assert (code, answer["state"], answer["removed"]) == (0, "succeeded", [old])
    code, answer = command(desk, capsys, "--yes")
    assert (code, answer["state"], answer["would_go"]) == (0, "succeeded", 0)
    assert retention.main(["--sideways"]) == 3
