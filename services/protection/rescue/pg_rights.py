"""May the desk's role exchange the shop's database? Asked before anything begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.core.errors import Misconfigured
from services.protection.sources.postgres import maintenance

if TYPE_CHECKING:
    from psycopg import Connection


def require_rights(url: str, live: str) -> None:
    """Stop before anything begins that the desk may not end.

    Raises:
        Misconfigured: names every right that is missing and the commands that grant them.
        DeskError: the server can't be reached, in words.
    """
    with maintenance(url) as connection:
        lacks = list(_lacking(connection, live))
        user = connection.info.user
    if lacks:
        missing = " and ".join(what for what, _command in lacks)
        commands = " ".join(f"{command};" for _what, command in lacks)
        raise Misconfigured(
            f"The role {user} may not put another database in the place of {live}: {missing}. "
            "Nothing was changed.",
            f"Let a superuser of the server say: {commands}",
        )


def _lacking(connection: Connection[Any], live: str) -> list[tuple[str, str]]:
    me = _quoted(connection, connection.info.user)
    row = connection.execute(_ROLE).fetchone()
    superuser, may_create = (row[0], row[1]) if row else (False, False)
    if superuser:
        return []
    found = []
    if not may_create:
        found.append(("it may not create databases", f"ALTER ROLE {me} CREATEDB"))
    owner = connection.execute(_OWNER, (live,)).fetchone()
    if owner is not None and not owner[1]:
        found.append(
            (f"it is not its owner ({owner[0]})", f"GRANT {_quoted(connection, owner[0])} TO {me}")
        )
    others = [name for (name,) in connection.execute(_OTHERS, (live,)).fetchall()]
    if others:
        found.append(
            (
                f"it may not end the sessions of {', '.join(others)}",
                f"GRANT pg_signal_backend TO {me}",
            )
        )
    return found


def _quoted(connection: Connection[Any], name: str) -> str:
    from psycopg import sql

    return sql.Identifier(name).as_string(connection)


_ROLE = "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
_OWNER = """
SELECT r.rolname, pg_has_role(d.datdba, 'MEMBER')
FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = %s
"""
# Whoever is signed in now, and whoever may sign in under a role of its own, is not asked for:
# a superuser's session shows only when it is there, and the exchange then names it.
_OTHERS = """
SELECT DISTINCT a.usename FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.datname = %s AND coalesce(a.backend_type, 'client backend') = 'client backend'
  AND NOT r.rolsuper AND NOT pg_has_role(a.usesysid, 'MEMBER')
  AND NOT pg_has_role('pg_signal_backend', 'MEMBER')
ORDER BY 1
"""
