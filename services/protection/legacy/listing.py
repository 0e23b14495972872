"""Find the old scripts' backups of this shop, pair databases with vectors, see through copies.

The layout is theirs: `backups/[<instance>/]database/insightshop_<stamp>.db` or `.sql`, and
`backups/[<instance>/]vector_db/vector_db_<stamp>.tar.gz`, the stamps in the local time of
their machine, seconds apart. A `_latest` is meant to be a copy of the newest; where the
copying failed, it is a copy of an older one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from sqlalchemy import select

from db.control import snapshots
from db.engine import read
from services.core.context import Context
from services.core.errors import DeskError, Invalid
from services.protection.legacy.model import Kind, LegacyBackup, LegacyObject, LegacyPage
from services.protection.legacy.places import ReadOnly, places
from services.protection.stores.base import PIECE, StoredObject

ROOT = "backups/"
REASON = "legacy"
"""Reason of the snapshots that were made from old backups."""
NEAR = timedelta(minutes=10)
"""So far apart, at most, were the database and the vectors of one run stamped."""
DEFAULT_INSTANCE = "default"
_LATEST = "latest"
_FILE = re.compile(r"insightshop_(\d{8}_\d{6}|latest)\.(db|sql)")
_ARCHIVE = re.compile(r"vector_db_(\d{8}_\d{6}|latest)\.tar\.gz")
_MOST_READ = 64 << 20
"""A folder knows no digests: files up to this size are read to compare them."""


def page(ctx: Context) -> LegacyPage:
    """Everything that the old scripts left for this shop, newest first. Opens nothing.

    A place that can't be listed is a remark, not a failure: there may be none.
    """
    zone = ctx.settings.legacy_time_zone
    found: list[LegacyObject] = []
    remarks: list[str] = []
    problem = None
    for place in places(ctx.settings, hurried=True):
        try:
            here = list(_objects(ctx, place, ZoneInfo(zone)))
        except DeskError as error:
            problem = (error.message, error.hint)
            continue
        kept, said = _without_copies(place, here)
        found += kept
        remarks += said
    known = _adopted(ctx)
    backups = sorted(_paired(ctx, found, known), key=lambda each: (each.at, each.key), reverse=True)
    return LegacyPage(tuple(backups), tuple(remarks), problem, zone)


def find(ctx: Context, key: str) -> tuple[LegacyBackup, ReadOnly]:
    """One of them, and where it lies.

    Raises:
        Invalid: there is none of this name.
    """
    for backup in page(ctx).backups:
        if backup.key == key:
            for place in places(ctx.settings):
                if place.url == backup.main.place:
                    return backup, place
    raise Invalid(
        f"There is no legacy backup {key[:120]!r}.",
        "The list shows which there are; the old script deletes them after 30 days.",
    )


def _objects(ctx: Context, place: ReadOnly, zone: tzinfo) -> Iterator[LegacyObject]:
    """What has the form of theirs; everything else below `backups/` is somebody else's."""
    instance = ctx.settings.instance_id
    roots = [f"{ROOT}{instance}/"]
    if instance == DEFAULT_INSTANCE:
        roots.insert(0, ROOT)  # a shop without INSTANCE_ID had no folder of its own
    for root in roots:
        for folder, pattern in (("database/", _FILE), ("vector_db/", _ARCHIVE)):
            for each in place.list(f"{root}{folder}"):
                named = pattern.fullmatch(each.key.removeprefix(f"{root}{folder}"))
                made = _object(place, each, named, zone) if named else None
                if made is not None:
                    yield made


def _object(
    place: ReadOnly, stored: StoredObject, named: re.Match[str], zone: tzinfo
) -> LegacyObject | None:
    latest = named[1] == _LATEST
    at = stored.modified if latest else _time(named[1], zone)
    if at is None:
        return None
    kind = Kind.VECTORS if named.re is _ARCHIVE else Kind.SQL if named[2] == "sql" else Kind.SQLITE
    etag = getattr(stored, "etag", "")
    return LegacyObject(place.url, stored.key, kind, at, stored.size, etag, latest)


def _time(stamp: str, zone: tzinfo) -> datetime | None:
    """The time that a name says, on the clock of the machine that wrote it."""
    try:
        local = datetime.strptime(stamp, "%Y%m%d_%H%M%S").replace(tzinfo=zone)
    except ValueError:
        return None  # 32 December is nobody's backup
    return local.astimezone(UTC)


def _without_copies(
    place: ReadOnly, found: list[LegacyObject]
) -> tuple[list[LegacyObject], list[str]]:
    """Leave out each `_latest` that is a copy of another one, and say what it is."""
    kept = [each for each in found if not each.latest]
    remarks = []
    for latest in (each for each in found if each.latest):
        others = [
            each for each in kept if each.kind is latest.kind and _folder(each) == _folder(latest)
        ]
        twin = next((each for each in _newest_first(others) if _same(place, each, latest)), None)
        newest = next(iter(_newest_first(others)), None)
        if twin is None:
            kept.append(latest)
            if others:
                remarks.append(f"{latest.key} is no copy of any other: it is listed by itself.")
        elif newest is not None and twin is not newest:
            remarks.append(
                f"{latest.key} is stale: it is the copy of {_name(twin)}, and {_name(newest)} "
                "is newer."
            )
        else:
            remarks.append(f"{latest.key} is the copy of {_name(twin)}.")
    return kept, remarks


def _newest_first(found: Iterable[LegacyObject]) -> list[LegacyObject]:
    return sorted(found, key=lambda each: each.at, reverse=True)


def _folder(found: LegacyObject) -> str:
    return found.key.rpartition("/")[0]


def _name(found: LegacyObject) -> str:
    return found.key.rpartition("/")[2]


def _same(place: ReadOnly, one: LegacyObject, other: LegacyObject) -> bool:
    """Whether two objects have the same content, as far as that can be told without fetching
    large ones: equal digests of the store, or for small ones the bytes."""
    if one.size != other.size:
        return False
    if one.etag and other.etag:
        # Copied by the server, an object that came in parts gets another kind of digest.
        in_parts = ("-" in one.etag) != ("-" in other.etag)
        if one.etag == other.etag or not in_parts:
            return one.etag == other.etag
    if one.size > _MOST_READ:
        return True  # of the same size to the byte; reading them would hold a page up
    return _digest(place, one) == _digest(place, other)


def _digest(place: ReadOnly, found: LegacyObject) -> str:
    stored = place.stat(found.key)
    return _read(place, found.key, found.size, stored.modified if stored else found.at)


@lru_cache(maxsize=512)
def _read(place: ReadOnly, key: str, size: int, modified: datetime) -> str:
    sha256 = hashlib.sha256()
    with place.open(key) as stream:
        while piece := stream.read(PIECE):
            sha256.update(piece)
    return sha256.hexdigest()


def _paired(
    ctx: Context, found: list[LegacyObject], adopted: dict[datetime, str]
) -> Iterator[LegacyBackup]:
    """Each database with the vectors that were stamped nearest to it, and those left alone."""
    databases = [each for each in found if each.kind is not Kind.VECTORS]
    vectors = [each for each in found if each.kind is Kind.VECTORS]
    near = sorted(
        (abs(one.at - other.at), one.at, number, other_number)
        for number, one in enumerate(databases)
        for other_number, other in enumerate(vectors)
        if one.place == other.place
        and _folder(one).rpartition("/")[0] == _folder(other).rpartition("/")[0]
        and abs(one.at - other.at) <= NEAR
    )
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _apart, _at, number, other_number in near:
        if number not in pairs and other_number not in taken:
            pairs[number] = other_number
            taken.add(other_number)
    for number, one in enumerate(databases):
        other = vectors[pairs[number]] if number in pairs else None
        yield _backup(ctx, one, other, adopted)
    for other_number, other in enumerate(vectors):
        if other_number not in taken:
            yield _backup(ctx, None, other, adopted)


def _backup(
    ctx: Context,
    database: LegacyObject | None,
    vectors: LegacyObject | None,
    adopted: dict[datetime, str],
) -> LegacyBackup:
    remarks = []
    if database is None:
        remarks.append("Vectors alone: no database was stored near that time.")
    elif vectors is None:
        remarks.append("No vectors were stored near that time.")
    elif vectors.size == 0:
        remarks.append(f"{_name(vectors)} is an empty file: no vector can come back from it.")
    made = LegacyBackup(database, vectors, tuple(remarks))
    return replace(
        made,
        snapshot_id=adopted.get(_second(made.at), ""),
        unusable=_against(ctx, made.main),
    )


def _against(ctx: Context, main: LegacyObject) -> str:
    if main.size == 0:
        return f"{_name(main)} is an empty file: nothing can come back from it."
    if main.kind is Kind.SQL and ctx.settings.shop_sqlite_path is not None:
        return "It is a PostgreSQL backup, and the shop runs on SQLite: it can't be used here."
    return ""


def _adopted(ctx: Context) -> dict[datetime, str]:
    """What old backups became here: time -> snapshot."""
    query = select(snapshots.c.id, snapshots.c.created_at).where(
        snapshots.c.instance == ctx.settings.instance_id, snapshots.c.reason == REASON
    )
    with read(ctx.control) as connection:
        return {_second(row.created_at): row.id for row in connection.execute(query)}


def _second(at: datetime) -> datetime:
    return at.replace(microsecond=0)
