"""Releases as they are kept: the document in canonical JSON, and which entries made it up."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select

from db.knowledge import entries as table
from db.knowledge import published, releases
from services.core.errors import Broken, Invalid
from services.knowledge.document import Kind, Row, canonical, from_rows
from services.knowledge.releasing.published import current_release
from services.knowledge.sections import pointer
from services.knowledge.state import revision

_AT_ONCE = 500
_LEVEL = 3  # less than half the time that 6 takes, for a tenth more bytes


class Member(NamedTuple):
    """A row of the knowledge base as a release knows it."""

    id: int
    digest: str  # of what it says, not of its place
    pointer: str
    is_group: bool  # a dict of entries, which no person counts


@dataclass(frozen=True)
class Frozen:
    """The whole knowledge base at one revision, ready to be a release."""

    revision: str
    document: dict[str, Any]
    data: bytes  # canonical JSON
    digest: str
    members: tuple[Member, ...]

    @property
    def entries(self) -> int:
        """How many entries a person counts."""
        return sum(1 for member in self.members if not member.is_group)


def freeze(connection: Connection) -> Frozen:
    """Everything that is saved, as this transaction sees it."""
    columns = (*_PLACED, table.c.body)
    rows = sorted(map(tuple, connection.execute(select(*columns))), key=itemgetter(2, 5, 0))
    document = from_rows(
        Row(section, key, Kind(kind), body, position)
        for _id, _digest, section, key, kind, position, body in rows
    )
    data = canonical(document)
    return Frozen(
        revision(connection),
        document,
        data,
        hashlib.sha256(data).hexdigest(),
        tuple(_member(row) for row in rows),
    )


def saved_members(connection: Connection) -> tuple[Member, ...]:
    """What is saved, without what it says; in the order of sections and places."""
    rows = sorted(map(tuple, connection.execute(select(*_PLACED))), key=itemgetter(2, 5, 0))
    return tuple(_member(row) for row in rows)


_PLACED = (
    table.c.id,
    table.c.digest,
    table.c.section,
    table.c.key,
    table.c.kind,
    table.c.position,
)


def _member(row: tuple[Any, ...]) -> Member:
    return Member(row[0], row[1], row[2] + pointer((row[3],)), row[4] == Kind.GROUP)


def members_of(connection: Connection, number: int) -> tuple[Member, ...]:
    """What a release was made of, in the order of sections and places.

    Raises:
        Invalid: there is no such release.
        Broken: it is not what it was when it was made.
    """
    stored = _unpacked(connection, number, releases.c.members)
    try:
        return tuple(Member(*one) for one in json.loads(stored))
    except (ValueError, TypeError) as error:
        raise _damaged(number) from error


def data_of(connection: Connection, number: int) -> bytes:
    """A release as canonical JSON.

    Raises:
        Invalid: there is no such release.
        Broken: it is not what it was when it was made.
    """
    data = _unpacked(connection, number, releases.c.document)
    digest = connection.scalar(select(releases.c.digest).where(releases.c.number == number))
    if hashlib.sha256(data).hexdigest() != digest:
        raise _damaged(number)
    return data


def document_of(connection: Connection, number: int) -> dict[str, Any]:
    """A release as a document.

    Raises:
        Invalid: there is no such release.
        Broken: it is not what it was when it was made.
    """
    document: dict[str, Any] = json.loads(data_of(connection, number))
    return document


def current_document(connection: Connection) -> dict[str, Any] | None:
    """What the shop is to read now; None before the first release."""
    number = current_release(connection)
    return None if number is None else document_of(connection, number)


def packed(data: bytes) -> bytes:
    """Bytes as they are kept."""
    return zlib.compress(data, _LEVEL)


def packed_members(members: Iterable[Member]) -> bytes:
    """Members as they are kept."""
    return packed(json.dumps([[m.id, m.digest, m.pointer, m.is_group] for m in members]).encode())


def publish_members(connection: Connection, members: Iterable[Member]) -> None:
    """Let `kb_published` say what the release that becomes current was made of."""
    wanted = {member.id: member.digest for member in members if not member.is_group}
    there = {row.entry_id: row.digest for row in connection.execute(select(published))}
    other = [entry for entry, digest in there.items() if wanted.get(entry) != digest]
    for start in range(0, len(other), _AT_ONCE):
        some = other[start : start + _AT_ONCE]
        connection.execute(delete(published).where(published.c.entry_id.in_(some)))
    new = [
        {"entry_id": entry, "digest": digest}
        for entry, digest in wanted.items()
        if there.get(entry) != digest
    ]
    if new:
        connection.execute(insert(published), new)


def _unpacked(connection: Connection, number: int, column: Any) -> bytes:
    stored = connection.scalar(select(column).where(releases.c.number == number))
    if stored is None:
        raise Invalid(
            f"There is no release {number}.", "The list of releases shows those there are."
        )
    try:
        return zlib.decompress(stored)
    except zlib.error as error:
        raise _damaged(number) from error


def _damaged(number: int) -> Broken:
    return Broken(
        f"Release {number} is damaged in the shop's database; nothing was changed.",
        "Publish what is saved as a new release, or make another release current. A backup from "
        "before has this one whole.",
    )
