"""A store with a long history: manifests of snapshots that hold one small object each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from services.protection.manifest import data_key, manifest_key, to_json
from services.protection.model import Component, Manifest, Part, TableFacts

DATA = b'{"color_matching": {"basics": "one"}}\n'


def manifest_at(at: datetime, number: int = 0, **more: Any) -> Manifest:
    """A manifest as a shop of this size would have had at that moment."""
    snapshot_id = f"{at:%Y%m%dT%H%M%SZ}-{number % 1_679_616:04d}"[:21]
    digest = hashlib.sha256(DATA).hexdigest()
    component = Component(
        name="knowledge.json",
        part=Part.KNOWLEDGE,
        key=data_key("default", snapshot_id, "knowledge.json"),
        plain_bytes=len(DATA),
        plain_sha256=digest,
        stored_bytes=len(DATA),
        stored_sha256=digest,
        compression="none",
        encryption="none",
        open_with="any JSON reader",
    )
    values: dict[str, Any] = {
        "id": snapshot_id,
        "instance": "default",
        "created_at": at,
        "reason": "scheduled",
        "asked_by": "cron",
        "host": "shop",
        "components": (component,),
        "tables": {
            name: TableFacts(rows, digest)
            for name, rows in (("orders", 300), ("products", 60), ("users", 40), ("sales", 9))
        },
        "foreign_key_violations": 0,
        "collections": {},
        "image_count": 0,
        "image_bytes": 0,
        "revisions": {},
        "tools": {},
        "step_seconds": {"send": 1.0},
    }
    return Manifest(**values | more)


def fill(folder: Path, manifests: Iterable[Manifest], *, data: bool = True) -> None:
    """Write snapshots into the folder of a local store, as if they had been made there."""
    for manifest in manifests:
        path = folder / manifest_key("default", manifest.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_json(manifest))
        for component in manifest.components if data else ():
            path = folder / component.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(DATA)
