"""Which stored pictures belong to a snapshot."""

from __future__ import annotations

from sqlalchemy import select

from db.control import stored_pictures
from db.engine import read
from services.core.context import Context
from services.protection.manifest import image_key
from services.protection.model import Manifest, Part
from services.protection.reading import component_of, picture_list
from services.protection.stores.base import Store


def pictures_of(ctx: Context, store: Store, manifest: Manifest) -> frozenset[str] | None:
    """Keys of the pictures of a snapshot.

    Returns:
        None where the list can't be opened here: it is encrypted, and this machine has no
        identity. Then every picture counts as one of it.
    """
    if Part.IMAGES not in manifest.parts:
        return frozenset()
    encrypted = component_of(manifest, Part.IMAGES).encryption != "none"
    if encrypted and ctx.settings.backup_age_identity_file is None:
        return None
    names = picture_list(ctx, store, manifest)
    return frozenset(image_key(manifest.instance, digest) for digest in names.values())


def stored_digests(ctx: Context) -> dict[str, str]:
    """Of the pictures that this desk stored encrypted: key -> sha256 as stored."""
    query = select(stored_pictures.c.key, stored_pictures.c.stored_sha256).where(
        stored_pictures.c.instance == ctx.settings.instance_id
    )
    with read(ctx.control) as connection:
        return {row.key: row.stored_sha256 for row in connection.execute(query)}
