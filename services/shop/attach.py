"""Is there a shop, can it be read, and are the desk's own tables in its database?"""

from __future__ import annotations

import enum
import sqlite3
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from db.engine import read_only_sqlite
from db.migrate import (
    KNOWLEDGE_HEAD,
    NewerDatabase,
    knowledge_revision,
    rehearse_knowledge,
    rehearse_knowledge_on_server,
    upgrade_knowledge,
)
from db.shop import SHOP_TABLES
from services.core.context import Context, prepare_folder
from services.core.databases import read_shop, require_place, shop_error
from services.core.errors import DeskError, Misconfigured
from services.core.server_errors import is_missing_database
from services.core.settings import mask_url


class ShopState(enum.StrEnum):
    """What the desk found where the shop's database should be."""

    READY = "ready"
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class ShopStatus:
    """The shop's database as the desk sees it now."""

    state: ShopState
    where: str
    message: str = ""
    hint: str = ""


def status(ctx: Context) -> ShopStatus:
    """Look at the shop's database without changing anything.

    The desk opens in every one of these states: a lost database is when it is needed.
    """
    path, where = ctx.settings.shop_sqlite_path, _where(ctx)
    try:
        _require_shop(ctx)
    except DeskError as error:
        missing = not path.exists() if path else is_missing_database(error.__cause__)
        state = ShopState.MISSING if missing else ShopState.UNREADABLE
        return ShopStatus(state, where, error.message, error.hint)
    return ShopStatus(ShopState.READY, where)


def _where(ctx: Context) -> str:
    path = ctx.settings.shop_sqlite_path
    return str(path) if path else mask_url(ctx.settings.shop_database_url)


def migration_waits(ctx: Context) -> bool:
    """Whether there are `kb_*` tables that are to be migrated: the time for a backup.

    Raises:
        DeskError: the shop's database can't be read.
    """
    _require_shop(ctx)
    try:
        return knowledge_revision(ctx.shop) not in (None, KNOWLEDGE_HEAD)
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise shop_error(error) from error


def attach(ctx: Context) -> bool:
    """Add or migrate the `kb_*` tables in the shop's database; touch nothing else there.

    The migration first runs on a copy; on a server, in a transaction that is taken back.

    Returns:
        Whether anything was added.

    Raises:
        Misconfigured: there is no shop database, it can't be written, or its `kb_*` tables
            are a newer version's.
        Broken: what is there is not a healthy database.
        Transient: it is locked.
    """
    _require_shop(ctx)
    path = ctx.settings.shop_sqlite_path
    try:
        if knowledge_revision(ctx.shop) == KNOWLEDGE_HEAD:
            return False
        if path is not None:
            rehearse_knowledge(path, prepare_folder(ctx.settings.temp_dir))
        else:
            rehearse_knowledge_on_server(ctx.shop)
        return upgrade_knowledge(ctx.shop)
    except NewerDatabase as error:
        raise Misconfigured(
            f"The knowledge base in {_where(ctx)} belongs to a newer version of the desk: {error}. "
            "Nothing was changed.",
            "Start that version.",
        ) from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise shop_error(error) from error


def _require_shop(ctx: Context) -> None:
    require_place(ctx)
    missing = SHOP_TABLES - _shop_tables(ctx)
    if missing:
        raise Misconfigured(
            f"The database at {_where(ctx)} is not InsightShop's: it has no table "
            f"{', '.join(sorted(missing))}. Nothing was changed.",
            "Point DATABASE_URL or DB_PATH at the shop's own database.",
        )


def _shop_tables(ctx: Context) -> frozenset[str]:
    """Those of the shop's tables that are there."""
    path = ctx.settings.shop_sqlite_path
    if path is None:
        with read_shop(ctx) as connection:
            look = inspect(connection)
            return frozenset(name for name in SHOP_TABLES if look.has_table(name))
    try:
        with closing(read_only_sqlite(path, timeout=2)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
            return frozenset(name for (name,) in rows)
    except sqlite3.Error as error:
        raise shop_error(error) from error
