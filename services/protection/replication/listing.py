"""What lies in the second store, told by the store alone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from services.core.context import Context
from services.core.errors import Broken
from services.protection.index import catalog
from services.protection.manifest import (
    MAX_MANIFEST_BYTES,
    from_json,
    image_key,
    manifest_key,
    manifest_prefix,
)
from services.protection.model import Manifest
from services.protection.reading import picture_keys, picture_objects
from services.protection.replication.model import CopyRow
from services.protection.replication.objects import Item
from services.protection.sealing.keys import keys_of
from services.protection.stores.base import Store

log = logging.getLogger("desk.copy")

_AT_ONCE = 8


def ids_in(ctx: Context, store: Store) -> set[str]:
    """Ids of the manifests of this instance in a store."""
    prefix = manifest_prefix(ctx.settings.instance_id)
    return {
        found.key.removeprefix(prefix).removesuffix(".json")
        for found in store.list(prefix)
        if found.key.endswith(".json")
    }


def read_manifest(ctx: Context, store: Store, snapshot_id: str) -> tuple[Manifest, bytes]:
    """A manifest from a store, checked, without the index.

    Raises:
        Broken: it is missing, damaged, or another snapshot's.
    """
    instance = ctx.settings.instance_id
    try:
        with store.open(manifest_key(instance, snapshot_id)) as stream:
            data = stream.read(MAX_MANIFEST_BYTES + 1)
    except KeyError as error:
        raise Broken(f"The manifest of {snapshot_id} is not in {store.url}.") from error
    manifest = from_json(data, keys_of(ctx.settings))
    if (manifest.instance, manifest.id) != (instance, snapshot_id):
        raise Broken(
            f"The manifest {snapshot_id} in {store.url} says that it is "
            f"{manifest.instance}/{manifest.id}.",
            "It was copied or renamed; the other snapshots are not affected.",
        )
    return manifest, data


def index_copies(ctx: Context, second: Store) -> None:
    """Put what only the second store has into the index, so that it can be found by its id.

    Nothing is dropped from the index: what it knows of the first store stays.
    """
    known = {row.id for row in catalog.everything(ctx)}
    for snapshot_id in sorted(ids_in(ctx, second) - known):
        try:
            manifest, data = read_manifest(ctx, second, snapshot_id)
        except Broken as error:
            log.warning("the copy of %s can't be used: %s", snapshot_id, error)
            continue
        catalog.record(ctx, manifest, data)


def sizes_in(store: Store, prefix: str) -> dict[str, int]:
    """Key -> size of everything below a prefix."""
    return {found.key: found.size for found in store.list(prefix)}


def items_of(manifest: Manifest) -> list[Item]:
    """The objects of a snapshot, its pictures and its manifest left out."""
    return [
        Item(found.key, found.name, found.stored_bytes, found.stored_sha256)
        for found in manifest.components
    ]


def pictures_of(
    ctx: Context, store: Store, manifest: Manifest, sizes: dict[str, int]
) -> list[Item]:
    """The pictures of a snapshot, as they are stored.

    Args:
        sizes: of the objects in the store; a plain picture's size stands nowhere else.

    Raises:
        Broken: one is missing from the store, or the list of them is.
    """
    objects = picture_objects(ctx, store, manifest)
    if objects is not None:
        items = {
            each.key: Item(each.key, f"picture {digest}", each.stored_bytes, each.stored_sha256)
            for digest, each in objects.items()
        }
    else:
        # A plain picture is named by its own content.
        items = {
            key: Item(key, f"picture {name}", sizes.get(key, -1), name)
            for key in picture_keys(ctx, store, manifest)
            for name in (key.rsplit("/", 1)[-1],)
        }
    lost = sorted(items.keys() - sizes.keys())
    if lost:
        raise Broken(
            f"{len(lost)} pictures of {manifest.id} are missing from {store.url} ({lost[0]}); "
            "it was not copied.",
            "The next backup sends them again if the shop still has them.",
        )
    return [items[key] for key in sorted(items)]


def copies(ctx: Context, second: Store, first_ids: Iterable[str] = ()) -> tuple[CopyRow, ...]:
    """Every snapshot in the second store, newest first, and whether it is complete there.

    Neither the index nor the first store is believed: manifests are read, and every object
    that they name has to lie there with the right size. Reading the content is what
    `copying.replicate(..., prove=True)` and a drill do.

    Args:
        first_ids: what the first store lists; a snapshot that is not among them is marked.
    """
    instance, first = ctx.settings.instance_id, set(first_ids)
    sizes = sizes_in(second, f"data/{instance}/") | sizes_in(second, image_key(instance, ""))

    def row(snapshot_id: str) -> CopyRow:
        only_here = bool(first) and snapshot_id not in first
        try:
            manifest, _data = read_manifest(ctx, second, snapshot_id)
            missing = tuple(_missing(ctx, second, manifest, sizes))
        except Broken as error:
            return CopyRow(snapshot_id, (), str(error), only_here)
        return CopyRow(snapshot_id, missing, "", only_here)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(pool.map(row, sorted(ids_in(ctx, second), reverse=True)))


def _missing(
    ctx: Context, second: Store, manifest: Manifest, sizes: dict[str, int]
) -> Iterator[str]:
    absent = [item.name for item in items_of(manifest) if sizes.get(item.key) != item.size]
    yield from absent
    if not absent:
        # Only a list that lies there itself can tell which pictures belong to it.
        pictures = picture_keys(ctx, second, manifest)
        yield from (key for key in sorted(pictures) if key not in sizes)
