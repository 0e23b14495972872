"""The whole knowledge base as one document: for backups and restores, and in the shop's module."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine

from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop, write_shop
from services.core.errors import DeskError, Invalid
from services.knowledge.comparing import Mode, difference
from services.knowledge.document import Kind, canonical, from_rows, to_rows
from services.knowledge.entries import document, everything
from services.knowledge.ledger import ChangeSet, Ledger
from services.knowledge.reading import MAX_BYTES, read_file
from services.knowledge.relay import relay
from services.knowledge.releasing.published import current_release
from services.knowledge.state import once_a_revision


@dataclass(frozen=True)
class ShopModule:
    """The shop's own knowledge module, beside the desk."""

    path: str
    data: bytes
    entries: int
    differs: bool
    problem: DeskError | None = None


def restore_document(
    ctx: Context, actor: Actor, wanted: Mapping[str, Any], reason: str
) -> ChangeSet:
    """Make the knowledge base exactly this document, as one change set.

    What it took is in the history like any edit. A restore that finds nothing to change
    still leaves its change set.

    Raises:
        Denied: without `restore.run`.
    """
    require(actor, Permission.RESTORE)
    rows = to_rows(wanted)
    with write_shop(ctx) as connection:
        found = difference(everything(connection), rows, Mode.REPLACE)
        ledger = Ledger(connection)
        found.enter(ledger)
        change_set = ledger.write(ctx, actor, "restore", reason)
    relay(ctx)
    return change_set


def find_shop_module(ctx: Context) -> ShopModule | None:
    """The shop's own `utils/fashion_kb.py`, when there is one; read, never run.

    None also where releases are written to it: it holds what was published from here, and
    what somebody changed in it by hand is told with the releases.

    `differs` says whether it holds anything that the knowledge base does not say the same.
    """
    path = ctx.settings.shop_kb_module
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        problem = Invalid(
            f"The shop's knowledge module at {path} can't be read ({error.strerror}).",
            "Give the account that runs the desk read permission on it.",
        )
        return ShopModule(str(path), b"", 0, True, problem)
    with read_shop(ctx) as connection:
        if path.parent == ctx.settings.publish_dir and current_release(connection) is not None:
            return None
        # Asked with every page: read and compared once for what both are.
        name = f"the shop's module {hashlib.sha256(data).hexdigest()}"
        told = once_a_revision(connection, name, lambda: _compared(connection, path.name, data))
    return ShopModule(str(path), data, *told)


def _compared(connection: Connection, name: str, data: bytes) -> tuple[int, bool, DeskError | None]:
    """How many entries a module has, whether it says anything else, why it can't be read."""
    try:
        wanted = read_file(name, data)
    except DeskError as error:
        return 0, True, error
    count = sum(1 for row in to_rows(wanted) if row.kind is not Kind.GROUP)
    held = from_rows(entry.row for entry in everything(connection))
    return count, canonical(held) != canonical(wanted), None


def canonical_json(engine: Engine) -> bytes:
    """The whole knowledge base of any database with the desk's tables, as canonical JSON.

    For backups: no permission is asked, the caller holds the database already.
    """
    return canonical(document(engine))
