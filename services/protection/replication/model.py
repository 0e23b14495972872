"""What is known about the second copy, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class CopyRow:
    """A snapshot as it lies in the second store, whatever the desk's own list says."""

    id: str
    missing: tuple[str, ...]  # objects that are absent or of another size; empty: complete
    error: str = ""  # why its manifest can't be used
    only_here: bool = False  # the first store does not have it (any more)

    @property
    def complete(self) -> bool:
        """Whether everything that its manifest names lies there."""
        return not self.missing and not self.error


@dataclass(frozen=True)
class CopyStatus:
    """How far the second copy is, from the desk's own records: cheap to read."""

    url: str | None  # None: no second store is set
    problem: tuple[str, str] | None = None  # message and hint when it can't be used as it is set
    snapshots: int = 0  # in the first store
    copied: int = 0
    newest_at: datetime | None = None  # of the newest snapshot
    newest_copied_at: datetime | None = None  # time of the newest snapshot that is copied
    copied_when: datetime | None = None  # when the last one was copied
    error: str = ""  # what went wrong with the newest one that could not be copied
    remark: str = ""  # what the place does not protect against

    @property
    def waiting(self) -> int:
        """Snapshots without a copy."""
        return self.snapshots - self.copied


@dataclass(frozen=True)
class Replicated:
    """What a run did."""

    copied: tuple[str, ...] = ()  # snapshots that are complete there now
    objects: int = 0  # sent
    sent_bytes: int = 0
    already: int = 0  # objects that were there and right
    failed: dict[str, str] | None = None  # snapshot -> why
    removed: tuple[str, ...] = ()  # snapshots that retention gave up earlier
    notes: tuple[str, ...] = ()
