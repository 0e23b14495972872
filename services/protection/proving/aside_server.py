"""PostgreSQL databases of a snapshot, restored into a side database and looked into.

The side database lies on the server that DRILL_DATABASE_URL names, else on the one that the
database was backed up from. It is dropped again whatever happens; one that a killed drill
left behind, by the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import NullPool, create_engine, make_url

from services.core.addresses import normalise_database_url
from services.core.context import Context
from services.core.errors import Misconfigured
from services.protection import matching, sides
from services.protection.model import Part
from services.protection.proving.aside import Restored
from services.protection.sources import postgres

PREFIX = "desk_drill_"
_HINT = (
    "Set DRILL_DATABASE_URL to a PostgreSQL server where the desk may create a database, or run "
    "the drill on a machine that has one."
)


def shop_database(ctx: Context, job_id: str, dump: Path) -> Restored:
    """Restore the shop's dump into a side database, look into it, and drop it again.

    Args:
        job_id: names the side database.

    Raises:
        Broken: the dump can't be restored.
        Misconfigured: there is no server for it, or the desk may not create a database there.
        Transient: the server does not answer.
    """
    with _side(ctx, job_id, Part.DATABASE, dump) as (url, notes):
        engine = create_engine(url, poolclass=NullPool)
        tables = postgres.table_facts(url)
        return Restored(
            check=" ".join([f"Restored into a database of its own ({_where(url)})", *notes]),
            digest=postgres.DIGEST,
            tables=tables,
            violations=postgres.foreign_key_violations(url),
            products=matching.products_of(engine) if "products" in tables else {},
        )


def control_database(ctx: Context, job_id: str, dump: Path) -> str:
    """The same for the desk's own; gives its revision."""
    with _side(ctx, job_id, Part.CONTROL, dump) as (url, _notes):
        return postgres.revision(url, "alembic_version")


@contextmanager
def _side(ctx: Context, job_id: str, part: Part, dump: Path) -> Iterator[tuple[str, list[str]]]:
    server = _server(ctx, part)
    sides.sweep(ctx, server, PREFIX)
    name = f"{PREFIX}{job_id}"
    try:
        postgres.create_side(server, name)
        folders = ctx.settings.postgres_tools
        notes = postgres.restore_into(server, name, dump, folders=folders)
        url = make_url(server).set(database=name).render_as_string(hide_password=False)
        yield url, list(notes)
    finally:
        postgres.drop_side(server, name)


def sweep_all(ctx: Context) -> None:
    """Drop what killed drills left, on every server that one of this desk may use.

    Raises:
        Transient, Misconfigured: a server does not answer.
    """
    for server in {_server_or_none(ctx, part) for part in (Part.DATABASE, Part.CONTROL)} - {""}:
        sides.sweep(ctx, server, PREFIX)


def _server(ctx: Context, part: Part) -> str:
    found = _server_or_none(ctx, part)
    if not found:
        raise Misconfigured(
            "This backup holds a PostgreSQL dump, and this machine knows no server to restore it "
            "on; nothing was proven.",
            _HINT,
        )
    return found


def _server_or_none(ctx: Context, part: Part) -> str:
    settings = ctx.settings
    if settings.drill_database_url is not None:
        return normalise_database_url(
            settings.drill_database_url.get_secret_value(), settings.desk_home
        )
    own = settings.control_url if part is Part.CONTROL else settings.shop_database_url
    return next(filter(postgres.is_server, (own, settings.shop_database_url)), "")


def _where(url: str) -> str:
    found = make_url(url)
    return f"{found.host or 'local'}:{found.port or 5432}"
