"""Fetch the parts of a snapshot beside the live data and check them there."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import insert

from db.engine import shop_engine, write
from db.knowledge import restores
from db.migrate import upgrade_knowledge
from services.core.context import Context, prepare_folder
from services.core.errors import Broken
from services.protection import snapshots, tar
from services.protection.codec import unpack
from services.protection.model import Component, Manifest, Part, TableFacts
from services.protection.rescue.boundary import reached
from services.protection.rescue.folders import keep_links, staged, staging
from services.protection.rescue.journal import FolderMove
from services.protection.sealing.keys import keys_of
from services.protection.stores.base import Store

Watch = Callable[[float], None]
_PICTURES_AT_ONCE = 4


def preview_file(ctx: Context, manifest: Manifest) -> Path:
    """Where a preview keeps what it fetched of the snapshot's database, for the restore."""
    folder = prepare_folder(ctx.settings.temp_dir / "preview")
    return folder / f"{manifest.id}.database"


def clear_previews(ctx: Context, older: timedelta = timedelta(0)) -> None:
    """Remove what previews fetched.

    Args:
        older: only what nobody came back for in so long.
    """
    for file in (ctx.settings.temp_dir / "preview").glob("*"):
        with suppress(FileNotFoundError):  # a restore took it over
            if time.time() - file.stat().st_mtime >= older.total_seconds():
                file.unlink()


def require_facts(found: dict[str, TableFacts], manifest: Manifest) -> None:
    """Hold what was brought beside the live database to the manifest, table by table.

    Raises:
        Broken: names the tables that differ.
    """
    unlike = sorted(
        name for name in {*found, *manifest.tables} if found.get(name) != manifest.tables.get(name)
    )
    if unlike:
        raise Broken(
            f"The database in the snapshot {manifest.id} is not what its manifest says "
            f"({', '.join(unlike[:5])}); nothing was changed.",
            "Use another snapshot.",
        )


def make_ready(staged_file: Path, page_size: int | None) -> None:
    """Give a staged database the form in which it can go into the live file.

    Args:
        page_size: of the live file; None where the staged file takes its place.
    """
    with closing(sqlite3.connect(staged_file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        have = connection.execute("PRAGMA page_size").fetchone()[0]
        if page_size is not None and have != page_size:
            # The backup API can't change the page size of a database in WAL mode.
            connection.execute(f"PRAGMA page_size={page_size:d}")
            connection.execute("VACUUM")


def mark(ctx: Context, url: str, job_id: str, snapshot_id: str) -> bool:
    """Bring the desk's tables to this version and name the restore in the staged database.

    The row reaches the live database in the same atomic step as everything else: where it
    is found, that restore was committed.

    Returns:
        Whether the desk's tables had to be brought forward.
    """
    engine = shop_engine(url)
    try:
        migrated = upgrade_knowledge(engine)
        with write(engine) as connection:
            connection.execute(
                insert(restores).values(job_id=job_id, snapshot_id=snapshot_id, at=ctx.now())
            )
        return migrated
    finally:
        engine.dispose()


def stage_vectors(
    ctx: Context, store: Store, manifest: Manifest, move: FolderMove, work: Path
) -> None:
    """Unpack the vector folder beside the live one, after its digest was checked.

    Raises:
        Broken: altered, or it holds what no vector folder holds.
    """
    component = snapshots.component_of(manifest, Part.VECTORS)
    archive = snapshots.fetch(ctx, store, manifest, component.name, work / "vectors.tar")
    reached("vectors fetched")
    folder = staging(move)
    tar.unpack(archive, folder, component.plain_bytes)
    archive.unlink()
    keep_links(move)
    staged(move)


def stage_images(
    ctx: Context,
    store: Store,
    manifest: Manifest,
    move: FolderMove,
    wanted: dict[str, str],
    watch: Watch,
) -> int:
    """Build the picture folder: equal pictures as hard links, the others from the store.

    Args:
        wanted: relative path -> sha256.

    Returns:
        How many had to be fetched.
    """
    folder, live = staging(move), Path(move.live)
    missing = []
    for name, digest in sorted(wanted.items()):
        target = folder / safe_path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if sha256_of(live / name) == digest:
            _link(live / name, target)
        else:
            missing.append((digest, target))

    def bring(picture: tuple[str, Path]) -> None:
        snapshots.fetch_image(ctx, store, manifest, *picture)

    with ThreadPoolExecutor(_PICTURES_AT_ONCE) as pool:
        try:
            for number, _done in enumerate(pool.map(bring, missing), start=1):
                watch(number / len(missing))
        finally:
            pool.shutdown(cancel_futures=True)
    keep_links(move)
    staged(move)
    return len(missing)


def knowledge_document(ctx: Context, store: Store, manifest: Manifest) -> dict[str, Any]:
    """The knowledge base of a snapshot; small, so it touches no disk.

    Raises:
        Broken: it is not what was backed up.
    """
    component = snapshots.component_of(manifest, Part.KNOWLEDGE)
    held = io.BytesIO()
    with snapshots.open_stored(store, component) as stream:
        unpack(component, stream, held, identity_file=keys_of(ctx.settings).identity_file)
    document = json.loads(held.getvalue())
    if not isinstance(document, dict):
        raise Broken(
            f"The knowledge base in the snapshot {manifest.id} is not one; nothing was changed.",
            "Use another snapshot.",
        )
    return document


def safe_path(name: str) -> PurePosixPath:
    """The relative path of a picture, refused when it leads elsewhere.

    Raises:
        Broken: it is absolute, climbs, or is empty.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name:
        raise Broken(
            f"The snapshot names a picture outside its folder ({name[:80]!r}); "
            "nothing was changed.",
            "Use another snapshot, and find out who altered this one.",
        )
    return path


def sha256_of(path: Path) -> str:
    """Digest of a regular file; empty where there is none (a link is none)."""
    if path.is_symlink() or not path.is_file():
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # A disk without hard links.
        target.write_bytes(source.read_bytes())


def is_intact(path: Path, component: Component) -> bool:
    """Whether a file is what was backed up, byte for byte.

    What this process fetched and checked itself is not read again while nobody touched it.
    """
    if not path.is_file() or path.stat().st_size != component.plain_bytes:
        return False
    if _checked.get(path) == (component.plain_sha256, _touched(path)):
        return True
    return sha256_of(path) == component.plain_sha256


def checked(path: Path, component: Component) -> None:
    """Remember that a file was written and checked just now."""
    _checked.clear()  # there is one preview at a time
    _checked[path] = (component.plain_sha256, _touched(path))


_checked: dict[Path, tuple[str, tuple[int, int, int]]] = {}


def _touched(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns
