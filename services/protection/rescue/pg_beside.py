"""The desk's own databases beside the shop's on its server, and how they are known again.

What a preview or a restore makes there carries a comment that says so; nothing without one is
ever dropped. The same for the database of before, which is kept for Undo: its own comment is
remembered in ours and comes back with it.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from services.protection.rescue.database import PREVIEW_LIFE

if TYPE_CHECKING:
    from psycopg import Connection

UNDO_DAYS = 7
"""How long the database of before is kept, unless another restore comes first."""

_SIGN = "Kept by InsightShop Admin, which removes it: "
_LONGEST = 63  # bytes of a name in PostgreSQL


class Kind(enum.StrEnum):
    """What a database of ours is for."""

    PREVIEW = "preview"  # a snapshot's, restored to be compared
    RESTORE = "restore"  # about to become the shop's
    BEFORE = "before"  # was the shop's until a restore


@dataclass(frozen=True)
class Mark:
    """What the comment of a database of ours says."""

    kind: Kind
    of: str  # the shop's database
    snapshot: str  # whose content it is; of the database of before: its safety snapshot
    job: str
    at: str  # ISO, UTC
    ready: bool = False  # filled and held to its manifest
    was: str = ""  # the comment that the shop's database has of itself
    note: str = ""  # what was left out when it was filled, in words
    witness: str = ""  # of when it was held to its manifest; empty: look again


@dataclass(frozen=True)
class Beside:
    """A database of ours on the server."""

    name: str
    mark: Mark


def name_beside(live: str, word: str, token: str) -> str:
    """`shop_before_4f1c...`, within what PostgreSQL allows for a name, and never the same for
    two databases of the shop."""
    ending = f"_{word}_{token}".lower().replace("-", "_")
    room = _LONGEST - len(ending.encode())
    if len(live.encode()) > room:
        short = hashlib.sha256(live.encode()).hexdigest()[:8]
        live = live.encode()[: room - len(short) - 1].decode(errors="ignore") + "_" + short
    return live + ending


def exists(connection: Connection[Any], name: str) -> bool:
    """Whether the server has a database of this name."""
    row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
    return row is not None


def listed(connection: Connection[Any], live: str) -> Iterator[Beside]:
    """Every database that is ours and belongs to this one of the shop's, by name."""
    rows = connection.execute(
        "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database "
        "WHERE datname <> %s AND NOT datistemplate ORDER BY 1",
        (live,),
    ).fetchall()
    for name, comment in rows:
        mark = _read(comment)
        if mark is not None and mark.of == live:
            yield Beside(name, mark)


def mark_of(connection: Connection[Any], name: str) -> Mark | None:
    """What we wrote on a database; None where it is not ours or not there."""
    return _read(_comment(connection, name))


def own_comment(connection: Connection[Any], name: str) -> str:
    """The comment that a database has of itself, ours left out."""
    comment = _comment(connection, name)
    mark = _read(comment)
    return mark.was if mark else comment


def write_mark(connection: Connection[Any], name: str, mark: Mark) -> None:
    """Write on a database whose it is."""
    _say(connection, name, _SIGN + json.dumps(asdict(mark), ensure_ascii=False))


def unmark(connection: Connection[Any], name: str) -> None:
    """Give a database that is the shop's (again) the comment that it has of itself."""
    mark = mark_of(connection, name)
    if mark is not None:
        _say(connection, name, mark.was)


def due(beside: Beside, now: datetime) -> bool:
    """Whether a database of ours, which no unfinished restore needs, may go."""
    age = now - datetime.fromisoformat(beside.mark.at)
    if beside.mark.kind is Kind.BEFORE:
        return age > timedelta(days=UNDO_DAYS)
    return not (beside.mark.kind is Kind.PREVIEW and beside.mark.ready) or age > PREVIEW_LIFE


def _comment(connection: Connection[Any], name: str) -> str:
    row = connection.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (name,)
    ).fetchone()
    return str(row[0] or "") if row else ""


def _say(connection: Connection[Any], name: str, text: str) -> None:
    from psycopg import sql

    connection.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(
            sql.Identifier(name), sql.Literal(text) if text else sql.NULL
        )
    )


def _read(comment: str | None) -> Mark | None:
    if not comment or not comment.startswith(_SIGN):
        return None
    try:
        values = json.loads(comment[len(_SIGN) :])
        return Mark(**{**values, "kind": Kind(values["kind"])})
    except (ValueError, TypeError, KeyError):
        return None
