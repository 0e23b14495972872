"""What was to reach the shop and did not: for whoever watches, cheap enough for every look."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, or_, select

from db.knowledge import activations, schedules
from services.core.context import Context
from services.core.databases import read_shop
from services.knowledge.releasing.folder import NAMES
from services.knowledge.releasing.model import Folder, FolderState, ScheduleState
from services.knowledge.releasing.published import current_release
from services.knowledge.releasing.schedule import OVERDUE, settled_at
from services.knowledge.releasing.standing import standing
from services.knowledge.state import revision

MOST = 10
"""More schedules than this are told by these."""

NO_RUNNER = (
    "Whoever runs the server sees to it that `services/publish.py --due` runs every few minutes; "
    "then it is done at once."
)
_MAKE_CURRENT = "See to what it says, then make the release current on the Knowledge base page."

_LOOK_AFTER = 60.0
"""Seconds after which a folder is looked at anew though neither its files nor what the desk knows
of them changed: git may be in the middle of something. Asking it takes longer than all the rest."""

_looks: dict[Path, tuple[tuple[Any, ...], float, Folder]] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Unreached:
    """Something that was to be published, and isn't."""

    since: datetime | None  # None: it is so now, and nobody knows since when
    message: str
    hint: str
    subject: str = ""  # which schedule; nothing where it is about the folder


def unreached(ctx: Context) -> tuple[Unreached, ...]:
    """Schedules that failed or that nothing carries out; then the folder, where it isn't right.

    Nothing where no folder is named: what the shop reads is no concern of this desk then. A
    failed schedule is over once another release was made current, or one scheduled anew.

    Raises:
        DeskError: the shop's database can't be read: nothing is known.
    """
    path = ctx.settings.publish_dir
    if path is None:
        return ()
    with read_shop(ctx) as connection:
        found = _late(connection, ctx.now())
        current = current_release(connection)
        mark = None if current is None else (*_known(connection), *_files(path))
    if current is None or mark is None:
        return found  # before the first release nothing is promised
    told = _told(_looked_at(ctx, path, mark), current)
    return found if told is None else (*found, told)


def _late(connection: Connection, now: datetime) -> tuple[Unreached, ...]:
    is_failed = schedules.c.state == ScheduleState.FAILED
    settled = settled_at(connection)
    if settled is not None:
        is_failed &= schedules.c.ended_at > settled
    is_overdue = (schedules.c.state == ScheduleState.WAITING) & (schedules.c.due_at < now - OVERDUE)
    query = select(schedules).where(or_(is_failed, is_overdue)).order_by(schedules.c.id.desc())
    return tuple(_late_words(row) for row in connection.execute(query.limit(MOST)))


def _late_words(row: Any) -> Unreached:
    subject = f"release {row.release}, schedule {row.id}"
    when = f"{row.due_at:%Y-%m-%d %H:%M} UTC"
    if row.state == ScheduleState.FAILED:
        told = f"Release {row.release}, scheduled for {when}, was not published. {row.problem}"
        return Unreached(row.ended_at, told, _MAKE_CURRENT, subject)
    told = f"Release {row.release} should have gone to the shop on {when}. {row.problem or ''}"
    return Unreached(row.due_at, told.strip(), NO_RUNNER, subject)


def _known(connection: Connection) -> tuple[Any, ...]:
    """What the judgement of a folder rests on, as far as the database has it."""
    columns = (activations.c.id, activations.c.written_at, activations.c.problem)
    newest = select(*columns).order_by(activations.c.id.desc()).limit(1)
    return (revision(connection), *(connection.execute(newest).first() or ()))


def _files(path: Path) -> tuple[Any, ...]:
    """And as far as a look at the files tells, without reading them."""
    found: list[Any] = []
    for one in (path, *(path / name for name in NAMES)):
        try:
            facts = os.lstat(one)
        except OSError as error:
            found.append(error.errno)
        else:
            found += [facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size]
    return tuple(found)


def _looked_at(ctx: Context, path: Path, mark: tuple[Any, ...]) -> Folder:
    with _lock:
        known = _looks.get(path)
    now = time.monotonic()
    if known is not None and known[0] == mark and now - known[1] < _LOOK_AFTER:
        return known[2]
    found = standing(ctx)
    with _lock:
        _looks[path] = (mark, now, found)
    return found


def _told(found: Folder, current: int) -> Unreached | None:
    if found.state in (FolderState.NOT_SET, FolderState.CURRENT):
        return None
    message = found.message
    if found.state is FolderState.BEHIND:
        message = f"{found.path} does not hold release {current} yet. {message}".strip()
    return Unreached(None, message, found.hint)
