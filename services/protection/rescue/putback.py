"""Both ways out of a restore that stopped half way: finish it, or take it back.

The restore itself uses them, and so does the next start after a kill. Every function may
be repeated from the beginning at any time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select

from db.knowledge import change_sets
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import Broken
from services.protection import catalog, snapshots
from services.protection.model import Part
from services.protection.rescue import folders, staging
from services.protection.rescue import journal as journals
from services.protection.rescue import live as live_file
from services.protection.rescue.boundary import reached
from services.protection.rescue.journal import Journal
from services.protection.rescue.live import Live
from services.protection.stores.base import Store


def reason(snapshot_id: str, job_id: str) -> str:
    """Why a knowledge base changed; the job in it tells later whether that was committed."""
    return f"Restored from the backup {snapshot_id} (restore {job_id})"


def committed(ctx: Context, journal: Journal) -> bool:
    """Whether the restore's last step reached the live data.

    Raises:
        Transient: the live database is locked.
    """
    if journal.database:
        return live_file.holds_restore(Path(journal.database), journal.job_id)
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


def take_back(ctx: Context, open_store: Callable[[], Store], journal: Journal) -> None:
    """Make everything as it was before the restore.

    Raises:
        DeskError: the safety snapshot can't be read, or the database stays in use.
    """
    if journal.database:
        _database_back(ctx, open_store, journal)
    reached("database back")
    for move in reversed(journal.folders):
        folders.take_back(move)


def tidy(ctx: Context, journal: Journal, *, new: bool) -> list[str]:
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
    if journal.database:
        live = Path(journal.database)
        live_file.aside_file(live, journal.job_id).unlink(missing_ok=True)
    if journal.kept and not new:
        shutil.rmtree(journal.kept, ignore_errors=True)
    journals.remove(ctx, journal)
    return kept


def _database_back(ctx: Context, open_store: Callable[[], Store], journal: Journal) -> None:
    path = Path(journal.database)
    if journal.replaces:
        live_file.put_raw_back(Path(journal.kept), path)
        return
    if not live_file.holds_restore(path, journal.job_id):
        return
    if not journal.safety_id:
        raise Broken("There is no safety snapshot to put the database back from.")
    work = Path(journal.work)
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = work / "before.sqlite3"
    store = open_store()
    manifest = catalog.load_manifest(ctx, store, journal.safety_id)
    snapshots.fetch(ctx, store, manifest, Part.DATABASE, before)
    staging.make_ready(before, live_file.page_size(path))
    live = Live(path)
    try:
        with live.held():
            live.take_over(before)
    finally:
        live.close()
