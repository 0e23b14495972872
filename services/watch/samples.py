"""Samples: what was measured and when. Charts are drawn from these and nothing else."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, insert, select, table
from sqlalchemy.exc import SQLAlchemyError

from db.control import jobs, samples, snapshots
from db.engine import read, sqlite_file, write
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.jobs import JobState
from services.watch.metrics import MAIN_TABLES, METRICS

log = logging.getLogger("desk.samples")

CHART_POINTS = 500
"""More points than this in one line can't be seen; the database thins them out."""


@dataclass(frozen=True)
class Reading:
    """One measured value. `at` is the moment of sampling when not given."""

    metric: str
    subject: str
    value: float
    at: datetime | None = None


@dataclass(frozen=True)
class Point:
    """One value of a series."""

    at: datetime
    value: float


@dataclass(frozen=True)
class Series:
    """The values of one metric and subject over time, oldest first."""

    metric: str
    subject: str
    points: tuple[Point, ...]

    @property
    def last(self) -> Point | None:
        """The newest value."""
        return self.points[-1] if self.points else None


def collect(ctx: Context) -> tuple[Reading, ...]:
    """Measure everything that can be measured now.

    What can't (a missing shop, a folder that may not be read) is left out, never guessed:
    a gap in a chart is true, a zero would not be. Nothing is changed and no lock is held
    for longer than one count.
    """
    probes: tuple[Callable[[Context], Iterator[Reading]], ...] = (
        _database,
        _rows,
        _vectors,
        _images,
        _control,
        _disks,
        _snapshots,
        _ended_backups,
    )
    found: list[Reading] = []
    for probe in probes:
        try:
            found.extend(probe(ctx))
        except (OSError, sqlite3.Error, SQLAlchemyError) as error:
            log.info("%s left out of the sample: %s", probe.__name__.strip("_"), error)
    return tuple(found)


def take(ctx: Context, readings: Iterable[Reading]) -> int:
    """Store readings as samples of this moment.

    Returns:
        How many were stored.
    """
    now = ctx.now()
    rows = [
        {
            "at": reading.at or now,
            "metric": METRICS[reading.metric].name,
            "subject": reading.subject[:120],
            "value": float(reading.value),
        }
        for reading in readings
    ]
    if rows:
        with write(ctx.control) as connection:
            connection.execute(insert(samples), rows)
    return len(rows)


def series(
    ctx: Context,
    actor: Actor,
    metric: str,
    subject: str | None = None,
    *,
    since: datetime | None = None,
    points: int = CHART_POINTS,
) -> tuple[Series, ...]:
    """The values of a metric over time, one series per subject, thinned for drawing.

    Of every so many samples the last one is kept, and the newest always.

    Args:
        subject: only this one; all of them when None.
        since: leave out what is older.
        points: about how many values a series may keep.

    Raises:
        Denied: without `monitoring.view`.
    """
    require(actor, Permission.MONITORING_VIEW)
    where = [samples.c.metric == METRICS[metric].name]
    if subject is not None:
        where.append(samples.c.subject == subject)
    if since is not None:
        where.append(samples.c.at >= since)
    # Numbered from the newest back, so that the newest is number 0 of its series.
    place = func.row_number().over(
        partition_by=samples.c.subject, order_by=(samples.c.at.desc(), samples.c.id.desc())
    )
    many = func.count().over(partition_by=samples.c.subject)
    numbered = (
        select(
            samples.c.subject,
            samples.c.at,
            samples.c.value,
            (place - 1).label("place"),
            many.label("many"),
        )
        .where(*where)
        .subquery()
    )
    step = (numbered.c.many - 1) // max(points, 1) + 1
    kept = (
        select(numbered.c.subject, numbered.c.at, numbered.c.value)
        .where(numbered.c.place % step == 0)
        .order_by(numbered.c.subject, numbered.c.at)
    )
    found: dict[str, list[Point]] = {}
    with read(ctx.control) as connection:
        for name, at, value in connection.execute(kept):
            found.setdefault(name, []).append(Point(at, value))
    return tuple(Series(metric, name, tuple(values)) for name, values in found.items())


def newest(ctx: Context, actor: Actor) -> dict[tuple[str, str], Point]:
    """The newest value of every (metric, subject).

    Raises:
        Denied: without `monitoring.view`.
    """
    require(actor, Permission.MONITORING_VIEW)
    last = (
        select(samples.c.metric, samples.c.subject, func.max(samples.c.at).label("at"))
        .group_by(samples.c.metric, samples.c.subject)
        .subquery()
    )
    found = select(samples.c.metric, samples.c.subject, samples.c.at, samples.c.value).join(
        last,
        (samples.c.metric == last.c.metric)
        & (samples.c.subject == last.c.subject)
        & (samples.c.at == last.c.at),
    )
    with read(ctx.control) as connection:
        return {(row[0], row[1]): Point(row[2], row[3]) for row in connection.execute(found)}


def taken_at(ctx: Context) -> datetime | None:
    """When the desk last took a sample; the size of its own database is in every one."""
    with read(ctx.control) as connection:
        found: datetime | None = connection.scalar(
            select(func.max(samples.c.at)).where(samples.c.metric == "control.bytes")
        )
    return found


def _database(ctx: Context) -> Iterator[Reading]:
    path = ctx.settings.shop_sqlite_path
    if path is not None and path.is_file():
        yield Reading("shop.database_bytes", "", _sqlite_bytes(path))
    elif path is None and ctx.shop.dialect.name == "postgresql":
        with read(ctx.shop) as connection:
            size = connection.scalar(select(func.pg_database_size(func.current_database())))
        yield Reading("shop.database_bytes", "", float(size or 0))


def _rows(ctx: Context) -> Iterator[Reading]:
    for name in MAIN_TABLES:
        # One transaction per table: the shop's writers wait for one count at most.
        try:
            with read(ctx.shop) as connection:
                rows = connection.scalar(select(func.count()).select_from(table(name)))
        except SQLAlchemyError as error:
            log.debug("rows of %s not counted: %s", name, error)
            if "locked" in str(error):
                return  # whoever holds it holds every table, and each would be waited for
            continue
        yield Reading("shop.rows", name, float(rows or 0))


def _vectors(ctx: Context) -> Iterator[Reading]:
    folder = ctx.settings.vector_dir
    if not folder.is_dir():
        return
    yield Reading("vectors.bytes", "", _folder(folder)[1])
    index = folder / "chroma.sqlite3"
    if not index.is_file():
        return
    # "immutable" takes no lock at all: a held read would freeze the shop's writer (Chroma's
    # journal mode is "delete"). A count that collides with a write fails and is left out.
    address = f"{index.resolve().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
        count = connection.execute("SELECT count(*) FROM embeddings").fetchone()[0]
    yield Reading("vectors.count", "", float(count))


def _images(ctx: Context) -> Iterator[Reading]:
    if ctx.settings.images_dir.is_dir():
        count, size = _folder(ctx.settings.images_dir)
        yield Reading("images.count", "", count)
        yield Reading("images.bytes", "", size)


def _control(ctx: Context) -> Iterator[Reading]:
    path = sqlite_file(ctx.settings.control_url)
    if path is not None:
        yield Reading("control.bytes", "", _sqlite_bytes(path))
    else:
        with read(ctx.control) as connection:
            size = connection.scalar(select(func.pg_database_size(func.current_database())))
        yield Reading("control.bytes", "", float(size or 0))


def _disks(ctx: Context) -> Iterator[Reading]:
    for name, usage in volumes(ctx).items():
        yield Reading("disk.total_bytes", name, float(usage[0]))
        yield Reading("disk.free_bytes", name, float(usage[1]))


def volumes(ctx: Context) -> dict[str, tuple[int, int]]:
    """The disks that hold the shop, the desk and a local store: name -> (bytes, free bytes).

    A disk that holds several of them is told once, under all their names.
    """
    places = {"shop": _existing(ctx.settings.shop_dir), "desk": ctx.settings.instance_dir}
    folder = local_store(ctx)
    if folder is not None:
        places["store"] = _existing(folder)
    names: dict[int, list[str]] = {}
    usages: dict[int, tuple[int, int]] = {}
    for name, place in places.items():
        if not place.exists():
            continue
        device = place.stat().st_dev
        usage = shutil.disk_usage(place)
        names.setdefault(device, []).append(name)
        usages[device] = (usage.total, usage.free)
    return {" + ".join(names[device]): usage for device, usage in usages.items()}


def local_store(ctx: Context) -> Path | None:
    """The folder of a store on this machine, or None when it is elsewhere."""
    kind, _, place = ctx.settings.store_url.partition(":")
    return Path(place) if kind == "file" else None


def _snapshots(ctx: Context) -> Iterator[Reading]:
    """The age of the newest snapshot, and the sizes of all that no sample tells yet."""
    mine = snapshots.c.instance == ctx.settings.instance_id
    sampled = select(samples.c.at).where(samples.c.metric == "backup.data_bytes")
    untold = (
        select(snapshots)
        .where(mine, snapshots.c.created_at.not_in(sampled))
        .order_by(snapshots.c.created_at)
    )
    with read(ctx.control) as connection:
        last = connection.scalar(select(func.max(snapshots.c.created_at)).where(mine))
        rows = connection.execute(untold).all()
    if last is not None:
        yield Reading("backup.age_seconds", "", (ctx.now() - last).total_seconds())
    for row in rows:
        yield Reading("backup.data_bytes", "", row.plain_bytes, row.created_at)
        yield Reading("backup.stored_bytes", "", row.stored_bytes, row.created_at)


def _ended_backups(ctx: Context) -> Iterator[Reading]:
    """One reading per backup that ended since the last one that is sampled."""
    with read(ctx.control) as connection:
        sampled = select(samples.c.subject).where(samples.c.metric == "backup.outcome")
        query = (
            select(jobs)
            .where(jobs.c.kind == "backup", jobs.c.ended_at.is_not(None), jobs.c.id.not_in(sampled))
            .order_by(jobs.c.ended_at)
        )
        ended = connection.execute(query).all()
    for job in ended:
        succeeded = job.state == JobState.SUCCEEDED.value
        yield Reading("backup.outcome", job.id, float(succeeded), job.ended_at)
        if succeeded and job.started_at is not None:
            took = (job.ended_at - job.started_at).total_seconds()
            yield Reading("backup.seconds", job.id, took, job.ended_at)


def _sqlite_bytes(path: Path) -> float:
    """Size of an SQLite database with its write-ahead log."""
    log_file = path.with_name(path.name + "-wal")
    return float(path.stat().st_size + (log_file.stat().st_size if log_file.exists() else 0))


def _folder(folder: Path) -> tuple[float, float]:
    """(number of files, bytes) below a folder; links are not followed."""
    count = size = 0
    waiting = [os.fspath(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    count += 1
                    size += entry.stat(follow_symlinks=False).st_size
    return float(count), float(size)


def same_disk(one: Path, other: Path) -> bool:
    """Whether two places, existing or to be, lie on the same volume."""
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _existing(place: Path) -> Path:
    """The place itself, or its nearest parent that exists: what lies on the same disk."""
    while not place.exists() and place != place.parent:
        place = place.parent
    return place
