"""What did not change since an earlier snapshot is not sent again: the new one points to it.

The shared object is read back in full first, as everything that is sent is afterwards, and
retention keeps it for as long as any manifest names it. So that one bad object can never
spoil more than some days, and nothing young depends on what lifecycle rules have archived,
everything is sent anew after `SHARED_DAYS`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.core.context import Context
from services.core.errors import DeskError, Invalid
from services.protection.index import catalog
from services.protection.model import Component, Manifest, Part, Storage
from services.protection.reading import component_of
from services.protection.sealing.keys import keys_of
from services.protection.sources.sqlite import KnownCopy
from services.protection.stores.base import Readable, Store

log = logging.getLogger("desk.snapshots")

SHARED_DAYS = 7
"""How old an object may be that a new snapshot points to."""
COUNTER, SERVER, RECIPIENTS = "change_counter", "server_state", "recipients"
"""Names in `Manifest.extra`."""
_PIECE = 1 << 20


@dataclass(frozen=True)
class Earlier:
    """The newest snapshot, where its objects may be shared."""

    manifest: Manifest
    components: tuple[Component, ...]  # those young enough, with the snapshot they lie below

    def of(self, wanted: Part | str) -> Component | None:
        """A component by its part or its name."""
        try:
            found = component_of(self.manifest, wanted)
        except Invalid:
            return None
        return next((each for each in self.components if each.name == found.name), None)

    def all_of(self, part: Part) -> tuple[Component, ...]:
        """Every component of a part; none unless all may be shared."""
        names = {each.name for each in self.manifest.components if each.part is part}
        found = tuple(each for each in self.components if each.name in names)
        return found if len(found) == len(names) else ()

    def known_database(self) -> KnownCopy | None:
        """What the shop's SQLite file was, byte for byte."""
        component = self.of(Part.DATABASE)
        counter = self.manifest.extra.get(COUNTER)
        if component is None or not isinstance(counter, int):
            return None
        return KnownCopy(counter, component.plain_bytes, component.plain_sha256)

    def known_server(self) -> dict[str, str] | None:
        """What the shop's PostgreSQL database was marked with."""
        mark = self.manifest.extra.get(SERVER)
        return dict(mark) if self.of(Part.DATABASE) and isinstance(mark, dict) else None


def earlier(ctx: Context, store: Store) -> Earlier | None:
    """The snapshot that a new one may share objects with; None where nothing may be shared.

    It is never a reason to make no backup: whatever is in doubt is sent anew.
    """
    try:
        row = catalog.find(ctx, catalog.LATEST)
        fit = row.read_back_at and not row.verify_error and row.storage is Storage.STANDARD
        manifest = catalog.load_manifest(ctx, store, row.id) if fit else None
    except DeskError as error:
        log.info("nothing is shared with an earlier snapshot: %s", error)
        return None
    if manifest is None or manifest.extra.get(RECIPIENTS) != keys_of(ctx.settings).mark:
        return None
    oldest = ctx.now() - timedelta(days=_patience(ctx))
    named = (_with_origin(each, manifest.id) for each in manifest.components)
    young = tuple(each for each in named if oldest < _time_of(each.origin) <= ctx.now())
    return Earlier(manifest, young) if young else None


def is_stored(source: Readable, component: Component) -> bool:
    """Whether a source gives exactly what a component was packed from."""
    sha256, count = hashlib.sha256(), 0
    while count <= component.plain_bytes and (piece := source.read(_PIECE)):
        sha256.update(piece)
        count += len(piece)
    return (count, sha256.hexdigest()) == (component.plain_bytes, component.plain_sha256)


def note_of(shared: Iterable[Component]) -> str:
    """What the snapshot says about it, for a person; empty when nothing is shared."""
    names = sorted(each.name for each in shared)
    if not names:
        return ""
    return f"Unchanged since the backup before, and not sent again: {', '.join(names)}."


def extra_of(ctx: Context, facts: dict[str, Any]) -> dict[str, Any]:
    """What a manifest keeps so that the next snapshot can share its objects."""
    return facts | {RECIPIENTS: keys_of(ctx.settings).mark}


def _patience(ctx: Context) -> float:
    archived_after = ctx.settings.archive_after_days
    return min(SHARED_DAYS, archived_after / 2) if archived_after else SHARED_DAYS


def _with_origin(component: Component, snapshot_id: str) -> Component:
    return replace(component, origin=component.origin or snapshot_id)


def _time_of(snapshot_id: str) -> datetime:
    return datetime.strptime(snapshot_id.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
