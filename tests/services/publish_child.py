"""Publishes in a process of its own that ends by SIGKILL at the n-th boundary it comes to.

    python -m tests.services.publish_child    for every line {"home", "kill_at"} on its
                                              input: forks, publishes, answers how that ended

Test code: the desk itself has no switch that stops it half way.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.core.access import Permission, command_line_actor
from services.core.context import open_context
from services.knowledge.releasing import activating, folder, git, releases
from tests.conftest import desk_settings


def _run(home: str, kill_at: int) -> None:
    reached = [0]

    def tick() -> None:
        reached[0] += 1
        if reached[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            tick()
            result = function(*arguments, **named)
            tick()
            return result

        return called

    for module, names in (
        (os, ("fsync",)),
        (folder.Path, ("replace",)),
        (activating, ("_write_down", "relay", "put_in_place", "_ended", "_note")),
        (git, ("_introduce", "_commit", "_tag")),
    ):
        for name in names:
            setattr(module, name, around(getattr(module, name)))
    ctx = open_context(desk_settings(Path(home), kb_publish_dir="utils"))
    actor = command_line_actor("killed")
    assert actor.may(Permission.KB_PUBLISH)
    releases.publish(ctx, actor, releases.preview(ctx, actor), "Killed half way")
    ctx.close()


def main() -> None:
    """Fork for every line asked; answer with how the fork ended."""
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            _run(asked["home"], asked["kill_at"])
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
