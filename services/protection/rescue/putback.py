"""Both ways out of a restore that stopped half way: finish it, or take it back.

The restore itself uses them, and so does the next start after a kill. Every function may
be repeated from the beginning at any time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

from sqlalchemy import select

from db.knowledge import change_sets
from services.core.context import Context
from services.core.databases import read_shop
from services.protection.model import Part
from services.protection.rescue import folders
from services.protection.rescue import journal as journals
from services.protection.rescue.boundary import reached
from services.protection.rescue.database import Replacement
from services.protection.rescue.journal import Journal
from services.protection.stores.base import Store


def reason(snapshot_id: str, job_id: str) -> str:
    """Why a knowledge base changed; the job in it tells later whether that was committed."""
    return f"Restored from the backup {snapshot_id} (restore {job_id})"


def committed(ctx: Context, journal: Journal, database: Replacement | None) -> bool:
    """Whether the restore's last step reached the live data.

    Raises:
        Transient: the live database is locked.
    """
    if database:
        return database.committed()
    if Part.KNOWLEDGE in journal.parts:
        with read_shop(ctx) as connection:
            wanted = change_sets.c.reason == reason(journal.snapshot_id, journal.job_id)
            found = connection.execute(select(change_sets.c.id).where(wanted)).first()
        return found is not None
    return all(folders.exchanged(move) for move in journal.folders)


def finish(journal: Journal) -> None:
    """Bring the folders to the side on which the database is already."""
    for move in journal.folders:
        folders.exchange(move)


def take_back(
    journal: Journal, database: Replacement | None, open_store: Callable[[], Store]
) -> None:
    """Make everything as it was before the restore.

    Raises:
        DeskError: the safety snapshot can't be read, or the database stays in use.
    """
    if database:
        database.take_back(open_store)
    reached("database back")
    for move in reversed(journal.folders):
        folders.take_back(move)


def tidy(ctx: Context, journal: Journal, database: Replacement | None, *, new: bool) -> list[str]:
    """Remove everything that a restore left aside, the journal last.

    Args:
        new: whether the restored data stays; what it replaced is kept where no safety
            snapshot holds it.

    Returns:
        Where replaced data was kept, for a person.
    """
    kept = []
    for move in journal.folders:
        place = folders.clear(move, keep_old=new and not journal.safety_id)
        if place:
            kept.append(str(place))
    shutil.rmtree(journal.work, ignore_errors=True)
    if database:
        kept += database.tidy(new=new)
    journals.remove(ctx, journal)
    return kept
