"""The live SQLite file beside what is to be restored: equal tables are told by their digests.

The live file is copied as a backup copies it, so that nobody waits while tables are compared,
and the copy is measured as a backup's is: what is found serves the safety snapshot too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from services.core.errors import DeskError
from services.protection.measuring import Known, Measuring
from services.protection.model import TableFacts
from services.protection.rescue.compare import TableDiff, compare
from services.protection.sources import sqlite

log = logging.getLogger("desk.restore")

_PATIENCE_SECONDS = 5.0


class Look:
    """The live file as it was at one moment."""

    def __init__(self, copy: Path, measuring: Measuring) -> None:
        self._copy, self._measuring = copy, measuring

    def known(self) -> Known | None:
        """What it holds; None when it is damaged."""
        found = self._measuring.found()
        if found.verdict != "ok":
            log.warning("the live database is damaged: %s", found.verdict[:120])
            return None
        counter = sqlite.change_counter(self._copy)
        return Known(counter, found.sha256, found.tables, found.foreign_key_violations)

    def differences(
        self,
        snapshot: Path,
        expected: Mapping[str, TableFacts],
        watcher: Callable[[float], None] = lambda _fraction: None,
    ) -> tuple[TableDiff, ...]:
        """How it differs from a snapshot's file; only what is unlike is read row by row.

        Args:
            expected: what the snapshot's tables hold.
        """
        known = self.known()
        return compare(
            self._copy, snapshot, watcher, equal(known.facts(), expected) if known else ()
        )


@contextmanager
def looked(path: Path, folder: Path) -> Iterator[Look]:
    """Copy the live file aside and begin to measure the copy.

    Args:
        folder: with room for the copy, which is removed at the end.

    Raises:
        Transient: another program holds it locked.
        Broken: it can't be copied.
    """
    copy = folder / "look.sqlite3"
    try:
        sqlite.capture(path, copy, patience=_PATIENCE_SECONDS)
    except DeskError as error:
        message = error.message.replace("nothing was backed up", "nothing was changed")
        raise type(error)(message, error.hint) from error
    try:
        with Measuring(copy, hashed=True) as measuring:
            yield Look(copy, measuring)
    finally:
        copy.unlink(missing_ok=True)


def equal(ours: Mapping[str, TableFacts], theirs: Mapping[str, TableFacts]) -> frozenset[str]:
    """The tables that hold the same rows on both sides."""
    return frozenset(name for name, facts in ours.items() if theirs.get(name) == facts)
