"""Import a knowledge base into an empty database aside, and write it out again."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import SecretStr

from db.engine import sqlite_url
from db.migrate import upgrade_knowledge
from services.core.access import system_actor
from services.core.context import Context, open_context
from services.core.errors import Invalid
from services.knowledge import transfer


def reimport(ctx: Context, document: bytes, folder: Path) -> bytes:
    """What a knowledge base reads like after it went in and came out again.

    It goes through the same tables and the same code as a restore, in databases of its own.

    Args:
        document: canonical JSON, as a snapshot holds it.
        folder: empty; the databases aside are made in it.

    Raises:
        DeskError: it can't be imported.
    """
    shop = folder / "shop.sqlite3"
    shop.touch(mode=0o600)
    aside = open_context(
        ctx.settings.model_copy(
            update={
                "desk_home": folder,
                "shop_root": None,
                "db_path": None,
                "database_url": SecretStr(sqlite_url(shop)),
                "control_database_url": SecretStr(sqlite_url(folder / "control.sqlite3")),
            }
        ),
        ctx.clock,
    )
    try:
        upgrade_knowledge(aside.shop)
        transfer.restore_document(aside, system_actor("drill"), _read(document), "A drill")
        return transfer.canonical_json(aside.shop)
    finally:
        aside.close()


def _read(document: bytes) -> dict[str, object]:
    try:
        wanted = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise Invalid("The knowledge base is not valid JSON.") from error
    if not isinstance(wanted, dict):
        raise Invalid("The knowledge base is not a JSON object.")
    return wanted
