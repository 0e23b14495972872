"""The ids that a Chroma folder holds, read from its SQLite file alone.

No chromadb is needed for this, so it may be asked of a live folder as well: the file is
opened read-only, and closed again at once (its journal mode is `delete`: a held read would
stop the shop's writes).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from db.engine import read_only_sqlite

_DELETE = 3  # of the operations in the queue: 0 add, 1 update, 2 upsert, 3 delete
_UPDATE = 1


def vector_ids(database: Path, collection: str) -> tuple[str, ...] | None:
    """Ids of a collection's vectors, sorted.

    What waits in the queue (added, and not yet taken into the tables) counts as there.

    Args:
        database: a `chroma.sqlite3`; only read.

    Returns:
        None where there is no such file or collection, or it is no Chroma that is known.
    """
    if not database.is_file():
        return None
    try:
        with closing(read_only_sqlite(database)) as connection:
            return _ids(connection, collection)
    except sqlite3.Error:
        return None


def _ids(connection: sqlite3.Connection, collection: str) -> tuple[str, ...] | None:
    connection.execute("BEGIN")
    found = connection.execute("SELECT id FROM collections WHERE name = ?", (collection,))
    row = found.fetchone()
    if row is None:
        return None
    segments = connection.execute(
        "SELECT id FROM segments WHERE collection = ? AND scope = 'METADATA'", row
    ).fetchall()
    ids: set[str] = set()
    applied = 0
    for segment in segments:
        ids.update(
            name
            for (name,) in connection.execute(
                "SELECT embedding_id FROM embeddings WHERE segment_id = ?", segment
            )
        )
        reached = connection.execute(
            "SELECT seq_id FROM max_seq_id WHERE segment_id = ?", segment
        ).fetchone()
        applied = max(applied, _number(reached[0]) if reached else 0)
    waiting = connection.execute(
        "SELECT operation, id FROM embeddings_queue WHERE seq_id > ? AND topic LIKE ? "
        "ORDER BY seq_id",
        (applied, f"%/{row[0]}"),
    )
    for operation, name in waiting:
        if operation == _DELETE:
            ids.discard(name)
        elif operation != _UPDATE:
            ids.add(name)
    return tuple(sorted(ids))


def _number(value: int | bytes) -> int:
    # Older versions keep it as eight bytes.
    return int.from_bytes(value, "big") if isinstance(value, bytes) else int(value)
