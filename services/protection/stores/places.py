"""Two stores that must not be one: what their addresses tell before anything is opened."""

from __future__ import annotations

import io
import os
import secrets
from pathlib import Path

from services.core.errors import Misconfigured
from services.protection.stores.base import Store

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


def require_not_one(first: Store, second: Store) -> None:
    """Refuse two addresses behind which the same place answers (a folder and the server that
    serves it, one share mounted twice): what is written to one must not appear in the other.

    Raises:
        Misconfigured: it does.
        and what the stores raise.
    """
    # Both ways: a server that keeps a listing in memory does not see what a folder was given.
    same = _shows(first, second) or _shows(second, first)
    if same:
        raise Misconfigured(
            f"BACKUP_COPY_URL leads to the first store under another name: what is written to "
            f"{first.url} and to {second.url} appears in both. Nothing was copied.",
            "A copy protects only where the first store is not: another disk, another bucket, "
            "best of all another account.",
        )


def _shows(written: Store, looked_at: Store) -> bool:
    key = f"desk-check/{secrets.token_hex(8)}"
    written.put(key, io.BytesIO(b"one place?"))
    try:
        return looked_at.stat(key) is not None
    finally:
        written.delete(key)
