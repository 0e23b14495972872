"""Named instants of a restore: where the fault tests stop the process.

In a running desk the hook does nothing. A test's child process replaces it, so that
"killed exactly here" can be tried for every step without a switch in the environment.
"""

from __future__ import annotations

from collections.abc import Callable


def _nothing(_name: str) -> None:
    return None


hook: Callable[[str], None] = _nothing


def reached(name: str) -> None:
    """Say that the restore is at `name` now."""
    hook(name)
