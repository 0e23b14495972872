"""Which snapshots to drill today. Pure: the same rows and the same time, the same choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.protection.model import SnapshotRow, Storage

EVERY = timedelta(days=30)
"""No kept snapshot stays without a proof for longer than this, when drills run daily."""
_CYCLE_DAYS = 25
"""Everything that is kept comes round once in so many runs: some days may be missed."""
_LATE = timedelta(days=29)
"""A proof this old does not last until the run after the next."""
_REST = timedelta(days=7)
"""A proof as young as this is not made again: a desk with three backups need not hurry."""
_CATCH_UP = 3


@dataclass(frozen=True)
class Due:
    """What a run of drills would do now, and how the proofs stand."""

    chosen: tuple[str, ...]  # ids, in the order in which they are drilled
    kept: int
    never: int  # of those: never proven
    late: int  # of those: the last proof is older than `EVERY`, or there is none since then
    archived: int  # can't be read before somebody has them brought back
    damaged: int  # known to be


def choose(rows: Sequence[SnapshotRow], now: datetime) -> tuple[str, ...]:
    """The snapshots to drill in a run that comes once a day.

    First the newest one, if it was never proven: it is what would be put back. Then those
    whose proof (or making) is longest ago, a twenty-fifth of all that are kept; after a
    time without runs up to three times as many. Archived ones and those that are known to
    be damaged are left out.

    Args:
        rows: every snapshot that is kept, in any order.
        now: aware.
    """
    able = [row for row in rows if _can_be_read(row) and not row.verify_error]
    if not able:
        return ()
    newest = max(able, key=lambda row: (row.created_at, row.id))
    chosen = [] if newest.verified_at else [newest.id]
    waiting = sorted(
        (row for row in able if row.id not in chosen and not _rests(row, now)),
        key=lambda row: (proven_since(row), row.id),
    )
    daily = math.ceil(len(able) / _CYCLE_DAYS)
    late = sum(now - proven_since(row) >= _LATE for row in waiting)
    most = max(daily, min(late, _CATCH_UP * daily))
    chosen += [row.id for row in waiting[:most]]
    return tuple(chosen)


def due(rows: Sequence[SnapshotRow], now: datetime) -> Due:
    """The choice, with the figures behind it."""
    return Due(
        chosen=choose(rows, now),
        kept=len(rows),
        never=sum(row.verified_at is None for row in rows),
        late=sum(now - proven_since(row) > EVERY for row in rows),
        archived=sum(not _can_be_read(row) for row in rows),
        damaged=sum(bool(row.verify_error) for row in rows),
    )


def proven_since(row: SnapshotRow) -> datetime:
    """When it was last known to be good: its last proof, or its making."""
    return row.verified_at or row.created_at


def _rests(row: SnapshotRow, now: datetime) -> bool:
    return row.verified_at is not None and now - row.verified_at < _REST


def _can_be_read(row: SnapshotRow) -> bool:
    return row.storage is not Storage.ARCHIVED
