"""What a backup store holds, found without a catalog: the shops in it, and the snapshot to use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from services.core.context import Context
from services.core.errors import Archived, Broken, DeskError, Invalid, Misconfigured
from services.protection.archive.objects import pictures_away
from services.protection.index import catalog
from services.protection.manifest import SNAPSHOT_ID, manifest_prefix
from services.protection.model import Component, Manifest
from services.protection.rescue.execute import SAFETY
from services.protection.rescue.words import plural
from services.protection.stores.base import Access, Store

_MANIFESTS = "manifests/"
_SECOND = len("20261122T020000Z")
_MOST_TRIED = 50
"""Damaged or set-aside snapshots that are passed over in search of one to offer."""


@dataclass(frozen=True)
class StoredShop:
    """One instance that has backups in a store."""

    instance: str
    snapshots: int
    newest: Manifest | None  # None: not one of the newest can be used
    trouble: str = ""  # what is wrong with the newest


def stored_ids(store: Store) -> dict[str, list[str]]:
    """The ids of all snapshots by instance, newest first; from the names alone.

    Raises:
        Misconfigured: there is none; says what else may be meant.
        Transient, Misconfigured: the store can't be listed.
    """
    found: dict[str, list[str]] = {}
    for stored in store.list(_MANIFESTS):
        instance, _, file = stored.key.removeprefix(_MANIFESTS).partition("/")
        snapshot_id = file.removesuffix(".json")
        if file.endswith(".json") and SNAPSHOT_ID.fullmatch(snapshot_id):
            found.setdefault(instance, []).append(snapshot_id)
    if not found:
        raise Misconfigured(
            f"There is no backup of this desk in {store.url}: nothing lies below {_MANIFESTS} "
            "there. Nothing was changed.",
            "Check the name of the bucket and the prefix: it is what BACKUP_STORE_URL held, the "
            "folder in which manifests/, data/ and images/ lie.",
        )
    return {name: sorted(ids, reverse=True) for name, ids in sorted(found.items())}


def stored_shops(ctx_of: Callable[[str], Context], store: Store) -> tuple[StoredShop, ...]:
    """Every instance with its newest snapshot, for a person who has to choose.

    Args:
        ctx_of: gives the context of an instance.
    """
    shops = []
    for instance, ids in stored_ids(store).items():
        try:
            newest, trouble = find_manifest(ctx_of(instance), store, catalog.LATEST, ids), ""
        except DeskError as error:
            newest, trouble = None, error.message
        shops.append(StoredShop(instance, len(ids), newest, trouble))
    return tuple(shops)


def stored_manifests(
    ctx: Context, store: Store, ids: list[str]
) -> list[tuple[str, Manifest | str]]:
    """Each id with its manifest, or with what is wrong with it."""
    rows: list[tuple[str, Manifest | str]] = []
    for snapshot_id in ids:
        try:
            rows.append((snapshot_id, catalog.read_manifest(ctx, store, snapshot_id)))
        except Broken as error:
            rows.append((snapshot_id, error.message))
        except KeyError:
            continue
    return rows


def find_manifest(ctx: Context, store: Store, wanted: str, ids: list[str]) -> Manifest:
    """The manifest of a snapshot, read from the store and checked.

    Args:
        wanted: an id, or `latest`: the newest that somebody asked for, not what a restore
            set aside.
        ids: every id of this instance, newest first.

    Raises:
        Invalid: there is no such snapshot.
        Broken: it is damaged, altered or unsigned; names the newest one before it that can
            be used. An older one is never taken unasked.
    """
    if wanted != catalog.LATEST:
        if wanted not in ids:
            raise Invalid(
                f"{store.url} holds no snapshot {wanted[:40]!r} of "
                f"{ctx.settings.instance_id}; nothing was changed.",
                f"The newest is {ids[0]}. `python services/restore.py list --from "
                f"{store.url}` lists them.",
            )
        return _read(ctx, store, wanted, ids)
    set_aside = []
    for candidate in _newest_first(ctx, store, ids):
        if isinstance(candidate, str):
            return _read(ctx, store, candidate, ids)  # damaged: says so, and what to use
        if candidate.reason != SAFETY:
            return candidate
        set_aside.append(candidate)
    return set_aside[0]


def one_before(ctx: Context, store: Store, snapshot_id: str, ids: list[str]) -> Manifest | None:
    """The newest usable snapshot before another one; best one that shares no object with it:
    what is damaged in the one is damaged in the other."""
    older = [
        found
        for found in ids
        # Which of two within a second was first, only their manifests know.
        if found != snapshot_id and found[:_SECOND] <= snapshot_id[:_SECOND]
    ]
    try:
        damaged = {part.key for part in catalog.read_manifest(ctx, store, snapshot_id).components}
    except (Broken, KeyError):
        damaged = set()
    first = None
    for candidate in _newest_first(ctx, store, older):
        if isinstance(candidate, Manifest) and candidate.reason != SAFETY:
            if damaged.isdisjoint(part.key for part in candidate.components):
                return candidate
            first = first or candidate
    return first


def offer(before: Manifest | None, damaged: Manifest | None = None) -> str:
    """What to do instead of using a damaged snapshot.

    Args:
        damaged: the snapshot itself, where its manifest can be read.
    """
    if before is None:
        return "No older snapshot of this shop can be used either: look into the second copy."
    told = (
        f"The one before it is of {before.created_at:%Y-%m-%d %H:%M:%S} UTC; use it with "
        f"--fresh {before.id}"
    )
    if damaged and {part.key for part in damaged.components} & {
        part.key for part in before.components
    }:
        told += (
            "\nBoth share objects, because nothing changed in between: it may be damaged in the "
            "same place. Then look into the second copy."
        )
    return told


def require_readable(ctx: Context, store: Store, manifest: Manifest) -> None:
    """See that every part is in the store, of its size, and that nothing, down to the last
    picture, lies in an archive.

    Raises:
        Broken: a part is missing or cut short; names it.
        Archived: parts or pictures have to be brought back first; says how.
    """
    away: list[Component] = []
    for component in manifest.components:
        found = store.stat(component.key)
        if found is None or found.size != component.stored_bytes:
            held = "is missing from" if found is None else f"has {found.size:,} bytes in"
            raise Broken(
                f"The part {component.name} of the snapshot {manifest.id} {held} {store.url}, "
                f"its manifest says {component.stored_bytes:,} bytes. Nothing was changed."
            )
        if store.archive_state(component.key).access is not Access.READABLE:
            away.append(component)
    # All at once: whoever waited two days for the parts must not begin to wait for pictures.
    pictures = sorted(pictures_away(ctx, store, manifest))
    if not (away or pictures):
        return
    told = [component.name for component in away]
    if pictures:
        told.append(plural(len(pictures), "picture", "pictures"))
    example = away[0].key if away else pictures[0]
    hint = (
        "Ask for each of them with `aws s3api restore-object --bucket BUCKET --key "
        f"PREFIX/{example} --restore-request Days=7` (docs/recovery.md), wait until "
        "they are there, then run this again; or use a newer snapshot."
    )
    if not away:
        hint += (
            "\nOr bring back everything else now: --without images. Then `python "
            f"services/store.py retrieve {manifest.id}` asks for the pictures, and `python "
            f"services/restore.py {manifest.id} --only images` puts them back."
        )
    raise Archived(
        f"The snapshot {manifest.id} lies in an archive ({', '.join(told)}) and has to be "
        "brought back first, which takes minutes to days. Nothing was changed.",
        hint,
    )


def _newest_first(ctx: Context, store: Store, ids: list[str]) -> Iterator[Manifest | str]:
    """Manifests, newest first; the id alone where one can't be used."""
    tried = 0
    for _second, group in groupby(ids, key=lambda found: found[:_SECOND]):
        read: list[Manifest] = []
        for snapshot_id in group:
            tried += 1
            try:
                read.append(catalog.read_manifest(ctx, store, snapshot_id))
            except (Broken, KeyError):
                yield snapshot_id
        # Ids of the same second don't sort by time; the time of the capture does.
        yield from sorted(read, key=lambda manifest: manifest.created_at, reverse=True)
        if tried >= _MOST_TRIED:
            return


def _read(ctx: Context, store: Store, snapshot_id: str, ids: list[str]) -> Manifest:
    try:
        return catalog.read_manifest(ctx, store, snapshot_id)
    except Broken as error:
        before = one_before(ctx, store, snapshot_id, ids)
        raise Broken(
            f"The snapshot {snapshot_id} can't be used. {error.message} Nothing was changed.",
            offer(before),
        ) from error
    except KeyError as error:
        raise Broken(
            f"The manifest {manifest_prefix(ctx.settings.instance_id)}{snapshot_id}.json vanished "
            "while it was read. Nothing was changed.",
            "Try again.",
        ) from error
