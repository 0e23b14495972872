"""Where a recovery puts a PostgreSQL database."""

from __future__ import annotations

from services.core.context import Context
from services.core.errors import Misconfigured
from services.protection.model import Component, Manifest
from services.protection.rescue.fresh_plane import Plane
from services.protection.stores.base import Store


def server_plane(
    ctx: Context, store: Store, manifest: Manifest, component: Component, what: str, url: str
) -> Plane:
    """A place on a server.

    Raises:
        Misconfigured: this version can't put a dump back.
    """
    raise Misconfigured(
        f"{what} is on a server, and this version recovers SQLite files only. Nothing was changed.",
        "docs/recovery.md says how to put the dump back with pg_restore.",
    )
