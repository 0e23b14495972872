"""Two stores that must not be one: what their addresses tell before anything is opened."""

from __future__ import annotations

import os
from pathlib import Path

from services.core.errors import Misconfigured

STORE = "store"
"""The place where backups go."""
COPY = "copy"
"""The second one, `BACKUP_COPY_URL`."""


def require_apart(first: str, second: str) -> None:
    """Refuse a second store that is the first one, lies in it, or holds it.

    Either would show every copy among the snapshots, and lose both with one mistake.

    Args:
        first: absolute `file:` URL or `s3://bucket/prefix`.
        second: the same.

    Raises:
        Misconfigured: says which of them it is.
    """
    said = _overlap(first, second)
    if said:
        raise Misconfigured(
            f"BACKUP_COPY_URL names {said}: {second}. Nothing was copied.",
            "A copy protects only where the first store is not: another disk, another bucket, "
            "best of all another account.",
        )


def _overlap(first: str, second: str) -> str:
    if first.startswith("file:") and second.startswith("file:"):
        one, two = _folder(first), _folder(second)
        if one == two or _same_folder(one, two):
            return "the same folder as the first store"
        return _nested(one.parts, two.parts)
    if first.startswith("s3://") and second.startswith("s3://"):
        one_key, two_key = _s3_parts(first), _s3_parts(second)
        if one_key == two_key:
            return "the same place as the first store"
        return _nested(one_key, two_key)
    return ""


def _nested(one: tuple[str, ...], two: tuple[str, ...]) -> str:
    if two[: len(one)] == one:
        return "a place inside the first store"
    if one[: len(two)] == two:
        return "a place that holds the first store"
    return ""


def _folder(url: str) -> Path:
    return Path(os.path.realpath(url.removeprefix("file:")))


def _same_folder(one: Path, two: Path) -> bool:
    """Also where a mount shows one folder under two names."""
    try:
        return one.samefile(two)
    except OSError:
        return False


def _s3_parts(url: str) -> tuple[str, ...]:
    return tuple(part for part in url.removeprefix("s3://").split("/") if part)
