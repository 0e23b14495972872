"""What a drill found, step by step, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.protection.model import VectorMatch


@dataclass(frozen=True)
class Step:
    """One thing that was looked at."""

    name: str
    passed: bool | None  # None: it could not be looked at, because another step failed
    found: str  # for a person
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As the table and the store keep it."""
        return {
            "name": self.name,
            "passed": self.passed,
            "found": self.found,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Evidence:
    """Everything that one drill found."""

    steps: tuple[Step, ...]
    seconds: float  # of all steps together: so long does it take to have the data back
    match: VectorMatch | None = None

    @property
    def passed(self) -> bool:
        """Whether the snapshot is proven."""
        return bool(self.steps) and all(step.passed for step in self.steps)

    @property
    def error(self) -> str:
        """What failed, for a person; empty when nothing did."""
        return " ".join(step.found for step in self.steps if step.passed is False)


@dataclass(frozen=True)
class Drill:
    """One drill as it is kept: in the control database and, as a file, in the store."""

    id: str
    snapshot_id: str
    instance: str
    place: str  # "store" or "copy"
    at: datetime
    seconds: float
    passed: bool
    host: str
    asked_by: str
    error: str | None
    steps: tuple[Step, ...]
