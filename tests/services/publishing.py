"""What the tests of publishing share: from an edit to a release in one step."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from services.core.access import Actor
from services.core.context import Context
from services.knowledge.changes import Edit, save
from services.knowledge.releasing import releases
from services.knowledge.releasing.model import Activation
from services.shop.sample import fashion_kb
from tests.knowledge_base import COLOURS, named

SHOPS_OWN = inspect.getsource(fashion_kb).encode()
"""The module that the rest of the shop imports: the value, and functions over it."""
MODULE, JSON = "fashion_kb.py", "fashion_kb.json"


def say(ctx: Context, actor: Actor, text: str, key: str = "navy") -> None:
    """Save another text for a colour."""
    entry = named(ctx, actor, COLOURS, key)
    save(ctx, actor, [Edit(entry.id, entry.version, {"text": entry.body}, {"text": text})])


def publish(ctx: Context, actor: Actor, notes: str = "A release", **more: Any) -> Activation:
    """Look, and publish what was seen."""
    return releases.publish(ctx, actor, releases.preview(ctx, actor), notes, **more)


def value_in(folder: Path) -> dict[str, Any]:
    """What the shop gets: the module is run by another Python, as the shop runs it."""
    code = "import json, fashion_kb; print(json.dumps(fashion_kb.FASHION_KNOWLEDGE_BASE))"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    value: dict[str, Any] = json.loads(ran.stdout)
    return value


def navy_in(folder: Path) -> str:
    """The text of one colour, as the shop gets it."""
    return str(value_in(folder)["color_matching"]["by_color"]["navy"])
