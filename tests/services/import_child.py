"""Works a queued import off in a process of its own that ends by SIGKILL where it is told to:
at the beginning of a step ($KILL_AT is its first word), or after the commit (`relay`)."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from services import exchange
from services.core.jobs import JobHandle
from services.knowledge.exchange import applying

_begin = JobHandle.step


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _step(self: JobHandle, text: str, fraction: float | None = None) -> None:
    _begin(self, text, fraction)
    if text.split()[0] == os.environ["KILL_AT"]:
        _die()


def _relay(_ctx: Any) -> None:
    _die()


def main() -> int:
    JobHandle.step = _step
    if os.environ["KILL_AT"] == "relay":
        applying.relay = _relay
    return exchange.main(["--job", sys.argv[1]])


if __name__ == "__main__":
    sys.exit(main())
