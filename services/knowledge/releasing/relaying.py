"""Copy activations of releases to the audit log, each exactly once, as change sets are."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select, update

from db.control import audit_log
from db.engine import write
from db.knowledge import activations, releases
from services.core import audit
from services.core.access import Actor, ActorKind
from services.core.context import Context
from services.core.databases import read_shop, write_shop

_COUNTS = ("added", "edited", "deleted")


def relay_activations(ctx: Context) -> int:
    """Tell the audit log of every activation it has not been told of; gives how many."""
    facts = [releases.c[name] for name in ("notes", "digest", "entries", *_COUNTS)]
    query = select(activations, *facts).join(releases).where(activations.c.relayed.is_(False))
    with read_shop(ctx) as shop:
        waiting = [(row, _is_first(shop, row)) for row in shop.execute(query)]
    if not waiting:
        return 0
    copied = 0
    with write(ctx.control) as control:
        for row, is_first in waiting:
            copied += _copy(ctx, control, row, is_first=is_first)
    with write_shop(ctx) as shop:
        told = activations.c.id.in_([row.id for row, _is_first_ in waiting])
        shop.execute(update(activations).where(told).values(relayed=True))
    return copied


def _is_first(shop: Connection, row: Any) -> bool:
    earlier = (activations.c.release == row.release) & (activations.c.id < row.id)
    return not shop.scalar(select(func.count()).select_from(activations).where(earlier))


def _copy(ctx: Context, control: Connection, row: Any, *, is_first: bool) -> int:
    # A restored database gives ids again: the moment is part of the key.
    relay_key = f"kb-release:{row.id}:{row.at.isoformat()}"
    told = select(func.count()).select_from(audit_log).where(audit_log.c.relay_key == relay_key)
    if control.scalar(told):
        return 0
    what = "Published release" if is_first else "Made current again: release"
    audit.record(
        control,
        ctx,
        Actor(row.author_id, row.author, ActorKind(row.author_kind)),
        "release.publish" if is_first else "release.again",
        ("release", str(row.release)),
        f"{what} {row.release} of the knowledge base: {row.reason}",
        details={
            "digest": row.digest,
            "entries": row.entries,
            **{name: getattr(row, name) for name in _COUNTS},
            "notes": row.notes,
            "folder": row.folder,
        },
        at=row.at,
        relay_key=relay_key,
    )
    return 1
