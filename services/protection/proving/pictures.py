"""The pictures of a snapshot: fetched, compared with their names, and decoded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from services.core.context import Context
from services.protection.model import Manifest
from services.protection.reading import fetch_image
from services.protection.stores.base import Store

ALL_UP_TO = 2000
SAMPLE = 500
"""So many of more pictures than that: a shop's folder can hold a hundred thousand."""
_AT_ONCE = 4
_MOST_NAMED = 3


@dataclass(frozen=True)
class Looked:
    """What was found: how many were fetched, of how many, and which are no pictures."""

    fetched: int
    total: int
    undecodable: tuple[str, ...]  # names


def look(
    ctx: Context,
    store: Store,
    manifest: Manifest,
    names: dict[str, str],
    folder: Path,
    moved: Callable[[float], None],
) -> Looked:
    """Fetch every picture, or a sample of very many, and decode each.

    Args:
        names: relative path -> sha256.
        folder: exists; each picture is removed again when it was looked at.
        moved: called with the share that is done, 0 to 1.

    Raises:
        Broken: one is missing or altered; names it.
    """
    by_digest: dict[str, str] = {}
    for name, digest in sorted(names.items(), reverse=True):
        by_digest[digest] = name
    chosen = _chosen(sorted(by_digest))

    def bring(digest: str) -> bool:
        file = fetch_image(ctx, store, manifest, digest, folder / digest)
        try:
            return decodes(file)
        finally:
            file.unlink(missing_ok=True)

    undecodable = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            results = zip(chosen, pool.map(bring, chosen), strict=True)
            for number, (digest, is_picture) in enumerate(results, start=1):
                if not is_picture:
                    undecodable.append(by_digest[digest])
                moved(number / len(chosen))
        finally:
            pool.shutdown(cancel_futures=True)
    return Looked(len(chosen), len(by_digest), tuple(sorted(undecodable)))


def words(looked: Looked, listed: int) -> str:
    """What was found, for a person.

    Args:
        listed: how many paths the snapshot lists (some may hold the same picture).
    """
    if not listed:
        return "The snapshot lists no picture, as recorded."
    which = (
        f"All {looked.total:,} pictures"
        if looked.fetched == looked.total
        else f"A sample of {looked.fetched:,} of {looked.total:,} pictures"
    )
    told = f"{which} ({listed:,} paths) fetched, each byte for byte as backed up; "
    if not looked.undecodable:
        return told + "every one decodes."
    shown = ", ".join(name[:60] for name in looked.undecodable[:_MOST_NAMED])
    more = len(looked.undecodable) - _MOST_NAMED
    return (
        told + f"{looked.fetched - len(looked.undecodable):,} decode. {len(looked.undecodable):,} "
        f"can't be decoded and could not when they were backed up ({shown}"
        + (f" and {more:,} more" if more > 0 else "")
        + "): not the backup's fault; look at them in the shop."
    )


def decodes(file: Path) -> bool:
    """Whether a file is a picture that can be decoded to its last pixel."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a very large picture is one all the same
            with Image.open(file) as picture:
                picture.load()
    except Exception:  # a decoder may raise anything over a file that is none
        return False
    return True


def _chosen(digests: Sequence[str]) -> list[str]:
    if len(digests) <= ALL_UP_TO:
        return list(digests)
    return [digests[position * len(digests) // SAMPLE] for position in range(SAMPLE)]
