"""A desk of the version before: its own database and its backups are used as they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, make_url, text

from db.engine import control_engine, read, write
from db.migrate import _known
from services import backup, drill, restore, retention
from services.core.context import Context, open_context
from services.core.loading import load_settings
from services.core.settings import Settings
from services.protection.index import catalog
from services.protection.model import Component, Manifest
from services.protection.retention.facts import gather
from services.protection.retention.model import Policy
from services.protection.retention.plan import plan_prune
from services.protection.stores import open_store
from tests.conftest import person
from tests.drills import furnished_desk
from tests.faults.scene import damage, do, facts

OPERATOR = person("operator")
NEW_FIELDS = ("engines", "neighbours", "match")


@pytest.fixture
def made(tmp_path: Path, tmp_path_factory) -> Manifest:
    """A backup, whose manifest was written as the version before wrote it."""
    made = furnished_desk(tmp_path, tmp_path_factory, vectors=False)
    path = tmp_path / "desk/instance/backups/manifests/default" / f"{made.id}.json"
    path.chmod(0o600)
    values = json.loads(path.read_text())
    for name in NEW_FIELDS:
        del values[name]
    for component in values["components"]:
        del component["origin"]
    path.write_text(json.dumps(values | {"format": 1, "extra": {}}, sort_keys=True, indent=1))
    return made


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def old(request, tmp_path: Path, made: Manifest) -> Settings:
    """A desk whose own database the version before migrated, with that backup in its list."""
    more = {}
    if request.param == "PostgreSQL":
        server = request.getfixturevalue("postgres_server")
        more = {"control_database_url": server.make_database(), **server.tools_setting()}
    settings = load_settings(
        env_file=tmp_path / "none.env",
        desk_home=tmp_path / "desk",
        shop_root=tmp_path / "shop",
        **more,
    )
    for name in ("control.db", "control.db-wal", "control.db-shm"):
        (settings.instance_dir / name).unlink(missing_ok=True)
    engine = control_engine(settings.control_url)
    with write(engine) as connection:
        _first_revision(connection)
        _list(connection, settings, made)
    engine.dispose()
    return settings


def _first_revision(connection: Connection, *, back: bool = False) -> None:
    from alembic import command

    config = _known(None, "control", "c0002")
    config.attributes["connection"] = connection
    (command.downgrade if back else command.upgrade)(config, "c0001")


def _list(connection: Connection, settings: Settings, made: Manifest) -> None:
    data = (settings.instance_dir / f"backups/manifests/default/{made.id}.json").read_bytes()
    values: dict[str, Any] = {
        "id": made.id,
        "instance": "default",
        "created_at": made.created_at,
        "reason": "scheduled",
        "asked_by": "cron",
        "plain_bytes": made.plain_bytes,
        "stored_bytes": made.stored_bytes,
        "components": json.dumps(
            [{"name": each.name, "part": each.part.value} for each in made.components]
        ),
        "headline": json.dumps({"orders": 30}),
        "manifest_sha256": hashlib.sha256(data).hexdigest(),
        "verified_at": made.created_at,
        "verify_error": None,
        "indexed_at": made.created_at,
    }
    names = ", ".join(values)
    holders = ", ".join(f":{name}" for name in values)
    if make_url(settings.control_url).get_backend_name() == "sqlite":
        for name in ("created_at", "verified_at", "indexed_at"):
            values[name] = values[name].strftime("%Y-%m-%d %H:%M:%S.%f")
    connection.execute(text(f"INSERT INTO snapshots ({names}) VALUES ({holders})"), values)


@pytest.fixture
def upgraded(old: Settings) -> Iterator[Context]:
    context = open_context(old)
    yield context
    context.close()


def test_what_was_called_verified_is_read_back_and_everything_goes_on(upgraded, made):
    (row,) = backup.snapshots(upgraded, OPERATOR).rows
    assert (row.id, row.read_back_at, row.verified_at) == (made.id, made.created_at, None)
    assert backup.verify(upgraded, OPERATOR, made.id).verify_error is None
    good = facts(upgraded)
    damage(upgraded)
    do(upgraded, OPERATOR, made.id)
    assert facts(upgraded) == good
    offer = restore.undo_offer(upgraded, OPERATOR)
    assert offer is not None
    drill.run(upgraded, OPERATOR, made.id)
    assert catalog.find(upgraded, made.id).verified_at is not None
    newer = backup.run(upgraded, OPERATOR).result["snapshot"]
    drill.run(upgraded, OPERATOR, newer)


def test_back_to_the_version_before_and_on_again_every_row_is_as_it_was(old, made):
    before = _rows(old)
    with closing(open_context(old)) as context:
        drill.run(context, OPERATOR, made.id)
        encrypted = replace(made, id="20261225T020000Z-aaaa", components=_encrypted(made))
        catalog.record(context, encrypted, b"{}")
    _back(old)
    after = _rows(old)
    assert {row["id"]: row for row in after["snapshots"]}.keys() == {made.id, encrypted.id}
    for name, rows in before.items():
        assert all(row in after[name] for row in rows), name
    with closing(open_context(old)) as context:
        assert catalog.find(context, encrypted.id).encrypted
        catalog.refresh(context, open_store(old))
        row = catalog.find(context, made.id)
        assert (row.read_back_at, row.encrypted) == (made.created_at, False)
        # Its table went with the version, and the store brought the proof back.
        assert row.verified_at is not None


def _rows(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    engine = control_engine(settings.control_url)
    with read(engine) as connection:
        found = {
            table: [
                dict(row._mapping) for row in connection.execute(text(f"SELECT * FROM {table}"))
            ]
            for table in inspect(connection).get_table_names()
        }
    engine.dispose()
    return found


def _back(settings: Settings) -> None:
    engine = control_engine(settings.control_url)
    with write(engine) as connection:
        _first_revision(connection, back=True)
    engine.dispose()


def _encrypted(made: Manifest) -> tuple[Component, ...]:
    return tuple(replace(each, name=f"{each.name}.age") for each in made.components)


def test_the_first_run_of_retention_keeps_the_last_one_that_was_read_back(upgraded, made):
    inventory = gather(upgraded)
    policy = Policy(days=1, weeks=0, months=0, minimum=1)
    # Younger ones that nobody read back, as a store that failed half way leaves them.
    (row,) = inventory.snapshots
    later = row.created_at + timedelta(days=3)
    unread = replace(row, id="20261225T020000Z-aaaa", created_at=later, read_back_at=None)
    plan = plan_prune(
        replace(inventory, snapshots=(unread, row)), policy, later + timedelta(days=2)
    )
    kept = {each.row.id: each.words for each in plan.decisions if each.keep}
    assert "the last one read back" in kept[made.id]
    assert retention.plan(upgraded, OPERATOR).going == ()
