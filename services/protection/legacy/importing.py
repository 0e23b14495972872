"""Make an ordinary snapshot of an old backup: fetch, check, pack, send, read back, list.

Its time, and so its id and its place in the list, is that of the old backup; what it was made
from (key, size, sha256) stands in its manifest.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from db.engine import sqlite_file, sqlite_url
from db.knowledge import VERSION_TABLE
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Broken, Conflict, Misconfigured
from services.core.jobs import JobHandle
from services.protection import matching
from services.protection.captured import Captured, Measured, captured
from services.protection.legacy import archive, checks
from services.protection.legacy.listing import REASON
from services.protection.legacy.model import Kind, LegacyBackup, LegacyObject
from services.protection.legacy.places import ReadOnly
from services.protection.legacy.sql_load import loaded
from services.protection.making.draft import Draft
from services.protection.making.parts import (
    KB_TABLES,
    send_knowledge,
    send_vector_folder,
    send_vector_tables,
)
from services.protection.model import Manifest, Part
from services.protection.sources import chroma
from services.protection.stores.base import PIECE, Store
from services.protection.workspace import require_room, workspace

Knowledge = Callable[[Engine], bytes]
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
        draft = Draft(ctx, store, handle, backup.at, span)
        work = _Import(ctx, place, store, draft, folder, backup, handle.id, handle.say)
        try:
            with ExitStack() as held:
                return work.run(actor, knowledge, held)
        except BaseException:
            draft.take_back()
            raise


@dataclass
class _Import:
    """One old backup on its way in."""

    ctx: Context
    place: ReadOnly
    store: Store
    draft: Draft
    folder: Path
    backup: LegacyBackup
    job_id: str
    say: Callable[[str], None]
    sources: list[dict[str, Any]] = field(default_factory=list)
    state: Captured | None = None  # of the old database

    def run(self, actor: Actor, knowledge: Knowledge, held: ExitStack) -> Manifest:
        """Everything, in order: nothing is sent before all of it was fetched and checked."""
        draft, vectors = self.draft, None
        if self.backup.database is not None:
            self.state = self._database(self.backup.database, held)
        if self.backup.vectors is not None:
            vectors = self._vectors(self.backup.vectors)
        self.store.check()
        draft.begin()
        if self.state is not None:
            with draft.step("Packing and sending the database", "send database", 0.5):
                self._send_database(self.state, knowledge)
        if vectors is not None:
            with draft.step("Sending the vectors", "send vectors", 0.7):
                self._send_vectors(vectors)
        with draft.step("Reading everything back", "read back", 0.85):
            draft.sender.read_back(draft.moving(0.85, 0.97))
        manifest = self._manifest(actor)
        with draft.step("Listing the snapshot", "list", 0.97):
            draft.list(manifest)
        return manifest

    def _database(self, found: LegacyObject, held: ExitStack) -> Captured:
        """The old database, proven whole, as a backup of a live one would see it."""
        name = _name(found)
        with self.draft.step(f"Fetching {name}", "fetch database", 0.0):
            path = self._fetch(found, "database")
        with self.draft.step("Checking the old database", "check database", 0.25):
            if found.kind is Kind.SQLITE:
                self.draft.notes += checks.database(path, name)
                url = sqlite_url(path)
            else:
                url = held.enter_context(
                    loaded(self.ctx, self.job_id, self._server(name), path, name)
                )
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
        with self.draft.step(f"Fetching {_name(found)}", "fetch vectors", 0.3):
            packed = self._fetch(found, "vectors.tar.gz")
        folder = self.folder / "vectors"
        try:
            with self.draft.step("Checking the old vectors", "check vectors", 0.4):
                archive.unpack(packed, folder, _name(found))
                self._read_out(folder, _name(found))
        except Broken as error:
            if self.state is None:
                raise
            self.draft.notes.append(f"Vectors: {error.message} The database is here without them.")
            self.say(error.message)
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
        self.draft.read_out(exported)
        if self.state is not None and (ids := matching.vector_ids(folder)) is not None:
            products = matching.products_of(self.state.engine())
            self.draft.match = matching.compare(products, ids)
            self.draft.notes += matching.explain(self.draft.match, products)

    def _send_database(self, state: Captured, knowledge: Knowledge) -> None:
        state.measure()
        state.send(self.draft.sender, Part.DATABASE, lambda _share: None)
        if state.table_names >= KB_TABLES:
            send_knowledge(self.draft.sender, knowledge(state.engine()))

    def _send_vectors(self, folder: Path) -> None:
        members = sorted(
            (path.relative_to(folder).as_posix(), path)
            for path in folder.rglob("*")
            if path.is_file()
        )
        send_vector_folder(self.draft.sender, members)
        send_vector_tables(self.draft.sender, sorted((self.folder / "tables").glob("*.parquet")))

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
        self.draft.notes.append(
            f"Legacy backup: {found.key} of {found.place}, {size:,} bytes, sha256 "
            f"{origin['sha256']}, made {found.at:%Y-%m-%d %H:%M:%S} UTC."
        )
        return path

    def _manifest(self, actor: Actor) -> Manifest:
        state = self.state
        self.draft.tools |= state.tools if state else {}
        return self.draft.manifest(
            actor,
            REASON,
            state.measured() if state else Measured({}, 0),
            engines={"database": state.engine_name} if state else {},
            revisions={"knowledge": state.revision(VERSION_TABLE)} if state else {},
            extra={"legacy": self.sources} | ({"table_digest": state.digest} if state else {}),
        )


def _name(found: LegacyObject) -> str:
    return found.key.rpartition("/")[2]
