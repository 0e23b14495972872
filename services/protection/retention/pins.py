"""Pins: somebody's word, with a note, that a snapshot must be kept.

A pin lies in the store beside what it protects (`pins/<instance>/<id>.json`), so that a desk
whose control database was lost, or another desk on the same store, keeps it too. The index
has a copy; `catalog.refresh` brings it up to date.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, null, select, update

from db.control import snapshots
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Invalid
from services.protection.model import Pin
from services.protection.stores.base import Store

log = logging.getLogger("desk.pins")

LONGEST_NOTE = 200
_MOST_BYTES = 10_000
_FORMAT = 1
_UNREADABLE = "its pin can't be read"


def pin_prefix(instance: str) -> str:
    """Where the pins of one tenant lie."""
    return f"pins/{instance}/"


def pin_key(instance: str, snapshot_id: str) -> str:
    """Key of a snapshot's pin."""
    return f"{pin_prefix(instance)}{snapshot_id}.json"


def checked_note(note: str) -> str:
    """A note that says something.

    Raises:
        Invalid: it is empty or very long.
    """
    told = " ".join(note.split())
    if not told:
        raise Invalid(
            "A pin needs a note; nothing was pinned.",
            "Say why this backup must be kept, for whoever wonders in a year.",
        )
    if len(told) > LONGEST_NOTE:
        raise Invalid(
            f"The note has {len(told)} characters, and {LONGEST_NOTE} are allowed; nothing was "
            "pinned.",
            "Say it shorter.",
        )
    return told


def put(ctx: Context, store: Store, actor: Actor, snapshot_id: str, note: str) -> Pin:
    """Write a pin into the store, for a snapshot that is listed.

    Returns:
        The pin, which the caller writes into the index together with its audit event.
    """
    pin = Pin(checked_note(note), actor.name, ctx.now())
    instance = ctx.settings.instance_id
    value = {
        "format": _FORMAT,
        "instance": instance,
        "snapshot": snapshot_id,
        "note": pin.note,
        "by": pin.by,
        "at": pin.at.astimezone(UTC).isoformat(),
    }
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1)
    store.put(pin_key(instance, snapshot_id), io.BytesIO(f"{text}\n".encode()))
    return pin


def remove(ctx: Context, store: Store, snapshot_id: str) -> None:
    """Take a pin out of the store; the caller clears the index."""
    store.delete(pin_key(ctx.settings.instance_id, snapshot_id))


def record(connection: Connection, ctx: Context, snapshot_id: str, pin: Pin | None) -> None:
    """Write what the index knows of a pin."""
    _set(connection, ctx, snapshot_id, None if pin is None else _column(pin))


def fetch_changed(
    ctx: Context, store: Store, listed: Collection[str]
) -> dict[str, dict[str, Any] | None]:
    """Compare the pins of the store with the index; only those that are news are read.

    Args:
        listed: the snapshots that there are; the pin of another is of no use.

    Returns:
        What to write into the index, by snapshot id; None where a pin was taken away.

    Raises:
        Transient, Misconfigured: the store can't be read.
    """
    prefix = pin_prefix(ctx.settings.instance_id)
    present = {
        found.key.removeprefix(prefix).removesuffix(".json"): found.modified.isoformat()
        for found in store.list(prefix)
        if found.key.endswith(".json")
    }
    with ctx.control.connect() as connection:
        known = {
            row.id: row.pin
            for row in connection.execute(
                select(snapshots.c.id, snapshots.c.pin).where(
                    snapshots.c.instance == ctx.settings.instance_id
                )
            )
            if row.pin is not None
        }
    news: dict[str, dict[str, Any] | None] = {
        snapshot_id: None for snapshot_id in known if snapshot_id not in present
    }
    for snapshot_id, modified in present.items():
        if known.get(snapshot_id, {}).get("modified") == modified:
            continue
        if snapshot_id in listed:
            found = _read(ctx, store, snapshot_id)
            if found is not None:
                news[snapshot_id] = _column(found) | {"modified": modified}
    return news


def write_changed(
    connection: Connection, ctx: Context, news: dict[str, dict[str, Any] | None]
) -> None:
    """Write into the index what `fetch_changed` found."""
    for snapshot_id, value in news.items():
        _set(connection, ctx, snapshot_id, value)


def _read(ctx: Context, store: Store, snapshot_id: str) -> Pin | None:
    """A pin of the store; one that nobody can read still pins."""
    instance = ctx.settings.instance_id
    try:
        with store.open(pin_key(instance, snapshot_id)) as stream:
            data = stream.read(_MOST_BYTES + 1)
    except KeyError:
        return None
    try:
        value = json.loads(data)
        note, by = str(value["note"]), str(value["by"])
        at = datetime.fromisoformat(value["at"])
        if at.tzinfo is None or (value["instance"], value["snapshot"]) != (instance, snapshot_id):
            raise ValueError("it is another's")
        return Pin(checked_note(note)[:LONGEST_NOTE], by[:120] or "somebody", at)
    except (ValueError, KeyError, TypeError, RecursionError, Invalid) as error:
        log.warning("the pin of %s can't be read: %s", snapshot_id, error)
        return Pin(_UNREADABLE, "somebody", ctx.now())


def _column(pin: Pin) -> dict[str, Any]:
    return {"note": pin.note, "by": pin.by, "at": pin.at.astimezone(UTC).isoformat()}


def _set(
    connection: Connection, ctx: Context, snapshot_id: str, value: dict[str, Any] | None
) -> None:
    connection.execute(
        update(snapshots)
        .where(snapshots.c.instance == ctx.settings.instance_id, snapshots.c.id == snapshot_id)
        # A plain None would be stored as JSON's null, which is not the database's.
        .values(pin=null() if value is None else value)
    )
