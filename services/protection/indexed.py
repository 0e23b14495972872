"""What the index knows of a manifest's bytes: their digest, and whether a key signed them."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import select, update

from db.control import snapshots
from db.engine import read, write
from services.core.context import Context


def digest(ctx: Context, snapshot_id: str) -> str | None:
    """sha256 of the manifest as it was indexed; None where it is not."""
    with read(ctx.control) as connection:
        found: str | None = connection.scalar(
            select(snapshots.c.manifest_sha256).where(*_row(ctx, snapshot_id))
        )
    return found


def note_signature(ctx: Context, snapshot_id: str, data: bytes) -> None:
    """Write down that a manifest as it lies in the store carries a signature that holds."""
    values = {"manifest_sha256": hashlib.sha256(data).hexdigest(), "signed": True}
    with read(ctx.control) as connection:
        row = connection.execute(
            select(snapshots.c.manifest_sha256, snapshots.c.signed).where(*_row(ctx, snapshot_id))
        ).first()
    if row is not None and row._asdict() != values:
        with write(ctx.control) as connection:
            connection.execute(update(snapshots).where(*_row(ctx, snapshot_id)).values(**values))


def _row(ctx: Context, snapshot_id: str) -> tuple[Any, ...]:
    return (snapshots.c.instance == ctx.settings.instance_id, snapshots.c.id == snapshot_id)
