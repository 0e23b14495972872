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
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from db.knowledge import VERSION_TABLE
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Broken, Conflict, Misconfigured
from services.core.jobs import JobHandle
from services.protection import catalog, digests, leftovers, matching
from services.protection.keys import keys_of
from services.protection.legacy import archive, checks
from services.protection.legacy.listing import REASON
from services.protection.legacy.model import Kind, LegacyBackup, LegacyObject
from services.protection.legacy.places import ReadOnly
from services.protection.manifest import new_snapshot_id, to_json
from services.protection.model import (
    CollectionFacts,
    Manifest,
    Neighbours,
    Part,
    TableFacts,
    VectorMatch,
)
from services.protection.sending import Sender
from services.protection.sources import chroma, sqlite
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
            return work.run(actor, knowledge)
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
    tables: dict[str, TableFacts] = field(default_factory=dict)
    violations: int = 0
    engines: dict[str, str] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    collections: dict[str, CollectionFacts] = field(default_factory=dict)
    neighbours: dict[str, tuple[Neighbours, ...]] = field(default_factory=dict)
    match: VectorMatch | None = None
    database: Engine | None = None
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

    def run(self, actor: Actor, knowledge: Knowledge) -> Manifest:
        """Everything, in order: nothing is sent before all of it was fetched and checked."""
        database = vectors = None
        if self.backup.database is not None:
            database = self._database(self.backup.database)
        if self.backup.vectors is not None:
            vectors = self._vectors(self.backup.vectors, alone=database is None)
        self.store.check()
        leftovers.begin(self.ctx, self.sender.snapshot_id)
        if database is not None:
            with self._step("Packing and sending the database", "send database", 0.5):
                self._send_database(database, knowledge)
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

    def _database(self, found: LegacyObject) -> Path:
        with self._step(f"Fetching {_name(found)}", "fetch database", 0.0):
            path = self._fetch(found, "database")
        with self._step("Checking the old database", "check database", 0.25):
            if found.kind is Kind.SQL:
                raise Misconfigured(
                    f"{_name(found)} is a PostgreSQL backup, and the shop runs on SQLite; "
                    "nothing was made of it.",
                    "Point DATABASE_URL at a PostgreSQL server to bring it back there.",
                )
            facts, notes = checks.database(path, _name(found))
        self.tables = {name: TableFacts(*each) for name, each in facts.tables.items()}
        self.violations = facts.foreign_key_violations
        self.notes += notes
        self.engines["database"] = "sqlite"
        self.revisions["knowledge"] = sqlite.revision(path, VERSION_TABLE)
        self.database = matching.copy_engine(path)
        return path

    def _vectors(self, found: LegacyObject, *, alone: bool) -> Path | None:
        """Unpack and prove the vectors; damaged ones beside a good database are left out."""
        with self._step(f"Fetching {_name(found)}", "fetch vectors", 0.3):
            packed = self._fetch(found, "vectors.tar.gz")
        folder = self.folder / "vectors"
        try:
            with self._step("Checking the old vectors", "check vectors", 0.4):
                archive.unpack(packed, folder, _name(found))
                self._read_out(folder, _name(found))
        except Broken as error:
            if alone:
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
        if self.database is not None and (ids := matching.vector_ids(folder)) is not None:
            products = matching.products_of(self.database)
            self.match = matching.compare(products, ids)
            self.notes += matching.explain(self.match, products)

    def _send_database(self, path: Path, knowledge: Knowledge) -> None:
        name = "database.sqlite3.zst"
        with open(path, "rb", buffering=0) as file:
            self.sender.send(
                name,
                Part.DATABASE,
                file,
                f"zstd -d {name} -o database.sqlite3 && sqlite3 database.sqlite3",
                compress=True,
            )
        if self.database is not None and self.tables.keys() >= _KB_TABLES:
            document = io.BytesIO(knowledge(self.database))
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
        return Manifest(
            id=self.sender.snapshot_id,
            instance=self.sender.instance,
            created_at=self.created_at,
            reason=REASON,
            asked_by=actor.name,
            host=self.ctx.host,
            components=tuple(self.sender.components),
            tables=self.tables,
            foreign_key_violations=self.violations,
            collections=self.collections,
            image_count=0,
            image_bytes=0,
            revisions=self.revisions,
            tools=self.tools,
            step_seconds={name: round(took, 3) for name, took in self.seconds.items()},
            engines=self.engines,
            neighbours=self.neighbours,
            match=self.match,
            notes=tuple(self.notes),
            extra={"table_digest": digests.DIGEST, "legacy": self.sources},
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
