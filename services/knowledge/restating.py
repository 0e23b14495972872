"""What leads from now to what a release says, where the history does not reach back to it.

The release is kept as a document of its own, so it can always be gone back to. Entries are
known by their names then, and not by their ids: what comes back is new.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import Connection, select

from db.knowledge import changes, changes_purged
from services.knowledge.comparing import Difference, Mode, difference, lies_in, lineage
from services.knowledge.document import Kind, Row, to_rows
from services.knowledge.entries import Entry, everything
from services.knowledge.inverse import WHOLE, Kept, holders
from services.knowledge.ledger import Ledger
from services.knowledge.releasing.archive import document_of, members_of
from services.knowledge.returning import Pair


@dataclass(frozen=True)
class Restatement:
    """The operations after which the knowledge base says what the release says."""

    found: Difference
    kept: tuple[Kept, ...]

    @property
    def pairs(self) -> list[Pair]:
        """Every entry that changes, as it is and as it was; what comes back has no id yet."""
        return [
            *((entry.id, entry, None) for entry in self.found.removed),
            *((entry.id, entry, row) for entry, row in (*self.found.changed, *self.found.moved)),
            *((0, None, row) for row in self.found.added),
        ]

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be written."""
        return self.found.is_empty

    @property
    def fingerprint(self) -> str:
        """A digest of exactly these operations on exactly these entries."""
        facts = [
            (
                entry_id,
                entry.version if entry else 0,
                (row.section, row.key, row.kind, row.body, row.position) if row else None,
            )
            for entry_id, entry, row in self.pairs
        ]
        said = [facts, self.found.shifted, [(one.section, one.key, one.why) for one in self.kept]]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def enter(self, ledger: Ledger) -> None:
        """Hand them to a ledger."""
        self.found.enter(ledger)


def lead_to(connection: Connection, release: int, where: str = "") -> Restatement:
    """What leads to a release, all of it or a part.

    Args:
        where: pointer of the part; everything, where it is empty.

    Raises:
        Invalid: there is no such release.
        Broken: it is not what it was when it was made.
    """
    current = everything(connection)
    purged = _purged(connection, release)
    above = set(lineage(where)) - {where}
    rows = [
        row
        for row in to_rows(document_of(connection, release))
        if lies_in(row.pointer, {where}) or row.pointer in above
    ]
    if _is_closed(current, where):
        taken = [_kept(row, "another entry has its place now") for row in _entries(rows)]
        return Restatement(difference(current, (), Mode.MERGE), tuple(taken))
    wanted = [row for row in rows if row.pointer not in purged]
    kept = [_kept(row, "its texts were purged for good") for row in rows if row.pointer in purged]
    mode, tables = (Mode.SECTION, [where]) if where else (Mode.REPLACE, [])
    return Restatement(difference(current, wanted, mode, tables), tuple(kept))


def _entries(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.kind is not Kind.GROUP]


def _kept(row: Row, why: str) -> Kept:
    return Kept(row.section, row.key, WHOLE, why)


def _is_closed(current: list[Entry], where: str) -> bool:
    """Whether something that holds no entries stands above the part by now."""
    above = set(holders(where)[:-1]) if where else set()
    return any(
        entry.kind is not Kind.GROUP and (entry.section, entry.key) in above for entry in current
    )


def _purged(connection: Connection, release: int) -> frozenset[str]:
    """Where the release has entries whose texts were purged since: those stay gone."""
    query = select(changes.c.entry_id).where(changes_purged()).distinct()
    gone = set(connection.scalars(query))
    if not gone:
        return frozenset()
    members = members_of(connection, release)
    return frozenset(member.pointer for member in members if member.id in gone)
