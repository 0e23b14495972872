"""Where backups lie: a local folder or an S3 bucket, behind one contract."""

from __future__ import annotations

from pathlib import Path

from services.core.settings import Settings
from services.protection.stores.base import Store


def open_store(settings: Settings, *, hurried: bool = False) -> Store:
    """The backup store that the settings name. Nothing is read or written yet.

    A local folder below `$DESK_HOME` is made at first use; any other must exist.

    Args:
        hurried: give a silent server up after seconds, for a page that somebody waits for.

    Raises:
        Misconfigured: the address can't be used.
    """
    url = settings.store_url
    if url.startswith("s3://"):
        from services.protection.stores.s3 import S3Store
        from services.protection.stores.s3_client import HURRIED

        return S3Store.from_settings(settings, HURRIED if hurried else None)
    from services.protection.stores.local import LocalStore

    folder = Path(url.removeprefix("file:"))
    return LocalStore(folder, create=folder.is_relative_to(settings.desk_home))
