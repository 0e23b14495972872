"""A desk that keeps one day of backups, some as old as a test wants, and what is left of them."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from datetime import datetime, timedelta

from services import backup, retention
from services.core import jobs
from services.protection import unchanged
from services.protection.index import catalog
from services.protection.manifest import data_key
from services.protection.retention import job as prune_job
from services.protection.stores import open_store
from tests.faults.scene import back_up, furnish

SMALL = {"keep_days": 1, "keep_weeks": 0, "keep_months": 0, "keep_minimum": 1}


def strict_desk(ctx, monkeypatch):
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
    age_objects(desk, made.id, at)
    return made.id


def age_objects(desk, snapshot_id: str, at: datetime) -> None:
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
    """Carry out what the policy says now."""
    plan = retention.plan(desk, actor)
    return retention.run(desk, actor, plan, plan.word)


def all_whole(desk, actor) -> None:
    """Every listed snapshot is there in full."""
    backup.refresh(desk, actor)
    for snapshot_id in ids(desk):
        backup.verify(desk, actor, snapshot_id)


def leave_orphan(desk, snapshot_id: str, days: float) -> str:
    """Data of a backup that never got its manifest, so many days old; gives its key."""
    key = data_key("default", snapshot_id, "database.sqlite3.zst")
    open_store(desk.settings).put(key, io.BytesIO(b"never finished"))
    stamp = (desk.now() - timedelta(days=days)).timestamp()
    os.utime(desk.settings.instance_dir / "backups" / key, (stamp, stamp))
    return key


class Refusing:
    """A store that will not delete some objects, as Object Lock does."""

    def __init__(self, store, locked: str, error: Exception) -> None:
        self._store, self._locked, self._error = store, locked, error

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def delete(self, key: str) -> None:
        if self._locked in key:
            raise self._error
        self._store.delete(key)


def finish(desk, admin) -> None:
    """What the nightly run does when the policy lets nothing go."""
    assert prune_job.after_backup(desk, lambda _text, _share: None, admin)["state"] == "succeeded"
