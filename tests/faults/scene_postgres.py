"""The scene of the restore tests for a shop on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import make_url

from services.core.context import Context, open_context
from services.core.loading import load_settings
from services.core.settings import Settings
from services.protection.model import TableFacts
from services.protection.sources import postgres
from services.shop.attach import attach
from tests.faults.scene import tree
from tests.postgres import PostgresServer
from tests.shops import add_order_on


def settings_for(settings: Settings, server: PostgresServer, url: str) -> Settings:
    """The same desk, for a shop on a server."""
    return load_settings(
        env_file=settings.desk_home / "none.env",
        desk_home=settings.desk_home,
        shop_root=settings.shop_root,
        database_url=url,
        **server.tools_setting(),
    )


@contextmanager
def desk_on(settings: Settings, server: PostgresServer, url: str) -> Iterator[Context]:
    """A desk whose shop is on the server, attached."""
    ctx = open_context(settings_for(settings, server, url))
    try:
        attach(ctx)
        yield ctx
    finally:
        ctx.close()


@contextmanager
def shop_of(ctx: Context, **options: Any) -> Iterator[Any]:
    """A connection to the live database, as the shop has one."""
    import psycopg

    url = ctx.settings.shop_database_url.replace("postgresql+psycopg:", "postgresql:")
    with psycopg.connect(url, autocommit=True, **options) as connection:
        yield connection


def name_of(ctx: Context) -> str:
    """The live database's name."""
    return str(make_url(ctx.settings.shop_database_url).database)


def damage_on(ctx: Context) -> None:
    """Lose and change things behind the desk's back, in the database and the pictures."""
    with shop_of(ctx) as db:
        db.execute(
            "DELETE FROM order_items i USING orders o "
            "WHERE o.id = i.order_id AND (i.product_id <= 3 OR o.user_id = 2)"
        )
        db.execute("DELETE FROM products WHERE id <= 3")
        db.execute("DELETE FROM orders WHERE user_id = 2")
        db.execute("DELETE FROM users WHERE id = 2")
        db.execute("UPDATE products SET price = price * 2 WHERE id > 10")
        db.execute("UPDATE kb_entries SET body = '\"spoiled\"' WHERE key = 'fabric_pairing'")
        add_order_on(db, 900)
    if ctx.settings.images_dir.is_dir():
        (ctx.settings.images_dir / "1.png").unlink()
        (ctx.settings.images_dir / "2.png").write_bytes(b"scribbled over")
        (ctx.settings.images_dir / "new.png").write_bytes(b"made since then")


def facts_on(ctx: Context, name: str = "") -> dict[str, TableFacts]:
    """The live database (or another) as it is, every table by content."""
    url = make_url(ctx.settings.shop_database_url)
    if name:
        url = url.set(database=name)
    return postgres.table_facts(url.render_as_string(hide_password=False))


def world_on(ctx: Context) -> dict[str, Any]:
    """Everything of the shop that a restore can change."""
    return {"database": facts_on(ctx), "pictures": tree(ctx.settings.images_dir)}


def beside(ctx: Context) -> list[str]:
    """Every database on the server whose name begins with the live one's, without that one."""
    live = name_of(ctx)
    found = postgres.databases(ctx.settings.shop_database_url, live)
    return [name.removeprefix(live) for name in found if name != live]
