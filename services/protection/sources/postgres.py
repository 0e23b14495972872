"""PostgreSQL: a consistent dump of a database that is in use, what is in it, and a second
database beside it to restore into.

The parts: `pg_connect` (reach the server), `pg_tools` (the programs that fit it), `pg_capture`
(the dump), `pg_facts` (rows, digests, references), `pg_side` (create, exchange,
drop), `pg_fill` (pg_restore).
"""

from __future__ import annotations

from services.protection.sources.pg_capture import Capture, Facts, capture
from services.protection.sources.pg_connect import connect, database_name, is_server, maintenance
from services.protection.sources.pg_facts import (
    DIGEST,
    foreign_key_violations,
    live_bytes,
    revision,
    table_facts,
    table_names,
)
from services.protection.sources.pg_fill import restore_into
from services.protection.sources.pg_side import create_side, databases, drop_side, swap
from services.protection.sources.pg_tools import Tools, tools_for, tools_of

__all__ = [
    "DIGEST",
    "Capture",
    "Facts",
    "Tools",
    "capture",
    "connect",
    "create_side",
    "database_name",
    "databases",
    "drop_side",
    "foreign_key_violations",
    "is_server",
    "live_bytes",
    "maintenance",
    "restore_into",
    "revision",
    "swap",
    "table_facts",
    "table_names",
    "tools_for",
    "tools_of",
]
