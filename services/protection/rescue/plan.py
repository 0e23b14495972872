"""What a restore would do, decided before anything is touched, as plain data.

The page shows the plan; the job gets that very plan, and refuses when more would be lost
than the person who confirmed it saw.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import make_url

from services.core.errors import Conflict, Invalid
from services.core.settings import Settings
from services.protection.measuring import Known
from services.protection.model import Manifest, Part
from services.protection.rescue.database import LiveState
from services.protection.rescue.words import KnowledgeDiff, PlanLine, Tone

RESTORABLE = frozenset({Part.DATABASE, Part.KNOWLEDGE, Part.VECTORS, Part.IMAGES})
"""What can be put back over a running desk; the control plane never is."""


@dataclass(frozen=True)
class RestorePlan:
    """Everything a person is told before they confirm, and what the job holds them to."""

    snapshot_id: str
    snapshot_at: datetime
    parts: frozenset[Part]
    lines: tuple[PlanLine, ...]
    entries: KnowledgeDiff
    losses: dict[str, int] | None  # name -> what goes or is set back; None: any amount
    live: LiveState
    writer: str  # what is said about a program that writes now; empty when none was seen
    restart: bool  # the shop has to start again: open vector files follow the old folder
    bytes_needed: int
    seconds: float
    word: str  # what has to be typed
    made_at: datetime
    fingerprint: str
    witness: str = ""  # of the live database before it was compared; empty: never the same
    known: Known | None = None  # what was measured of it then
    proven: str = ""  # sha256 of the database whose tables were held to the manifest

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable values, for the parameters of a job."""
        data = asdict(self)
        data["parts"] = sorted(self.parts)
        data["snapshot_at"] = self.snapshot_at.isoformat()
        data["made_at"] = self.made_at.isoformat()
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RestorePlan:
        """The reverse of `to_dict`."""
        values = dict(data)
        values["parts"] = frozenset(Part(part) for part in data["parts"])
        values["snapshot_at"] = datetime.fromisoformat(data["snapshot_at"])
        values["made_at"] = datetime.fromisoformat(data["made_at"])
        values["lines"] = tuple(
            PlanLine(Tone(line["tone"]), line["text"]) for line in data["lines"]
        )
        entries = {name: tuple(paths) for name, paths in data["entries"].items()}
        values["entries"] = KnowledgeDiff(**entries)
        values["live"] = LiveState(data["live"])
        known = data.get("known")
        values["known"] = Known(**known) if known else None
        return cls(**values)


def fingerprint(manifest: Manifest, parts: frozenset[Part], losses: dict[str, int]) -> str:
    """Short digest of what a plan would do; equal plans have equal ones."""
    text = json.dumps([manifest.id, sorted(parts), losses], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def chosen_parts(manifest: Manifest, wanted: frozenset[Part]) -> frozenset[Part]:
    """The parts to put back. The database brings the knowledge base with it.

    Raises:
        Invalid: nothing was chosen, it isn't in the snapshot, or it can't be put back.
    """
    if not wanted:
        raise Invalid("No part was chosen; nothing was started.", "Choose at least one part.")
    if Part.CONTROL in wanted:
        raise Invalid(
            "The desk's own database is not put back while the desk runs; nothing was started.",
            "It comes back only when the whole machine is set up anew.",
        )
    missing = wanted - manifest.parts
    if missing:
        raise Invalid(
            f"The snapshot {manifest.id} does not hold: {', '.join(sorted(missing))}. "
            "Nothing was started.",
            f"It holds: {', '.join(sorted(manifest.parts & RESTORABLE))}.",
        )
    return wanted - {Part.KNOWLEDGE} if Part.DATABASE in wanted else wanted


def confirmation_word(settings: Settings) -> str:
    """What a person types to confirm: the tenant, or the name of the shop's database."""
    if settings.instance_id != "default":
        return settings.instance_id
    path = settings.shop_sqlite_path
    if path is None:
        return make_url(settings.shop_database_url).database or settings.instance_id
    return path.stem


def require_no_more_lost(plan: RestorePlan, now: dict[str, int]) -> None:
    """Hold the restore to what the person saw.

    A plan that warned of a running writer was confirmed with that in mind: what is written
    meanwhile goes into the safety snapshot and is lost with the rest.

    Raises:
        Conflict: more would be lost; says what, nothing was changed.
    """
    if plan.writer or plan.losses is None:
        return
    more = {name: now[name] - plan.losses.get(name, 0) for name in now}
    grown = [f"{name} ({n:,} more)" for name, n in sorted(more.items()) if n > 0]
    if grown:
        raise Conflict(
            "The shop changed since you looked, and more would be lost or set back than you "
            f"saw: {', '.join(grown)}. Nothing was changed.",
            "Stop the shop, look at the preview again, and confirm what it says then.",
        )
