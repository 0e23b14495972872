"""How far the copy is, as the index knows it, and what is written down about each snapshot."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from db.control import snapshots
from db.engine import read, write
from services.core.context import Context
from services.core.errors import Misconfigured
from services.protection.replication.model import CopyStatus
from services.protection.stores import open_store
from services.protection.stores.places import COPY

LATE = timedelta(hours=6)
"""A backup that is so old and has no copy is no longer just on its way."""


def status(ctx: Context) -> CopyStatus:
    """How many snapshots have a copy, and what is wrong; no store is asked."""
    url = ctx.settings.copy_url
    if url is None:
        return CopyStatus(None)
    problem = None
    try:
        open_store(ctx.settings, place=COPY)
    except Misconfigured as error:
        problem = (error.message, error.hint)
    ours = snapshots.c.instance == ctx.settings.instance_id
    copied = snapshots.c.copied_at.is_not(None)
    with read(ctx.control) as connection:
        total = connection.scalar(select(func.count()).select_from(snapshots).where(ours))
        done = connection.scalar(select(func.count()).select_from(snapshots).where(ours, copied))
        newest = _newest(connection, ours)
        newest_copy = _newest(connection, ours, copied)
        failed = _newest(connection, ours, snapshots.c.copy_error.is_not(None))
        when = connection.scalar(select(func.max(snapshots.c.copied_at)).where(ours))
    return CopyStatus(
        url=url,
        problem=problem,
        snapshots=total or 0,
        copied=done or 0,
        newest_at=newest.created_at if newest else None,
        newest_copied_at=newest_copy.created_at if newest_copy else None,
        copied_when=when,
        error=failed.copy_error if failed else "",
        remark=_remark(ctx.settings.store_url, url),
    )


def trouble(ctx: Context) -> tuple[datetime | None, str, str] | None:
    """What is wrong with the second copy: since when, what, and what to do. None where there
    is no second store, or it is as young as can be asked."""
    now = status(ctx)
    if now.url is None or not now.snapshots:
        return None
    if now.problem is not None:
        return None, f"Backups have no second copy. {now.problem[0]}", now.problem[1]
    if now.error:
        again = "`python services/replication.py` tries again; the store page shows how far it is."
        return now.newest_at, f"The last copy to the second store failed. {now.error}", again
    since = now.newest_copied_at
    behind = now.newest_at and ctx.now() - now.newest_at > LATE
    if behind and (since is None or (now.newest_at and now.newest_at > since)):
        return (
            since,
            "The newest backup has no copy in the second store.",
            "Run `python services/replication.py`, and see why the nightly backup does not.",
        )
    return None


def copied_ids(ctx: Context) -> set[str]:
    """Snapshots whose copy was complete when it was last looked at."""
    with read(ctx.control) as connection:
        return set(
            connection.scalars(
                select(snapshots.c.id).where(
                    snapshots.c.instance == ctx.settings.instance_id,
                    snapshots.c.copied_at.is_not(None),
                    snapshots.c.copy_error.is_(None),
                )
            )
        )


def record_copy(ctx: Context, snapshot_id: str, error: str | None = None) -> None:
    """Write down that a snapshot is complete in the second store, or why it is not.

    What was copied before stays copied when a later run could not reach the store; only what
    was found wrong in the copy itself takes that back (`forget_copy`).
    """
    values: dict[str, Any] = {"copy_error": error}
    if error is None:
        values["copied_at"] = ctx.now()
    _set(ctx, snapshot_id, values)


def forget_copy(ctx: Context, snapshot_id: str, why: str) -> None:
    """The copy of a snapshot is not (any more) what it must be."""
    _set(ctx, snapshot_id, {"copied_at": None, "copy_error": why})


def _set(ctx: Context, snapshot_id: str, values: dict[str, Any]) -> None:
    with write(ctx.control) as connection:
        connection.execute(
            update(snapshots)
            .where(snapshots.c.instance == ctx.settings.instance_id, snapshots.c.id == snapshot_id)
            .values(**values)
        )


def _newest(connection: Any, *conditions: Any) -> Any:
    return connection.execute(
        select(snapshots).where(*conditions).order_by(snapshots.c.created_at.desc()).limit(1)
    ).first()


def _remark(first: str, second: str) -> str:
    """What the two places still have in common."""
    if first.startswith("s3://") and second.startswith("s3://"):
        one, two = (url.removeprefix("s3://").partition("/")[0] for url in (first, second))
        if one == two:
            return "Both lie in one bucket: whoever empties it takes both."
    if first.startswith("file:") and second.startswith("file:"):
        one_disk, two_disk = (_disk(Path(url.removeprefix("file:"))) for url in (first, second))
        if one_disk is not None and one_disk == two_disk:
            return "Both lie on one disk: if it dies, both are gone."
    return ""


def _disk(folder: Path) -> int | None:
    for found in (folder, *folder.parents):
        try:
            return found.stat().st_dev
        except OSError:
            continue
    return None
