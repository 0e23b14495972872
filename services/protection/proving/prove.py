"""Restore a snapshot aside, from the store alone, and compare it with its manifest.

Nothing live is opened: what is looked at was fetched for this, and is removed again. What is
found wrong with the snapshot becomes a failed step; what is wrong with this machine or the
network is an error, and proves nothing either way.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from services.core.context import Context
from services.core.errors import Broken, DeskError, Misconfigured, Transient
from services.core.jobs import JobHandle
from services.protection import matching
from services.protection.manifest import (
    MAX_MANIFEST_BYTES,
    from_json,
    manifest_key,
    signature_state,
)
from services.protection.model import Component, Manifest, Part, VectorMatch
from services.protection.proving import aside, pictures, vectors
from services.protection.proving.aside import Restored
from services.protection.proving.evidence import Evidence, Step
from services.protection.reading import component_of, fetch, picture_list
from services.protection.sealing.keys import keys_of
from services.protection.stores.base import Store
from services.protection.workspace import require_room

MANIFEST, OBJECTS, DATABASE = "Manifest", "Objects", "Database"
CONTROL, KNOWLEDGE, VECTORS = "Desk's records", "Knowledge base", "Vectors"
PICTURES, MATCH = "Pictures", "Vectors and products"
"""Names of the steps, in this order."""

_PICTURE_ROOM = 64 << 20
T = TypeVar("T")
_NOT_CHECKED = "Not looked at: it could not be fetched."


@dataclass(frozen=True)
class Borrowed:
    """What a drill needs from the knowledge room; the door brings it."""

    reimport: Callable[[Context, bytes, Path], bytes]  # document, empty folder -> exported again


class _Skipped(Exception):
    """The step can't be done, because what it looks at could not be fetched."""


def prove(
    ctx: Context,
    store: Store,
    handle: JobHandle,
    manifest: Manifest,
    folder: Path,
    borrowed: Borrowed,
    span: tuple[float, float] = (0.0, 1.0),
) -> Evidence:
    """Restore a snapshot aside and compare it with what was written down about it.

    Args:
        store: where the snapshot is read from; nothing else is.
        handle: of the job that this is part of.
        folder: private, on a disk with room for the unpacked snapshot.
        span: which part of the job's progress this is.

    Returns:
        The evidence, also where the snapshot did not pass: `Evidence.passed` says.

    Raises:
        Broken: this machine has no room for it.
        Transient, Misconfigured, Archived: the store can't be read, or it can't be opened
            here; nothing was proven.
    """
    require_room(folder, _room(manifest), "nothing was proven")
    return _Proving(ctx, store, handle, manifest, folder, borrowed, span).run()


def _room(manifest: Manifest) -> int:
    """What is fetched, and the unpacked vectors once more."""
    vectors_bytes = sum(
        part.plain_bytes for part in manifest.components if part.part is Part.VECTORS
    )
    return manifest.plain_bytes + vectors_bytes + _PICTURE_ROOM


class _Proving:
    """One drill while it runs."""

    def __init__(
        self,
        ctx: Context,
        store: Store,
        handle: JobHandle,
        manifest: Manifest,
        folder: Path,
        borrowed: Borrowed,
        span: tuple[float, float],
    ) -> None:
        self.ctx, self.store, self.handle, self.manifest = ctx, store, handle, manifest
        self.borrowed = borrowed
        self.objects = folder / "objects"
        self.unpacked = folder / "vectors"
        self.folder = folder
        self.steps: list[Step] = []
        self.fetched: dict[str, Path] = {}
        self.restored: Restored | None = None
        self.match: VectorMatch | None = None
        self._span = span

    def run(self) -> Evidence:
        """Every step, in order."""
        began = time.monotonic()
        self.objects.mkdir(mode=0o700)
        self._step(MANIFEST, "Reading the manifest", 0.0, self._manifest)
        self._step(OBJECTS, "Fetching every object", 0.01, self._objects)
        if Part.DATABASE in self.manifest.parts:
            self._step(DATABASE, "Restoring the shop's database aside", 0.4, self._database)
        if Part.CONTROL in self.manifest.parts:
            self._step(CONTROL, "Opening the desk's own records", 0.6, self._control)
        if Part.KNOWLEDGE in self.manifest.parts:
            self._step(KNOWLEDGE, "Importing the knowledge base aside", 0.65, self._knowledge)
        if Part.VECTORS in self.manifest.parts:
            self._step(VECTORS, "Searching in the vectors", 0.7, self._vectors)
        if Part.IMAGES in self.manifest.parts:
            self._step(PICTURES, "Looking at the pictures", 0.8, self._pictures)
        if {Part.VECTORS, Part.DATABASE} <= self.manifest.parts:
            self._step(MATCH, "Comparing vectors with products", 0.99, self._matching)
        return Evidence(tuple(self.steps), time.monotonic() - began, self.match)

    def _step(self, name: str, doing: str, fraction: float, work: Callable[[], str]) -> None:
        self.handle.step(doing, self._at(fraction))
        began = time.monotonic()
        passed: bool | None = True
        try:
            found = work()
        except _Skipped:
            passed, found = None, _NOT_CHECKED
        except Broken as error:
            passed, found = False, error.message
        took = time.monotonic() - began
        self.steps.append(Step(name, passed, found, took))
        self.handle.say(f"{name}: {found} ({took:.2f} s)")

    def _at(self, fraction: float) -> float:
        first, last = self._span
        return first + (last - first) * fraction

    def _have(self, name: str) -> Path:
        if name not in self.fetched:
            raise _Skipped
        return self.fetched[name]

    def _component(self, part: Part) -> Component:
        return component_of(self.manifest, part)

    def _manifest(self) -> str:
        key = manifest_key(self.manifest.instance, self.manifest.id)
        try:
            with self.store.open(key) as stream:
                data = stream.read(MAX_MANIFEST_BYTES + 1)
        except KeyError:
            return "Not in this store yet; what follows is held against the one given."
        keys = keys_of(self.ctx.settings)
        if from_json(data, keys) != self.manifest:
            raise Broken("The manifest in the store is not the one that was asked for.")
        if signature_state(data, keys) == "signed":
            return "Complete, and signed with a key that is accepted here."
        return "Complete. It is not signed: no BACKUP_SIGNING_KEY is set."

    def _objects(self) -> str:
        total = sum(part.plain_bytes for part in self.manifest.components) or 1
        before, wrong = 0, []
        for component in self.manifest.components:

            def moved(count: int, before: int = before) -> None:
                share = min(1.0, (before + count) / total)
                self.handle.progress(self._at(0.01 + 0.39 * share))

            target = self.objects / component.opened_name
            try:
                self.fetched[component.name] = fetch(
                    self.ctx, self.store, self.manifest, component.name, target, moved
                )
            except Broken as error:
                wrong.append(error.message)
            before += component.plain_bytes
        if wrong:
            raise Broken(" ".join(wrong))
        stored = sum(part.stored_bytes for part in self.manifest.components)
        return (
            f"All {len(self.manifest.components)} objects fetched and unpacked "
            f"({_megabytes(stored)} stored, {_megabytes(total)} of data); every length and "
            "sha256 as recorded."
        )

    def _database(self) -> str:
        component = self._component(Part.DATABASE)
        path = self._have(component.name)
        if self.manifest.engines.get("database", "sqlite") == "sqlite":
            self.restored = _readable(lambda: aside.sqlite_database(path))
        else:
            from services.protection.proving import aside_server

            self.restored = aside_server.shop_database(self.ctx, self.handle.id, path)
        return aside.compare(self.restored, self.manifest)

    def _control(self) -> str:
        component = self._component(Part.CONTROL)
        path = self._have(component.name)
        if self.manifest.engines.get("control", "sqlite") == "sqlite":
            revision = _readable(lambda: aside.sqlite_control(path))
        else:
            from services.protection.proving import aside_server

            revision = aside_server.control_database(self.ctx, self.handle.id, path)
        recorded = self.manifest.revisions.get("control", "")
        if revision != recorded:
            raise Broken(
                f"The desk's own database stands at revision {revision or '-'}, and "
                f"{recorded or '-'} was recorded."
            )
        return f"It opens, is whole, and stands at revision {revision or '-'}, as recorded."

    def _knowledge(self) -> str:
        document = self._have(self._component(Part.KNOWLEDGE).name).read_bytes()
        empty = self.folder / "knowledge"
        empty.mkdir(mode=0o700)
        try:
            again = self.borrowed.reimport(self.ctx, document, empty)
        except (Transient, Misconfigured):
            raise
        except (DeskError, SQLAlchemyError, sqlite3.Error) as error:
            raise Broken(f"The knowledge base can't be imported again ({error}).") from error
        finally:
            shutil.rmtree(empty, ignore_errors=True)
        if again != document:
            raise Broken("The knowledge base comes out of an import different from how it went in.")
        return (
            f"Imported into an empty database and exported again: {len(document):,} bytes, "
            "zero differences."
        )

    def _vectors(self) -> str:
        component = self._component(Part.VECTORS)
        archive = self._have(component.name)
        vectors.unpack(archive, component, self.unpacked)
        archive.unlink()
        # Their ids, before our chromadb opens (and changes) the folder.
        ids = matching.vector_ids(self.unpacked)
        if ids is not None and self.restored is not None:
            self.match = matching.compare(self.restored.products, ids)
        return vectors.look(self.unpacked, self.objects, self.manifest)

    def _pictures(self) -> str:
        self._have(self._component(Part.IMAGES).name)
        names = picture_list(self.ctx, self.store, self.manifest)
        if len(names) != self.manifest.image_count:
            raise Broken(
                f"The list names {len(names):,} pictures, and {self.manifest.image_count:,} were "
                "recorded."
            )
        looked = pictures.look(
            self.ctx,
            self.store,
            self.manifest,
            names,
            self.objects,
            lambda share: self.handle.progress(self._at(0.8 + 0.19 * share)),
        )
        return pictures.words(looked, len(names))

    def _matching(self) -> str:
        if self.restored is None or not self.unpacked.is_dir():
            raise _Skipped
        if self.match is None:
            return "The vectors hold no collection of products, so there is nothing to compare."
        recorded = self.manifest.match
        if recorded is not None and recorded != self.match:
            raise Broken(
                "Vectors and products match otherwise than when they were backed up: "
                f"{matching.headline(self.match)}; recorded was: {matching.headline(recorded)}."
            )
        told = matching.explain(self.match, self.restored.products)
        return " ".join(told) or f"{matching.headline(self.match).capitalize()}."


def _megabytes(count: int) -> str:
    return f"{max(count / 1e6, 0.1):,.1f} MB"


def _readable(look: Callable[[], T]) -> T:
    """What damage in a file makes the database say is a finding, not a bug."""
    try:
        return look()
    except (sqlite3.DatabaseError, SQLAlchemyError) as error:
        if _is_the_disk(error):
            raise
        raise Broken(f"The database can't be read ({str(error).splitlines()[0][:120]}).") from error


def _is_the_disk(error: Exception) -> bool:
    cause = getattr(error, "orig", None) or error
    code = (getattr(cause, "sqlite_errorcode", 0) or 0) & 0xFF
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM)
