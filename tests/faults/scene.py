"""A shop with everything, a backup of it, and damage: what the restore tests play with."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from services import restore
from services.core import jobs
from services.core.access import Actor
from services.core.context import Context
from services.knowledge import transfer
from services.protection import snapshots
from services.protection.model import PROTECTION_LOCK, Manifest, Part
from services.protection.sources import sqlite as sqlite_source
from services.protection.stores import open_store
from tests.conftest import person
from tests.shops import add_order

KNOWLEDGE = {
    "color_matching": {"basics": "\nBegin with one → colour.\n    ", "by_color": {"navy": "white"}},
    "fabric_guide": {"silk": {"description": "smooth", "care": "cold"}},
    "fabric_pairing": "One rough, one smooth.",
}
DATABASE = frozenset({Part.DATABASE})
EVERYTHING = frozenset({Part.DATABASE, Part.VECTORS, Part.IMAGES})


def furnish(ctx: Context, *, vectors: bool = False, pictures: bool = True) -> None:
    """Give an attached shop a knowledge base, pictures and a vector folder.

    The vector folder holds what a restore handles, an SQLite file and segment files; it is
    no collection that Chroma could open.
    """
    editor = person("admin")
    transfer.restore_document(ctx, editor, KNOWLEDGE, "as it was")
    if pictures:
        for name in ("1.png", "2.png", "looks/3.png"):
            path = ctx.settings.images_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode() * 500)
    if vectors:
        segment = ctx.settings.vector_dir / "6f1c0c5e-segment"
        segment.mkdir(parents=True)
        (segment / "data_level0.bin").write_bytes(random.Random(3).randbytes(40_000))
        (segment / "header.bin").write_bytes(b"header")
        with closing(sqlite3.connect(ctx.settings.vector_dir / "chroma.sqlite3")) as db, db:
            db.execute("CREATE TABLE embeddings (id INTEGER PRIMARY KEY, seq BLOB)")
            db.executemany("INSERT INTO embeddings (seq) VALUES (?)", [(b"v" * 99,)] * 40)


def back_up(ctx: Context, actor: Actor) -> Manifest:
    """A snapshot of everything, as the backup door makes it."""
    made: list[Manifest] = []

    def work(handle: jobs.JobHandle) -> dict[str, Any]:
        store = open_store(ctx.settings)
        made.append(
            snapshots.create(
                ctx, store, handle, actor, reason="manual", knowledge=transfer.canonical_json
            )
        )
        return {"snapshot": made[0].id}

    jobs.run(ctx, jobs.create(ctx, actor, "backup", lock=PROTECTION_LOCK), work)
    return made[0]


def damage(ctx: Context) -> None:
    """Lose and change things behind the desk's back, in every part."""
    path = ctx.settings.shop_sqlite_path
    assert path is not None
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM products WHERE id <= 3")
        db.execute("DELETE FROM users WHERE id = 2")
        db.execute("UPDATE products SET price = price * 2 WHERE id > 10")
        db.execute("UPDATE kb_entries SET body = '\"spoiled\"' WHERE key = 'fabric_pairing'")
        add_order(db, 900, random.Random(5))
    if ctx.settings.images_dir.is_dir():
        (ctx.settings.images_dir / "1.png").unlink()
        (ctx.settings.images_dir / "2.png").write_bytes(b"scribbled over")
        (ctx.settings.images_dir / "new.png").write_bytes(b"made since then")
    for file in ctx.settings.vector_dir.rglob("*.bin"):
        file.write_bytes(b"torn")


def facts(ctx: Context) -> dict[str, Any]:
    """The shop's database as it is, every table by content; the mark of a restore left out."""
    path = ctx.settings.shop_sqlite_path
    assert path is not None
    return _facts_of(ctx, path)


def _facts_of(ctx: Context, path: Path) -> dict[str, Any]:
    copy = ctx.settings.temp_dir / "facts.sqlite3"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.unlink(missing_ok=True)
    sqlite_source.capture(path, copy)
    try:
        return dict(sqlite_source.table_facts(copy))
    finally:
        copy.unlink()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its content."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def world(ctx: Context) -> dict[str, Any]:
    """Everything of the shop that a restore can change, for comparing before and after."""
    vectors: dict[str, Any] = dict(tree(ctx.settings.vector_dir))
    if vectors.pop("chroma.sqlite3", None):
        # An online backup counts its own change in the header: the rows are what counts.
        vectors |= _facts_of(ctx, ctx.settings.vector_dir / "chroma.sqlite3")
    return {
        "database": facts(ctx),
        "pictures": tree(ctx.settings.images_dir),
        "vectors": vectors,
    }


def do(ctx: Context, actor: Actor, snapshot_id: str, parts: frozenset[Part] = DATABASE) -> jobs.Job:
    """Preview and restore, in this process."""
    plan = restore.preview(ctx, actor, snapshot_id, parts)
    return restore.run(ctx, actor, plan, plan.word)


def leftovers(ctx: Context) -> list[str]:
    """Files of a restore that should be gone: staged copies, journals, folders aside."""
    root = ctx.settings.desk_home.parent
    marks = (".restore-", ".trash-", ".part", "/tmp/restore-", "/tmp/snapshot-", "journal.json")
    return sorted(
        str(path)
        for path in root.rglob("*")
        if path.is_file() and any(mark in str(path) for mark in marks)
    )
