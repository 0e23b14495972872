"""The shop's database as services use it: transactions whose errors a person understands."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from db.engine import read, write
from services.core.context import Context
from services.core.errors import Broken, DeskError, Misconfigured, Transient
from services.core.server_errors import is_server_error, server_error


@contextmanager
def read_shop(ctx: Context) -> Iterator[Connection]:
    """One consistent view of the shop's database.

    Raises:
        DeskError: what a database error means to a person (`shop_error`).
    """
    require_place(ctx)
    try:
        with read(ctx.shop) as connection:
            yield connection
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise shop_error(error) from error


@contextmanager
def write_shop(ctx: Context) -> Iterator[Connection]:
    """One write transaction on the shop's database; rolled back on any exception.

    Raises:
        DeskError: what a database error means to a person (`shop_error`).
    """
    require_place(ctx)
    try:
        with write(ctx.shop) as connection:
            yield connection
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise shop_error(error) from error


def require_place(ctx: Context) -> None:
    """Refuse where the shop's SQLite file is not there; a server says that for itself.

    Raises:
        Misconfigured: it is not.
    """
    path = ctx.settings.shop_sqlite_path
    if path is None:
        return
    if not path.is_file():
        raise Misconfigured(
            f"There is no shop database at {path}.",
            "Set DATABASE_URL or DB_PATH, or restore the database from a backup.",
        )


def shop_error(error: Exception) -> DeskError:
    """What a database error of the shop means to a person."""
    cause = getattr(error, "orig", None) or error
    if is_server_error(cause):
        return _server_error(cause)
    text = str(getattr(error, "orig", None) or error).lower()
    if "locked" in text or "busy" in text:
        return Transient(
            "The shop's database is locked by another program; nothing was changed.",
            "Wait a moment and try again. If it stays so, see which program holds it open.",
        )
    if "readonly" in text or "read-only" in text:
        return Misconfigured(
            "The desk may not write to the shop's database; nothing was changed.",
            "Give the account that runs the desk write permission on the file and its folder.",
        )
    if "malformed" in text or "not a database" in text or "quick_check" in text:
        return Broken(
            "The shop's database is damaged; nothing was changed.",
            "Restore it from a backup (Backups page, or `python services/restore.py latest`).",
        )
    if "full" in text or "no space" in text or "disk i/o" in text:
        return Broken(
            "The disk is full or failing; nothing was changed.",
            "Free some space on the disk that holds the database, then try again.",
        )
    if "kb_" in text and "no such table" in text:
        return _not_attached()
    if "no such column" in text or "has no column" in text:
        return _outdated()
    return _unknown()


def _server_error(cause: BaseException) -> DeskError:
    if getattr(cause, "sqlstate", None) == _NO_TABLE and "kb_" in str(cause):
        return _not_attached()
    if getattr(cause, "sqlstate", None) == _NO_COLUMN:
        return _outdated()
    return server_error(cause, "The shop's database", "DATABASE_URL") or _unknown()


_NO_TABLE = "42P01"
_NO_COLUMN = "42703"


def _not_attached() -> Misconfigured:
    return Misconfigured(
        "The shop's database has no tables for the knowledge base yet; nothing was changed.",
        "Restart the desk: it adds them when it starts.",
    )


def _outdated() -> Misconfigured:
    return Misconfigured(
        "The desk's tables in the shop's database are an older version's; nothing was changed.",
        "Restart the desk: it makes a backup of them and brings them up to date.",
    )


def _unknown() -> Transient:
    return Transient(
        "The shop's database could not be used; nothing was changed.",
        "Check that it is there and that the desk may reach it (DATABASE_URL or DB_PATH).",
    )
