"""A private folder for one capture, removed at the end, and by the next one after a kill."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.core.context import Context, prepare_folder
from services.core.errors import Broken

_PREFIX = "snapshot-"
_LOCK = "in-use"
_STALE_SECONDS = 3600
_MARGIN = 16 * 1024 * 1024


@contextmanager
def workspace(ctx: Context, job_id: str) -> Iterator[Path]:
    """A folder that only this job uses, readable by nobody else.

    Two tenants may share `BACKUP_TEMP_DIR`: what a folder's owner is doing shows in a lock
    that the system lets go when the owner dies, not in anybody's control database.

    Raises:
        Misconfigured: the temporary folder can't be written.
    """
    parent = prepare_folder(ctx.settings.temp_dir)
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{job_id}-", dir=parent))
    try:
        with open(folder / _LOCK, "xb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> int:
    """Remove the folders of jobs that died.

    Returns:
        How many were removed.
    """
    removed = 0
    for folder in parent.glob(f"{_PREFIX}*"):
        if _abandoned(folder):
            # The lock goes last: what can't be removed now stays known as abandoned.
            with suppress(FileNotFoundError):  # another desk that shares it was faster
                for entry in folder.iterdir():
                    if entry.name != _LOCK:
                        _remove(entry)
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def require_room(folder: Path, needed: int, unchanged: str = "nothing was backed up") -> None:
    """Refuse before anything is copied when the disk lacks room.

    Args:
        unchanged: what was not done, for the message.

    Raises:
        Broken: says how much there is and how much is needed.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + _MARGIN:
        raise Broken(
            f"There are {free // 1_000_000:,} MB free in {folder}, and the copies need "
            f"{(needed + _MARGIN) // 1_000_000:,} MB; {unchanged}.",
            "Free some space there, or set BACKUP_TEMP_DIR to a folder on a larger disk.",
        )


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
        return
    with suppress(OSError):
        entry.unlink(missing_ok=True)


def _abandoned(folder: Path) -> bool:
    try:
        with open(folder / _LOCK, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:
        # Its owner is about to lock it, or died before it could.
        try:
            return time.time() - folder.stat().st_mtime > _STALE_SECONDS
        except FileNotFoundError:
            return False
    except OSError:
        return False
