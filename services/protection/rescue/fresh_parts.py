"""The parts of a recovery: where each goes, how it is fetched, checked and put in its place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from db.control import accounts
from db.engine import read, sqlite_file
from services.core.access import Actor
from services.core.context import Context, prepare_folder
from services.core.errors import Broken, Conflict, Misconfigured, Refused
from services.protection import snapshots
from services.protection.codec import unpack
from services.protection.model import Manifest, Part
from services.protection.proving import vectors as vector_proof
from services.protection.rescue import folders, staging
from services.protection.rescue.boundary import reached
from services.protection.rescue.fresh_plane import Plane
from services.protection.rescue.fresh_server import ServerPlane
from services.protection.rescue.fresh_sqlite import ControlFile, ShopFile
from services.protection.rescue.journal import FolderMove
from services.protection.rescue.space import megabytes
from services.protection.sealing.keys import keys_of
from services.protection.stores.base import Store

DATABASE, CONTROL = "the shop's database", "the desk's own database"
VECTORS, IMAGES, KNOWLEDGE = "the vectors", "the pictures", "the knowledge base"
LEFT_OUT = {CONTROL: Part.CONTROL, VECTORS: Part.VECTORS, IMAGES: Part.IMAGES}
"""What the shop can do without for a night."""
_MARGIN = 16 << 20
_ENGINES = {"sqlite": "an SQLite file", "postgresql": "a PostgreSQL database"}


@dataclass(frozen=True)
class Borrowed:
    """What a recovery needs from the shop's and the knowledge rooms; the door brings it."""

    canonical_json: Callable[[Engine], bytes]
    attach: Callable[[Context], object]
    restore_document: Callable[[Context, Actor, dict[str, Any], str], object]


class Parts:
    """Everything that one snapshot brings to one machine."""

    def __init__(self, ctx: Context, store: Store, manifest: Manifest, borrowed: Borrowed) -> None:
        self.ctx, self.store, self.manifest = ctx, store, manifest
        self.notes: list[str] = []
        self._borrowed = borrowed
        self._document: dict[str, Any] | None = None
        self.work = ctx.settings.temp_dir / f"recovery-{manifest.id}"
        self.planes: dict[str, Plane] = {}
        for what, part, url in (
            (DATABASE, Part.DATABASE, ctx.settings.shop_database_url),
            (CONTROL, Part.CONTROL, ctx.settings.control_url),
        ):
            if part in manifest.parts:
                self.planes[what] = self._plane(what, part, url)
        sources = {VECTORS: (Part.VECTORS, ctx.settings.vector_dir)}
        sources |= {IMAGES: (Part.IMAGES, ctx.settings.images_dir)}
        self.moves = {
            what: folders.plan_move(part, folder, manifest.id)
            for what, (part, folder) in sources.items()
            if part in manifest.parts
        }

    def places(self) -> list[tuple[str, str]]:
        """What goes where."""
        found = [(what, plane.where) for what, plane in self.planes.items()]
        return found + [(what, move.live) for what, move in self.moves.items()]

    def require_free(self) -> dict[str, str]:
        """See that nothing stands where the data belongs; gives what will be set aside.

        Raises:
            Conflict: names what is there.
        """
        asides = {what: plane.require_free() for what, plane in self.planes.items()}
        for what, move in self.moves.items():
            _require_empty(what, move)
        return {what: note for what, note in asides.items() if note}

    def require_key(self) -> None:
        """See that the snapshot can be opened here, by opening its smallest part.

        Raises:
            Misconfigured: it is encrypted, and no identity is configured, or another one.
            Broken: that part is not what was backed up.
        """
        if not self.manifest.components:
            return
        if self.manifest.encrypted and keys_of(self.ctx.settings).identity_file is None:
            raise Misconfigured(
                f"The snapshot {self.manifest.id} is encrypted, and no identity is configured "
                "here. Nothing was changed.",
                "Write the age identity (AGE-SECRET-KEY-1..., on the recovery sheet) into a file "
                "that only you can read, and name it in BACKUP_AGE_IDENTITY_FILE.",
            )
        smallest = min(
            self.manifest.components, key=lambda part: (part.encryption == "none", part.plain_bytes)
        )
        with snapshots.open_stored(self.store, smallest) as stream:
            unpack(smallest, stream, None, identity_file=keys_of(self.ctx.settings).identity_file)

    def require_room(self) -> None:
        """Stop before anything begins that could not end.

        Raises:
            Refused: a disk has too little room; says how much is needed and how much is free.
        """
        wants = [want for plane in self.planes.values() for want in plane.wants()]
        plain = dict.fromkeys(Part, 0)
        for component in self.manifest.components:
            plain[component.part] += component.plain_bytes
        wants.append((self.work, 2 * plain[Part.VECTORS]))
        if VECTORS in self.moves:
            wants.append((Path(self.moves[VECTORS].live), plain[Part.VECTORS]))
        if IMAGES in self.moves:
            wants.append((Path(self.moves[IMAGES].live), self.manifest.image_bytes))
        by_disk: dict[int, tuple[Path, int]] = {}
        for folder, size in wants:
            there = _existing(folder)
            first, so_far = by_disk.get(there.stat().st_dev, (there, 0))
            by_disk[there.stat().st_dev] = (first, so_far + size)
        for folder, size in by_disk.values():
            free = shutil.disk_usage(folder).free
            if free < size + _MARGIN:
                raise Refused(
                    f"The recovery needs {megabytes(size + _MARGIN)} on the disk of {folder}, "
                    f"and {megabytes(free)} are free. Nothing was changed.",
                    "Free some space there, or set SHOP_ROOT and BACKUP_TEMP_DIR to folders on a "
                    "larger disk.",
                )

    def steps(self) -> Iterator[tuple[str, str, Callable[[], str]]]:
        """Name, words and work of everything that is fetched and checked, in order."""
        prepare_folder(self.work)
        for what, plane in self.planes.items():
            yield what, f"Fetching and checking {what}", plane.stage
        if Part.KNOWLEDGE in self.manifest.parts:
            yield KNOWLEDGE, f"Fetching and checking {KNOWLEDGE}", self._stage_knowledge
        if VECTORS in self.moves:
            yield VECTORS, f"Fetching and checking {VECTORS}", self._stage_vectors
        if IMAGES in self.moves:
            yield IMAGES, f"Fetching and checking {IMAGES}", self._stage_images

    def place(self) -> None:
        """Put everything in its place; whatever is there already stays. Folders come first:
        a shop that finds its database believes that it has everything."""
        for move in self.moves.values():
            if Path(move.side).is_dir():
                _exchange(move)
        for what in (CONTROL, DATABASE):
            if what in self.planes:
                self.planes[what].place()

    def clear(self) -> None:
        """Remove everything that was staged; nothing stands in its place yet."""
        for plane in self.planes.values():
            plane.clear()
        for move in self.moves.values():
            shutil.rmtree(move.side, ignore_errors=True)
        self.tidy()

    def tidy(self) -> None:
        """Remove scratch files."""
        shutil.rmtree(self.work, ignore_errors=True)

    def bring_knowledge(self, ctx: Context, actor: Actor) -> str:
        """See that the knowledge base in its place is the one of the snapshot; import it where
        the snapshot's database had no tables for it.

        Raises:
            Broken: it is another one.
        """
        if Part.KNOWLEDGE not in self.manifest.parts:
            return "This snapshot holds no knowledge base."
        wanted = self._document
        if wanted is None:  # a recovery that was killed goes on after it was checked
            wanted = staging.knowledge_document(self.ctx, self.store, self.manifest)
        imported = not self._in_tables()
        if imported:
            self._borrowed.attach(ctx)
            if self._document_of(ctx.shop) != wanted:
                why = f"Recovered from the backup {self.manifest.id}"
                self._borrowed.restore_document(ctx, actor, wanted, why)
        if self._document_of(ctx.shop) != wanted:
            raise Broken(
                "The knowledge base that stands in the database is not the one of the snapshot.",
                "Restore it alone: restore.py ID --only knowledge.",
            )
        return "Zero differences." + (" It was imported from knowledge.json." if imported else "")

    def check_live(self) -> str:
        """Open what stands in its place now, as the shop and the desk will.

        Raises:
            Broken: something is not where it belongs.
        """
        found = [plane.check() for plane in self.planes.values()]
        for what, move in self.moves.items():
            files = sum(1 for path in Path(move.live).rglob("*") if path.is_file())
            found.append(f"{files:,} files of {what}")
        return f"Everything is in its place: {', '.join(found)}."

    def administrators(self, ctx: Context) -> tuple[str, ...]:
        """Who can sign in now and manage accounts."""
        with read(ctx.control) as connection:
            query = select(accounts.c.username).where(
                accounts.c.enabled, accounts.c.role == "admin"
            )
            return tuple(connection.scalars(query.order_by(accounts.c.username)))

    def _plane(self, what: str, part: Part, url: str) -> Plane:
        component = snapshots.component_of(self.manifest, part)
        theirs = "sqlite" if ".sqlite3" in component.name else "postgresql"
        ours = "sqlite" if url.startswith("sqlite") else "postgresql"
        name = "DATABASE_URL" if part is Part.DATABASE else "CONTROL_DATABASE_URL"
        if theirs != ours:
            raise Misconfigured(
                f"{what[:1].upper()}{what[1:]} in the snapshot {self.manifest.id} is "
                f"{_ENGINES[theirs]}, and {name} names {_ENGINES[ours]}. Nothing was changed.",
                f"Let {name} name {_ENGINES[theirs]} that is new and empty"
                + (", or leave it out." if theirs == "sqlite" else "."),
            )
        file = sqlite_file(url)
        if file is None:
            return ServerPlane(self.ctx, self.store, self.manifest, component, what, url)
        kind = ShopFile if part is Part.DATABASE else ControlFile
        return kind(self.ctx, self.store, self.manifest, component, what, file)

    def _stage_vectors(self) -> str:
        move = self.moves[VECTORS]
        new = Path(move.side) / "new"
        if not new.is_dir():
            shutil.rmtree(move.side, ignore_errors=True)
            staging.stage_vectors(self.ctx, self.store, self.manifest, move, self.work)
        # What chromadb opens it changes: it gets a copy, and the portable tables to compare.
        copy, tables = self.work / "vectors", self.work / "tables"
        for scratch in (copy, tables):
            shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(new, copy)
        tables.mkdir()
        for component in self.manifest.components:
            if component.part is Part.VECTORS and component.is_table:
                snapshots.fetch(
                    self.ctx,
                    self.store,
                    self.manifest,
                    component.name,
                    tables / component.opened_name,
                )
        try:
            return vector_proof.look(copy, tables, self.manifest)
        finally:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.rmtree(tables, ignore_errors=True)

    def _stage_images(self) -> str:
        move = self.moves[IMAGES]
        names = snapshots.picture_list(self.ctx, self.store, self.manifest)
        new = Path(move.side) / "new"
        if not new.is_dir():
            shutil.rmtree(move.side, ignore_errors=True)
            staging.stage_images(
                self.ctx, self.store, self.manifest, move, names, lambda _share: None
            )
        wrong = [name for name, digest in names.items() if staging.sha256_of(new / name) != digest]
        if wrong or len(names) != self.manifest.image_count:
            shutil.rmtree(move.side, ignore_errors=True)
            raise Broken(f"{len(wrong):,} pictures are not what the snapshot says.")
        return f"{len(names):,} pictures, every one equal to its sha256."

    def _stage_knowledge(self) -> str:
        self._document = staging.knowledge_document(self.ctx, self.store, self.manifest)
        if DATABASE not in self.planes or not self._in_tables():
            return "Whole; it is imported once the database is in its place."
        engine = self.planes[DATABASE].staged_engine()
        try:
            found = self._document_of(engine)
        finally:
            engine.dispose()
        if found != self._document:
            raise Broken("The knowledge base in the database is not the one in knowledge.json.")
        return "The one in the database is the one in knowledge.json: zero differences."

    def _in_tables(self) -> bool:
        return "kb_entries" in self.manifest.tables

    def _document_of(self, engine: Engine) -> Any:
        return json.loads(self._borrowed.canonical_json(engine))


def clear_other(targets: dict[str, str], temp: Path, snapshot_id: str) -> None:
    """Remove what a recovery that was given up had staged at other places."""
    for where in targets.values():
        live = Path(where)
        for path in live.parent.glob(f".{live.name}.recovery-{snapshot_id}*"):
            path.unlink(missing_ok=True)
        for place in (live.parent, live):
            shutil.rmtree(place / f".{live.name}.restore-{snapshot_id}", ignore_errors=True)
    shutil.rmtree(temp / f"recovery-{snapshot_id}", ignore_errors=True)


def _exchange(move: FolderMove) -> None:
    folders.exchange(move)
    old = Path(move.side) / "old"
    # Empty when it was looked at; what came since is kept.
    folders.clear(move, keep_old=old.is_dir() and any(old.iterdir()))
    reached(f"{move.part} placed")


def _require_empty(what: str, move: FolderMove) -> None:
    live = Path(move.live)
    if live.exists() and not live.is_dir():
        raise Conflict(
            f"There is a file in the place of {what}: {live}. Nothing was changed.",
            "Move it away, and run this again.",
        )
    if not live.is_dir():
        return
    held = [entry for entry in os.scandir(live) if not entry.name.startswith(f".{live.name}.")]
    if held:
        raise Conflict(
            f"There is already something in the place of {what}: {live} holds {len(held):,} "
            f"entries ({held[0].name} ...). Nothing was changed; a recovery never overwrites data.",
            f"If nobody needs it, move it away (mv {live} {live}.old) and run this again.",
        )


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    while not folder.is_dir():
        folder = folder.parent
    return folder
