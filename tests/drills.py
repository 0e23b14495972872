"""A furnished shop with real vectors and pictures, and ways to damage a stored backup of it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import zstandard
from PIL import Image
from sqlalchemy import update

from db.control import snapshots as snapshots_table
from db.engine import write
from services.core import jobs
from services.core.access import Actor
from services.core.context import Context, open_context
from services.core.errors import Broken
from services.core.settings import Settings
from services.knowledge.rehearsal import reimport
from services.protection.manifest import manifest_key, to_json
from services.protection.model import Component, Manifest
from services.protection.proving.evidence import Evidence
from services.protection.proving.prove import Borrowed, prove
from services.protection.stores import open_store
from services.protection.workspace import workspace
from services.shop.attach import attach
from services.shop.sample.vectors import write_vectors
from tests.conftest import database_file, desk_settings, person
from tests.faults.scene import back_up, furnish
from tests.shops import build_shop

PRODUCTS = 40
"""As `build_shop` makes them."""

Made = TypeVar("Made")


def product(number: int) -> dict[str, Any]:
    """As much of a product as its vector is made of."""
    return {
        "id": number,
        "name": f"Product {number}",
        "description": f"Soft {number % 7} wool, {number % 3} warm {number}",
        "category": "women",
        "color": "navy",
        "fabric": "wool",
        "clothing_type": "dress",
        "occasion": "work",
        "price": "20",
        "brand_other": "own",
        "sale_enabled": False,
        "is_active": True,
    }


def furnish_fully(
    ctx: Context, products: range = range(1, PRODUCTS + 1), *, vectors: bool = True
) -> None:
    """Knowledge base, a real Chroma folder with a vector for each product, real pictures."""
    furnish(ctx, pictures=False)
    if vectors:
        write_vectors(ctx.settings.vector_dir, [product(number) for number in products])
    for number, name in enumerate(("1.png", "2.png", "looks/3.png")):
        path = ctx.settings.images_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 12), (number * 40, 90, 120)).save(path)


_BUILT: dict[str, tuple[Path, Any]] = {}


def desk_as_left(
    folder: Path, factory: pytest.TempPathFactory, kind: str, make: Callable[[Context], Made]
) -> Made:
    """A desk and a small shop below `folder`, as `make` leaves them: that is done once, and
    then copied. Open it with `desk_settings(folder)`.

    Args:
        kind: names what `make` does.

    Returns:
        What `make` gave.
    """
    if kind not in _BUILT:
        template = factory.mktemp("desk")
        ctx = open_context(desk_settings(template))
        try:
            build_shop(database_file(ctx.settings.shop_database_url))
            attach(ctx)
            _BUILT[kind] = template, make(ctx)
        finally:
            ctx.close()
    template, made = _BUILT[kind]
    shutil.copytree(template, folder, dirs_exist_ok=True)
    return cast(Made, made)


def furnished_desk(folder: Path, factory: pytest.TempPathFactory, *, vectors: bool) -> Manifest:
    """A desk and a shop with everything below `folder`, and a backup of it; built once.

    Args:
        vectors: a real Chroma folder, too; opening one takes a second in every drill.
    """

    def make(ctx: Context) -> Manifest:
        furnish_fully(ctx, vectors=vectors)
        return back_up(ctx, person("admin"))

    return desk_as_left(folder, factory, f"everything, vectors: {vectors}", make)


def furnished_fixtures(*, vectors: bool) -> tuple[Any, Any, Any]:
    """The fixtures `desk`, `settings` and `made` of a module whose tests begin with a
    furnished desk: its backup, its settings, and the same backup once `ctx` opened the desk."""

    @pytest.fixture
    def desk(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
        return furnished_desk(tmp_path, tmp_path_factory, vectors=vectors)

    @pytest.fixture
    def settings(desk: Manifest, tmp_path: Path) -> Settings:
        return desk_settings(tmp_path)

    @pytest.fixture
    def made(desk: Manifest, ctx: Context) -> Manifest:
        return desk

    return desk, settings, made


def stored(ctx: Context, key: str) -> Path:
    """Where the local store keeps an object."""
    path = Path(ctx.settings.store_url.removeprefix("file:")) / key
    path.chmod(0o600)
    return path


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def listed_as(ctx: Context, **values: object) -> None:
    """Change what the desk's list says of every backup."""
    with write(ctx.control) as connection:
        connection.execute(update(snapshots_table).values(**values))


def put_manifest(ctx: Context, manifest: Manifest) -> None:
    """Put a manifest in the place of the stored one, as whoever may write everywhere would."""
    data = to_json(manifest)
    open_store(ctx.settings).put(manifest_key(manifest.instance, manifest.id), io.BytesIO(data))
    with write(ctx.control) as connection:
        connection.execute(
            update(snapshots_table)
            .where(snapshots_table.c.id == manifest.id)
            .values(manifest_sha256=hashlib.sha256(data).hexdigest())
        )


def forge(
    ctx: Context, manifest: Manifest, name: str, change: Callable[[bytes], bytes]
) -> Manifest:
    """Change what is in a component, and recompute every digest of it that the manifest has."""
    (old,) = (found for found in manifest.components if found.name == name)
    path = stored(ctx, old.key)
    data = path.read_bytes()
    plain = zstandard.decompress(data, old.plain_bytes) if old.compression == "zstd" else data
    plain = change(plain)
    packed = zstandard.compress(plain) if old.compression == "zstd" else plain
    path.write_bytes(packed)
    new = replace(
        old,
        plain_bytes=len(plain),
        plain_sha256=hashlib.sha256(plain).hexdigest(),
        stored_bytes=len(packed),
        stored_sha256=hashlib.sha256(packed).hexdigest(),
    )
    forged = replace(manifest, components=_with(manifest.components, old, new))
    put_manifest(ctx, forged)
    return forged


def in_sqlite(*statements: str) -> Callable[[bytes], bytes]:
    """Run statements in a database given as bytes."""

    def change(data: bytes) -> bytes:
        with tempfile.NamedTemporaryFile(suffix=".sqlite3") as file:
            Path(file.name).write_bytes(data)
            with closing(sqlite3.connect(file.name)) as database, database:
                for statement in statements:
                    database.execute(statement)
            return Path(file.name).read_bytes()

    return change


def in_json(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    """Change a JSON document given as bytes."""

    def changed(data: bytes) -> bytes:
        values = json.loads(data)
        change(values)
        return json.dumps(values).encode()

    return changed


def _with(
    components: tuple[Component, ...], old: Component, new: Component
) -> tuple[Component, ...]:
    return tuple(new if found is old else found for found in components)


def proven(ctx: Context, actor: Actor, manifest: Manifest) -> Evidence:
    """What a drill finds, without writing it down."""
    found: list[Evidence] = []

    def work(handle: jobs.JobHandle) -> dict[str, object]:
        with workspace(ctx, handle.id) as folder:
            store = open_store(ctx.settings)
            found.append(prove(ctx, store, handle, manifest, folder, Borrowed(reimport)))
        return {}

    jobs.run(ctx, jobs.create(ctx, actor, "drill", lock="drill"), work)
    return found[0]


def outcomes(evidence: Evidence) -> dict[str, bool | None]:
    """Of each step: how it ended."""
    return {step.name: step.passed for step in evidence.steps}


def failed(evidence: Evidence) -> list[str]:
    """The steps that found something wrong."""
    return [step.name for step in evidence.steps if step.passed is False]


def said(evidence: Evidence, name: str) -> str:
    """What a step found."""
    return next(step.found for step in evidence.steps if step.name == name)


def with_settings(ctx: Context, tmp_path: Path, **more: object) -> Context:
    """The same desk, set up differently."""
    settings = desk_settings(tmp_path, **more)
    return Context(settings, ctx.control, ctx.shop, ctx.clock, ctx.host)


def evidence_files(ctx: Context) -> list[Path]:
    """What drills wrote into the local store."""
    root = Path(ctx.settings.store_url.removeprefix("file:"))
    return sorted((root / "drills").rglob("*.json"))


def differs(_restored: object, _manifest: object) -> None:
    """In the place of a drill's comparison: it always finds something."""
    raise Broken("3 tables differ")
