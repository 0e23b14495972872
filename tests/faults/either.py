"""What fault tests do to a shop, whichever database it is on."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import Any

from services.core.context import Context
from services.protection.sources import postgres
from tests.faults import scene, scene_postgres

_PIECE = 50_000


def on_server(ctx: Context) -> bool:
    """Whether the shop is on PostgreSQL."""
    return postgres.is_server(ctx.settings.shop_database_url)


def world(ctx: Context) -> dict[str, Any]:
    """Everything of the shop that a restore can change."""
    return scene_postgres.world_on(ctx) if on_server(ctx) else scene.world(ctx)


def damage(ctx: Context) -> None:
    """Lose and change things behind the desk's back, in every part."""
    if on_server(ctx):
        scene_postgres.damage_on(ctx)
    else:
        scene.damage(ctx)


def grow(ctx: Context, size: int) -> None:
    """Add a table of so many bytes that nothing makes smaller."""
    pieces = [(os.urandom(_PIECE),) for _ in range(size // _PIECE)]
    if on_server(ctx):
        with scene_postgres.shop_of(ctx) as db:
            db.execute("CREATE TABLE bulk (id serial PRIMARY KEY, data bytea)")
            db.cursor().executemany("INSERT INTO bulk (data) VALUES (%s)", pieces)
        return
    with closing(sqlite3.connect(_file(ctx))) as db, db:
        db.execute("CREATE TABLE bulk (id INTEGER PRIMARY KEY, data BLOB)")
        db.executemany("INSERT INTO bulk (data) VALUES (?)", pieces)


def change(ctx: Context) -> None:
    """Write to that table: a database that nobody wrote to is not sent again."""
    if on_server(ctx):
        with scene_postgres.shop_of(ctx) as db:
            db.execute("UPDATE bulk SET data = %s WHERE id = 1", (os.urandom(_PIECE),))
        return
    with closing(sqlite3.connect(_file(ctx))) as db, db:
        db.execute("UPDATE bulk SET data = randomblob(?) WHERE id = 1", (_PIECE,))


def _file(ctx: Context) -> str:
    return str(ctx.settings.shop_sqlite_path)
