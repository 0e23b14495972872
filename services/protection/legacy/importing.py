"""Make an ordinary snapshot of an old backup: fetch, check, pack, send, read back, list.

Its time, and so its id and its place in the list, is that of the old backup; what it was made
from (key, size, sha256) stands in its manifest.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from db.engine import sqlite_file, sqlite_url
from db.knowledge import VERSION_TABLE
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Broken, Conflict, Misconfigured
from services.core.jobs import JobHandle
from services.protection import leftovers, matching
from services.protection.captured import Captured, Measured, captured
from services.protection.index import catalog
from services.protection.legacy import archive, checks
from services.protection.legacy.listing import REASON
from services.protection.legacy.model import Kind, LegacyBackup, LegacyObject
from services.protection.legacy.places import ReadOnly
from services.protection.legacy.sql_load import loaded
from services.protection.manifest import new_snapshot_id, to_json
from services.protection.model import (
    CollectionFacts,
    Manifest,
    Neighbours,
    Part,
    VectorMatch,
)
from services.protection.sealing.keys import keys_of
from services.protection.sending import Sender
from services.protection.sources import chroma
from services.protection.stores.base import PIECE, Store
from services.protection.tar import TarReader
from services.protection.workspace import require_room, workspace

Knowledge = Callable[[Engine], bytes]
_KB_TABLES = frozenset({"kb_entries", "kb_change_sets"})
_TIMES = 4
"""Room for what is fetched, and for what it unpacks to, roughly; the rest is checked later."""


def bring_in(
    ctx: Context,
    place: ReadOnly,
    store: Store,
    handle: JobHandle,
    actor: Actor,
    backup: LegacyBackup,
    knowledge: Knowledge,
    span: tuple[float, float] = (0.0, 1.0),
) -> Manifest:
    """Make a snapshot of an old backup. Nothing is written where the old one lies.

    Args:
        place: where the old backup lies.
        store: where the snapshot goes.
        knowledge: writes the knowledge base of a database as canonical JSON.
        span: which part of the job's progress this is.

    Raises:
        Broken: the old backup is damaged, or no backup; nothing was listed.
        Conflict: it became a snapshot already.
        Misconfigured: it is of another kind of database than can be brought in here.
        Transient: a store does not answer.
    """
    if backup.snapshot_id:
        raise Conflict(
            f"This legacy backup is the snapshot {backup.snapshot_id} already.",
            "Restore or prove that one.",
        )
    with workspace(ctx, handle.id) as folder:
        require_room(folder, _TIMES * backup.size)
        work = _Import(ctx, place, store, handle, folder, backup, span)
        try:
            with ExitStack() as held:
                return work.run(actor, knowledge, held)
        except BaseException:
            work.take_back()
            raise


@dataclass
class _Import:
    """One old backup on its way in."""

    ctx: Context
    place: ReadOnly
    store: Store
    handle: JobHandle
    folder: Path
    backup: LegacyBackup
    span: tuple[float, float]
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    sources: list[dict[str, Any]] = field(default_factory=list)
    tools: dict[str, str] = field(default_factory=dict)
    collections: dict[str, CollectionFacts] = field(default_factory=dict)
    neighbours: dict[str, tuple[Neighbours, ...]] = field(default_factory=dict)
    match: VectorMatch | None = None
    state: Captured | None = None  # of the old database
    _listed: bool = False

    def __post_init__(self) -> None:
        self.created_at: datetime = self.backup.at
        self.sender = Sender(
            self.store,
            self.ctx.settings.instance_id,
            new_snapshot_id(self.created_at),
            self.handle.say,
            keys_of(self.ctx.settings).recipients,
        )

    def run(self, actor: Actor, knowledge: Knowledge, held: ExitStack) -> Manifest:
        """Everything, in order: nothing is sent before all of it was fetched and checked."""
        vectors = None
        if self.backup.database is not None:
            self.state = self._database(self.backup.database, held)
        if self.backup.vectors is not None:
            vectors = self._vectors(self.backup.vectors)
        self.store.check()
        leftovers.begin(self.ctx, self.sender.snapshot_id)
        if self.state is not None:
            with self._step("Packing and sending the database", "send database", 0.5):
                self._send_database(self.state, knowledge)
        if vectors is not None:
            with self._step("Sending the vectors", "send vectors", 0.7):
                self._send_vectors(vectors)
        with self._step("Reading everything back", "read back", 0.85):
            self.sender.read_back(lambda _share: None)
        manifest = self._manifest(actor)
        with self._step("Listing the snapshot", "list", 0.97):
            data = to_json(manifest, keys_of(self.ctx.settings))
            self.sender.send_manifest(data)
            self._listed = True
            catalog.record(self.ctx, manifest, data, read_back_at=self.ctx.now())
            leftovers.end(self.ctx, manifest.id)
        return manifest

    def take_back(self) -> None:
        """After a failure: remove what was sent, as far as that goes."""
        if not self._listed and self.sender.take_back():
            leftovers.end(self.ctx, self.sender.snapshot_id)

    def _database(self, found: LegacyObject, held: ExitStack) -> Captured:
        """The old database, proven whole, as a backup of a live one would see it."""
        name = _name(found)
        with self._step(f"Fetching {name}", "fetch database", 0.0):
            path = self._fetch(found, "database")
        with self._step("Checking the old database", "check database", 0.25):
            if found.kind is Kind.SQLITE:
                self.notes += checks.database(path, name)
                url = sqlite_url(path)
            else:
                url = held.enter_context(loaded(self._server(name), path, name))
            folder = self.folder / "captured"
            folder.mkdir(mode=0o700)
            tools = self.ctx.settings.postgres_tools
            return held.enter_context(captured(url, Part.DATABASE, folder, tools))

    def _server(self, name: str) -> str:
        url = self.ctx.settings.shop_database_url
        if sqlite_file(url) is not None:
            raise Misconfigured(
                f"{name} is a PostgreSQL backup, and the shop runs on SQLite; nothing was made "
                "of it.",
                "Point DATABASE_URL at a PostgreSQL server to bring it back there.",
            )
        return url

    def _vectors(self, found: LegacyObject) -> Path | None:
        """Unpack and prove the vectors; damaged ones beside a good database are left out."""
        with self._step(f"Fetching {_name(found)}", "fetch vectors", 0.3):
            packed = self._fetch(found, "vectors.tar.gz")
        folder = self.folder / "vectors"
        try:
            with self._step("Checking the old vectors", "check vectors", 0.4):
                archive.unpack(packed, folder, _name(found))
                self._read_out(folder, _name(found))
        except Broken as error:
            if self.state is None:
                raise
            self.notes.append(f"Vectors: {error.message} The database is here without them.")
            self.handle.say(error.message)
            return None
        finally:
            packed.unlink()
        return folder

    def _read_out(self, folder: Path, name: str) -> None:
        """Open a copy with our chromadb: it changes what it opens."""
        copy, into = self.folder / "opened", self.folder / "tables"
        shutil.copytree(folder, copy)
        exported = chroma.end_export(chroma.start_export(copy, into), into)
        shutil.rmtree(copy)
        if exported is None:
            raise archive.refused(name, "can't be opened as Chroma collections")
        self.tools["chromadb"] = exported.version
        self.collections, self.neighbours = exported.facts, exported.neighbours
        if self.state is not None and (ids := matching.vector_ids(folder)) is not None:
            products = matching.products_of(self.state.engine())
            self.match = matching.compare(products, ids)
            self.notes += matching.explain(self.match, products)

    def _send_database(self, state: Captured, knowledge: Knowledge) -> None:
        state.measure()
        state.send(self.sender, Part.DATABASE, lambda _share: None)
        if state.table_names >= _KB_TABLES:
            document = io.BytesIO(knowledge(state.engine()))
            self.sender.send(
                "knowledge.json", Part.KNOWLEDGE, document, "any JSON reader", compress=False
            )

    def _send_vectors(self, folder: Path) -> None:
        name = "vectors.tar.zst"
        members = sorted(
            (path.relative_to(folder).as_posix(), path)
            for path in folder.rglob("*")
            if path.is_file()
        )
        self.sender.send(
            name, Part.VECTORS, TarReader(members), f"zstd -dc {name} | tar -x", compress=True
        )
        for path in sorted((self.folder / "tables").glob("*.parquet")):
            with open(path, "rb", buffering=0) as file:
                self.sender.send(
                    path.name, Part.VECTORS, file, "any Parquet reader", compress=False
                )

    def _fetch(self, found: LegacyObject, name: str) -> Path:
        """The object as it lies there, into a file; what it was is written down."""
        path, sha256, size = self.folder / name, hashlib.sha256(), 0
        try:
            with self.place.open(found.key) as stream, open(path, "xb") as file:
                while piece := stream.read(PIECE):
                    size += len(piece)
                    if size > found.size:
                        break
                    sha256.update(piece)
                    file.write(piece)
        except KeyError as error:
            raise Conflict(
                f"{_name(found)} is no longer there; nothing was made of it.",
                "The old script deletes what is older than 30 days. Look at the list again.",
            ) from error
        if size != found.size:
            raise Conflict(
                f"{_name(found)} changed while it was fetched ({size:,} of {found.size:,} bytes); "
                "nothing was made of it.",
                "Look at the list again, and choose anew.",
            )
        origin = {
            "place": found.place,
            "key": found.key,
            "bytes": size,
            "sha256": sha256.hexdigest(),
            "at": found.at.isoformat(),
        }
        self.sources.append(origin)
        self.notes.append(
            f"Legacy backup: {found.key} of {found.place}, {size:,} bytes, sha256 "
            f"{origin['sha256']}, made {found.at:%Y-%m-%d %H:%M:%S} UTC."
        )
        return path

    def _manifest(self, actor: Actor) -> Manifest:
        state = self.state
        found = state.measured() if state else Measured({}, 0)
        return Manifest(
            id=self.sender.snapshot_id,
            instance=self.sender.instance,
            created_at=self.created_at,
            reason=REASON,
            asked_by=actor.name,
            host=self.ctx.host,
            components=tuple(self.sender.components),
            tables=found.tables,
            foreign_key_violations=found.foreign_key_violations,
            collections=self.collections,
            image_count=0,
            image_bytes=0,
            revisions={"knowledge": state.revision(VERSION_TABLE)} if state else {},
            tools=self.tools | (state.tools if state else {}),
            step_seconds={name: round(took, 3) for name, took in self.seconds.items()},
            engines={"database": state.engine_name} if state else {},
            neighbours=self.neighbours,
            match=self.match,
            notes=tuple(self.notes),
            extra={"legacy": self.sources} | ({"table_digest": state.digest} if state else {}),
        )

    @contextmanager
    def _step(self, text: str, name: str, fraction: float) -> Iterator[None]:
        first, last = self.span
        self.handle.step(text, first + (last - first) * fraction)
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began


def _name(found: LegacyObject) -> str:
    return found.key.rpartition("/")[2]
