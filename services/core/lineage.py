"""For helper processes: end when the process that started them does, however it ended."""

from __future__ import annotations

import os
import threading
import time

PARENT = "DESK_PARENT_PID"
"""Variable that tells a helper who started it."""
_LOOK_SECONDS = 0.2


def end_with_parent() -> None:
    """Leave when the parent named in `$DESK_PARENT_PID` is gone: nobody reads the answer, and
    the folder it would be written to is swept."""
    parent = int(os.environ.get(PARENT) or os.getppid())

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=look, name="end-with-parent", daemon=True).start()
