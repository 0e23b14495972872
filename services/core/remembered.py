"""What the desk remembers of itself for each tenant: one small value under a name."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Connection, insert, select, update

from db.control import desk_state
from services.core.context import Context

_LONGEST = 60
"""Characters of a key, as the table has them."""


def recall(connection: Connection, ctx: Context, name: str) -> dict[str, Any]:
    """The value under a name; empty where there is none."""
    value = connection.scalar(select(desk_state.c.value).where(desk_state.c.key == _key(ctx, name)))
    return dict(value or {})


def remember(connection: Connection, ctx: Context, name: str, value: dict[str, Any]) -> None:
    """Put a value in the place of what was there; in the caller's transaction."""
    key = _key(ctx, name)
    mine = desk_state.c.key == key
    if not connection.execute(update(desk_state).where(mine).values(value=value)).rowcount:
        connection.execute(insert(desk_state).values(key=key, value=value))


def _key(ctx: Context, name: str) -> str:
    key = f"{name}:{ctx.settings.instance_id}"
    if len(key) <= _LONGEST:
        return key
    # Two long names of tenants may begin alike.
    mark = hashlib.sha256(key.encode()).hexdigest()[:12]
    return f"{key[: _LONGEST - len(mark) - 1]}~{mark}"
