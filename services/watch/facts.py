"""What the control database and the disks can tell about the installation, before judging."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, true

from db.control import accounts, audit_log, jobs, retrievals
from db.engine import read
from db.knowledge import entries
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.jobs import JobState
from services.watch.posture import Disk, Recovery, Trouble
from services.watch.samples import local_store, same_disk, volumes

NEWS_ROWS = 8
"""As many lines as one glance takes in; the audit log has them all."""

_NEWS: dict[str, Permission] = {
    "knowledge.": Permission.KB_VIEW,
    "backup.": Permission.OVERVIEW_VIEW,
    "restore.": Permission.OVERVIEW_VIEW,
    "drill.": Permission.OVERVIEW_VIEW,
    "retrieval.": Permission.OVERVIEW_VIEW,
    "sample.": Permission.OVERVIEW_VIEW,
    "alert.": Permission.MONITORING_VIEW,
}
"""Which happenings somebody without the audit log may hear of, by the action's first part."""

_NOISE = (
    "session.",
    "sign_in.",
    "account.sign_in",
    "account.sign_out",
    "access.",
    "backup.start",
    "drill.start",
    "restore.start",
    "restore.undo",
    "alert.test",
)
"""People coming and going, and what was begun (its end is told), is no news."""


@dataclass(frozen=True)
class NewsItem:
    """Something that somebody did."""

    at: datetime
    who: str
    what: str
    failed: bool


@dataclass(frozen=True)
class News:
    """What was done since somebody's last visit, newest first."""

    since: datetime | None  # None: there was no visit before this one
    items: tuple[NewsItem, ...]
    total: int


def since_last_visit(ctx: Context, actor: Actor) -> News:
    """What others and the desk did since this person was here before.

    Who may read the audit log hears everything in it but the comings and goings; who may
    not hears of backups, restores and the knowledge base, as far as they may see those.

    Raises:
        Denied: without `overview.view`.
    """
    require(actor, Permission.OVERVIEW_VIEW)
    with read(ctx.control) as connection:
        seen = connection.scalar(select(accounts.c.seen_audit_id).where(accounts.c.id == actor.id))
        since: datetime | None = None
        if seen is not None:
            since = connection.scalar(select(audit_log.c.at).where(audit_log.c.id == seen))
        wanted = and_(audit_log.c.id > (seen or 0), _may_hear(actor))
        total = connection.scalar(select(func.count()).select_from(audit_log).where(wanted)) or 0
        rows = connection.execute(
            select(audit_log).where(wanted).order_by(audit_log.c.id.desc()).limit(NEWS_ROWS)
        ).all()
    items = tuple(
        NewsItem(row.at, row.actor_name, row.summary, row.outcome != "done") for row in rows
    )
    return News(since, items, total)


def _may_hear(actor: Actor) -> ColumnElement[bool]:
    noise = and_(true(), *(~audit_log.c.action.startswith(name) for name in _NOISE))
    if actor.may(Permission.AUDIT_VIEW):
        return noise
    heard = [
        audit_log.c.action.startswith(name)
        for name, permission in _NEWS.items()
        if actor.may(permission)
    ]
    return and_(noise, or_(*heard))


def failed_backup(ctx: Context) -> Trouble | None:
    """The last backup that ended, where it did not succeed."""
    row = _last_job(ctx, ("backup",))
    if row is None or row.state == JobState.SUCCEEDED.value:
        return None
    return Trouble(row.ended_at, row.error or "", row.hint or "")


def failed_test_restore(place: str, snapshot_id: str, at: datetime, error: str | None) -> Trouble:
    """A drill that did not pass, in words; `place` is the store that the backup was read from."""
    where = " from the second store" if place == "copy" else ""
    said = f"The test restore of {snapshot_id}{where} failed. {error or ''}".strip()
    return Trouble(at, said, subject=f"{place} {snapshot_id}")


def interrupted_restore(ctx: Context) -> Trouble | None:
    """The last restore, where it was cut off and nothing has settled it since."""
    row = _last_job(ctx, ("restore",))
    if row is None or row.state != JobState.INTERRUPTED.value:
        return None
    return Trouble(row.ended_at, row.error or "", row.hint or "")


def measured_restore(ctx: Context) -> Recovery | None:
    """The last successful restore and how long it took, or None where none was made."""
    query = (
        select(jobs.c.started_at, jobs.c.ended_at)
        .where(
            jobs.c.kind == "restore",
            jobs.c.state == JobState.SUCCEEDED.value,
            jobs.c.started_at.is_not(None),
        )
        .order_by(jobs.c.ended_at.desc())
        .limit(1)
    )
    with read(ctx.control) as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    return Recovery((row.ended_at - row.started_at).total_seconds(), row.ended_at, "restore")


def archive_news(ctx: Context) -> Trouble | None:
    """The newest retrieval from the archive, while there is something to do about it: a copy
    that can be read for some days, or one that failed."""
    query = (
        select(retrievals)
        .where(
            retrievals.c.instance == ctx.settings.instance_id,
            retrievals.c.state != "dropped",
        )
        .order_by(retrievals.c.asked_at.desc())
        .limit(1)
    )
    with read(ctx.control) as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    if row.state == "ready" and row.ready_until is not None and row.ready_until > ctx.now():
        return Trouble(
            row.ready_at,
            f"{row.snapshot_id} is back from the archive.",
            f"It can be read until {row.ready_until:%Y-%m-%d %H:%M} UTC; after that it has to be "
            "brought back again.",
        )
    if row.state == "failed":
        return Trouble(
            row.looked_at or row.asked_at,
            f"{row.snapshot_id} did not come back from the archive. {row.error or ''}".strip(),
            "Ask for it again.",
        )
    return None


def knowledge_is_empty(ctx: Context) -> bool:
    """Whether the knowledge base holds no entry; raises what the database raises."""
    with read(ctx.shop) as connection:
        return connection.execute(select(entries.c.id).limit(1)).first() is None


def disks(ctx: Context) -> tuple[Disk, ...]:
    """The volumes of shop, desk and a local store."""
    return tuple(Disk(name, total, free) for name, (total, free) in volumes(ctx).items())


def store_shares_disk(ctx: Context) -> bool:
    """Whether backups lie on the disk that they are to protect from losing."""
    store, shop = local_store(ctx), ctx.settings.shop_sqlite_path
    return store is not None and shop is not None and same_disk(store, Path(shop))


def _last_job(ctx: Context, kinds: tuple[str, ...]) -> Row[tuple[object, ...]] | None:
    query = (
        select(jobs)
        .where(jobs.c.kind.in_(kinds), jobs.c.ended_at.is_not(None))
        .order_by(jobs.c.ended_at.desc())
        .limit(1)
    )
    with read(ctx.control) as connection:
        return connection.execute(query).first()
