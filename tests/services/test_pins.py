"""Pins: kept in the store, with a note, known again to a desk that lost its database."""

from __future__ import annotations

import io
import json
import shutil

import pytest
from sqlalchemy import select

from db.control import audit_log, snapshots
from db.engine import read
from services import backup, retention
from services.core.context import open_context
from services.core.errors import Conflict, Invalid, Misconfigured
from services.protection.index import catalog
from services.protection.retention import pins
from services.protection.stores import open_store
from tests.faults.scene import back_up


@pytest.fixture
def made(ctx, shop, operator) -> str:
    return back_up(ctx, operator).id


def stored(ctx, snapshot_id: str) -> dict:
    with open_store(ctx.settings).open(f"pins/default/{snapshot_id}.json") as stream:
        return json.loads(stream.read())


def test_a_pin_lies_in_the_store_and_in_the_index_and_in_the_audit_log(ctx, made, operator):
    row = retention.pin(ctx, operator, made, "  before the\n migration ")
    assert (row.pin.note, row.pin.by) == ("before the migration", "Operator")
    assert stored(ctx, made)["note"] == "before the migration"
    assert retention.plan(ctx, operator).decisions[0].reasons[0] == (
        "pinned by Operator: before the migration"
    )
    row = retention.unpin(ctx, operator, made)
    assert row.pin is None
    assert open_store(ctx.settings).stat(f"pins/default/{made}.json") is None
    with read(ctx.control) as connection:
        events = connection.execute(
            select(audit_log.c.action, audit_log.c.summary)
            .where(audit_log.c.action.in_(["backup.pin", "backup.unpin"]))
            .order_by(audit_log.c.id)
        ).all()
        assert connection.scalar(select(snapshots.c.pin.is_(None))) == 1
    assert [tuple(event) for event in events] == [
        ("backup.pin", f"Pinned {made}: before the migration"),
        ("backup.unpin", f"Took the pin off {made} (Operator: before the migration)"),
    ]


@pytest.mark.parametrize("note", ["", "  \n ", "x" * 201])
def test_a_pin_needs_a_note_that_can_be_read(ctx, made, operator, note):
    with pytest.raises(Invalid, match="nothing was pinned"):
        retention.pin(ctx, operator, made, note)
    assert catalog.find(ctx, made).pin is None
    assert list(open_store(ctx.settings).list("pins/")) == []


def test_what_is_not_there_can_be_neither_pinned_nor_unpinned(ctx, made, operator):
    with pytest.raises(Invalid, match="There is no snapshot"):
        retention.pin(ctx, operator, "../../etc/passwd", "why")
    with pytest.raises(Conflict, match="is not pinned"):
        retention.unpin(ctx, operator, made)


def test_a_store_that_cant_be_written_pins_nothing(ctx, made, operator, monkeypatch):
    def refuse(*_arguments):
        raise Misconfigured("It may only be read.", "")

    monkeypatch.setattr("services.protection.stores.local.LocalStore.put", refuse)
    with pytest.raises(Misconfigured):
        retention.pin(ctx, operator, made, "why")
    assert catalog.find(ctx, made).pin is None


def test_a_desk_with_an_empty_database_knows_the_pins_again(ctx, made, operator):
    retention.pin(ctx, operator, made, "the year's end")
    store = ctx.settings.instance_dir / "backups"
    fresh_home = ctx.settings.desk_home.with_name("fresh")
    shutil.copytree(store, fresh_home / "instance" / "backups")
    fresh = open_context(ctx.settings.model_copy(update={"desk_home": fresh_home}))
    try:
        backup.refresh(fresh, operator)
        found = catalog.find(fresh, made).pin
    finally:
        fresh.close()
    assert (found.note, found.by) == ("the year's end", "Operator")


def test_another_desks_pin_and_unpin_are_seen_at_the_next_look(ctx, made, operator):
    store = open_store(ctx.settings)
    pins.put(ctx, store, operator, made, "from elsewhere")
    backup.refresh(ctx, operator)
    assert catalog.find(ctx, made).pin.note == "from elsewhere"
    store.delete(f"pins/default/{made}.json")
    backup.refresh(ctx, operator)
    assert catalog.find(ctx, made).pin is None


def test_a_known_pin_is_not_read_again(ctx, made, operator, monkeypatch):
    retention.pin(ctx, operator, made, "why")
    backup.refresh(ctx, operator)
    monkeypatch.setattr(pins, "_read", lambda *_: pytest.fail("read again"))
    assert backup.refresh(ctx, operator).added == ()
    assert catalog.find(ctx, made).pin.note == "why"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b'{"note": "x"}', b"\xff" * 20_000,
        b'{"note": "", "by": "x", "at": "2026-01-01T00:00:00+00:00"}',
    ],
)  # fmt: skip
def test_a_pin_that_nobody_can_read_still_pins(ctx, made, operator, content):
    open_store(ctx.settings).put(f"pins/default/{made}.json", io.BytesIO(content))
    backup.refresh(ctx, operator)
    assert catalog.find(ctx, made).pin.note == "its pin can't be read"
    assert retention.unpin(ctx, operator, made).pin is None


def test_a_pin_of_another_snapshot_under_this_name_only_says_so(ctx, made, operator):
    """Copied by hand: its words are not taken over, but the snapshot stays."""
    store = open_store(ctx.settings)
    pins.put(ctx, store, operator, "20200101T000000Z-aaaa", "the other's")
    with store.open("pins/default/20200101T000000Z-aaaa.json") as stream:
        copy = stream.read()
    store.put(f"pins/default/{made}.json", io.BytesIO(copy))
    store.put("pins/default/..json", io.BytesIO(copy))
    backup.refresh(ctx, operator)
    assert catalog.find(ctx, made).pin.note == "its pin can't be read"
