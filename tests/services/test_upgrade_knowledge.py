"""A shop whose knowledge base the version before kept: backed up first, then migrated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect, select, text

from db.engine import read, write
from db.knowledge import change_sets, content_digest, entries
from db.migrate import KNOWLEDGE_HEAD, _known, knowledge_revision
from services import backup, restore
from services.core.context import Context, open_context
from services.core.errors import DeskError, Misconfigured
from services.core.loading import load_settings
from services.desk import BEFORE_MIGRATION, bring_up_to_date
from services.knowledge import transfer
from services.knowledge.changes import Add, save
from services.protection.model import Part
from tests.conftest import person
from tests.drills import furnished_desk
from tests.faults.scene import do

OPERATOR, EDITOR = person("operator"), person("editor")


@pytest.fixture
def old(tmp_path: Path, tmp_path_factory) -> Iterator[Context]:
    """A desk with a knowledge base in the tables of the version before."""
    furnished_desk(tmp_path, tmp_path_factory, vectors=False)
    ctx = open_context(
        load_settings(
            env_file=tmp_path / "none.env",
            desk_home=tmp_path / "desk",
            shop_root=tmp_path / "shop",
        )
    )
    save(ctx, EDITOR, [Add("/occasions", "picnic", {"text": "Linen, and flat shoes."})], "Summer")
    _back(ctx)
    yield ctx
    ctx.close()


def _back(ctx: Context) -> None:
    with write(ctx.shop) as connection:
        config = _known(None, "knowledge", KNOWLEDGE_HEAD)
        config.attributes["connection"] = connection
        command.downgrade(config, "k0001")


def test_the_tables_are_migrated_after_a_backup_that_brings_the_old_ones_back(old):
    before = transfer.canonical_json(old.shop)
    said: list[str] = []
    bring_up_to_date(old, said.append)
    assert knowledge_revision(old.shop) == KNOWLEDGE_HEAD
    assert ["backup" in one for one in said] == [True]
    (newest, *_others) = backup.snapshots(old, OPERATOR).rows
    assert newest.reason == BEFORE_MIGRATION
    assert backup.manifest(old, OPERATOR, newest.id).revisions["knowledge"] == "k0001"
    assert transfer.canonical_json(old.shop) == before
    bring_up_to_date(old, said.append)
    assert len(said) == 1, "what is up to date is left alone"


def test_every_entry_gets_its_digest_and_every_change_set_its_counts(old):
    bring_up_to_date(old, lambda _text: None)
    with read(old.shop) as connection:
        for row in connection.execute(select(entries)):
            assert row.digest == content_digest(row.section, row.key, row.kind, row.body)
        told = connection.execute(select(change_sets).where(change_sets.c.reason == "Summer")).one()
        ddl = connection.scalar(text("SELECT sql FROM sqlite_master WHERE name = 'kb_entries'"))
    assert (told.added, told.edited, told.deleted) == (1, 0, 0)
    assert "AUTOINCREMENT" in str(ddl), "an id is never given twice"


def test_without_a_backup_nothing_is_migrated(old, tmp_path):
    store = tmp_path / "desk/instance/backups"
    store.rename(tmp_path / "away")
    store.write_text("no folder")
    with pytest.raises(DeskError):
        bring_up_to_date(old, lambda _text: None)
    assert knowledge_revision(old.shop) == "k0001"
    with pytest.raises(Misconfigured, match="older version"):
        save(old, EDITOR, [Add("/occasions", "gala", {"text": "Long, dark, simple."})])


@pytest.mark.parametrize("part", [Part.DATABASE, Part.KNOWLEDGE])
def test_a_backup_of_the_version_before_can_be_restored_and_that_undone(old, part):
    then = json.loads(transfer.canonical_json(old.shop))
    snapshot = backup.run(old, OPERATOR).result["snapshot"]
    bring_up_to_date(old, lambda _text: None)
    save(old, EDITOR, [Add("/occasions", "gala", {"text": "Long, dark, simple."})])
    now = json.loads(transfer.canonical_json(old.shop))
    do(old, OPERATOR, snapshot, frozenset({part}))
    assert json.loads(transfer.canonical_json(old.shop)) == then
    assert knowledge_revision(old.shop) == KNOWLEDGE_HEAD
    assert inspect(old.shop).has_table("kb_releases")
    offer = restore.undo_offer(old, OPERATOR)
    plan = restore._undo(old, OPERATOR, offer)
    restore.run(old, OPERATOR, plan, plan.word, undo_of=offer.job_id)
    assert json.loads(transfer.canonical_json(old.shop)) == now
