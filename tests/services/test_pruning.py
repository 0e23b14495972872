"""Retention carried out against real stores: what goes, what never does, and killed anywhere."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert, select

from db.control import audit_log, drills, snapshots
from db.engine import read, write
from services import backup, retention
from services.core import jobs
from services.core.errors import Conflict, Invalid, Misconfigured, Transient
from services.core.settings import PROJECT_ROOT, load_settings
from services.protection import snapshots as snapshot_room
from services.protection import unchanged
from services.protection.index import catalog
from services.protection.manifest import data_key, image_key, manifest_key
from services.protection.model import PROTECTION_LOCK
from services.protection.replication import keeping
from services.protection.stores import open_store
from tests.faults import matrix
from tests.faults.scene import back_up, furnish

SMALL = {"keep_days": 1, "keep_weeks": 0, "keep_months": 0, "keep_minimum": 1}


@pytest.fixture
def desk(ctx, shop, operator, monkeypatch):
    """A desk with a furnished shop and the tightest policy: one day, at least one snapshot."""
    furnish(ctx)
    # Each snapshot on its own, but where a test is about what they share.
    monkeypatch.setattr(unchanged, "SHARED_DAYS", -1)
    return replace(ctx, settings=ctx.settings.model_copy(update=SMALL))


def aged(desk, actor, *days: float) -> list[str]:
    """Snapshots of the shop as it is, made so many days ago; gives their ids as asked for."""
    return [_back_up_at(desk, actor, desk.now() - timedelta(days=age)) for age in days]


def _back_up_at(desk, actor, at: datetime) -> str:
    made = back_up(replace(desk, clock=lambda: at), actor)
    _age_objects(desk, made.id, at)
    return made.id


def _age_objects(desk, snapshot_id: str, at: datetime) -> None:
    """Give the stored files the time at which they would have been written."""
    root = desk.settings.instance_dir / "backups"
    stamp = at.timestamp()
    for path in root.rglob("*"):
        if path.is_file() and (snapshot_id in str(path) or "/images/" in str(path)):
            os.utime(path, (stamp, stamp))


def keys(desk, prefix: str = "") -> set[str]:
    return {found.key for found in open_store(desk.settings).list(prefix)}


def ids(desk) -> list[str]:
    return [row.id for row in catalog.everything(desk)]


def remove(desk, actor) -> jobs.Job:
    plan = retention.plan(desk, actor)
    return retention.run(desk, actor, plan, plan.word)


def all_whole(desk, actor) -> None:
    """Every listed snapshot is there in full."""
    backup.refresh(desk, actor)
    for snapshot_id in ids(desk):
        backup.verify(desk, actor, snapshot_id)


def test_what_the_policy_does_not_keep_goes_and_everything_else_stays_whole(desk, admin):
    old, newer, newest = aged(desk, admin, 5, 3, 0)
    ended = remove(desk, admin)
    assert ended.result["removed"] == [old, newer]
    assert ids(desk) == [newest]
    assert not [key for key in keys(desk) if old in key or newer in key]
    assert {manifest_key("default", newest)} == keys(desk, "manifests/")
    all_whole(desk, admin)
    with read(desk.control) as connection:
        events = connection.execute(
            select(audit_log).where(audit_log.c.action == "retention.done")
        ).all()
    assert len(events) == 1
    assert events[0].details["removed"] == [old, newer]
    assert events[0].summary.startswith("Removed 2 backups that the policy does not keep")


def test_a_second_run_finds_nothing_to_do(desk, admin):
    aged(desk, admin, 5, 3, 0)
    remove(desk, admin)
    assert retention.plan(desk, admin).going == ()
    with pytest.raises(Invalid, match="nothing to remove"):
        remove(desk, admin)


def test_the_word_has_to_be_typed_and_names_how_many_go(desk, admin):
    aged(desk, admin, 5, 3, 0)
    plan = retention.plan(desk, admin)
    assert plan.word == "remove 2"
    before = keys(desk)
    with pytest.raises(Invalid, match="nothing was deleted"):
        retention.run(desk, admin, plan, "remove 3")
    assert keys(desk) == before


def test_a_plan_is_not_carried_out_when_the_world_moved(desk, admin):
    """A backup, a pin or a changed policy since the plan was shown: look again."""
    old, newer, _newest = aged(desk, admin, 5, 3, 0)
    plan = retention.plan(desk, admin)
    retention.pin(desk, admin, old, "the year's end")
    before = keys(desk)
    with pytest.raises(Conflict, match="changed since this was planned"):
        retention.run(desk, admin, plan, plan.word)
    plan = retention.plan(desk, admin)
    aged(desk, admin, 0)
    with pytest.raises(Conflict, match="changed since this was planned"):
        retention.run(desk, admin, plan, plan.word)
    wider = replace(desk, settings=desk.settings.model_copy(update={"keep_days": 2}))
    plan = retention.plan(desk, admin)
    with pytest.raises(Conflict, match="changed since this was planned"):
        retention.run(wider, admin, plan, plan.word)
    assert before <= keys(desk)
    assert newer in ids(desk)


def test_what_is_used_since_the_plan_was_made_is_skipped_and_the_others_go(desk, admin):
    """A drill that began meanwhile keeps its snapshot; it goes the next time."""
    old, newer, _newest = aged(desk, admin, 5, 3, 0)
    plan = retention.plan(desk, admin)
    drill = jobs.create(desk, admin, "drill", params={"snapshot": old})
    ended = retention.run(desk, admin, plan, plan.word)
    assert (ended.result["removed"], ended.result["skipped"]) == ([newer], [old])
    assert "a drill is using it" in retention.plan(desk, admin).decisions[-1].words
    jobs.run(desk, drill, lambda _handle: {})
    assert remove(desk, admin).result["removed"] == [old]


def test_pictures_go_with_the_last_snapshot_that_shows_them(desk, admin):
    (old,) = aged(desk, admin, 5)
    shown = snapshot_room.picture_list(
        desk, open_store(desk.settings), backup.manifest(desk, admin, old)
    )
    (desk.settings.images_dir / "1.png").unlink()
    aged(desk, admin, 1.5)
    aged(desk, admin, 0)
    _age_objects(desk, "-", desk.now() - timedelta(days=4))
    assert remove(desk, admin).result["pictures"] == 1
    left = keys(desk, "images/")
    assert image_key("default", shown["1.png"]) not in left
    assert image_key("default", shown["2.png"]) in left
    all_whole(desk, admin)


def test_pictures_younger_than_a_day_stay(desk, admin):
    aged(desk, admin, 5, 0)
    key = image_key("default", "ab" * 32)
    open_store(desk.settings).put(key, io.BytesIO(b"just sent by another machine"))
    remove(desk, admin)
    assert key in keys(desk)


def test_nothing_of_another_instance_or_of_somebody_else_is_touched(desk, admin):
    aged(desk, admin, 5, 3, 0)
    store = open_store(desk.settings)
    foreign = {
        "notes.txt",
        "backups/database/insightshop_20260101_020000.db",
        "data/default/notes.txt",
        "data/default/not-a-snapshot/file",
        "data/default2/20200101T000000Z-aaaa/database.sqlite3.zst",
        "data/other/20200101T000000Z-aaaa/database.sqlite3.zst",
        "manifests/other/20200101T000000Z-aaaa.json",
        "images/default/holiday.png",
        "images/other/" + "ab" * 32,
        "pins/other/20200101T000000Z-aaaa.json",
    }
    old = (desk.now() - timedelta(days=900)).timestamp()
    for key in foreign:
        store.put(key, io.BytesIO(b"somebody else's"))
        os.utime(desk.settings.instance_dir / "backups" / key, (old, old))
    assert len(remove(desk, admin).result["removed"]) == 2
    assert foreign <= keys(desk)


def _orphan(desk, snapshot_id: str, days: float) -> str:
    key = data_key("default", snapshot_id, "database.sqlite3.zst")
    open_store(desk.settings).put(key, io.BytesIO(b"never finished"))
    stamp = (desk.now() - timedelta(days=days)).timestamp()
    os.utime(desk.settings.instance_dir / "backups" / key, (stamp, stamp))
    return key


def test_data_without_a_manifest_goes_once_it_is_a_day_old(desk, admin):
    aged(desk, admin, 5, 0)
    old = _orphan(desk, "20260101T000000Z-aaaa", 1.2)
    young = _orphan(desk, "20260102T000000Z-aaaa", 0.8)
    ended = remove(desk, admin)
    assert old not in keys(desk)
    assert young in keys(desk)
    assert ended.result["orphans"] == 1


def test_a_store_that_lost_its_manifests_keeps_the_data_of_all_of_them(desk, admin):
    """Somebody emptied manifests/: the data is the only way back, so the sweep leaves it."""
    lost = aged(desk, admin, 9, 8, 7, 6)
    aged(desk, admin, 5, 0)
    store = open_store(desk.settings)
    for snapshot_id in lost:
        store.delete(manifest_key("default", snapshot_id))
    ended = remove(desk, admin)
    assert all(keys(desk, data_key("default", each, "")) for each in lost)
    assert "Find out who removed the manifests" in " ".join(ended.result["notes"])


def test_pinned_data_without_a_manifest_stays(desk, admin):
    pinned, _old, _newest = aged(desk, admin, 9, 5, 0)
    retention.pin(desk, admin, pinned, "before the migration")
    open_store(desk.settings).delete(manifest_key("default", pinned))
    ended = remove(desk, admin)
    assert keys(desk, data_key("default", pinned, ""))
    assert "pinned" in " ".join(ended.result["notes"])


def test_evidence_and_index_of_a_removed_snapshot_go_too(desk, admin):
    old, newest = aged(desk, admin, 5, 0)
    evidence = f"drills/default/{old}/d1.json"
    store = open_store(desk.settings)
    store.put(evidence, io.BytesIO(b"{}"))
    with write(desk.control) as connection:
        for number, snapshot_id in enumerate((old, newest)):
            connection.execute(
                insert(drills).values(
                    id=f"d{number}",
                    snapshot_id=snapshot_id,
                    instance="default",
                    place="store",
                    at=desk.now(),
                    seconds=1.0,
                    passed=False,
                    host="h",
                    asked_by="a",
                    evidence=[],
                )
            )
    remove(desk, admin)
    assert evidence not in keys(desk)
    with read(desk.control) as connection:
        assert connection.scalars(select(drills.c.snapshot_id)).all() == [newest]
        assert connection.scalars(select(snapshots.c.id)).all() == [newest]


def test_what_kept_snapshots_share_with_a_removed_one_stays_until_they_go(desk, admin, monkeypatch):
    """An unchanged shop: later snapshots point to the first one's objects."""
    monkeypatch.setattr(unchanged, "SHARED_DAYS", 7)
    first, second, newest = aged(desk, admin, 5, 3, 1.5)
    used = {
        part.key for part in backup.manifest(desk, admin, newest).components if part.origin == first
    }
    assert used, "the scene has to share something"
    plan = retention.plan(desk, admin)
    assert "what 1 kept backup shares with it stays" in plan.decisions[-1].words
    ended = remove(desk, admin)
    assert ended.result["removed"] == [first, second]
    assert keys(desk, data_key("default", first, "")) == used
    all_whole(desk, admin)
    finish(desk, admin)  # a night later they are still there
    assert keys(desk, data_key("default", first, "")) == used
    monkeypatch.setattr(unchanged, "SHARED_DAYS", -1)
    (last,) = aged(desk, admin, 0)
    assert remove(desk, admin).result["removed"] == [newest]
    assert {key.split("/")[2] for key in keys(desk, "data/")} == {last}
    all_whole(desk, admin)


class _Refusing:
    """A store that will not delete some objects, as Object Lock does."""

    def __init__(self, store, locked: str, error: Exception) -> None:
        self._store, self._locked, self._error = store, locked, error

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def delete(self, key: str) -> None:
        if self._locked in key:
            raise self._error
        self._store.delete(key)


def test_what_the_store_refuses_is_counted_and_no_error(desk, admin, monkeypatch):
    old, newer, newest = aged(desk, admin, 5, 3, 0)
    real = open_store(desk.settings)
    locked = _Refusing(real, f"manifests/default/{old}", Misconfigured("Locked until May.", ""))
    monkeypatch.setattr("services.protection.retention.job.open_store", lambda _settings: locked)
    ended = remove(desk, admin)
    assert ended.result["removed"] == [newer]
    assert ended.result["refused"] == [manifest_key("default", old)]
    assert ids(desk) == [newest, old]
    all_whole(desk, admin)


def test_a_store_that_refuses_everything_is_not_asked_a_hundred_times(desk, admin, monkeypatch):
    aged(desk, admin, *range(14, 1, -1), 0)
    tried: list[str] = []

    class Counting(_Refusing):
        def delete(self, key: str) -> None:
            tried.append(key)
            super().delete(key)

    locked = Counting(open_store(desk.settings), "manifests/", Misconfigured("No right.", ""))
    monkeypatch.setattr("services.protection.retention.job.open_store", lambda _settings: locked)
    before = ids(desk)
    ended = remove(desk, admin)
    assert len([key for key in tried if key.startswith("manifests/")]) == 5
    assert "The store refuses to delete: No right." in ended.result["notes"]
    assert ids(desk) == before


def test_a_network_that_fails_half_way_leaves_everything_listed_whole(desk, admin, monkeypatch):
    aged(desk, admin, 9, 5, 3, 0)
    broken = _Refusing(open_store(desk.settings), "/vectors", Transient("It does not answer.", ""))
    broken._locked = "images.json"
    monkeypatch.setattr("services.protection.retention.job.open_store", lambda _settings: broken)
    with pytest.raises(Transient):
        remove(desk, admin)
    monkeypatch.undo()
    all_whole(desk, admin)
    remove(desk, admin)
    assert len(ids(desk)) == 1
    assert len({key.split("/")[2] for key in keys(desk, "data/")}) == 1


def test_clocks_that_disagree_hold_everything(desk, admin):
    aged(desk, admin, 5, 3, 0)
    later = desk.now() + timedelta(days=2)
    ahead = replace(desk, clock=lambda: later)
    before = keys(desk)
    plan = retention.plan(ahead, admin)
    with pytest.raises(Conflict, match="clocks of this machine"):
        retention.run(ahead, admin, plan, plan.word)
    assert keys(desk) == before


def test_after_a_failed_backup_nothing_goes(desk, admin, monkeypatch):
    aged(desk, admin, 5, 3, 0)
    desk.settings.shop_sqlite_path.rename(desk.settings.shop_sqlite_path.with_suffix(".away"))
    with pytest.raises(Exception, match="database"):
        backup.run(desk, admin)
    plan = retention.plan(desk, admin)
    assert [hold.name for hold in plan.holds] == ["failed"]
    with pytest.raises(Conflict, match="Retention holds, nothing was deleted"):
        retention.run(desk, admin, plan, plan.word)


def test_an_unreadable_store_holds(desk, admin):
    aged(desk, admin, 5, 3, 0)
    root = desk.settings.instance_dir / "backups" / "manifests" / "default"
    (root / "20260101T000000Z-zzzz.json").write_bytes(b"no manifest")
    (root / "readme.txt").write_bytes(b"somebody's note")
    backup.refresh(desk, admin)
    plan = retention.plan(desk, admin)
    assert [hold.name for hold in plan.holds] == ["catalog"]
    assert "20260101T000000Z-zzzz" in plan.holds[0].message


CHILD = "import sys; from tests.services.prune_child import main; sys.exit(main(sys.argv[1]))"


def _killed(desk, job: jobs.Job, at: str, count: int) -> int:
    environment = {
        **os.environ,
        **desk.settings.as_environment(),
        "KILL_AT": at,
        "KILL_COUNT": str(count),
    }
    process = subprocess.run(
        [sys.executable, "-c", CHILD, job.id],
        cwd=PROJECT_ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    return process.returncode


@matrix.faults
@pytest.mark.parametrize(
    ("at", "count"),
    matrix.times(
        [("manifest deleted", 1), ("object deleted", 3)],
        [
            ("before manifest", 2),
            ("manifest deleted", 1),
            ("index forgotten", 1),
            ("object deleted", 1),
            ("object deleted", 3),
            ("before orphan", 1),
            ("orphan deleted", 1),
            ("before picture", 1),
        ],
    ),
)
def test_killed_at_a_boundary_what_is_listed_is_whole_and_the_next_run_finishes(
    desk, admin, at, count
):
    (old,) = aged(desk, admin, 5)
    (desk.settings.images_dir / "1.png").unlink()
    _newer, newest = aged(desk, admin, 3, 0)
    orphan = _orphan(desk, "20260101T000000Z-aaaa", 2)
    _age_objects(desk, "-", desk.now() - timedelta(days=4))
    plan = retention.plan(desk, admin)
    job = retention._queue(desk, admin, plan, plan.word)
    assert _killed(desk, job, at, count) == -signal.SIGKILL
    with matrix.cell(matrix.KILLED, "removing old backups", matrix.SQLITE):
        all_whole(desk, admin)
    jobs.reap(desk)
    assert jobs.get(desk, job.id).state is jobs.JobState.INTERRUPTED
    assert jobs.active(desk, PROTECTION_LOCK) is None
    if retention.plan(desk, admin).going:
        remove(desk, admin)
    else:
        finish(desk, admin)
    assert ids(desk) == [newest]
    assert orphan not in keys(desk)
    assert {key.split("/")[2] for key in keys(desk, "data/")} == {newest}
    assert old not in " ".join(keys(desk))
    assert len(keys(desk, "images/")) == 2
    all_whole(desk, admin)


def finish(desk, admin) -> None:
    """What the nightly run does when the policy lets nothing go."""
    from services.protection.retention import job as prune_job

    assert prune_job.after_backup(desk, lambda _text, _share: None, admin)["state"] == "succeeded"


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
    broken = _Refusing(real, "manifests/", Transient("The store went away.", "Try later."))
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


def test_the_second_store_is_told_what_was_given_up(desk, admin, tmp_path):
    """Without that word a copy would stay for good."""
    old, _newest = aged(desk, admin, 5, 0)
    (tmp_path / "second").mkdir()
    settings = desk.settings.model_copy(update={"backup_copy_url": f"file:{tmp_path}/second"})
    remove(replace(desk, settings=settings), admin)
    assert set(keeping.given_up(desk)) == {old}


@pytest.mark.parametrize("server", ["moto_server", "rclone_server"])
def test_a_bucket_is_pruned_as_a_folder_is(desk, admin, server, request):
    """Of a real server's objects, written just now, everything of what goes is gone."""
    bucket = request.getfixturevalue(server)
    settings = load_settings(
        env_file=desk.settings.desk_home / "none.env",
        desk_home=desk.settings.desk_home,
        shop_root=desk.settings.shop_root,
        **bucket.settings(bucket.make_bucket(), "backups"),
        **SMALL,
    )
    cloud = replace(desk, settings=settings)
    old, newest = aged(cloud, admin, 5, 0)
    retention.pin(cloud, admin, newest, "why")
    assert remove(cloud, admin).result["removed"] == [old]
    assert old not in " ".join(keys(cloud))
    assert len(keys(cloud, "images/")) == 3
    all_whole(cloud, admin)
    backup.refresh(cloud, admin)
    assert catalog.find(cloud, newest).pin.note == "why"


def test_a_machine_that_can_open_no_backup_prunes_the_pictures_too(desk, admin):
    """It holds the recipients only: what a backup shows is known without an identity."""
    from pyrage import x25519

    recipient = str(x25519.Identity.generate().to_public())
    settings = desk.settings.model_copy(update={"backup_age_recipients": recipient})
    sealed = replace(desk, settings=settings)
    aged(sealed, admin, 5)
    (desk.settings.images_dir / "1.png").unlink()
    aged(sealed, admin, 0)
    _age_objects(desk, "-", desk.now() - timedelta(days=4))
    assert len(keys(sealed, "images/")) == 3
    ended = remove(sealed, admin)
    assert (ended.result["pictures"], ended.result["notes"]) == (1, [])
    assert len(keys(sealed, "images/")) == 2
    all_whole(sealed, admin)


def test_a_list_of_pictures_that_cant_be_read_keeps_them_all(desk, admin):
    old, newest = aged(desk, admin, 5, 0)
    spare = image_key("default", "ab" * 32)
    open_store(desk.settings).put(spare, io.BytesIO(b"shown by nothing"))
    _age_objects(desk, "-", desk.now() - timedelta(days=4))
    store = desk.settings.instance_dir / "backups"
    (store / data_key("default", newest, "images.json")).write_bytes(b"{}")
    ended = remove(desk, admin)
    assert ended.result["removed"] == [old]
    assert "Pictures stay, because a list of them can't be read" in ended.result["notes"][0]
    assert spare in keys(desk)
