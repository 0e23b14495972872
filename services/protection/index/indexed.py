"""A snapshot as the index has it: its row, the digest of its manifest, whether a key signed it."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from db.control import snapshots
from db.engine import read, write
from db.shop import HEADLINE_TABLES
from services.core.context import Context
from services.protection.model import Manifest, Part, Pin, SnapshotRow, Storage
from services.protection.sealing.keys import Keys
from services.protection.sealing.signing import signature_state


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


def values_of(manifest: Manifest, data: bytes, keys: Keys, now: datetime) -> dict[str, Any]:
    """The row of a manifest that was read just now: nothing is known of its objects yet.

    Args:
        data: the manifest as it lies in the store.
    """
    return {
        "id": manifest.id,
        "instance": manifest.instance,
        "created_at": manifest.created_at,
        "reason": manifest.reason[:60],
        "asked_by": manifest.asked_by[:120],
        "plain_bytes": manifest.plain_bytes,
        "stored_bytes": manifest.stored_bytes,
        "components": [
            {
                "name": component.name,
                "part": component.part.value,
                "plain_bytes": component.plain_bytes,
                "stored_bytes": component.stored_bytes,
                "origin": component.origin,
            }
            for component in manifest.components
        ],
        "headline": {
            name: manifest.tables[name].rows for name in HEADLINE_TABLES if name in manifest.tables
        },
        "manifest_sha256": hashlib.sha256(data).hexdigest(),
        "read_back_at": None,
        "verified_at": None,
        "verify_error": None,
        "signed": signature_state(data, keys) == "signed",
        "encrypted": manifest.encrypted,
        "unmatched": {"missing": manifest.match.missing, "stray": manifest.match.stray}
        if manifest.match
        else None,
        "storage": Storage.STANDARD.value,
        "indexed_at": now,
    }


def row_of(row: Any) -> SnapshotRow:
    """A row of the index, as everybody else sees it."""
    return SnapshotRow(
        id=row.id,
        instance=row.instance,
        created_at=row.created_at,
        reason=row.reason,
        asked_by=row.asked_by,
        plain_bytes=row.plain_bytes,
        stored_bytes=row.stored_bytes,
        headline=dict(row.headline),
        parts=frozenset(Part(component["part"]) for component in row.components),
        read_back_at=row.read_back_at,
        verify_error=row.verify_error,
        verified_at=row.verified_at,
        drill_seconds=row.drill_seconds,
        signed=row.signed,
        encrypted=row.encrypted,
        pin=_pin(row.pin),
        storage=Storage(row.storage),
        copied_at=row.copied_at,
        copy_error=row.copy_error,
        missing_vectors=(row.unmatched or {}).get("missing", 0),
        stray_vectors=(row.unmatched or {}).get("stray", 0),
        origins=frozenset(filter(None, (part.get("origin") for part in row.components))),
    )


def _pin(value: dict[str, str] | None) -> Pin | None:
    if value is None:
        return None
    return Pin(value["note"], value["by"], datetime.fromisoformat(value["at"]))


def _row(ctx: Context, snapshot_id: str) -> tuple[Any, ...]:
    return (snapshots.c.instance == ctx.settings.instance_id, snapshots.c.id == snapshot_id)
