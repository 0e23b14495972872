"""Which database the shop has, and whether a snapshot's fits it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url

from services.core.context import Context
from services.core.errors import Invalid, Misconfigured
from services.protection import snapshots
from services.protection.model import Manifest, Part
from services.protection.rescue.database import POSTGRESQL, SQLITE, Database, Replacement
from services.protection.rescue.journal import Ledger
from services.protection.rescue.sqlite_database import SqliteDatabase, SqliteReplacement

_WORDS = {SQLITE: "an SQLite file", POSTGRESQL: "a PostgreSQL database"}


def engine_of(ctx: Context) -> str:
    """What the shop's live database runs on."""
    return make_url(ctx.settings.shop_database_url).get_backend_name()


def name_of(ctx: Context) -> str:
    """The live file, or the database's name on its server."""
    path = ctx.settings.shop_sqlite_path
    return str(path.resolve()) if path else make_url(ctx.settings.shop_database_url).database or ""


def database_of(ctx: Context) -> Database:
    """The shop's live database.

    Raises:
        Misconfigured: it runs on something that the desk can't restore.
    """
    path = ctx.settings.shop_sqlite_path
    if path is not None:
        return SqliteDatabase(ctx, path)
    if engine_of(ctx) == POSTGRESQL:
        from services.protection.rescue.postgres_database import PostgresDatabase

        return PostgresDatabase(ctx)
    raise Misconfigured(
        f"The shop's database runs on {engine_of(ctx)}, and the desk restores SQLite files and "
        "PostgreSQL databases only. Nothing was changed.",
        "Let DATABASE_URL name one of these.",
    )


def unfinished(ctx: Context, ledger: Ledger) -> Replacement | None:
    """The database of a restore that was killed; None when it restored none.

    Raises:
        Misconfigured: the settings name another database by now.
    """
    journal = ledger.journal
    if not journal.database:
        return None
    if journal.engine == SQLITE:
        return SqliteReplacement(ctx, Path(journal.database), ledger)
    if (journal.engine, journal.database) != (engine_of(ctx), name_of(ctx)):
        raise Misconfigured(
            f"It was a restore of the database {journal.database} on a server, and DATABASE_URL "
            "names another one by now.",
            f"Let DATABASE_URL name {journal.database} again until the restore is settled.",
        )
    return database_of(ctx).replacement(ledger)


def snapshot_engine(manifest: Manifest) -> str:
    """What the database of a snapshot was captured from."""
    if "database" in manifest.engines:
        return manifest.engines["database"]
    name = snapshots.component_of(manifest, Part.DATABASE).name
    return SQLITE if ".sqlite3" in name else POSTGRESQL


def require_engine(ctx: Context, manifest: Manifest) -> None:
    """A dump of one engine can't become the database of another.

    Raises:
        Invalid: says what can be done instead.
    """
    theirs, ours = snapshot_engine(manifest), engine_of(ctx)
    if theirs != ours:
        raise Invalid(
            f"The snapshot {manifest.id} holds {_WORDS.get(theirs, theirs)}, and the shop runs on "
            f"{_WORDS.get(ours, ours)} now. Nothing was changed.",
            "Choose a snapshot made since the shop moved, or put back its other parts alone "
            "(knowledge base, vectors, pictures). To get at the old rows, let DATABASE_URL name a "
            f"new, empty place of the old kind ({_WORDS.get(theirs, theirs)}) and restore there.",
        )
