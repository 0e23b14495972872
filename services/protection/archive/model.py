"""Retrievals from the archive, as plain data."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from services.protection.model import Storage
from services.protection.stores.base import Tier


class RetrievalState(enum.StrEnum):
    """How far bringing a snapshot back is."""

    WAITING = "waiting"
    READY = "ready"  # every object can be read, until `ready_until`
    EXPIRED = "expired"  # it was ready, and is archived as before
    FAILED = "failed"
    DROPPED = "dropped"  # asked for anew, or the snapshot is gone


OPEN = (RetrievalState.WAITING.value, RetrievalState.READY.value)
"""States that somebody still has to look after."""


@dataclass(frozen=True)
class Retrieval:
    """One request to the archive."""

    id: str
    snapshot_id: str
    state: RetrievalState
    tier: Tier
    days: int
    asked_by: str
    asked_at: datetime
    looked_at: datetime | None  # None: whoever asked did not get to the end
    ready_at: datetime | None
    ready_until: datetime | None
    objects: int
    objects_ready: int
    error: str | None


@dataclass(frozen=True)
class Offer:
    """One way to bring a snapshot back."""

    tier: Tier
    wait: str  # typically
    longest_hours: float
    cost: float  # US dollars, an estimate
    note: str = ""


@dataclass(frozen=True)
class Options:
    """What can be done about a snapshot that may be archived."""

    snapshot_id: str
    storage: Storage
    objects: int  # in an archive (copies or not)
    stored_bytes: int  # of those
    classes: tuple[str, ...]
    offers: tuple[Offer, ...]
    retrieval: Retrieval | None  # the newest one
    ready_until: datetime | None
    reading_cost: float  # of GLACIER_IR, US dollars, an estimate

    @property
    def running(self) -> Retrieval | None:
        """The retrieval that it is on its way by."""
        waits = self.retrieval is not None and self.retrieval.state is RetrievalState.WAITING
        return self.retrieval if waits else None

    @property
    def faster(self) -> tuple[Offer, ...]:
        """What a running retrieval can be changed to, each at its full price."""
        running = self.running
        return tuple(each for each in self.offers if running and each.tier in running.tier.faster)
