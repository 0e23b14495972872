"""A snapshot while it is made: what is known of it so far, and the one way to its manifest.

Until the manifest lies in the store there is no snapshot; a run that fails takes back what
it sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from services.core.access import Actor
from services.core.context import Context
from services.core.jobs import JobHandle
from services.protection import leftovers
from services.protection.captured import Measured
from services.protection.index import catalog
from services.protection.manifest import new_snapshot_id, to_json
from services.protection.model import CollectionFacts, Manifest, Neighbours, VectorMatch
from services.protection.sealing.keys import keys_of
from services.protection.sending import Sender
from services.protection.sources.chroma import PortableTables
from services.protection.sources.images import Picture
from services.protection.stores.base import Store


class Draft:
    """What is found out on the way to a manifest.

    Args:
        handle: of the job that this is part of.
        created_at: the moment of what it holds; its id begins with it.
        span: which part of the job's progress this is.
    """

    def __init__(
        self,
        ctx: Context,
        store: Store,
        handle: JobHandle,
        created_at: datetime,
        span: tuple[float, float],
    ) -> None:
        self.created_at = created_at
        self.sender = Sender(
            store,
            ctx.settings.instance_id,
            new_snapshot_id(created_at),
            handle.say,
            keys_of(ctx.settings).recipients,
        )
        self.notes: list[str] = []
        self.tools: dict[str, str] = {}
        self.collections: dict[str, CollectionFacts] = {}
        self.neighbours: dict[str, tuple[Neighbours, ...]] = {}
        self.match: VectorMatch | None = None
        self.pictures: Sequence[Picture] = ()
        self._ctx, self._handle, self._span = ctx, handle, span
        self._seconds: dict[str, float] = {}
        self._listed = False

    def begin(self) -> None:
        """From now on objects are sent; should this be killed, the next backup removes them."""
        leftovers.begin(self._ctx, self.sender.snapshot_id)

    @contextmanager
    def step(self, text: str, name: str, fraction: float) -> Iterator[None]:
        """One step of the work, whose time is kept.

        Args:
            text: for who watches.
            name: for the manifest.
            fraction: how far the whole is when it begins.
        """
        self._handle.step(text, self._at(fraction))
        began = time.monotonic()
        yield
        self._seconds[name] = took = time.monotonic() - began
        self._handle.say(f"{name}: {took:.2f} s")

    def moving(self, first: float, last: float) -> Callable[[float], None]:
        """Called with the share of a step that is done, moves the whole from first to last."""

        def moved(share: float) -> None:
            self._handle.progress(self._at(first + (last - first) * min(share, 1.0)))

        return moved

    def read_out(self, tables: PortableTables) -> None:
        """Keep what the vectors said of themselves."""
        self.tools["chromadb"] = tables.version
        self.collections, self.neighbours = tables.facts, tables.neighbours

    def manifest(
        self,
        actor: Actor,
        reason: str,
        found: Measured,
        *,
        engines: dict[str, str],
        revisions: dict[str, str],
        extra: dict[str, Any],
    ) -> Manifest:
        """Everything about the snapshot, now that all of it is in the store.

        Args:
            found: what the shop's database holds.
        """
        return Manifest(
            id=self.sender.snapshot_id,
            instance=self.sender.instance,
            created_at=self.created_at,
            reason=reason,
            asked_by=actor.name,
            host=self._ctx.host,
            components=tuple(self.sender.components),
            tables=found.tables,
            foreign_key_violations=found.foreign_key_violations,
            collections=self.collections,
            image_count=len(self.pictures),
            image_bytes=sum(picture.size for picture in self.pictures),
            revisions=revisions,
            tools=self.tools,
            step_seconds={name: round(took, 3) for name, took in self._seconds.items()},
            engines=engines,
            neighbours=self.neighbours,
            match=self.match,
            notes=tuple(self.notes),
            extra=extra,
        )

    def list(self, manifest: Manifest) -> None:
        """Store the manifest, which makes the snapshot exist, and write it into the index."""
        data = to_json(manifest, keys_of(self._ctx.settings))
        self.sender.send_manifest(data)
        self._listed = True
        catalog.record(self._ctx, manifest, data, read_back_at=self._ctx.now())
        leftovers.end(self._ctx, manifest.id)

    def take_back(self) -> None:
        """After a failure: remove what was sent, as far as that goes."""
        if not self._listed and self.sender.take_back():
            leftovers.end(self._ctx, self.sender.snapshot_id)

    def _at(self, fraction: float) -> float:
        first, last = self._span
        return first + (last - first) * fraction
