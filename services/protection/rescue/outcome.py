"""What a restore tells when it is over, and how its errors read."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from db.control import jobs
from db.engine import write
from db.migrate import NewerDatabase
from services.core.context import Context
from services.core.databases import shop_error
from services.core.errors import Broken, Misconfigured

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@dataclass
class Outcome:
    """The result of a restore, as the job's row keeps it."""

    snapshot_id: str
    parts: tuple[str, ...]
    safety_id: str = ""
    undo_of: str = ""
    side: str = "old"  # "new" once everything that was chosen is live
    notes: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # paths of what no snapshot holds

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable values."""
        return {
            "snapshot": self.snapshot_id,
            "parts": list(self.parts),
            "safety": self.safety_id,
            "undo_of": self.undo_of,
            "side": self.side,
            "notes": self.notes,
            "kept": self.kept,
        }


def record(ctx: Context, job_id: str, outcome: Outcome) -> None:
    """Write the result before the job ends: a kill in between must not hide it."""
    with write(ctx.control) as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(result=outcome.to_dict()))


@contextmanager
def words() -> Iterator[None]:
    """Errors that leave the block read as a person may read them.

    Raises:
        DeskError: instead of what the disk or the database said; others as they are.
    """
    try:
        yield
    except BaseException as error:
        raise_in_words(error)


def raise_in_words(error: BaseException) -> NoReturn:
    """Raise what a person may read about `error`."""
    said = in_words(error)
    if said is error:
        raise error
    raise said from error


def in_words(error: BaseException) -> BaseException:
    """An error of the disk or the database as a person may read it; others as they are."""
    if isinstance(error, (SQLAlchemyError, sqlite3.Error)):
        return shop_error(error)
    if isinstance(error, NewerDatabase):
        return Misconfigured(
            f"This backup was made by a newer version of the desk: {error}. Nothing was changed.",
            "Start that version to restore it.",
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        return Broken(
            "The disk is full; nothing was changed.",
            "Free some space (or set BACKUP_TEMP_DIR to another disk), then try again.",
        )
    if isinstance(error, PermissionError):
        return Misconfigured(
            f"The desk may not write to {error.filename}; nothing was changed.",
            "Give the account that runs the desk write permission there.",
        )
    return error
