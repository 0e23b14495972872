"""The mark of a recovery that has not ended: while it lies there, nobody takes the data for whole.

A recovery from the bucket alone writes it before anything else and removes it last. Every
door and the desk itself look for it where they open their context.
"""

from __future__ import annotations

import json
from pathlib import Path

from services.core.errors import Conflict
from services.core.settings import Settings

NAME = "recovery.json"


def marker(settings: Settings) -> Path:
    """Where the mark lies."""
    return settings.instance_dir / NAME


def require_finished(settings: Settings) -> None:
    """Stop while a recovery is under way or was killed.

    Raises:
        Conflict: says what to run, and how to give it up.
    """
    path = marker(settings)
    try:
        values = json.loads(path.read_text("utf-8"))
        command, began = str(values["command"]), str(values["began_at"])[:16]
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError, KeyError, TypeError):
        command, began = "python services/restore.py --from STORE --fresh", "an unknown time"
    raise Conflict(
        f"A recovery from a backup store was begun here at {began} UTC and has not ended: what "
        "is on this machine is not complete. Nothing was started.",
        f"Run it again, it goes on where it stopped: {command}. "
        f"To give it up instead, remove {path}.",
    )
