"""Copy change sets and what was published to the audit log, each exactly once.

The knowledge base lives in the shop's database and the audit log in the desk's: no
transaction spans both. The change set is the record; this carries it over, after the
commit and again at the next start for what a crash left behind.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Connection, func, select, update

from db.control import audit_log
from db.engine import write
from db.knowledge import change_sets, changes, changes_group
from services.core import audit
from services.core.access import Actor, ActorKind
from services.core.context import Context
from services.core.databases import read_shop, write_shop
from services.knowledge.releasing.relaying import relay_activations
from services.knowledge.sections import title_of

log = logging.getLogger("desk")

_NAMED = 50


def relay(ctx: Context) -> int:
    """Tell the audit log of every change set and activation it has not been told of.

    A failure is logged and left for the next time: the change itself is already safe.

    Returns:
        How many were copied.
    """
    try:
        return _relay(ctx) + relay_activations(ctx)
    except Exception:
        log.warning("change sets could not be copied to the audit log yet", exc_info=True)
        return 0


def _relay(ctx: Context) -> int:
    with read_shop(ctx) as shop:
        query = select(change_sets).where(change_sets.c.relayed.is_(False))
        waiting = [
            (row, _details(shop, row))
            for row in shop.execute(query.order_by(change_sets.c.at, change_sets.c.id))
        ]
    if not waiting:
        return 0
    copied = 0
    with write(ctx.control) as control:
        for row, details in waiting:
            copied += _copy(ctx, control, row, details)
    with write_shop(ctx) as shop:
        ids = [row.id for row, _details_ in waiting]
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            shop.execute(update(change_sets).where(change_sets.c.id.in_(some)).values(relayed=True))
    return copied


def _copy(ctx: Context, control: Connection, row: Any, details: dict[str, Any]) -> int:
    relay_key = f"kb:{row.id}"
    told = select(func.count()).select_from(audit_log).where(audit_log.c.relay_key == relay_key)
    if control.scalar(told):
        return 0
    what = ", ".join(f"{details[name]} {name}" for name in _ACTIONS if details[name])
    reason = f": {row.reason}" if row.reason else ""
    audit.record(
        control,
        ctx,
        Actor(row.author_id, row.author, ActorKind(row.author_kind)),
        f"knowledge.{row.kind}",
        ("change set", row.id),
        row.reason if row.kind == "purge" else f"Knowledge base: {what or 'nothing'}{reason}",
        details=details,
        at=row.at,
        relay_key=relay_key,
    )
    return 1


_ACTIONS = ("added", "edited", "deleted")


def _details(shop: Connection, row: Any) -> dict[str, Any]:
    query = select(changes.c.section, changes.c.key).where(
        changes.c.change_set_id == row.id, ~changes_group()
    )
    named = [
        f"{title_of(section)} / {key}"
        for section, key in shop.execute(query.order_by(changes.c.id).limit(_NAMED))
    ]
    return {**{name: getattr(row, name) for name in _ACTIONS}, "entries": named}
