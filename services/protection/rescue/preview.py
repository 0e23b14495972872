"""Look at a snapshot beside the live shop and say what a restore would change."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db.engine import read_only_sqlite
from services.core.context import Context
from services.core.errors import Misconfigured
from services.protection import snapshots
from services.protection.model import Manifest, Part
from services.protection.rescue import live as live_file
from services.protection.rescue import staging
from services.protection.rescue.compare import TableDiff, compare, losses
from services.protection.rescue.live import LiveState
from services.protection.rescue.plan import (
    RestorePlan,
    chosen_parts,
    confirmation_word,
    fingerprint,
)
from services.protection.rescue.space import needed, require_space
from services.protection.rescue.words import (
    KnowledgeDiff,
    PlanLine,
    Tone,
    entry_lines,
    knowledge_diff,
    plural,
    table_lines,
)
from services.protection.sources import images
from services.protection.stores.base import Store

Watch = Callable[[str, float], None]
LiveKnowledge = Callable[[], dict[str, Any]]

_BYTES_PER_SECOND = 60e6
"""Fetching, unpacking, checking and comparing, on two cores; for an estimate only."""


@dataclass(frozen=True)
class Pictures:
    """How the picture folder differs, by relative path."""

    lost: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Differences:
    """Everything that a restore of the chosen parts changes."""

    tables: tuple[TableDiff, ...] = ()
    entries: KnowledgeDiff = field(default_factory=KnowledgeDiff)
    pictures: Pictures = field(default_factory=Pictures)

    @property
    def losses(self) -> dict[str, int]:
        """What is removed or set back, by name, for comparing with a later look."""
        found = losses(self.tables)
        counts = {
            "knowledge base entries": len(self.entries.lost) + len(self.entries.changed),
            "pictures": len(self.pictures.lost) + len(self.pictures.changed),
        }
        return found | {name: number for name, number in counts.items() if number}


def require_sqlite(ctx: Context) -> Path:
    """The shop's SQLite file.

    Raises:
        Misconfigured: the shop runs on a server database.
    """
    path = ctx.settings.shop_sqlite_path
    if path is None:
        raise Misconfigured(
            "The shop's database runs on a server, and this version restores SQLite files only. "
            "Nothing was changed.",
            "Download the database from the snapshot and open it with the command beside it.",
        )
    return path


def make_plan(
    ctx: Context,
    store: Store,
    manifest: Manifest,
    wanted: frozenset[Part],
    live_knowledge: LiveKnowledge,
    watch: Watch,
) -> RestorePlan:
    """Decide, without changing anything, what a restore would do.

    Args:
        live_knowledge: gives the knowledge base as it is now.
        watch: called with every (step, fraction).

    Raises:
        Refused: a part is not in the snapshot, or the disk is too full.
        Broken: the snapshot can't be used.
    """
    parts = chosen_parts(manifest, wanted)
    path = require_sqlite(ctx)
    require_space(ctx, manifest, parts)
    watch("Looking at the live data", 0.0)
    state = live_file.state_of(path) if Part.DATABASE in parts else LiveState.READY
    writer = live_file.writer_seen(path) if state is LiveState.READY and path.is_file() else ""
    database = None
    if Part.DATABASE in parts:
        watch("Fetching the backup's database to look inside", 0.1)
        database = staging.preview_copy(ctx, store, manifest)
    watch("Comparing", 0.6)
    found = differences(ctx, store, manifest, parts, database, state, live_knowledge)
    lines = [
        *_state_lines(path, state),
        *table_lines(found.tables, manifest.created_at),
        *entry_lines(found.entries),
        *_vector_lines(ctx, manifest, parts),
        *_picture_lines(found.pictures),
    ]
    if not lines:
        lines = [PlanLine(Tone.NOTE, "Nothing differs: the live data equals the backup")]
    return RestorePlan(
        snapshot_id=manifest.id,
        snapshot_at=manifest.created_at,
        parts=parts,
        lines=tuple(lines),
        entries=found.entries,
        losses=found.losses,
        live=state,
        writer=_why(writer),
        restart=Part.VECTORS in parts,
        bytes_needed=sum(needed(ctx, manifest, parts).values()),
        seconds=_estimate(manifest, parts),
        word=confirmation_word(ctx.settings),
        made_at=ctx.now(),
        fingerprint=fingerprint(manifest, parts, found.losses),
    )


def differences(
    ctx: Context,
    store: Store,
    manifest: Manifest,
    parts: frozenset[Part],
    database: Path | None,
    state: LiveState,
    live_knowledge: LiveKnowledge,
) -> Differences:
    """Compare the chosen parts with what is live.

    Args:
        database: the snapshot's, fetched; None when it is not restored.
        state: of the live database; unless ready, everything comes back.
        live_knowledge: gives the knowledge base as it is now.
    """
    tables: tuple[TableDiff, ...] = ()
    entries, pictures = KnowledgeDiff(), Pictures()
    if database is not None:
        live = ctx.settings.shop_sqlite_path if state is LiveState.READY else None
        tables = compare(live, database)
    if parts & {Part.DATABASE, Part.KNOWLEDGE} and Part.KNOWLEDGE in manifest.parts:
        theirs = staging.knowledge_document(ctx, store, manifest)
        entries = knowledge_diff(live_knowledge() if state is LiveState.READY else {}, theirs)
    if Part.IMAGES in parts:
        pictures = _pictures(ctx.settings.images_dir, snapshots.picture_list(ctx, store, manifest))
    return Differences(tables, entries, pictures)


def _pictures(live: Path, wanted: dict[str, str]) -> Pictures:
    captured = images.capture(live)
    there = {found.name: found.sha256 for found in captured.pictures} if captured else {}
    shared = there.keys() & wanted.keys()
    return Pictures(
        lost=tuple(sorted(there.keys() - wanted.keys())),
        back=tuple(sorted(wanted.keys() - there.keys())),
        changed=tuple(sorted(name for name in shared if there[name] != wanted[name])),
    )


def _state_lines(path: Path, state: LiveState) -> Iterator[PlanLine]:
    if state is LiveState.MISSING:
        yield PlanLine(
            Tone.NOTE, f"There is no shop database at {path}: everything in the backup comes back"
        )
    if state is LiveState.DAMAGED:
        yield PlanLine(
            Tone.NOTE,
            f"The shop's database at {path} can't be read: everything in the backup comes back, "
            "and the unreadable file is kept aside",
        )


def _vector_lines(ctx: Context, manifest: Manifest, parts: frozenset[Part]) -> Iterator[PlanLine]:
    if Part.VECTORS not in parts:
        return
    theirs = sum(facts.count for facts in manifest.collections.values())
    ours = _live_vectors(ctx.settings.vector_dir)
    if ours is None:
        yield PlanLine(Tone.BACK, f"{plural(theirs, 'vector comes', 'vectors come')} back")
    else:
        yield PlanLine(
            Tone.CHANGED,
            f"The vectors go back to the {theirs:,} of the backup (there are {ours:,} now)",
        )


def _live_vectors(folder: Path) -> int | None:
    # Chroma's own table, read as plain SQLite: opening it with chromadb would change it.
    try:
        with closing(read_only_sqlite(folder / "chroma.sqlite3", timeout=1)) as connection:
            return int(connection.execute("SELECT count(*) FROM embeddings").fetchone()[0])
    except sqlite3.Error:
        return None


def _picture_lines(pictures: Pictures) -> Iterator[PlanLine]:
    if pictures.lost:
        text = plural(len(pictures.lost), "picture", "pictures")
        yield PlanLine(Tone.LOST, f"{text} that the backup does not hold would be lost")
    if pictures.back:
        text = plural(len(pictures.back), "picture comes", "pictures come")
        yield PlanLine(Tone.BACK, f"{text} back")
    if pictures.changed:
        one, many = "picture goes back to its", "pictures go back to their"
        text = plural(len(pictures.changed), one, many)
        yield PlanLine(Tone.CHANGED, f"{text} earlier version")


def _why(writer: str) -> str:
    if not writer:
        return ""
    return (
        f"{writer} Stop the shop first: what it writes from now on is lost too, and when it "
        "starts again on restored data it may seed products, reset demo users and rewrite "
        "vectors in between."
    )


def _estimate(manifest: Manifest, parts: frozenset[Part]) -> float:
    # The safety snapshot takes about as long as this backup took.
    moved = sum(found.plain_bytes for found in manifest.components if found.part in parts)
    return 2 + sum(manifest.step_seconds.values()) + 2 * moved / _BYTES_PER_SECOND
