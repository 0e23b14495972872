"""The shop's live database as a restore sees it, whatever engine it runs on.

`Database` only looks. `Replacement` is one restore of it: everything is built beside the live
data, one step makes it live (the commit point), and until the end every step can be taken
back, by the restore itself or by the next start after a kill.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from services.protection.measuring import Known
from services.protection.model import Manifest
from services.protection.rescue.compare import TableDiff
from services.protection.rescue.journal import Ledger
from services.protection.stores.base import Store

Watch = Callable[[str, float], None]
Hold = Callable[[tuple[TableDiff, ...]], None]
"""Raises Conflict when these differences are more than the person who confirmed saw."""

SQLITE, POSTGRESQL = "sqlite", "postgresql"

PREVIEW_LIFE = timedelta(hours=2)
"""How long what a preview fetched or restored waits for the restore."""


class LiveState(enum.StrEnum):
    """What stands where the shop's database should be."""

    READY = "ready"
    MISSING = "missing"
    DAMAGED = "damaged"  # not a database, malformed, or without a single table


@dataclass(frozen=True)
class Compared:
    """How the live database differs from a snapshot's."""

    tables: tuple[TableDiff, ...]
    notes: tuple[str, ...] = ()  # what could only be counted, for a person
    state: LiveState | None = None  # where a closer look found another one
    known: Known | None = None  # what was measured of the live one
    proven: str = ""  # sha256 of the snapshot's file whose tables were held to the manifest


@dataclass
class Told:
    """What is to be said about a database that was replaced."""

    notes: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # paths of what no snapshot holds


class Database(Protocol):
    """The live database, looked at."""

    def state(self) -> LiveState:
        """What is there.

        Raises:
            Transient: it can't be looked at now.
        """

    def state_line(self, state: LiveState) -> str:
        """What a preview says about a database that is not ready."""

    def witness(self) -> str:
        """Equal to an earlier one only when nobody wrote in between; empty where that can't be
        told."""

    def watching(self) -> AbstractContextManager[Callable[[], str]]:
        """Watch for other programs that write to it, beside whatever is done inside.

        What is given says whether one was seen, in words, once that was watched for long
        enough; empty when none was.
        """

    def require_rights(self) -> None:
        """Stop before anything begins that the desk may not end.

        Raises:
            Misconfigured: names what is missing, and the command that grants it.
        """

    def capture_bytes(self) -> int:
        """Room on this machine that a backup of it takes while it is made."""

    def live_bytes(self) -> int:
        """How large it is: a backup of it takes no more than that in a store."""

    def wants(self, manifest: Manifest) -> Iterable[tuple[Path, int]]:
        """Bytes that restoring it needs on disks of this machine, by folder."""

    def compared(
        self, store: Store, manifest: Manifest, state: LiveState, watch: Watch
    ) -> Compared:
        """Fetch the snapshot's database aside, keep it for the restore, and compare.

        Raises:
            Broken: it is not what was backed up.
        """

    def clear_previews(self) -> None:
        """Remove what previews fetched."""

    def sweep(self) -> None:
        """Remove what is kept for Undo no longer, and what killed work left; never fails."""

    def replacement(self, ledger: Ledger) -> Replacement:
        """One restore of it."""


class Replacement(Protocol):
    """One restore of the live database; what it has in hand stands in the journal."""

    known: Known | None  # what `compare` measured of the live one

    def look(self, seen: str) -> LiveState:
        """What is there now; from here on other writers are noticed.

        Args:
            seen: the witness of when it was found ready; empty: never.
        """

    def stage(self, store: Store, manifest: Manifest, *, undo: bool, proven: str) -> None:
        """Bring the snapshot's database beside the live one, checked and marked.

        Args:
            proven: as `Compared` has it; the same bytes are not held to the manifest again.
            undo: what a restore replaced comes back; where it is still there as it was, that
                is taken rather than its safety snapshot.

        Raises:
            Broken: it is not what was backed up.
        """

    def notice(self) -> str:
        """Remember how far others have written, before the comparison; gives the witness."""

    def compare(self) -> tuple[TableDiff, ...]:
        """How the live one differs from the staged one."""

    def keep_damaged(self) -> list[str]:
        """Keep what can't be read aside; gives the paths of copies."""

    def replace(self, hold: Hold) -> Told:
        """Make the staged database the live one, in one step that is done or not.

        Args:
            hold: called with what is lost, when somebody wrote since `compare`.

        Raises:
            Transient: other programs did not let go in time; nothing was changed.
        """

    def verify(self) -> list[str]:
        """Compare what is live with what was staged; gives what a person has to know.

        Raises:
            Broken: it differs though nobody else wrote.
        """

    def close(self) -> None:
        """Let go of the live database."""

    def committed(self) -> bool:
        """Whether the staged database became the live one."""

    def settled(self) -> list[str]:
        """After a kill on the new side: the same check as `verify`, without its verdict."""

    def take_back(self, open_store: Callable[[], Store]) -> None:
        """Make the database of before the live one again; may be repeated.

        Raises:
            DeskError: the safety snapshot can't be read, or the database stays in use.
        """

    def tidy(self, *, new: bool) -> list[str]:
        """Remove what the restore left aside; gives what a person has to know.

        Args:
            new: whether the restored data stays.
        """
