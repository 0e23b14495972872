"""Runs a queued job of a door in a process of its own that ends by SIGKILL where it is told to.

    python -m tests.faults.steps_child services.drill JOB

Each step that begins is printed; at the one with the number $KILL_AT_STEP (from 0) it ends.
Test code: the desk itself has no switch that stops it half way.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

from services.core.jobs import JobHandle

_begin = JobHandle.step
_begun: list[str] = []


def _step(self: JobHandle, text: str, fraction: float | None = None) -> None:
    _begin(self, text, fraction)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    if str(len(_begun)) == os.environ.get("KILL_AT_STEP"):
        os.kill(os.getpid(), signal.SIGKILL)
    _begun.append(text)


def main() -> int:
    JobHandle.step = _step
    door = importlib.import_module(sys.argv[1])
    return int(door.main(["--job", sys.argv[2]]))


if __name__ == "__main__":
    sys.exit(main())
