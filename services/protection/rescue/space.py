"""Will it fit? Predicted before anything is fetched, in figures."""

from __future__ import annotations

import shutil
from pathlib import Path

from services.core.context import Context
from services.core.errors import Refused
from services.protection.model import Manifest, Part
from services.protection.rescue.engines import database_of

_MARGIN = 16 << 20
"""Bytes left free for everybody else on the disk: logs, the control database."""


def needed(ctx: Context, manifest: Manifest, parts: frozenset[Part]) -> dict[Path, int]:
    """Bytes that a restore needs at its peak, by the folder in which it needs them."""
    settings = ctx.settings
    database = database_of(ctx)
    plain = {part: _plain(manifest, part) for part in parts}
    wants: list[tuple[Path, int]] = []
    if Part.DATABASE in parts:
        wants += database.wants(manifest)
    else:
        wants.append((settings.temp_dir, database.capture_bytes()))
    if Part.VECTORS in parts:
        wants.append((settings.temp_dir, plain[Part.VECTORS]))
        wants.append((settings.vector_dir.parent, plain[Part.VECTORS]))
    if Part.IMAGES in parts:
        wants.append((settings.images_dir.parent, manifest.image_bytes))
    if settings.store_url.startswith("file:"):
        wants.append((Path(settings.store_url.removeprefix("file:")), database.live_bytes()))
    totals: dict[Path, int] = {}
    for folder, size in wants:
        there = _existing(folder)
        # Folders of one disk share what is free on it.
        same = next((f for f in totals if f.stat().st_dev == there.stat().st_dev), there)
        totals[same] = totals.get(same, 0) + size
    return totals


def require_space(ctx: Context, manifest: Manifest, parts: frozenset[Part]) -> None:
    """Stop before anything begins that could not end.

    Raises:
        Refused: a disk has too little room; says how much is needed and how much is free.
    """
    for folder, size in needed(ctx, manifest, parts).items():
        free = shutil.disk_usage(folder).free
        if free < size + _MARGIN:
            raise Refused(
                f"The restore needs {megabytes(size + _MARGIN)} on the disk of {folder} and "
                f"{megabytes(free)} are free; nothing was started.",
                "Free some space there, or set BACKUP_TEMP_DIR to a folder on another disk.",
            )


def megabytes(size: int) -> str:
    """A size for an error message."""
    return f"{size / 1e6:,.0f} MB"


def _plain(manifest: Manifest, part: Part) -> int:
    return sum(found.plain_bytes for found in manifest.components if found.part is part)


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    while not folder.is_dir():
        folder = folder.parent
    return folder
