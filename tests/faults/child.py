"""Runs a queued restore, or the recovery, in a process of its own that a test can end.

    python -m tests.faults.child restore JOB   ends by SIGKILL at the boundary $KILL_AT, waits at
                                               $PAUSE_AT until a line comes on its input
    python -m tests.faults.child backup        may write $FILL_BYTES to one file, waits $PATIENCE
                                               seconds for who holds the database
    python -m tests.faults.child prune JOB     removes old backups
    python -m tests.faults.child recover
    python -m tests.faults.child fresh STORE   the recovery from a bucket alone

Test code: the desk itself has no switch that stops it half way.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

from services import backup, restore, retention
from services.core.context import open_context
from services.core.errors import Broken
from services.protection.rescue import boundary, execute, live


def _hook(name: str) -> None:
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    if name == os.environ.get("KILL_AT"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name == os.environ.get("PAUSE_AT"):
        sys.stdin.readline()
    if name == os.environ.get("FILL_AT"):
        _fill()


def _fill() -> None:
    # Every file of this process may grow to this size and no further: a full disk.
    limit = int(os.environ["FILL_BYTES"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _unlike(*_args: object) -> list[str]:
    raise Broken("The restored database is not what was fetched (orders).")


def main() -> int:
    boundary.hook = _hook
    if os.environ.get("FAIL_VERIFY"):
        execute._Restore._verify = _unlike
    if "PATIENCE" in os.environ:
        live.PATIENCE_SECONDS = float(os.environ["PATIENCE"])
    if sys.argv[1] == "backup":
        if "FILL_BYTES" in os.environ:
            _fill()
        return backup.main(["--json"])
    if sys.argv[1] == "prune":
        return retention.main(["--job", sys.argv[2]])
    if sys.argv[1] == "recover":
        restore.recover(open_context())
        return 0
    if sys.argv[1] == "fresh":
        return restore.main(["--from", sys.argv[2], "--fresh", "--yes", "--json"])
    return restore.main(["--job", sys.argv[2]])


if __name__ == "__main__":
    sys.exit(main())
