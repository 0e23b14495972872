"""Databases of a snapshot, restored aside and looked into."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from services.core.errors import Broken
from services.protection import digests, matching
from services.protection.model import Manifest, TableFacts
from services.protection.sources import sqlite

_MOST_NAMED = 5


@dataclass(frozen=True)
class Restored:
    """What a restored database holds, measured anew."""

    check: str  # what was checked besides the tables, in words
    digest: str  # name of the digest of its tables
    tables: dict[str, TableFacts]
    violations: int
    products: dict[str, bool]  # id -> whether it is active


def sqlite_database(path: Path) -> Restored:
    """Look into an SQLite file that was fetched.

    Raises:
        Broken: it is damaged.
    """
    _integrity(path)
    products: dict[str, bool] = {}
    if "products" in sqlite.table_names(path):
        products = matching.products_of(matching.copy_engine(path))
    return Restored(
        "Passed SQLite's integrity check",
        digests.DIGEST,
        sqlite.table_facts(path),
        sqlite.foreign_key_violations(path),
        products,
    )


def sqlite_control(path: Path) -> str:
    """Open the desk's own database of a snapshot; gives its revision.

    Raises:
        Broken: it is damaged.
    """
    _integrity(path)
    return sqlite.revision(path, "alembic_version")


def compare(restored: Restored, manifest: Manifest) -> str:
    """Hold a restored database against its manifest.

    Returns:
        What was found equal, for a person.

    Raises:
        Broken: names the tables that differ.
    """
    exact = manifest.extra.get("table_digest", digests.DIGEST) == restored.digest
    unlike = _unlike(restored.tables, manifest.tables, exact=exact)
    if unlike:
        more = f" and {len(unlike) - _MOST_NAMED} more" if len(unlike) > _MOST_NAMED else ""
        raise Broken(
            f"The restored database is not what its manifest says: {len(unlike)} of "
            f"{len({*restored.tables, *manifest.tables})} tables differ "
            f"({', '.join(unlike[:_MOST_NAMED])}{more})."
        )
    if restored.violations != manifest.foreign_key_violations:
        raise Broken(
            f"The restored database has {restored.violations:,} rows that refer to nothing, "
            f"and {manifest.foreign_key_violations:,} were recorded."
        )
    rows = sum(facts.rows for facts in restored.tables.values())
    what = "count and digest" if exact else "count (the digest is of another kind)"
    dangling = (
        f"; {restored.violations:,} {'row refers' if restored.violations == 1 else 'rows refer'} "
        "to nothing, exactly as recorded"
        if restored.violations
        else "; every reference leads to its row"
    )
    return (
        f"{restored.check}. {len(restored.tables):,} tables with {rows:,} rows, every {what} "
        f"as recorded{dangling}."
    )


def _integrity(path: Path) -> None:
    try:
        with closing(digests.open_copy(path)) as connection:
            verdict = connection.execute("PRAGMA integrity_check(3)").fetchall()
    except sqlite3.Error as error:
        raise Broken(f"{path.name} can't be read as a database ({error}).") from error
    if verdict != [("ok",)]:
        raise Broken(f"{path.name} did not pass SQLite's integrity check: {verdict[0][0]}"[:300])


def _unlike(
    found: Mapping[str, TableFacts], wanted: Mapping[str, TableFacts], *, exact: bool
) -> list[str]:
    if exact:
        return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    counts = {name: facts.rows for name, facts in found.items()}
    recorded = {name: facts.rows for name, facts in wanted.items()}
    return sorted(name for name in {*counts, *recorded} if counts.get(name) != recorded.get(name))
