"""Encryption end to end: who has only the recipients makes backups and can read none."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest
from sqlalchemy import text

from db.engine import write
from services import backup, restore
from services.core.context import Context
from services.core.errors import Broken, Misconfigured
from services.core.settings import Settings, load_settings
from services.protection import reading
from services.protection.model import Part
from services.protection.stores import open_store
from tests.services.test_backup import pictures, store_dir

__all__ = ["pictures", "store_dir"]

SECRETS = (b"user3@example.org", b"Product 7", b"ORD-2026", b"flower", b"coat", b"CREATE TABLE")


@pytest.fixture
def operators_key() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def recovery_key() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


def with_settings(ctx: Context, **changed: object) -> Context:
    """The same desk with other settings."""
    same = {
        "desk_home": ctx.settings.desk_home,
        "shop_root": ctx.settings.shop_root,
        "env_file": Path("none.env"),
    }
    return replace(ctx, settings=load_settings(**(same | changed)))


@pytest.fixture
def sealed(ctx, shop, pictures, operators_key, recovery_key) -> Context:
    """A desk that has the recipients only."""
    public = f"{operators_key.to_public()}, {recovery_key.to_public()}"
    return with_settings(ctx, backup_age_recipients=public)


def opening(sealed: Context, identity: object, folder: Path) -> Context:
    """The same desk, with an identity."""
    file = folder / "identity.txt"
    file.write_text(f"# made for a test\n{identity}\n")
    return with_settings(
        sealed,
        backup_age_recipients=sealed.settings.backup_age_recipients,
        backup_age_identity_file=file,
    )


def made(ctx: Context, actor):
    return backup.manifest(ctx, actor, backup.run(ctx, actor, "manual").result["snapshot"])


def test_nothing_of_the_shop_can_be_read_in_the_whole_store(sealed, operator, store_dir):
    with write(sealed.shop) as connection:
        connection.execute(
            text(
                "INSERT INTO kb_entries (section, key, kind, body, position, version, updated_at,"
                " updated_by) VALUES ('', 'basics', 'text', '\"Navy goes with KBWORD\"', 1, 1,"
                " '2026-01-01', 'me')"
            )
        )
    manifest = made(sealed, operator)
    assert manifest.encrypted and backup.snapshots(sealed, operator).rows[0].encrypted
    stored = {path: path.read_bytes() for path in store_dir.rglob("*") if path.is_file()}
    assert len(stored) > 6
    for path, content in stored.items():
        for word in (*SECRETS, b"KBWORD", b"Operator's", "blüte".encode(), b"coat.png"):
            if path.suffix != ".json" or word != b"CREATE TABLE":
                assert word not in content, (path, word)
    names = {component.name for component in manifest.components if component.encryption == "none"}
    assert names == {"images.objects.json"}
    sealed_files = {path.name for path, content in stored.items() if b"age-encryption" in content}
    assert sealed_files >= {
        "database.sqlite3.zst.age",
        "control.sqlite3.zst.age",
        "knowledge.json.age",
        "images.json.age",
    }
    assert sum("-" in name for name in sealed_files) == 2, "two different pictures"
