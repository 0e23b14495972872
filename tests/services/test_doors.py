"""Every door starts from nothing, as a file, from wherever somebody stands."""

from __future__ import annotations

import subprocess
import sys

from services.core.settings import PROJECT_ROOT

DOORS = ("backup", "doctor", "drill", "legacy", "replication", "restore", "retention")


def test_every_door_is_a_file_that_runs_from_anywhere():
    started = {
        name: subprocess.Popen(
            [sys.executable, str(PROJECT_ROOT / "services" / f"{name}.py"), "--help"],
            cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in DOORS
    }  # fmt: skip
    for name, process in started.items():
        shown, complained = process.communicate()
        assert (process.returncode, complained) == (0, ""), name
        assert shown.startswith("usage: ") and f"{name}.py" in shown.splitlines()[0], name
