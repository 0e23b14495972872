"""A whole shop on disk that a desk can be attached to: the sample shop, without the desk."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from services import sample
from services.core.access import system_actor
from services.core.context import open_context
from services.core.loading import load_settings


def make_shop(root: Path) -> Path:
    """A shop as it is before any desk was attached: no `kb_*` tables, its own KB module.

    Returns:
        `root`, to be named as SHOP_ROOT.
    """
    ctx = open_context(load_settings(env_file=root / "none.env", desk_home=root))
    sample.build(ctx, system_actor())
    ctx.close()
    database = root / "instance" / "insightshop.db"
    with closing(sqlite3.connect(database)) as shop, shop:
        names = shop.execute("SELECT name FROM sqlite_master WHERE name LIKE 'kb\\_%' ESCAPE '\\'")
        for (name,) in names.fetchall():
            if shop.execute(
                "SELECT 1 FROM sqlite_master WHERE type='table' AND name=?", (name,)
            ).fetchone():
                shop.execute(f'DROP TABLE "{name}"')
    for item in (root / "instance").iterdir():
        if item != database:
            shutil.rmtree(item) if item.is_dir() else item.unlink()
    return root


def rows(root: Path, query: str) -> list[tuple[object, ...]]:
    """What the shop's database says, read by somebody who is not the desk."""
    with closing(sqlite3.connect(root / "instance" / "insightshop.db")) as shop:
        return shop.execute(query).fetchall()


def run(root: Path, *statements: str) -> None:
    """Change the shop's database behind the desk's back."""
    with closing(sqlite3.connect(root / "instance" / "insightshop.db", timeout=10)) as shop, shop:
        for statement in statements:
            shop.execute(statement)


def swell(root: Path, megabytes: int) -> None:
    """Make the shop large enough that a backup takes seconds."""
    with closing(sqlite3.connect(root / "instance" / "insightshop.db")) as shop, shop:
        shop.executemany(
            "INSERT INTO payment_logs (payment_method, amount, currency, status, request_data,"
            " created_at, updated_at) VALUES ('card', 1, 'USD', 'ok', hex(randomblob(2500)),"
            " '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000')",
            [()] * (megabytes * 200),
        )
