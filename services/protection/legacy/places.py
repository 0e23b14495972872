"""Where old backups may lie, opened for reading alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from services.core.settings import Settings
from services.protection.stores import open_store
from services.protection.stores.base import Store, StoredObject


class ReadOnly:
    """A store that can be listed and read; there is no way to write to it from here."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReadOnly) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._store.url

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """See `Store.open`."""
        return self._store.open(key)

    def stat(self, key: str) -> StoredObject | None:
        """See `Store.stat`."""
        return self._store.stat(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `Store.list`."""
        return self._store.list(prefix)


def places(settings: Settings, *, hurried: bool = False) -> list[ReadOnly]:
    """The roots below which `backups/` may be: the store, the root of its bucket, and the
    shop's own bucket (`S3_BACKUP_BUCKET`) where that is another one."""
    urls = [settings.store_url]
    if settings.store_url.startswith("s3://"):
        urls.append(_bucket(settings.store_url))
    if settings.s3_backup_bucket:
        urls.append(f"s3://{settings.s3_backup_bucket}")
    stores = []
    for url in dict.fromkeys(url.rstrip("/") for url in urls):
        there = settings.model_copy(update={"backup_store_url": url})
        stores.append(ReadOnly(open_store(there, hurried=hurried)))
    return stores


def _bucket(url: str) -> str:
    return f"s3://{url.removeprefix('s3://').partition('/')[0]}"
