"""Run a command; how long it took, what processor time and what memory it used."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_EVERY_SECONDS = 0.03


@dataclass(frozen=True)
class Usage:
    """What a command and its children used."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int  # of all its processes together, sampled; of the largest one without /proc
    output: str


class Failed(Exception):
    """The command did not end with 0."""


def measure(command: list[str], environment: dict[str, str] | None = None) -> Usage:
    """Run a command to its end.

    Raises:
        Failed: with what it wrote.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watch = _Memory(process.pid)
    watch.start()
    assert process.stdout is not None
    output = process.stdout.read()
    _pid, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    watch.stop()
    if process.returncode != 0:
        raise Failed(f"{' '.join(command[:4])} ended with {process.returncode}:\n{output[-2000:]}")
    # Not where the sum is known: on Linux a child's maximum begins with what we ourselves held.
    largest = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Usage(seconds, used.ru_utime + used.ru_stime, watch.peak or largest, output)


class _Memory(threading.Thread):
    """Looks at a process and all below it, many times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        while not self._ended.wait(_EVERY_SECONDS):
            self.peak = max(self.peak, _resident(self._pid))

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        self.join()


def _resident(pid: int) -> int:
    below: dict[int, list[int]] = defaultdict(list)
    sizes: dict[int, int] = {}
    page = os.sysconf("SC_PAGE_SIZE")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            # Shared libraries are counted in each process: the sum errs on the high side.
            sizes[int(folder.name)] = int((folder / "statm").read_text().split()[1]) * page
        except (OSError, ValueError, IndexError):
            continue
        below[parent].append(int(folder.name))
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        total += sizes.get(one, 0)
        waiting += below[one]
    return total
