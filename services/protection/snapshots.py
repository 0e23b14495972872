"""Make a snapshot: capture everything, send it, read it back, write the manifest last.

Until the manifest lies in the store there is no snapshot; a run that fails takes back what
it sent. Pictures are the exception: they are named by their content, complete, and may
already be part of a snapshot that another machine makes, so they stay for the next run.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from db.engine import sqlite_file
from db.knowledge import VERSION_TABLE
from db.shop import SHOP_TABLES
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Broken, Misconfigured
from services.core.jobs import JobHandle
from services.core.settings import PROJECT_ROOT
from services.protection import catalog, digests, leftovers, matching
from services.protection.keys import keys_of
from services.protection.manifest import new_snapshot_id, to_json
from services.protection.model import (
    CollectionFacts,
    Manifest,
    Neighbours,
    Part,
    TableFacts,
    VectorMatch,
)
from services.protection.pictures import OBJECTS, objects_json, send_pictures
from services.protection.reading import (
    component_of,
    fetch,
    fetch_image,
    open_stored,
    picture_list,
    verify,
)
from services.protection.sending import Sender
from services.protection.sources import chroma, images, sqlite
from services.protection.stores.base import Store
from services.protection.tar import TarReader
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

_ZSTD_SQLITE = "zstd -d {name} -o {plain} && sqlite3 {plain}"
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
    shop, control = _databases(ctx)
    with workspace(ctx, handle.id) as folder:
        require_room(folder, _room(ctx, shop, control))
        making = _Making(ctx, store, handle, folder, span)
        try:
            return making.run(shop, control, actor, reason, knowledge)
        except BaseException:
            making.take_back()
            raise


def _databases(ctx: Context) -> tuple[Path, Path]:
    shop, control = ctx.settings.shop_sqlite_path, sqlite_file(ctx.settings.control_url)
    if shop is None or control is None:
        name = "DATABASE_URL" if shop is None else "CONTROL_DATABASE_URL"
        raise Misconfigured(
            f"{name} names a server database; this version backs up SQLite files only. "
            "Nothing was backed up.",
            "Until then, back that database up with its own tools (pg_dump).",
        )
    return shop, control


def _room(ctx: Context, shop: Path, control: Path) -> int:
    # The portable tables of the vectors are no larger than the folder they are read from.
    vectors = chroma.folder_bytes(ctx.settings.vector_dir)
    return sqlite.live_bytes(shop) + sqlite.live_bytes(control) + 2 * vectors


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
        shop: Path,
        control: Path,
        actor: Actor,
        reason: str,
        knowledge: Callable[[Engine], bytes],
    ) -> Manifest:
        """Everything, in order."""
        self.store.check()
        leftovers.clear(self.ctx, self.store, self.handle.say)
        leftovers.begin(self.ctx, self.sender.snapshot_id)
        database, desk = self.folder / "database.sqlite3", self.folder / "control.sqlite3"
        with self._step("Copying the shop's database", "copy database", 0.01):
            sqlite.capture(shop, database)
            _require_shop(shop, sqlite.table_names(database))
        measuring = self._start(_measure(database))
        with self._step("Copying the desk's own database", "copy control database", 0.12):
            sqlite.capture(control, desk)
        with self._step("Copying the vectors", "copy vectors", 0.14):
            exporting = self._capture_vectors()
        with self._step("Packing and sending the shop's database", "send database", 0.18):
            self._send_sqlite("database.sqlite3.zst", Part.DATABASE, database, (0.18, 0.7))
        with self._step("Sending the desk's own database", "send control database", 0.7):
            self._send_sqlite("control.sqlite3.zst", Part.CONTROL, desk, (0.7, 0.72))
        with self._step("Writing down the knowledge base", "send knowledge", 0.72):
            try:
                self._send_knowledge(database, knowledge)
            except SQLAlchemyError:
                self._measured(measuring, shop)  # a damaged database is said as such
                raise
        with self._step("Sending new pictures", "send images", 0.73):
            self._send_pictures()
        with self._step("Reading the vectors out", "read vectors", 0.82):
            self._send_tables(exporting)
        with self._step("Checking the copy of the database", "check database", 0.84):
            tables, violations = self._measured(measuring, shop)
        match = self._matched(matching.copy_engine(database))
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
            tables=tables,
            foreign_key_violations=violations,
            collections=self.collections,
            image_count=len(self.pictures),
            image_bytes=sum(picture.size for picture in self.pictures),
            revisions={
                "knowledge": sqlite.revision(database, VERSION_TABLE),
                "control": sqlite.revision(desk, "alembic_version"),
            },
            tools=self.tools,
            step_seconds={name: round(took, 3) for name, took in self.seconds.items()},
            neighbours=self.neighbours,
            match=match,
            notes=tuple(self.notes),
            extra={"table_digest": digests.DIGEST},
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

    def _send_sqlite(self, name: str, part: Part, copy: Path, between: tuple[float, float]) -> None:
        moved = self._moving(copy.stat().st_size, between)
        opened = _ZSTD_SQLITE.format(name=name, plain=name.removesuffix(".zst"))
        with open(copy, "rb", buffering=0) as file:
            self.sender.send(name, part, file, opened, compress=True, on_plain=moved)

    def _capture_vectors(self) -> tuple[subprocess.Popen[bytes], Path] | None:
        live = self.ctx.settings.vector_dir
        copy = chroma.capture(live, self.folder / "vectors")
        if copy is None:
            self.notes.append(f"Vectors: there is no Chroma folder at {live}.")
            return None
        self.notes += copy.notes
        name = "vectors.tar.zst"
        self.sender.send(
            name,
            Part.VECTORS,
            TarReader(copy.members),
            _ZSTD_TAR.format(name=name),
            compress=True,
        )
        self.vector_ids = matching.vector_ids(copy.folder)
        # The exact copy is in the store; only now may our chromadb open (and change) it.
        into = self.folder / "tables"
        return self._start(chroma.start_export(copy.folder, into)), into

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

    def _send_knowledge(self, database: Path, knowledge: Callable[[Engine], bytes]) -> None:
        if not sqlite.table_names(database) >= _KB_TABLES:
            self.notes.append("Knowledge base: the shop's database has no tables for it yet.")
            return
        engine = create_engine(
            "sqlite://", creator=lambda: digests.open_copy(database), poolclass=NullPool
        )
        document = knowledge(engine)
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

    def _measured(
        self, child: subprocess.Popen[bytes], shop: Path
    ) -> tuple[dict[str, TableFacts], int]:
        output, _nothing = child.communicate()
        if child.returncode != 0:
            raise Broken(f"The copy of {shop} could not be read; nothing was backed up.")
        verdict, tables, violations = json.loads(output)
        if verdict != "ok":
            raise Broken(
                f"The database {shop} is damaged ({str(verdict)[:120]}); nothing was backed up.",
                "Restore it from an earlier backup.",
            )
        facts = {name: TableFacts(rows, digest) for name, (rows, digest) in tables.items()}
        if violations:
            self.notes.append(
                f"Database: {violations} rows refer to a row that is not there (recorded)."
            )
        return facts, violations

    def _list(self, manifest: Manifest) -> None:
        data = to_json(manifest, keys_of(self.ctx.settings))
        self.sender.send_manifest(data)
        self._listed = True
        catalog.record(self.ctx, manifest, data, read_back_at=self.ctx.now())
        leftovers.end(self.ctx, manifest.id)


def _measure(database: Path) -> subprocess.Popen[bytes]:
    """Check and measure a copy beside the packing: a process, for the second core."""
    return subprocess.Popen(
        [sys.executable, "-m", "services.protection.digests", str(database)],
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _require_shop(path: Path, tables: frozenset[str]) -> None:
    missing = SHOP_TABLES - tables
    if missing:
        raise Misconfigured(
            f"The database at {path} is not InsightShop's: it has no table "
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
