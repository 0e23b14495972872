"""How far a recovery from the bucket got: one small file, which is also the mark that keeps
everybody else away (`services.core.unfinished`)."""

from __future__ import annotations

import enum
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from services.core.context import prepare_folder
from services.core.errors import Busy, Conflict
from services.core.settings import Settings
from services.core.unfinished import marker
from services.protection.rescue.journal import sync_folder


class Phase(enum.StrEnum):
    """What a recovery that was killed may have done."""

    STAGING = "staging"  # only hidden files beside the places where the data will be
    PLACING = "placing"  # all of it was fetched and checked; renames, and nothing else
    FINISHING = "finishing"  # everything stands where it belongs; the catalog is brought up


@dataclass(frozen=True)
class FreshJournal:
    """What a recovery has in hand."""

    store_url: str
    instance: str
    snapshot_id: str
    targets: dict[str, str]  # what -> where; another machine's paths are another recovery
    began_at: str
    command: str  # what to type to go on; never a secret
    phase: Phase = Phase.STAGING

    def same_as(self, other: FreshJournal) -> bool:
        """Whether both are the same recovery, however far each is."""
        return (self.store_url, self.instance, self.snapshot_id, self.targets) == (
            other.store_url,
            other.instance,
            other.snapshot_id,
            other.targets,
        )

    def at(self, phase: Phase) -> FreshJournal:
        """The same recovery in another phase."""
        return replace(self, phase=phase)


def load(settings: Settings) -> FreshJournal | None:
    """The recovery that has not ended here, or None.

    Raises:
        Conflict: the file can't be read.
    """
    path = marker(settings)
    try:
        values = json.loads(path.read_text("utf-8"))
        return FreshJournal(**values | {"phase": Phase(values["phase"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise Conflict(
            f"A recovery was begun here, and its file {path} can't be read. Nothing was changed.",
            "Remove that file, move away what lies at the places that the plan then names, and "
            "run this again.",
        ) from error


def save(settings: Settings, journal: FreshJournal) -> None:
    """Write it so that it is on the disk before this returns."""
    path = marker(settings)
    aside = path.with_name(f".{path.name}.new")
    with open(os.open(aside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
        json.dump(asdict(journal), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def remove(settings: Settings) -> None:
    """The recovery is over: from now on the data counts as whole."""
    marker(settings).unlink(missing_ok=True)
    sync_folder(settings.instance_dir)


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """One recovery at a time on this machine; a killed one holds nothing.

    Raises:
        Busy: another one runs.
    """
    with open(prepare_folder(settings.instance_dir) / "recovery.lock", "ab") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(
                "Another recovery runs on this machine; this one changed nothing.",
                "Wait until it has ended.",
            ) from error
        yield
