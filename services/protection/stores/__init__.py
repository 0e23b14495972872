"""Where backups lie: a local folder or an S3 bucket, behind one contract."""

from __future__ import annotations

from pathlib import Path

from services.core.errors import Misconfigured
from services.core.settings import Settings
from services.protection.stores.base import Store
from services.protection.stores.places import COPY, STORE, require_apart


def open_store(settings: Settings, *, hurried: bool = False, place: str = STORE) -> Store:
    """The backup store that the settings name. Nothing is read or written yet.

    A local folder below `$DESK_HOME` is made at first use; any other must exist.

    Args:
        hurried: give a silent server up after seconds, for a page that somebody waits for.
        place: `store`, or `copy` for the second one (`BACKUP_COPY_URL`).

    Raises:
        Misconfigured: the address can't be used; or there is no second store, or it is the
            first one.
    """
    if place == COPY:
        settings = as_the_only_store(settings)
    url, named = settings.store_url, settings.store_setting
    if url.startswith("s3://"):
        from services.protection.stores.s3 import S3Store
        from services.protection.stores.s3_client import HURRIED

        return S3Store.from_settings(settings, HURRIED if hurried else None, named)
    from services.protection.stores.local import LocalStore

    folder = Path(url.removeprefix("file:"))
    return LocalStore(folder, create=folder.is_relative_to(settings.desk_home), named=named)


def as_the_only_store(settings: Settings) -> Settings:
    """The settings of a desk that has nothing but the second store.

    Raises:
        Misconfigured: there is none, or it is the first one.
    """
    url = settings.copy_url
    if url is None:
        raise Misconfigured(
            "There is no second store: BACKUP_COPY_URL is not set. Nothing was changed.",
            "Set it to file:FOLDER or s3://BUCKET/PREFIX, somewhere the first store is not.",
        )
    require_apart(settings.store_url, url)
    return settings.with_the_copy_alone()
