"""Make a snapshot: capture everything, send it, read it back, write the manifest last.

Until the manifest lies in the store there is no snapshot; a run that fails takes back what
it sent. Pictures are the exception: they are named by their content, complete, and may
already be part of a snapshot that another machine makes, so they stay for the next run.
"""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from db.knowledge import VERSION_TABLE
from db.shop import SHOP_TABLES
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Broken, Misconfigured
from services.core.jobs import JobHandle
from services.core.settings import mask_url
from services.protection import leftovers, matching
from services.protection.captured import Captured, captured, room
from services.protection.index import catalog
from services.protection.manifest import new_snapshot_id, to_json
from services.protection.model import (
    CollectionFacts,
    Manifest,
    Neighbours,
    Part,
    VectorMatch,
)
from services.protection.pictures import OBJECTS, objects_json, send_pictures
from services.protection.reading import (
    component_of,
    fetch,
    fetch_image,
    open_stored,
    picture_list,
    read_back,
    verify,
)
from services.protection.sealing.keys import keys_of
from services.protection.sending import Sender
from services.protection.sources import chroma, images
from services.protection.stores.base import Store
from services.protection.tar import TarReader
from services.protection.unchanged import Earlier, earlier, extra_of, is_stored, note_of
from services.protection.workspace import require_room, workspace

__all__ = [
    "component_of",
    "create",
    "fetch",
    "fetch_image",
    "open_stored",
    "picture_list",
    "verify",
]

_KB_TABLES = frozenset({"kb_entries", "kb_change_sets"})

_ZSTD_TAR = "zstd -dc {name} | tar -x"


def create(
    ctx: Context,
    store: Store,
    handle: JobHandle,
    actor: Actor,
    *,
    reason: str,
    knowledge: Callable[[Engine], bytes],
    span: tuple[float, float] = (0.0, 1.0),
) -> Manifest:
    """Capture everything there is, send it, prove it, and list it.

    Args:
        handle: of the job that this is part of; its id names the temporary folder.
        actor: who asked; permission is the caller's to check.
        reason: `manual`, `scheduled`, `safety` ...
        knowledge: writes the knowledge base of a database (here: of the captured copy, so
            that both agree) as canonical JSON.
        span: which part of the job's progress this is.

    Raises:
        Misconfigured, Broken, Transient: nothing was listed, and what was sent is removed, now
            or by the next backup.
    """
    with workspace(ctx, handle.id) as folder:
        require_room(folder, _room(ctx))
        making = _Making(ctx, store, handle, folder, span)
        try:
            with ExitStack() as databases:
                return making.run(databases, actor, reason, knowledge)
        except BaseException:
            making.take_back()
            raise


def _room(ctx: Context) -> int:
    # The portable tables of the vectors are no larger than the folder they are read from.
    vectors = chroma.folder_bytes(ctx.settings.vector_dir)
    return room(ctx.settings.shop_database_url) + room(ctx.settings.control_url) + 2 * vectors


class _Making:
    """One snapshot while it is made."""

    def __init__(
        self,
        ctx: Context,
        store: Store,
        handle: JobHandle,
        folder: Path,
        span: tuple[float, float],
    ) -> None:
        self.ctx, self.store, self.handle, self.folder = ctx, store, handle, folder
        self.created_at: datetime = ctx.now()
        self.sender = Sender(
            store,
            ctx.settings.instance_id,
            new_snapshot_id(self.created_at),
            handle.say,
            keys_of(ctx.settings).recipients,
        )
        self.earlier: Earlier | None = None
        self.notes: list[str] = []
        self.seconds: dict[str, float] = {}
        self.collections: dict[str, CollectionFacts] = {}
        self.neighbours: dict[str, tuple[Neighbours, ...]] = {}
        self.vector_ids: tuple[str, ...] | None = None  # of the shop's products
        self.tools: dict[str, str] = _tools()
        self.pictures: tuple[images.Picture, ...] = ()
        self._span = span
        self._children: list[subprocess.Popen[bytes]] = []
        self._listed = False

    def run(
        self,
        databases: ExitStack,
        actor: Actor,
        reason: str,
        knowledge: Callable[[Engine], bytes],
    ) -> Manifest:
        """Everything, in order.

        Args:
            databases: closes what is captured, whatever happens.
        """
        self.store.check()
        self.earlier = earlier(self.ctx, self.store)
        leftovers.clear(self.ctx, self.store, self.handle.say)
        leftovers.begin(self.ctx, self.sender.snapshot_id)
        settings = self.ctx.settings
        with self._step("Copying the shop's database", "copy database", 0.01):
            shop = self._captured(databases, settings.shop_database_url, Part.DATABASE)
            _require_shop(settings.shop_database_url, shop.table_names)
            shop.measure()
        with self._step("Copying the desk's own database", "copy control database", 0.12):
            desk = self._captured(databases, settings.control_url, Part.CONTROL)
        revisions = {
            "knowledge": shop.revision(VERSION_TABLE),
            "control": desk.revision("alembic_version"),
        }
        with self._step("Copying the vectors", "copy vectors", 0.14):
            exporting = self._capture_vectors()
        with self._step("Packing and sending the shop's database", "send database", 0.18):
            shop.send(self.sender, Part.DATABASE, self._moving(1, (0.18, 0.7)))
        with self._step("Sending the desk's own database", "send control database", 0.7):
            desk.send(self.sender, Part.CONTROL, self._moving(1, (0.7, 0.72)))
            desk.release()
        with self._step("Writing down the knowledge base", "send knowledge", 0.72):
            try:
                self._send_knowledge(shop, knowledge)
                match = self._matched(shop.engine())
            except SQLAlchemyError as error:
                raise shop.said(error) from error
            marks = shop.marks()
            shop.release()
        with self._step("Sending new pictures", "send images", 0.73):
            self._send_pictures()
        with self._step("Reading the vectors out", "read vectors", 0.82):
            self._send_tables(exporting)
        with self._step("Checking the copy of the database", "check database", 0.84):
            found = shop.measured()
            self._note_dangling(found.foreign_key_violations)
        shared = [each for each in self.sender.components if each.origin]
        self.notes += filter(None, [note_of(shared)])
        with self._step("Reading everything back", "read back", 0.88):
            self.sender.read_back(self._moving(1, (0.88, 0.98)))
        manifest = Manifest(
            id=self.sender.snapshot_id,
            instance=self.sender.instance,
            created_at=self.created_at,
            reason=reason,
            asked_by=actor.name,
            host=self.ctx.host,
            components=tuple(self.sender.components),
            tables=found.tables,
            foreign_key_violations=found.foreign_key_violations,
            collections=self.collections,
            image_count=len(self.pictures),
            image_bytes=sum(picture.size for picture in self.pictures),
            revisions=revisions,
            tools=self.tools,
            step_seconds={name: round(took, 3) for name, took in self.seconds.items()},
            engines={"database": shop.engine_name, "control": desk.engine_name},
            neighbours=self.neighbours,
            match=match,
            notes=tuple(self.notes),
            extra=extra_of(self.ctx, {"table_digest": shop.digest, **marks}),
        )
        with self._step("Listing the snapshot", "list", 0.98):
            self._list(manifest)
        return manifest

    def take_back(self) -> None:
        """After a failure: stop the children, remove what was sent, as far as that goes."""
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()
        if not self._listed and self.sender.take_back():
            leftovers.end(self.ctx, self.sender.snapshot_id)

    @contextmanager
    def _step(self, text: str, name: str, fraction: float) -> Iterator[None]:
        self.handle.step(text, self._at(fraction))
        began = time.monotonic()
        yield
        self.seconds[name] = took = time.monotonic() - began
        self.handle.say(f"{name}: {took:.2f} s")

    def _at(self, fraction: float) -> float:
        first, last = self._span
        return first + (last - first) * fraction

    def _moving(self, total: float, between: tuple[float, float]) -> Callable[[float], None]:
        first, last = between

        def moved(done: float) -> None:
            share = min(done / total, 1.0) if total else 1.0
            self.handle.progress(self._at(first + (last - first) * share))

        return moved

    def _start(self, child: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        self._children.append(child)
        return child

    def _captured(self, databases: ExitStack, url: str, part: Part) -> Captured:
        tools = self.ctx.settings.postgres_tools
        # The desk's own database always changes: this job is in it.
        known = self.earlier if part is Part.DATABASE else None
        found = databases.enter_context(captured(url, part, self.folder, tools, known))
        if found.unchanged and not self._whole(Part.DATABASE, Part.KNOWLEDGE):
            found = databases.enter_context(captured(url, part, self.folder, tools))
        self.tools |= found.tools
        return found

    def _capture_vectors(self) -> tuple[subprocess.Popen[bytes], Path] | None:
        live = self.ctx.settings.vector_dir
        copy = chroma.capture(live, self.folder / "vectors")
        if copy is None:
            self.notes.append(f"Vectors: there is no Chroma folder at {live}.")
            return None
        self.notes += copy.notes
        self.vector_ids = matching.vector_ids(copy.folder)
        if self._share_vectors(copy):
            return None
        name = "vectors.tar.zst"
        self.sender.send(
            name,
            Part.VECTORS,
            TarReader(copy.members),
            _ZSTD_TAR.format(name=name),
            compress=True,
        )
        # The exact copy is in the store; only now may our chromadb open (and change) it.
        into = self.folder / "tables"
        return self._start(chroma.start_export(copy.folder, into)), into

    def _share_vectors(self, copy: chroma.VectorCopy) -> bool:
        """Point to the vectors of the earlier snapshot, where these are the same."""
        stored = self.earlier.of(Part.VECTORS) if self.earlier else None
        if stored is None or not is_stored(TarReader(copy.members), stored):
            return False
        if not self._whole(Part.VECTORS) or self.earlier is None:
            return False
        self.sender.share(self.earlier.all_of(Part.VECTORS))
        found = self.earlier.manifest
        self.collections, self.neighbours = found.collections, found.neighbours
        self.tools |= {key: found.tools[key] for key in ("chromadb",) if key in found.tools}
        return True

    def _whole(self, *parts: Part) -> bool:
        """Read what is to be shared; where it is not as it was sent, nothing is shared."""
        if self.earlier is None:
            return False
        try:
            for component in (each for part in parts for each in self.earlier.all_of(part)):
                read_back(self.store, component)
        except Broken as error:
            catalog.record_verification(self.ctx, self.earlier.manifest.id, error.message)
            self.notes.append(f"The backup before this one is damaged: {error.message}")
            self.earlier = None
        return self.earlier is not None

    def _send_tables(self, exporting: tuple[subprocess.Popen[bytes], Path] | None) -> None:
        if exporting is None:
            return
        exported = chroma.end_export(*exporting)
        if exported is None:
            self.notes.append(
                "Vectors: the portable table could not be made; the exact folder is complete."
            )
            return
        self.tools["chromadb"] = exported.version
        self.collections = exported.facts
        self.neighbours = exported.neighbours
        for path in exported.files.values():
            with open(path, "rb", buffering=0) as file:
                self.sender.send(
                    path.name, Part.VECTORS, file, "any Parquet reader", compress=False
                )

    def _matched(self, database: Engine) -> VectorMatch | None:
        """Whether vectors and products belong to each other; what does not is a note."""
        if self.vector_ids is None:
            return None
        products = matching.products_of(database)
        found = matching.compare(products, self.vector_ids)
        self.notes += matching.explain(found, products)
        return found

    def _send_knowledge(self, shop: Captured, knowledge: Callable[[Engine], bytes]) -> None:
        if not shop.table_names >= _KB_TABLES:
            self.notes.append("Knowledge base: the shop's database has no tables for it yet.")
            return
        stored = self.earlier.of(Part.KNOWLEDGE) if self.earlier and shop.unchanged else None
        if stored is not None:
            self.sender.share([stored])
            return
        document = knowledge(shop.engine())
        self.sender.send(
            "knowledge.json",
            Part.KNOWLEDGE,
            io.BytesIO(document),
            "any JSON reader",
            compress=False,
        )

    def _send_pictures(self) -> None:
        live = self.ctx.settings.images_dir
        found = images.capture(live)
        if found is None:
            self.notes.append(f"Images: there is no folder at {live}.")
            return
        self.notes += found.notes
        sent = send_pictures(self.ctx, self.store, live, found, self._moving(1, (0.73, 0.82)))
        self.pictures = sent.pictures
        self.notes += sent.notes
        self.handle.say(f"pictures: {len(sent.pictures):,}, {sent.new:,} of them new")
        self.sender.send(
            "images.json",
            Part.IMAGES,
            io.BytesIO(images.to_json(self.pictures)),
            "path -> sha256; each picture lies under images/<instance>/<sha256>",
            compress=False,
        )
        if any(each.encryption != "none" for each in sent.objects):
            self.sender.send(
                OBJECTS,
                Part.IMAGES,
                io.BytesIO(objects_json(sent.objects)),
                "sha256 of a picture -> its key; age -d -i identity.txt opens each",
                compress=False,
                readable=True,
            )

    def _note_dangling(self, count: int) -> None:
        if count:
            self.notes.append(
                f"Database: {count} rows refer to a row that is not there (recorded)."
            )

    def _list(self, manifest: Manifest) -> None:
        data = to_json(manifest, keys_of(self.ctx.settings))
        self.sender.send_manifest(data)
        self._listed = True
        catalog.record(self.ctx, manifest, data, read_back_at=self.ctx.now())
        leftovers.end(self.ctx, manifest.id)


def _require_shop(url: str, tables: frozenset[str]) -> None:
    missing = SHOP_TABLES - tables
    if missing:
        where = make_url(url).database if url.startswith("sqlite") else mask_url(url)
        raise Misconfigured(
            f"The database at {where} is not InsightShop's: it has no table "
            f"{', '.join(sorted(missing))}. Nothing was backed up.",
            "Point DATABASE_URL or DB_PATH at the shop's own database.",
        )


def _tools() -> dict[str, Any]:
    import platform
    import sqlite3
    from importlib.metadata import version

    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "zstandard": version("zstandard"),
    }
