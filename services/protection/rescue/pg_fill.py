"""Bring a snapshot's dump into a new database beside the shop's, and hold it to its manifest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import make_url

from services.core.context import Context
from services.core.errors import Conflict, DeskError
from services.protection import snapshots
from services.protection.model import Manifest, Part
from services.protection.rescue import pg_sweep, staging
from services.protection.rescue.boundary import reached
from services.protection.rescue.pg_beside import Mark, write_mark
from services.protection.sources.postgres import (
    create_side,
    maintenance,
    restore_into,
    table_facts,
)
from services.protection.stores.base import Store


def fill(
    ctx: Context,
    store: Store,
    manifest: Manifest,
    name: str,
    mark: Mark,
    dump: Path,
    watch: Callable[[float], None] = lambda _share: None,
) -> tuple[str, ...]:
    """Fetch the dump, check it, restore it into a new database, compare with the manifest.

    Args:
        name: of the new database; there is none of that name.
        mark: what is written on it.
        dump: where the dump is fetched to; removed again.

    Returns:
        What was left out, in words.

    Raises:
        Broken: it is not what was backed up.
        DeskError: the server, in words; what was made there is removed, now or by a sweep.
    """
    url = ctx.settings.shop_database_url
    pg_sweep.noted(ctx, name)
    try:
        snapshots.fetch(ctx, store, manifest, Part.DATABASE, dump)
        reached("database fetched")
        create_side(url, name)
        with maintenance(url) as connection:
            write_mark(connection, name, mark)
        reached("database created")
        notes = restore_into(url, name, dump, watch=watch, folders=ctx.settings.postgres_tools)
        reached("database filled")
        staging.require_facts(table_facts(url_of(url, name)), manifest)
    except Conflict:
        pg_sweep.forgotten(ctx, name)  # there is one of that name, and it is somebody else's
        raise
    except BaseException:
        with suppress(DeskError):
            pg_sweep.drop(ctx, url, name)
        raise
    finally:
        dump.unlink(missing_ok=True)
    return notes


def url_of(url: str, name: str) -> str:
    """The address of another database of the same server."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)
