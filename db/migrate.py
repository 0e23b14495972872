"""Bring the tables of each plane to the revision that this code expects.

Alembic is imported only when there is something to do: the usual start compares one
string and is done.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, column, inspect, select, table

from db.engine import read_only_sqlite, shop_engine, sqlite_url, write
from db.knowledge import VERSION_TABLE

CONTROL_HEAD = "c0003"
KNOWLEDGE_HEAD = "k0002"
"""Newest revision of each environment; a test holds them against the scripts."""


if TYPE_CHECKING:
    from alembic.config import Config


class NewerDatabase(Exception):
    """A newer version of the desk migrated this database; this one does not know its tables."""


_SCRIPTS = Path(__file__).resolve().parents[1] / "migrations"


def revision(connection: Connection, version_table: str) -> str | None:
    """The revision a database stands at, or None where ours never ran."""
    if not inspect(connection).has_table(version_table):
        return None
    versions = table(version_table, column("version_num"))
    found = connection.scalar(select(versions.c.version_num))
    return str(found) if found else None


def upgrade_control(engine: Engine) -> bool:
    """Migrate the control database to the newest revision.

    Returns:
        Whether anything was done.

    Raises:
        NewerDatabase: nothing was done.
    """
    return _upgrade(engine, "control", "alembic_version", CONTROL_HEAD)


def upgrade_knowledge(engine: Engine) -> bool:
    """Add or migrate the desk's `kb_*` tables in the shop's database; touch nothing else.

    Returns:
        Whether anything was done.

    Raises:
        NewerDatabase: nothing was done.
    """
    return _upgrade(engine, "knowledge", VERSION_TABLE, KNOWLEDGE_HEAD)


def knowledge_revision(engine: Engine) -> str | None:
    """Revision of the `kb_*` tables, or None where they don't exist yet."""
    with engine.connect() as connection:
        return revision(connection, VERSION_TABLE)


def rehearse_knowledge(path: Path, scratch: Path) -> None:
    """Run the knowledge migration on a copy of an SQLite database and check the copy.

    Args:
        path: the live database; only read.
        scratch: folder with room for one copy; the copy is removed again.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, sqlite3.Error: what the live database would raise.
    """
    with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=scratch) as folder:
        copy = Path(folder) / "copy.sqlite3"
        with closing(read_only_sqlite(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target, pages=-1)
        engine = shop_engine(sqlite_url(copy))
        try:
            upgrade_knowledge(engine)
            with engine.connect() as connection:
                verdict = connection.exec_driver_sql("PRAGMA quick_check").scalar()
        finally:
            engine.dispose()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"quick_check after the migration: {verdict}")


def rehearse_knowledge_on_server(engine: Engine) -> None:
    """Run the knowledge migration in a transaction that is taken back: on PostgreSQL changes
    of the schema are part of it, and nobody else ever sees them.

    Raises:
        NewerDatabase, sqlalchemy.exc.SQLAlchemyError: what the migration itself would raise.
    """
    with suppress(_TakenBack), write(engine) as connection:
        config = _known(revision(connection, VERSION_TABLE), "knowledge", KNOWLEDGE_HEAD)
        _migrate(connection, config)
        raise _TakenBack


class _TakenBack(Exception):
    """Ends a rehearsal."""


def _upgrade(engine: Engine, environment: str, version_table: str, head: str) -> bool:
    with engine.connect() as connection:
        found = revision(connection, version_table)
    if found == head:
        return False
    config = _known(found, environment, head)
    with write(engine) as connection:
        _migrate(connection, config)
    return True


def _known(found: str | None, environment: str, head: str) -> Config:
    """The scripts of an environment, which know the revision that a database stands at."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS / environment).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    if found not in {None, *(script.revision for script in scripts.walk_revisions())}:
        raise NewerDatabase(f"it stands at {found}, this version knows {head}")
    return config


def _migrate(connection: Connection, config: Config) -> None:
    from alembic import command

    config.attributes["connection"] = connection
    command.upgrade(config, "head")
