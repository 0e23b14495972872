"""A desk whose shop and whose own database are on a real PostgreSQL server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.core.context import Context, open_context
from services.core.loading import load_settings
from tests.postgres import PostgresServer


def desk_on(server: PostgresServer, folder: Path, shop: str | None = None, **more: Any) -> Context:
    """A desk on a server, with a small shop that is attached.

    Args:
        shop: URL of another database; it is taken as it is.
    """
    values = {
        "env_file": folder / "none.env",
        "desk_home": folder / "desk",
        "shop_root": folder / "shop",
        "database_url": shop or server.make_shop(attached=True),
        "control_database_url": server.make_control(),
        **server.tools_setting(),
        **more,
    }
    return open_context(load_settings(**values))


def name_of(ctx: Context) -> str:
    """The shop's database on its server."""
    return ctx.settings.shop_database_url.rpartition("/")[2]
