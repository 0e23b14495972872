"""Which restore can be undone, and the plan of undoing it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.core import jobs
from services.core.context import Context
from services.core.errors import DeskError
from services.protection.index import catalog
from services.protection.model import Manifest, Part
from services.protection.rescue.database import LiveState
from services.protection.rescue.plan import RestorePlan, confirmation_word
from services.protection.rescue.words import KnowledgeDiff, PlanLine, Tone

KIND = "restore"
"""Kind of the jobs that restore or undo."""


@dataclass(frozen=True)
class UndoOffer:
    """The newest restore that changed live data, and what was there before it."""

    job_id: str
    snapshot_id: str  # what it put back
    safety_id: str  # what undoing puts back
    parts: frozenset[Part]
    ended_at: datetime | None
    actor_name: str
    was_undo: bool  # it undid an earlier restore: undoing it restores again


def newest_undoable(ctx: Context) -> UndoOffer | None:
    """The newest restore that ended on the new side, if its safety snapshot is still there.

    A restore that was put back changed nothing, so it is passed over; an interrupted one
    that had been committed counts. Undoing is a restore too, and can be undone.
    """
    for job in jobs.recent(ctx, (KIND,)):
        result = job.result or {}
        if not job.state.ended or result.get("side") != "new":
            continue
        if not result["safety"]:
            return None
        try:
            held = catalog.find(ctx, result["safety"]).parts
        except DeskError:
            return None
        # What was not there before can't be put back; it stays.
        parts = frozenset(Part(part) for part in result["parts"]) & held
        if not parts:
            return None
        return UndoOffer(
            job.id,
            result["snapshot"],
            result["safety"],
            parts,
            job.ended_at,
            job.actor_name,
            bool(result["undo_of"]),
        )
    return None


def undo_plan(ctx: Context, offer: UndoOffer, manifest: Manifest) -> RestorePlan:
    """The plan that puts a safety snapshot back: the same parts, whatever happened since.

    What happened since goes into a safety snapshot of its own, so nothing is lost by it.
    """
    return RestorePlan(
        snapshot_id=offer.safety_id,
        snapshot_at=manifest.created_at,
        parts=offer.parts,
        lines=(PlanLine(Tone.NOTE, f"Undoes the restore of {offer.snapshot_id}"),),
        entries=KnowledgeDiff(),
        losses=None,
        live=LiveState.READY,
        writer="",
        restart=Part.VECTORS in offer.parts,
        bytes_needed=0,
        seconds=0.0,
        word=confirmation_word(ctx.settings),
        made_at=ctx.now(),
        fingerprint="",
    )
