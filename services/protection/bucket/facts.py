"""What is known of the store without asking it: from the settings and the index."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import func, select

from db.control import snapshots
from db.engine import read
from services.core.context import Context
from services.core.errors import Misconfigured
from services.protection.model import Storage
from services.protection.sealing.keys import keys_of
from services.protection.stores.s3_client import place_of


@dataclass(frozen=True)
class StoreFacts:
    """Where backups lie and who can read them."""

    url: str
    bucket: bool  # an S3 bucket; else a folder
    server: str  # "Amazon S3", or the host of another server; empty for a folder
    snapshots: dict[Storage, int]  # how many lie where
    stored_bytes: int
    encrypted: int  # snapshots
    signed: int
    recipients: int  # keys for which backups are encrypted
    can_open: bool  # this machine holds an identity
    signing_keys: int
    problem: tuple[str, str] | None = None  # message and hint when a key can't be used

    @property
    def total(self) -> int:
        """Snapshots in all."""
        return sum(self.snapshots.values())


def store_facts(ctx: Context) -> StoreFacts:
    """Cheap to read; no store is asked and no secret is in it."""
    settings = ctx.settings
    ours = snapshots.c.instance == settings.instance_id
    with read(ctx.control) as connection:
        where = connection.execute(
            select(snapshots.c.storage, func.count()).where(ours).group_by(snapshots.c.storage)
        ).all()
        stored, encrypted, signed = connection.execute(
            select(
                func.coalesce(func.sum(snapshots.c.stored_bytes), 0),
                func.count().filter(snapshots.c.encrypted),
                func.count().filter(snapshots.c.signed),
            ).where(ours)
        ).one()
    recipients = signing = 0
    can_open, problem = False, None
    try:
        keys = keys_of(settings)
        recipients, signing = len(keys.recipients), len(keys.signing)
        can_open = keys.identity_file is not None and keys.identity_file.is_file()
    except Misconfigured as error:
        problem = error.message, error.hint
    bucket = settings.store_url.startswith("s3://")
    return StoreFacts(
        settings.store_url,
        bucket,
        _server(ctx) if bucket else "",
        {Storage(storage): count for storage, count in where},
        int(stored),
        encrypted,
        signed,
        recipients,
        can_open,
        signing,
        problem,
    )


def _server(ctx: Context) -> str:
    try:
        place = place_of(ctx.settings)
    except Misconfigured:
        return ""
    return "Amazon S3" if place.is_aws else urlsplit(place.endpoint or "").netloc.rpartition("@")[2]
