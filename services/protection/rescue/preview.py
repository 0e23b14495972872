"""Look at a snapshot beside the live shop and say what a restore would change."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db.engine import read_only_sqlite
from services.core.context import Context
from services.protection import snapshots
from services.protection.model import Manifest, Part
from services.protection.rescue import staging
from services.protection.rescue.compare import TableDiff, losses
from services.protection.rescue.database import Compared, Database, LiveState, Watch
from services.protection.rescue.engines import database_of, require_engine
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
    database, compared, state = database_of(ctx), Compared(()), LiveState.READY
    watch("Looking at the live data", 0.0)
    if Part.DATABASE in parts:
        require_engine(ctx, manifest)
        database.require_rights()
        require_space(ctx, manifest, parts)
        state = database.state()
    else:
        require_space(ctx, manifest, parts)
    writer = seen = ""
    with ExitStack() as watched:
        ready = state is LiveState.READY
        wrote = watched.enter_context(database.watching()) if ready else None
        if Part.DATABASE in parts:
            seen = database.witness() if ready else ""
            compared = database.compared(store, manifest, state, watch)
            state = compared.state or state
        watch("Comparing", 0.8)
        found = differences(ctx, store, manifest, parts, compared.tables, state, live_knowledge)
        if wrote is not None and state is LiveState.READY:
            writer = wrote()
    lines = [
        *_state_lines(database, state),
        *table_lines(found.tables, manifest.created_at),
        *(PlanLine(Tone.NOTE, note) for note in compared.notes),
        *entry_lines(found.entries),
        *_vector_lines(ctx, manifest, parts),
        *_picture_lines(found.pictures),
    ]
    told = any(line.tone is not Tone.NOTE for line in lines)
    if not told and state is LiveState.READY and not any(diff.counted for diff in found.tables):
        if Part.VECTORS in parts:  # their numbers are equal, and no more is known of them
            lines.append(PlanLine(Tone.NOTE, "Nothing else differs"))
        else:
            same = "Nothing differs: the live data equals the backup"
            lines.insert(0, PlanLine(Tone.NOTE, same))
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
        witness=seen if state is LiveState.READY else "",
        known=compared.known,
        proven=compared.proven,
    )


def differences(
    ctx: Context,
    store: Store,
    manifest: Manifest,
    parts: frozenset[Part],
    tables: tuple[TableDiff, ...],
    state: LiveState,
    live_knowledge: LiveKnowledge,
) -> Differences:
    """Compare the chosen parts with what is live.

    Args:
        tables: how the database differs; nothing when it is not restored.
        state: of the live database; unless ready, everything comes back.
        live_knowledge: gives the knowledge base as it is now.
    """
    entries, pictures = KnowledgeDiff(), Pictures()
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


def _state_lines(database: Database, state: LiveState) -> Iterator[PlanLine]:
    if state is not LiveState.READY:
        yield PlanLine(Tone.NOTE, database.state_line(state))


def _vector_lines(ctx: Context, manifest: Manifest, parts: frozenset[Part]) -> Iterator[PlanLine]:
    if Part.VECTORS not in parts:
        return
    theirs = sum(facts.count for facts in manifest.collections.values())
    ours = _live_vectors(ctx.settings.vector_dir)
    if ours is None:
        yield PlanLine(Tone.BACK, f"{plural(theirs, 'vector comes', 'vectors come')} back")
    elif ours == theirs:
        yield PlanLine(
            Tone.NOTE,
            f"The vectors go back to the {theirs:,} of the backup, as many as there are now; "
            "they are not compared one by one",
        )
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
