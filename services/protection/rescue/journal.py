"""The journal of a restore: a small file, written before each phase, that outlives a kill.

It says what may have been touched, so that the next start can finish or take back exactly
that. The control database is not used for this: it may be on another disk, and a journal
that lies beside the staged data disappears together with it.
"""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from services.core.context import Context, prepare_folder
from services.protection.model import Part

_NAME = "journal.json"


class Phase(enum.StrEnum):
    """How far a restore got; decides what the next start has to look at."""

    STAGING = "staging"  # nothing live was touched
    APPLYING = "applying"  # folders may have moved; the database may have been committed
    PUTTING_BACK = "putting back"  # it failed: everything goes back to what was before


@dataclass(frozen=True)
class FolderMove:
    """A folder that a restore exchanges."""

    part: Part
    live: str
    side: str  # hidden folder beside it: holds `new` before and `old` after the exchange
    had_live: bool


@dataclass(frozen=True)
class Journal:
    """What a restore has in hand. Paths are absolute."""

    job_id: str
    snapshot_id: str
    parts: tuple[Part, ...]
    phase: Phase
    work: str  # scratch folder of this restore
    database: str = ""  # the live file or its name on the server, when it is restored
    engine: str = "sqlite"
    side: str = ""  # on a server: the database that is to become the live one
    old: str = ""  # on a server: what the live one is called when another took its place
    replaces: bool = False  # the live file is exchanged as a whole: it can't be opened
    kept: str = ""  # where the unreadable files were kept
    safety_id: str = ""
    folders: tuple[FolderMove, ...] = ()
    facts: dict[str, tuple[int, str]] = field(default_factory=dict)  # of the staged database

    def at(self, phase: Phase, **changes: Any) -> Journal:
        """The same journal in another phase."""
        return replace(self, phase=phase, **changes)


def home(ctx: Context) -> Path:
    """The folder of all journals."""
    return prepare_folder(ctx.settings.instance_dir / "restore")


def save(ctx: Context, journal: Journal) -> None:
    """Write the journal so that it is on the disk before this returns."""
    folder = prepare_folder(home(ctx) / journal.job_id)
    aside = folder / f"{_NAME}.new"
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(asdict(journal), file)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / _NAME)
    sync_folder(folder)


class Ledger:
    """The journal of one restore while it moves on; what is noted goes to the disk with the
    next phase, or at once with `save`."""

    def __init__(self, ctx: Context, journal: Journal) -> None:
        self._ctx, self.journal = ctx, journal

    def note(self, **changes: Any) -> None:
        """Remember something."""
        self.journal = replace(self.journal, **changes)

    def save(self, phase: Phase, **changes: Any) -> None:
        """Remember it on the disk."""
        self.note(phase=phase, **changes)
        save(self._ctx, self.journal)


def remove(ctx: Context, journal: Journal) -> None:
    """The restore is over on either side: there is nothing left to decide."""
    folder = home(ctx) / journal.job_id
    (folder / _NAME).unlink(missing_ok=True)
    (folder / f"{_NAME}.new").unlink(missing_ok=True)
    folder.rmdir()
    sync_folder(folder.parent)


def pending(ctx: Context) -> Iterator[Journal]:
    """Every journal that is there, the oldest job first."""
    for folder in sorted(home(ctx).iterdir(), key=lambda found: found.stat().st_mtime):
        if (folder / _NAME).is_file():
            yield _read(folder / _NAME)
        elif folder.is_dir() and (folder / f"{_NAME}.new").is_file():
            # Killed while the first journal was written: nothing else had begun.
            (folder / f"{_NAME}.new").unlink()
            folder.rmdir()


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> Journal:
    data = json.loads(path.read_text(encoding="utf-8"))
    data["phase"] = Phase(data["phase"])
    data["parts"] = tuple(Part(part) for part in data["parts"])
    data["folders"] = tuple(
        FolderMove(Part(move["part"]), move["live"], move["side"], move["had_live"])
        for move in data["folders"]
    )
    data["facts"] = {table: (fact[0], fact[1]) for table, fact in data["facts"].items()}
    return Journal(**data)
