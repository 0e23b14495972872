"""Doors run from the command line, in processes that need not import everything anew.

One process has imported what all doors share and forks for each run: what a run gets and
gives (environment, folder, arguments, output, exit code) is its own, as if it were started.
Whether a door starts from nothing is the subject of tests that start it themselves.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from services.core.context import Context
from services.core.settings import PROJECT_ROOT

SHARED = (
    "services.core.jobs",
    "services.core.context",
    "services.protection.snapshots",
    "services.protection.rescue.execute",
)


def run_door(
    ctx: Context,
    module: str,
    *arguments: str,
    cwd: Path = PROJECT_ROOT,
    more: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a door as its own process; nobody is at its keyboard.

    Args:
        module: as after `python -m`.
        more: variables beside this process's and those of the desk.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        asked = {
            "module": module,
            "arguments": arguments,
            "environment": {**os.environ, **ctx.settings.as_environment(), **(more or {})},
            "cwd": str(cwd),
            "files": [os.devnull, str(out), str(err)],
        }
        starter = _starter()
        assert starter.stdin is not None and starter.stdout is not None
        starter.stdin.write(json.dumps(asked) + "\n")
        starter.stdin.flush()
        code = int(starter.stdout.readline())
        shown, complained = out.read_text("utf-8"), err.read_text("utf-8")
    return subprocess.CompletedProcess([module, *arguments], code, shown, complained)


@cache
def _starter() -> subprocess.Popen[str]:
    """Ends with this process, when nothing more can come."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.doors"],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def main() -> None:
    """Fork for every line asked; answer with the exit code."""
    for name in SHARED:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(**json.loads(line))
            return
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _become(
    module: str, arguments: list[str], environment: dict[str, str], cwd: str, files: list[str]
) -> None:
    for number, name in enumerate(files):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        handle = os.open(name, flags, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(cwd)
    random.seed()
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
