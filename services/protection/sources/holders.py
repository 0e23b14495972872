"""Which programs hold an SQLite file locked, where the system tells (Linux does)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_LOCKS = Path("/proc/locks")
_LOCKED_FILES = ("", "-shm")  # in WAL mode the locks lie on the second one


def holders(path: Path) -> str:
    """The programs that hold a lock on a database, ` (gunicorn, process 4711)`; empty where
    that can't be known: another machine's, another system's, or gone by now."""
    files = set()
    for ending in _LOCKED_FILES:
        with suppress(OSError):
            files.add(path.with_name(path.name + ending).stat().st_ino)
    try:
        locks = _LOCKS.read_text("utf-8").splitlines()
    except OSError:
        return ""
    found: dict[int, str] = {}
    for lock in locks:
        # 16: POSIX  ADVISORY  WRITE 15155 fe:00:2148280 1073741824 1073742335
        fields = lock.replace("-> ", "").split()
        if len(fields) < 6 or fields[1] != "POSIX":
            continue
        process, inode = int(fields[4]), int(fields[5].rpartition(":")[2])
        if inode in files and process != os.getpid() and (name := _name(process)):
            found[process] = f"{name}, process {process}"
    return f" ({'; '.join(found.values())})" if found else ""


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return ""
