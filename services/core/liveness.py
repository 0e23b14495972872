"""Whether the process of a job still lives.

On the job's own host the operating system knows: a process holds its lock file while it
lives, however slow it is and whatever the clock says, and loses it the moment it dies. A
heartbeat decides only where no process can be looked at.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from services.core.context import Context, prepare_folder
from services.core.errors import Busy

REMOTE_STALE = timedelta(seconds=90)
"""Without a heartbeat for so long, a job whose process can't be looked at counts as dead."""
START_PATIENCE = timedelta(seconds=60)
"""A process that has not begun its job by then never will."""


def will_begin(ctx: Context, host: str, pid: int | None, queued_at: datetime) -> bool:
    """Whether a queued job may still be begun.

    Args:
        host: on which it was queued.
        pid: of the process that is to do it; until it is started, of the one that starts it.
        queued_at: when it was queued.
    """
    if host == ctx.host and pid is not None and not process_exists(pid):
        return False
    # However the clock was set: a start takes seconds.
    return abs(ctx.now() - queued_at) < START_PATIENCE


def runs(ctx: Context, job_id: str, host: str, pid: int | None, heartbeat_at: datetime) -> bool:
    """Whether a running job still has a process.

    Args:
        host: on which it runs.
        pid: of its process.
        heartbeat_at: when it last wrote its row.
    """
    if _held(ctx, job_id):
        return True
    # Whoever cleaned up the folder took the lock file of a living job, too: its process is
    # there. A name that changed since it began looks like another host.
    if host == ctx.host and (pid is None or not process_exists(pid)):
        return False
    return ctx.now() - heartbeat_at < REMOTE_STALE


@contextmanager
def owned(ctx: Context, job_id: str) -> Iterator[None]:
    """Hold the lock file of a job while its work is done.

    Raises:
        Busy: another process does this job.
    """
    path = _lock_file(ctx, job_id)
    with open(path, "ab") as file:
        if not _taken(file):
            raise Busy("This job is running already.")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def process_exists(pid: int) -> bool:
    """Whether a process of this host has that number, and has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    try:
        # One that ended stays listed until somebody asks how.
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state not in (b"Z", b"X")


def _held(ctx: Context, job_id: str) -> bool:
    path = _lock_file(ctx, job_id)
    try:
        with open(path, "rb") as file:
            if not _taken(file):
                return True
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    return False


def _taken(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_file(ctx: Context, job_id: str) -> Path:
    return prepare_folder(ctx.settings.instance_dir / "jobs") / f"{job_id}.lock"
