"""What a store can do beyond its contract, found out by trying with small objects of our own."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from services.protection.stores.base import Store


def clock_ahead(store: Store, clock: Callable[[], datetime]) -> timedelta:
    """How far the clock of this machine is ahead of the store's; negative where it is behind.

    Raises:
        what the store's own methods raise.
    """
    key = f"desk-check/{secrets.token_hex(8)}"
    before = clock()
    stored = store.put(key, io.BytesIO(b"clock"))
    after = clock()
    store.delete(key)
    # Stores keep whole seconds, and the request took its time: anything between is no skew.
    if stored.modified > after:
        return after - stored.modified
    return max(timedelta(0), before - stored.modified - timedelta(seconds=1))


def conditional_writes(store: Store) -> bool | None:
    """Whether the store refuses to replace an object when it is asked to.

    Returns:
        None for a folder, which is not asked.

    Raises:
        what the store's own methods raise.
    """
    from services.protection.stores.s3 import S3Store

    if not isinstance(store, S3Store):
        return None
    return store.refuses_to_replace(f"desk-check/{secrets.token_hex(8)}")


def kms_key_fits(store: Store) -> tuple[str, bool | None] | None:
    """The KMS key that the store encrypts with, and whether it is the one that is configured.

    Returns:
        None for a folder. Whether it is the one: None where that can't be told.

    Raises:
        what the store's own methods raise.
    """
    from services.protection.stores.s3 import S3Store

    if not isinstance(store, S3Store):
        return None
    return store.kms_key_fits(f"desk-check/{secrets.token_hex(8)}")
