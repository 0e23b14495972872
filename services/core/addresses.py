"""Addresses of databases and stores: the form that the desk uses, and the one that it shows."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from db.engine import sqlite_file, sqlite_url


def normalise_database_url(url: str, base: Path) -> str:
    """Give a database URL the driver the desk uses and an absolute SQLite path.

    `postgres://` (which SQLAlchemy refuses) and `postgresql://` both mean psycopg 3.

    Args:
        url: as the owner wrote it.
        base: folder at which a relative SQLite path starts.
    """
    scheme, _, rest = url.partition("://")
    if scheme in ("postgres", "postgresql"):
        return f"postgresql+psycopg://{rest}"
    if scheme == "sqlite":
        path = sqlite_file(url)
        if path is not None and not path.is_absolute():
            return sqlite_url(base / path)
    return url


def is_database_url(url: str) -> bool:
    """Whether this is the address of an SQLite file or of a PostgreSQL database."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return False
    if parsed.get_backend_name() == "sqlite":
        return parsed.database not in (None, "", ":memory:")
    return parsed.get_backend_name() in ("postgresql", "postgres")


def mask_url(url: str) -> str:
    """A database or store URL without its password, and without options that may hold one."""
    shown = url.partition("?")[0] if "://" in url else url
    parts = urlsplit(shown)
    if parts.password is None:
        return shown
    return shown.replace(f":{parts.password}@", ":***@", 1)
