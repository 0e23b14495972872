"""What retention knows and decides, as plain data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.core.settings import Settings
from services.protection.model import SnapshotRow

SAFETY_REASON = "safety"
"""Reason of what a restore sets aside first."""
LEGACY_REASON = "legacy"
"""Reason of a backup of the shop's old scripts that was adopted."""


@dataclass(frozen=True)
class Policy:
    """How much is kept. Settings of the same names, `KEEP_` before them."""

    days: int
    weeks: int
    months: int
    minimum: int

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """The policy that the settings name."""
        return cls(
            settings.keep_days, settings.keep_weeks, settings.keep_months, settings.keep_minimum
        )

    @property
    def is_empty(self) -> bool:
        """Whether it keeps no period at all."""
        return not (self.days or self.weeks or self.months)

    @property
    def sentence(self) -> str:
        """The policy in one sentence."""
        kept = [
            f"{number} {word}{'' if number == 1 else 's'}"
            for number, word in ((self.days, "day"), (self.weeks, "week"), (self.months, "month"))
            if number
        ]
        if not kept:
            return f"Keeps the {self.minimum} newest backups and nothing else."
        listed = kept[0] if len(kept) == 1 else f"{', '.join(kept[:-1])} and {kept[-1]}"
        return (
            f"Keeps the newest backup of each of the last {listed} that have one, and never "
            f"fewer than the {self.minimum} newest."
        )


@dataclass(frozen=True)
class Archive:
    """What S3 does with old objects, as far as the settings say."""

    storage_class: str = ""
    after_days: int = 0
    lock_days: int = 0

    @classmethod
    def of(cls, settings: Settings) -> Archive:
        """What the settings name."""
        return cls(settings.archive_class, settings.archive_after_days, settings.object_lock_days)


@dataclass(frozen=True)
class Shared:
    """An object that lies below one snapshot and is used by another."""

    owner: str
    user: str
    name: str
    stored_bytes: int


@dataclass(frozen=True)
class Inventory:
    """Everything that a plan is made from."""

    snapshots: tuple[SnapshotRow, ...]
    in_use: Mapping[str, str] = field(default_factory=dict)  # snapshot id -> why it must stay
    unreadable: Mapping[str, str] = field(default_factory=dict)  # snapshot id -> why
    store_error: str = ""
    failed_run: str = ""  # what was wrong with the last backup run, if it did not succeed
    last_policy: Policy | None = None  # with which retention ran last
    archive: Archive = Archive()
    shared: tuple[Shared, ...] = ()

    def fingerprint(self, policy: Policy) -> str:
        """The same as long as nothing changed that a decision rests on.

        Time and use are left out: what they change is looked at again one by one.
        """
        facts: list[Any] = [
            [policy.days, policy.weeks, policy.months, policy.minimum],
            sorted(self.unreadable),
        ]
        facts += sorted(
            [
                row.id,
                row.reason,
                row.pin is not None,
                row.verified_at is not None,
                row.read_back_at is not None,
                row.verify_error is not None,
                sorted(row.origins),
            ]
            for row in self.snapshots
        )
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass(frozen=True)
class Decision:
    """What happens to one snapshot, and why."""

    row: SnapshotRow
    keep: bool
    reasons: tuple[str, ...]  # the weightiest first, never empty
    warning: str = ""  # what deleting it costs, where it costs something
    shared_with: int = 0  # kept ones that use objects of it: those objects stay
    shared_bytes: int = 0

    @property
    def freed_bytes(self) -> int:
        """What its going frees; pictures that only it shows come on top."""
        return max(0, self.row.stored_bytes - self.shared_bytes)

    @property
    def words(self) -> str:
        """The decision in words, as a list or a tool tip shows it."""
        said = "; ".join(self.reasons)
        if self.keep:
            return said
        if self.shared_with:
            who = "1 kept backup shares"
            if self.shared_with > 1:
                who = f"{self.shared_with} kept backups share"
            said += f"; what {who} with it stays"
        return f"goes: {said}" + (f" ({self.warning})" if self.warning else "")


@dataclass(frozen=True)
class Hold:
    """Why nothing may be deleted now."""

    name: str
    message: str
    hint: str
    confirmable: bool = False  # a person who has looked may go on; a nightly run never


@dataclass(frozen=True)
class PrunePlan:
    """Every decision, and what speaks against carrying any of them out."""

    made_at: datetime
    policy: Policy
    decisions: tuple[Decision, ...]  # newest snapshot first
    holds: tuple[Hold, ...]
    fingerprint: str

    @property
    def going(self) -> tuple[Decision, ...]:
        """What goes, newest first."""
        return tuple(decision for decision in self.decisions if not decision.keep)

    @property
    def kept(self) -> tuple[Decision, ...]:
        """What stays, newest first."""
        return tuple(decision for decision in self.decisions if decision.keep)

    @property
    def bytes_freed(self) -> int:
        """What the going ones alone take in the store, pictures not counted."""
        return sum(decision.freed_bytes for decision in self.going)

    @property
    def word(self) -> str:
        """What a person types to confirm: it names how many go, so that it can't be habit."""
        return f"remove {len(self.going)}"

    def order(self) -> dict[str, Any]:
        """What carrying it out has to know, for the row of a job."""
        return {
            "fingerprint": self.fingerprint,
            "going": [decision.row.id for decision in self.going],
        }
