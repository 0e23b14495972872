"""Whether the desk holds, or has held, everything that a file in the shop's folder says.

Somebody imports what was changed by hand, and edits on: the file then says what nothing in the
desk says any more, and nothing is lost by writing over it. The history knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from db.knowledge import change_sets, changes, content_digest
from services.knowledge.document import Kind, to_rows
from services.knowledge.releasing.archive import members_of, saved_members
from services.knowledge.sections import path_of, pointer

MOST = 2_000
"""Entries that are looked for in the history; where more differ, a person decides."""


def holds(
    connection: Connection,
    document: Mapping[str, Any],
    written: int | None,
    since: datetime | None,
) -> bool:
    """Whether nothing that a document says, left out or ordered would be lost with it.

    Args:
        written: the release that was written to the file before somebody changed it; None
            where the desk never wrote it.
        since: when that was: what was changed by hand can only have been imported later.
    """
    says = {
        row.pointer: content_digest(row.section, row.key, row.kind, row.body)
        for row in to_rows(document)
        if row.kind is not Kind.GROUP
    }
    saved = {one.pointer: one.digest for one in saved_members(connection) if not one.is_group}
    before: dict[str, str] = {}
    if written is not None:
        was = members_of(connection, written)
        before = {one.pointer: one.digest for one in was if not one.is_group}
        if not _in_order(list(says), list(before)) and not _in_order(list(says), list(saved)):
            return False
    new = [
        where
        for where, digest in says.items()
        if digest not in (saved.get(where), before.get(where))
    ]
    lost = [where for where in before if where not in says and where in saved]
    if len(new) + len(lost) > MOST:
        return False
    return all(_was_said(connection, where, says.get(where), since) for where in (*new, *lost))


def _in_order(says: Sequence[str], other: Sequence[str]) -> bool:
    """Whether those that both have stand in the same order in every section."""
    both = set(says) & set(other)
    return _by_section(says, both) == _by_section(other, both)


def _by_section(places: Sequence[str], wanted: set[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for where in places:
        if where in wanted:
            found.setdefault(where.rpartition("/")[0], []).append(where)
    return found


def _was_said(
    connection: Connection, where: str, digest: str | None, since: datetime | None
) -> bool:
    """Whether the history has an entry say this; for None, whether it has it deleted."""
    path = path_of(where)
    section, key = pointer(path[:-1]), path[-1]
    query = (
        select(changes.c.action, changes.c.after)
        .join(change_sets)
        .where(changes.c.section == section, changes.c.key == key)
    )
    if since is not None:
        query = query.where(change_sets.c.at >= since)
    for action, after in connection.execute(query):
        if digest is None:
            if action == "delete":
                return True
        elif after and content_digest(section, key, after["kind"], after.get("body")) == digest:
            return True
    return False
