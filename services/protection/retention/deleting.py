"""Delete objects one after another, and keep count of what went and what the store refused."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from typing import Any

from services.core.errors import DeskError, Transient
from services.protection.stores.base import Store

log = logging.getLogger("desk.retention")

_REFUSALS = 5
"""So many refusals one after another, and the store is asked for nothing more."""


@dataclass
class Pruned:
    """What was done; grows while it is done."""

    removed: list[str] = field(default_factory=list)  # ids of snapshots, oldest first
    skipped: list[str] = field(default_factory=list)  # in use by now, or kept after all
    refused: list[str] = field(default_factory=list)  # keys that the store would not delete
    objects: int = 0
    bytes: int = 0  # of what was deleted, by the store's own list
    orphans: int = 0  # ids without a manifest, of which something was left
    pictures: int = 0
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For the row of the job and for `--json`."""
        return asdict(self)


class Deleting:
    """Deletes, counts, and does not take the store's no for an error."""

    def __init__(self, store: Store, done: Pruned) -> None:
        self._store, self._done = store, done
        self._in_a_row = 0

    @property
    def pointless(self) -> bool:
        """Whether the store refuses everything."""
        return self._in_a_row >= _REFUSALS

    def delete(self, key: str, size: int) -> bool:
        """Remove one object.

        Returns:
            Whether it is gone. Object Lock, for one, may keep it.

        Raises:
            Transient: the store does not answer.
        """
        if self.pointless:
            return False
        try:
            self._store.delete(key)
        except Transient:
            raise
        except DeskError as error:
            log.warning("%s was not deleted: %s", key, error)
            self._done.refused.append(key)
            self._in_a_row += 1
            if self.pointless:
                self._done.notes.append(f"The store refuses to delete: {error.message}")
            return False
        self._in_a_row = 0
        self._done.objects += 1
        self._done.bytes += size
        return True
