"""Is the shop that the desk looks at the sample shop? Cheap enough for every page."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from services.core.context import Context
from services.core.errors import Broken
from services.core.settings import Settings

MARK = 0x53414D50
"""SQLite's application_id of a sample shop ("SAMP"). It travels with every copy of the
database, and no real shop sets it: a real database in the same place is never mistaken."""

_MAGIC = b"SQLite format 3\0"
_MARK_AT = 68  # where SQLite keeps the application_id, as four bytes, big-endian


class Stage(enum.StrEnum):
    """How far the building or removing of a sample shop has come."""

    PLACING = "placing"  # complete beside, being moved into place
    PLACED = "placed"  # all files there, knowledge base not yet in the desk's tables
    READY = "ready"
    REMOVING = "removing"  # being moved aside


@dataclass(frozen=True)
class SampleShop:
    """What marks a sample shop: which files are its own, below the desk's folder."""

    created_at: datetime
    seed: int
    files: tuple[str, ...]
    stage: Stage
    aside: str = ""  # name of the folder it is moved to while it is removed


def is_sample(ctx: Context) -> bool:
    """Whether the shop's data is made up; reads one small file and a hundred bytes.

    A database that was lost or damaged is still the sample's; a sound one without the
    mark is somebody's real shop, whatever else lies around it.
    """
    if ctx.settings.names_a_shop or not marker_path(ctx.settings).is_file():
        return False
    path = ctx.settings.shop_sqlite_path
    return path is not None and not holds_other_shop(path)


def holds_other_shop(path: Path) -> bool:
    """Whether a file is a database that the sample shop did not write."""
    try:
        with open(path, "rb") as file:
            head = file.read(_MARK_AT + 4)
    except OSError:
        return False
    mark = int.from_bytes(head[_MARK_AT:], "big")
    return head.startswith(_MAGIC) and mark != MARK


def marker_path(settings: Settings) -> Path:
    """The file that marks a sample shop."""
    return settings.instance_dir / "sample-shop.json"


def load_marker(path: Path) -> SampleShop | None:
    """Read a marker file; None when there is none.

    Raises:
        Broken: it is not what the desk wrote.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if not isinstance(values["files"], list):
            raise TypeError("no list of files")
        return SampleShop(
            created_at=datetime.fromisoformat(values["created_at"]),
            seed=int(values["seed"]),
            files=tuple(_inside(name) for name in values["files"]),
            stage=Stage(values["stage"]),
            aside=Path(values["aside"]).name,
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Broken(
            f"The list of the sample shop's files ({path.name}) can't be read; "
            "nothing was changed.",
            "Put it back as it was, or remove the sample shop's files yourself.",
        ) from error


def save_marker(path: Path, sample: SampleShop) -> None:
    """Write a marker file in one step: the old one or the new one, never half."""
    draft = path.with_suffix(".new")
    values = {**asdict(sample), "created_at": sample.created_at.isoformat()}
    draft.write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    draft.replace(path)


def _inside(name: str) -> str:
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise ValueError(f"not below the desk's folder: {name!r}")
    return name
