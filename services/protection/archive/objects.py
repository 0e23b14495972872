"""The stored objects that a snapshot needs, and whether each can be read now.

The desk's own lifecycle rule moves `data/` alone. A rule of somebody else may move pictures too:
then a snapshot is not back before they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from services.core.context import Context
from services.core.errors import Archived, Broken, Misconfigured
from services.protection.manifest import image_key
from services.protection.model import Manifest, Part
from services.protection.reading import picture_keys, picture_list
from services.protection.sources import images
from services.protection.stores.base import ARCHIVE_CLASSES, Access, ArchiveState, Store, Tier

T = TypeVar("T")
_MAY_BE_AWAY = ARCHIVE_CLASSES | {"INTELLIGENT_TIERING"}
_AT_ONCE = 8
_SHA256 = 64


def objects_of(ctx: Context, store: Store, manifest: Manifest) -> dict[str, int]:
    """What has to be readable before a snapshot is: key -> stored bytes.

    All its components, and those of its pictures that may lie in an archive.
    """
    held = {component.key: component.stored_bytes for component in manifest.components}
    return held | archived_pictures(ctx, store, manifest)


def archived_pictures(ctx: Context, store: Store, manifest: Manifest) -> dict[str, int]:
    """The pictures of a snapshot that a class with an archive holds: key -> stored bytes.

    Where the list of its pictures can't be read (it lies in the archive itself, or is for
    somebody with the identity), those of every snapshot: rather too many than one too few.
    """
    if Part.IMAGES not in manifest.parts:
        return {}
    away = {
        found.key: found.size
        for found in store.list(image_key(manifest.instance, ""))
        if found.storage in _MAY_BE_AWAY
    }
    if not away:
        return {}
    try:
        needed = picture_keys(ctx, store, manifest)
    except (Archived, Misconfigured):
        return away
    return {key: size for key, size in away.items() if key in needed}


def pictures_away(ctx: Context, store: Store, manifest: Manifest) -> frozenset[str]:
    """The keys of those that have to be brought back before they can be read.

    Raises:
        Broken: one is missing.
    """
    states = states_of(store, archived_pictures(ctx, store, manifest))
    return frozenset(key for key, state in states.items() if state.access is not Access.READABLE)


def require_pictures(ctx: Context, store: Store, manifest: Manifest) -> None:
    """Stop a restore of pictures that would meet some in an archive half way.

    Those that lie on this machine as they were need no store.

    Raises:
        Archived: says how many.
    """
    away = pictures_away(ctx, store, manifest)
    if away:
        live = images.capture(ctx.settings.images_dir)
        there = {each.name: each.sha256 for each in live.pictures} if live else {}
        names = picture_list(ctx, store, manifest)
        missing = {digest for name, digest in names.items() if there.get(name) != digest}
        away = frozenset(key for key in away if _digest(key) in missing)
    if away:
        raise Archived(
            f"{len(away):,} pictures of {manifest.id} lie in the archive of {store.url} and can't "
            "be read before they are brought back. Nothing was changed."
        )


@contextmanager
def saying_the_way_back(snapshot_id: str) -> Iterator[None]:
    """Name the snapshot that has to be brought back. The object that was met may be a picture,
    or one that it shares with an earlier snapshot, and is named for that.

    Raises:
        Archived: as it was, with what to do about it.
    """
    try:
        yield
    except Archived as error:
        raise Archived(
            error.message, f"`python services/store.py retrieve {snapshot_id}` asks for all of it."
        ) from error


def _digest(key: str) -> str:
    return key.rpartition("/")[2][:_SHA256]


def states_of(store: Store, keys: Iterable[str]) -> dict[str, ArchiveState]:
    """Whether each can be read.

    Raises:
        Broken: one is missing.
    """
    return _each(sorted(keys), store.archive_state)


def ask_for(
    store: Store, keys: Iterable[str], tier: Tier, days: int, *, faster: bool = False
) -> None:
    """Ask the archive for each.

    Args:
        faster: also for those that were asked for already, by a slower tier.

    Raises:
        Broken: one is missing.
    """
    _each(sorted(keys), lambda key: store.request_retrieval(key, tier, days, faster=faster))


def _each(keys: Collection[str], do: Callable[[str], T]) -> dict[str, T]:
    def done(key: str) -> T:
        try:
            return do(key)
        except KeyError as error:
            raise Broken(
                f"{key} is no longer in the store.",
                "Use another snapshot; this one is not whole.",
            ) from error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            return dict(zip(keys, pool.map(done, keys), strict=True))
        finally:
            pool.shutdown(cancel_futures=True)
