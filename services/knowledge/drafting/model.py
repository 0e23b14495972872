"""What a person has written into the knowledge base and not saved, and how it is kept.

A draft of an entry holds the entry as the person saw it beside what they made of it. What
they changed can so be told from what others changed, days later and after a restore as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from services.knowledge.document import Kind
from services.knowledge.entries import Entry

MAX_ENTRIES = 2_000
"""Entries of one draft."""
MAX_CHARACTERS = 20_000_000
"""Characters of one draft, as it is kept."""
ALIVE_FOR = timedelta(seconds=60)
"""A tab that was seen within this time may still be open."""


@dataclass(frozen=True)
class EntryDraft:
    """What is unsaved in one entry."""

    base: Entry
    key: str
    cells: Mapping[str, str]  # only those that differ from the base
    deleted: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it says what is stored."""
        return not self.deleted and not self.cells and self.key == self.base.key

    @property
    def shown(self) -> dict[str, str]:
        """All cells as the person has them now."""
        return {**self.base.cells, **self.cells}


@dataclass(frozen=True)
class NewEntry:
    """An entry that is not saved yet."""

    ref: int
    where: str  # pointer of the part it belongs to
    section: str
    key: str
    cells: Mapping[str, str]

    @property
    def is_blank(self) -> bool:
        """Whether nothing was written into it."""
        return not self.key.strip() and not any(str(text).strip() for text in self.cells.values())


Unsaved = EntryDraft | NewEntry
"""By number: the id of the entry, negative for a new one."""


@dataclass(frozen=True)
class Kept:
    """What came of keeping a draft on the server."""

    elsewhere: bool = False  # it goes on in another tab, or was thrown away there
    begun: bool = False  # nothing of this draft was there before
    left_out: tuple[int, ...] = ()  # too much: these are in the tab alone
    why: str = ""


@dataclass(frozen=True)
class DraftSummary:
    """A draft of this account that another tab, or an earlier visit, left."""

    id: str
    touched_at: datetime
    entries: int
    alive: bool  # its tab was open a moment ago


@dataclass(frozen=True)
class Taken:
    """A draft that goes on in another tab."""

    stored: dict[int, Unsaved]  # as it is kept now
    placed: dict[int, Unsaved]  # the same, each at the entry that stands at its place now
    left: int  # entries that stay behind, as the tab has changes of its own in them


def encode(one: Unsaved) -> str:
    """A draft of one entry as it is kept. Only ASCII: any text fits into any database."""
    if isinstance(one, NewEntry):
        facts: dict[str, Any] = {"where": one.where, "section": one.section, "key": one.key}
    else:
        base = asdict(one.base)
        base["updated_at"] = one.base.updated_at.isoformat()
        facts = {"base": base, "key": one.key, "deleted": one.deleted}
    return json.dumps({**facts, "cells": _texts(one.cells)})


def decode(number: int, body: str) -> Unsaved | None:
    """A kept draft of one entry; None where it can't be read."""
    try:
        held = json.loads(body)
        cells, key = _texts(held["cells"]), str(held["key"])
        if "base" not in held:
            return NewEntry(number, str(held["where"]), str(held["section"]), key, cells)
        base = held["base"]
        told = {one.name: base[one.name] for one in fields(Entry) if one.name in base}
        at = datetime.fromisoformat(base["updated_at"])
        entry = Entry(**{**told, "updated_at": at, "kind": Kind(base["kind"])})
        return EntryDraft(entry, key, cells, bool(held["deleted"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _texts(cells: Mapping[str, Any]) -> dict[str, str]:
    # What a hand-made message puts in place of a text is refused when it is saved; it is
    # not worth being kept.
    return {str(name): text for name, text in cells.items() if isinstance(text, str)}
