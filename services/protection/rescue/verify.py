"""Is what is live now what was staged?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from services.core.errors import Broken
from services.protection.model import TableFacts
from services.protection.rescue.live import Live
from services.protection.sources import sqlite as sqlite_source

Facts = dict[str, tuple[int, str]]


def facts_of(path: Path) -> Facts:
    """Rows and content digest of every table, as the journal keeps them."""
    return as_facts(sqlite_source.table_facts(path))


def as_facts(found: dict[str, TableFacts]) -> Facts:
    """The same as plain values."""
    return {name: (facts.rows, facts.digest) for name, facts in found.items()}


def verify_database(live: Live, scratch: Path, expected: Facts, seen: int) -> list[str]:
    """Compare the live database with the facts of what was staged.

    A program that goes on writing changes rows as soon as the restore is committed. SQLite
    tells whether one did (`data_version`): only then may a table differ, and it is named.

    Args:
        scratch: folder with room for one copy; the digests are taken from it.
        expected: the facts of the staged database.
        seen: the version of the live database when its content was replaced.

    Returns:
        What is to be told to a person; empty when everything is equal.

    Raises:
        Broken: it is damaged, or differs though nobody else wrote.
    """
    copy = scratch / "live.sqlite3"
    copy.unlink(missing_ok=True)
    live.copy_to(copy)
    others_wrote = live.version() != seen
    with closing(sqlite3.connect(copy)) as connection:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise Broken("The restored database did not pass SQLite's own check.")
    found = facts_of(copy)
    copy.unlink()
    return told_apart(found, expected, others_wrote=others_wrote)


def told_apart(found: Facts, expected: Facts, *, others_wrote: bool) -> list[str]:
    """Hold what is live to what was staged.

    Args:
        others_wrote: somebody wrote since; a difference is then told, not held against it.

    Raises:
        Broken: it differs though nobody else wrote.
    """
    unlike = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if not unlike:
        return []
    if not others_wrote:
        raise Broken(f"The restored database is not what was fetched ({', '.join(unlike[:5])}).")
    return [
        "Another program wrote to the database right after the restore; since then these "
        f"tables differ from the backup: {', '.join(unlike)}."
    ]
