"""How far what is saved is from what is published, cheap enough for every page."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from db.knowledge import entries as table
from db.knowledge import releases
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import Broken
from services.knowledge.document import Kind
from services.knowledge.releasing.archive import members_of, saved_members
from services.knowledge.releasing.comparing import difference
from services.knowledge.releasing.published import (
    current_activation,
    current_release,
    unpublished,
)
from services.knowledge.state import once_a_revision, revision


@dataclass(frozen=True)
class Status:
    """What waits to be published."""

    release: int | None  # the one that is current
    changed: int  # entries that say something else than it does, are new, or are gone
    moved: int  # where none does: entries whose place alone differs
    entries: int  # that are saved

    @property
    def is_clean(self) -> bool:
        """Whether the current release says all that is saved."""
        return self.release is not None and not self.changed and not self.moved


def status(ctx: Context, actor: Actor) -> Status:
    """What waits to be published; worked out once for each revision and each release.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        name = f"status {current_activation(connection)}"
        return once_a_revision(connection, name, lambda: _status(connection))


def _status(connection: Connection) -> Status:
    number = current_release(connection)
    counted = select(func.count()).select_from(table).where(table.c.kind != Kind.GROUP)
    entries = int(connection.scalar(counted) or 0)
    if number is None:
        return Status(None, entries, 0, entries)
    made_of = select(releases.c.revision).where(releases.c.number == number)
    if connection.scalar(made_of) == revision(connection):
        return Status(number, 0, 0, entries)
    changed, moved = unpublished(connection).count, 0
    if not changed:
        with suppress(Broken):  # looking at the release says so
            moved = difference(members_of(connection, number), saved_members(connection)).moved
    return Status(number, changed, moved, entries)
