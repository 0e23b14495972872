"""Addresses of databases, stores and people: the form that the desk uses, and the one it shows."""

from __future__ import annotations

import re
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


def addresses(listed: str) -> tuple[str, ...]:
    """Several addresses that are separated by commas or blanks.

    An address may hold commas of its own: the next one begins with its scheme.
    """
    parts = re.split(r"[,\s]+(?=[A-Za-z][A-Za-z0-9+.-]*://)", listed.strip())
    return tuple(part for part in (part.strip(" ,\t\r\n") for part in parts) if part)


def are_addresses(listed: str) -> bool:
    """Whether each of them has a scheme and says something after it."""
    return all(re.match(r"[A-Za-z][A-Za-z0-9+.-]*://.", each) for each in addresses(listed))


def is_web_address(url: str) -> bool:
    """Whether this is the address of something that answers HTTP."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def mask_url(url: str) -> str:
    """A database or store URL without its password, and without options that may hold one."""
    shown = url.partition("?")[0] if "://" in url else url
    parts = urlsplit(shown)
    if parts.password is None:
        return shown
    return shown.replace(f":{parts.password}@", ":***@", 1)
