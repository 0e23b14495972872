"""Make a snapshot: capture everything, send it, read it back, write the manifest last.

Until the manifest lies in the store there is no snapshot; a run that fails takes back what
it sent. Pictures are the exception: they are named by their content, complete, and may
already be part of a snapshot that another machine makes, so they stay for the next run.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from db.knowledge import VERSION_TABLE
from db.shop import SHOP_TABLES
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Misconfigured
from services.core.jobs import JobHandle
from services.core.settings import mask_url
from services.protection import leftovers, matching
from services.protection.captured import Captured, captured, room
from services.protection.making.draft import Draft
from services.protection.making.parts import KB_TABLES, send_knowledge
from services.protection.making.sharing import Sharing
from services.protection.making.vectors import Vectors
from services.protection.measuring import Known
from services.protection.model import Manifest, Part
from services.protection.pictures import OBJECTS, objects_json, send_pictures
from services.protection.reading import (
    component_of,
    fetch,
    fetch_image,
    open_stored,
    picture_list,
    verify,
)
from services.protection.sources import chroma, images
from services.protection.stores.base import Store
from services.protection.unchanged import extra_of, note_of
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


def create(
    ctx: Context,
    store: Store,
    handle: JobHandle,
    actor: Actor,
    *,
    reason: str,
    knowledge: Callable[[Engine], bytes],
    span: tuple[float, float] = (0.0, 1.0),
    known: Known | None = None,
) -> Manifest:
    """Capture everything there is, send it, prove it, and list it.

    Args:
        handle: of the job that this is part of; its id names the temporary folder.
        actor: who asked; permission is the caller's to check.
        reason: `manual`, `scheduled`, `safety` ...
        knowledge: writes the knowledge base of a database (here: of the captured copy, so
            that both agree) as canonical JSON.
        span: which part of the job's progress this is.
        known: what was measured of the shop's SQLite file a moment ago.

    Raises:
        Misconfigured, Broken, Transient: nothing was listed, and what was sent is removed, now
            or by the next backup.
    """
    with workspace(ctx, handle.id) as folder:
        require_room(folder, _room(ctx))
        making = _Making(ctx, store, handle, folder, span, known)
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
        known: Known | None,
    ) -> None:
        self.ctx, self.store, self.handle, self.folder = ctx, store, handle, folder
        self.known = known
        self.draft = Draft(ctx, store, handle, ctx.now(), span)
        self.draft.tools |= _tools()
        self._vectors: Vectors | None = None

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
        settings, draft = self.ctx.settings, self.draft
        sharing = Sharing(self.ctx, self.store, draft)
        leftovers.clear(self.ctx, self.store, self.handle.say)
        draft.begin()
        with draft.step("Copying the shop's database", "copy database", 0.01):
            shop = self._captured(databases, settings.shop_database_url, Part.DATABASE, sharing)
            _require_shop(settings.shop_database_url, shop.table_names)
            shop.measure()
        with draft.step("Copying the desk's own database", "copy control database", 0.12):
            # It always changes: this job is in it.
            desk = self._captured(databases, settings.control_url, Part.CONTROL)
        revisions = {
            "knowledge": shop.revision(VERSION_TABLE),
            "control": desk.revision("alembic_version"),
        }
        self._vectors = Vectors(draft, sharing, settings.vector_dir, self.folder)
        with draft.step("Copying the vectors", "copy vectors", 0.14):
            self._vectors.capture()
        with draft.step("Packing and sending the shop's database", "send database", 0.18):
            shop.send(draft.sender, Part.DATABASE, draft.moving(0.18, 0.7))
        with draft.step("Sending the desk's own database", "send control database", 0.7):
            desk.send(draft.sender, Part.CONTROL, draft.moving(0.7, 0.72))
            desk.release()
        with draft.step("Writing down the knowledge base", "send knowledge", 0.72):
            try:
                self._send_knowledge(shop, sharing, knowledge)
                self._match(shop.engine(), self._vectors.ids)
            except SQLAlchemyError as error:
                raise shop.said(error) from error
            marks = shop.marks()
            shop.release()
        with draft.step("Sending new pictures", "send images", 0.73):
            self._send_pictures()
        with draft.step("Reading the vectors out", "read vectors", 0.82):
            self._vectors.send_tables()
        shared = [each for each in draft.sender.components if each.origin]
        draft.notes += filter(None, [note_of(shared)])
        # The copy is still being checked beside: what waits for that comes last.
        with draft.step("Reading everything back", "read back", 0.84):
            draft.sender.read_back(draft.moving(0.84, 0.95))
        with draft.step("Checking the copy of the database", "check database", 0.95):
            found = shop.measured()
            self._note_dangling(found.foreign_key_violations)
        manifest = draft.manifest(
            actor,
            reason,
            found,
            engines={"database": shop.engine_name, "control": desk.engine_name},
            revisions=revisions,
            extra=extra_of(self.ctx, {"table_digest": shop.digest, **marks}),
        )
        with draft.step("Listing the snapshot", "list", 0.98):
            draft.list(manifest)
        return manifest

    def take_back(self) -> None:
        """After a failure: stop the children, remove what was sent, as far as that goes."""
        if self._vectors is not None:
            self._vectors.stop()
        self.draft.take_back()

    def _captured(
        self, databases: ExitStack, url: str, part: Part, sharing: Sharing | None = None
    ) -> Captured:
        tools = self.ctx.settings.postgres_tools
        known = self.known if part is Part.DATABASE else None
        earlier = sharing.earlier if sharing else None
        found = databases.enter_context(captured(url, part, self.folder, tools, earlier, known))
        if found.unchanged and sharing and not sharing.whole(Part.DATABASE, Part.KNOWLEDGE):
            found = databases.enter_context(captured(url, part, self.folder, tools, None, known))
        self.draft.tools |= found.tools
        return found

    def _match(self, database: Engine, vector_ids: tuple[str, ...] | None) -> None:
        """Whether vectors and products belong to each other; what does not is a note."""
        if vector_ids is None:
            return
        products = matching.products_of(database)
        self.draft.match = matching.compare(products, vector_ids)
        self.draft.notes += matching.explain(self.draft.match, products)

    def _send_knowledge(
        self, shop: Captured, sharing: Sharing, knowledge: Callable[[Engine], bytes]
    ) -> None:
        if not shop.table_names >= KB_TABLES:
            self.draft.notes.append("Knowledge base: the shop's database has no tables for it yet.")
            return
        earlier = sharing.earlier
        stored = earlier.of(Part.KNOWLEDGE) if earlier and shop.unchanged else None
        if stored is not None:
            self.draft.sender.share([stored])
        else:
            send_knowledge(self.draft.sender, knowledge(shop.engine()))

    def _send_pictures(self) -> None:
        live, draft = self.ctx.settings.images_dir, self.draft
        found = images.capture(live)
        if found is None:
            draft.notes.append(f"Images: there is no folder at {live}.")
            return
        draft.notes += found.notes
        sent = send_pictures(self.ctx, self.store, live, found, draft.moving(0.73, 0.82))
        draft.pictures = sent.pictures
        draft.notes += sent.notes
        self.handle.say(f"pictures: {len(sent.pictures):,}, {sent.new:,} of them new")
        draft.sender.send(
            "images.json",
            Part.IMAGES,
            io.BytesIO(images.to_json(sent.pictures)),
            "path -> sha256; each picture lies under images/<instance>/<sha256>",
            compress=False,
        )
        if any(each.encryption != "none" for each in sent.objects):
            draft.sender.send(
                OBJECTS,
                Part.IMAGES,
                io.BytesIO(objects_json(sent.objects)),
                "sha256 of a picture -> its key; age -d -i identity.txt opens each",
                compress=False,
                readable=True,
            )

    def _note_dangling(self, count: int) -> None:
        if count:
            self.draft.notes.append(
                f"Database: {count} rows refer to a row that is not there (recorded)."
            )


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
