"""Unsaved edits of the knowledge base: kept by row id in the session, over pages and sections.

A draft remembers the entry as the person saw it, so that a save can tell what they changed
from what somebody else changed in the meantime. The same drafts lie on the server
(`ui.kb_keeping`); here is what the page works with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import streamlit as st

from services.knowledge.changes import Add, Change, Clash, Delete, Edit
from services.knowledge.document import Kind
from services.knowledge.drafting.keeping import new_id
from services.knowledge.drafting.model import DraftSummary, EntryDraft, NewEntry, Unsaved
from services.knowledge.drafting.placing import as_new
from services.knowledge.entries import Entry
from services.knowledge.validation import KEY, Problem

_STATE = "kb_drafts"

WHOLE = "entry"
"""The field of a clash over a whole entry: one deleted it, the other changed it."""


@dataclass
class Server:
    """What the server has of these drafts, and what else of this person's it has."""

    draft_id: str = field(default_factory=new_id)
    arrived_at: datetime | None = None  # when this tab was opened
    account_id: str = ""
    kept: dict[int, Unsaved] = field(default_factory=dict)  # as it was last written there
    not_kept: str = ""  # why the last try failed, in words for a person
    refused: dict[int, Unsaved] = field(default_factory=dict)  # too much for the server
    try_again: datetime | None = None
    offered: tuple[DraftSummary, ...] = ()
    offered_at: datetime | None = None
    put_off: set[str] = field(default_factory=set)  # offers that the person closed
    runs: int = 0  # of the page; the browser tells by it that its text has arrived


@dataclass
class Drafts:
    """Everything that this person has changed and not saved, in this tab."""

    entries: dict[int, EntryDraft] = field(default_factory=dict)
    new: dict[int, NewEntry] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    clashes: tuple[Clash, ...] = ()
    generation: int = 0  # of all widgets: a new one shows what the drafts say
    grid_generation: int = 0  # of the table alone: typing beside it must not lose the focus
    server: Server = field(default_factory=Server)

    @property
    def generations(self) -> tuple[int, int]:
        """What a table must be drawn with to show what the drafts say."""
        return self.generation, self.grid_generation

    @property
    def count(self) -> int:
        """Entries with unsaved changes."""
        return len(self.entries) + sum(1 for one in self.new.values() if not one.is_blank)

    @property
    def unsaved(self) -> dict[int, Unsaved]:
        """Every entry with unsaved changes, by number."""
        return {**self.entries, **{n: one for n, one in self.new.items() if not one.is_blank}}

    @property
    def unkept(self) -> int:
        """Entries whose unsaved changes the server does not have as they are now."""
        kept = self.server.kept
        return sum(1 for number, one in self.unsaved.items() if kept.get(number) != one)

    def count_in(self, wheres: set[str]) -> int:
        """The same, in these parts."""
        inside = sum(1 for d in self.entries.values() if _where(d.base) & wheres)
        return inside + sum(1 for n in self.new.values() if not n.is_blank and n.where in wheres)

    def shown(self, entry: Entry) -> tuple[str, dict[str, str]]:
        """Key and cells of an entry as the person has them now."""
        draft = self.entries.get(entry.id)
        return (draft.key, draft.shown) if draft else (entry.key, entry.cells)

    def put(self, entry: Entry, name: str, value: str) -> None:
        """The person wrote this into a cell; `key` names the entry's key."""
        draft = self.entries.get(entry.id) or EntryDraft(entry, entry.key, {})
        if name == KEY:
            draft = replace(draft, key=value)
        else:
            stored = draft.base.cells.get(name, "")
            draft = _with(draft, name, _line_ends(stored, value))
        self._keep(entry.id, draft)

    def mark(self, entry: Entry, *, deleted: bool) -> None:
        """The person deleted the entry, or took that back."""
        draft = self.entries.get(entry.id) or EntryDraft(entry, entry.key, {})
        self._keep(entry.id, replace(draft, deleted=deleted))

    def _keep(self, entry_id: int, draft: EntryDraft) -> None:
        if draft.is_empty:
            self.entries.pop(entry_id, None)
        else:
            self.entries[entry_id] = draft

    def add(self, where: str, section: str, names: tuple[str, ...], key: str = "") -> int:
        """Begin a new entry; gives its (negative) number."""
        ref = min(self.new, default=0) - 1
        self.new[ref] = NewEntry(ref, where, section, key, dict.fromkeys(names, ""))
        return ref

    def put_new(self, ref: int, name: str, value: str) -> None:
        """The person wrote this into a new entry."""
        one = self.new[ref]
        if name == KEY:
            self.new[ref] = replace(one, key=value)
        else:
            self.new[ref] = replace(one, cells={**one.cells, name: value})

    def drop(self, number: int) -> None:
        """Take everything unsaved in this entry back."""
        self.entries.pop(number, None)
        self.new.pop(number, None)
        self.problems = tuple(p for p in self.problems if p.ref != number)
        self.clashes = tuple(c for c in self.clashes if c.entry_id != number)
        self.generation += 1

    def clear(self) -> None:
        """Take everything back, or forget it because it was saved."""
        self.entries.clear()
        self.new.clear()
        self.problems, self.clashes = (), ()
        self.generation += 1

    def fill(self, found: Mapping[int, Unsaved]) -> None:
        """Go on with what was unsaved elsewhere; what is here already stays as it is."""
        for number, one in found.items():
            if isinstance(one, EntryDraft) and number not in self.entries:
                self.entries[number] = one
                continue
            held = self.new.get(number)
            free = number < 0 and (held is None or held.is_blank)
            ref = number if free else min([0, *self.new, *found]) - 1
            new = one if isinstance(one, NewEntry) else as_new(one, ref)
            self.new[ref] = replace(new, ref=ref)
        self.generation += 1

    def edits(self) -> list[Change]:
        """What to save."""
        made: list[Change] = []
        for draft in self.entries.values():
            base = draft.base
            if draft.deleted:
                made.append(Delete(base.id, base.version, base.digest))
                continue
            before = {name: base.cells.get(name, "") for name in draft.cells}
            renamed = draft.key != base.key
            made.append(
                Edit(
                    base.id,
                    base.version,
                    before,
                    dict(draft.cells),
                    base.key if renamed else None,
                    draft.key if renamed else None,
                    base,
                )
            )
        made += [
            Add(one.section, one.key.strip(), dict(one.cells), one.ref)
            for one in self.new.values()
            if not one.is_blank
        ]
        return made

    def settle(
        self, clash: Clash, now: Entry | None, *, mine: bool, text: str | None = None
    ) -> None:
        """Resolve one clash: from now on the person has seen `theirs` in this cell.

        Only in this one: what else somebody changed in the entry is still asked about.

        Args:
            now: the entry as it is stored; None when it was deleted.
            mine: keep the person's own value, to be saved over theirs.
            text: what to save instead, made of both.
        """
        draft = self.entries.pop(clash.entry_id, None)
        if draft is None:
            return
        if now is None:
            if mine and not draft.deleted:
                ref = min(self.new, default=0) - 1
                self.new[ref] = as_new(draft, ref)
        elif clash.field == WHOLE or now.kind is not draft.base.kind:
            cells = {n: v for n, v in draft.cells.items() if mine and v != now.cells.get(n, "")}
            key = draft.key if mine and draft.key != draft.base.key else now.key
            deleted = draft.deleted and mine
            self._keep(now.id, EntryDraft(now, key, cells, deleted))
        elif clash.field == KEY:
            base = replace(draft.base, key=clash.theirs or now.key)
            key = text if text is not None else draft.key if mine else base.key
            self._keep(now.id, replace(draft, base=base, key=key))
        else:
            own = draft.cells.get(clash.field, "")
            base = _seen(draft.base, clash.field, clash.theirs)
            value = text if text is not None else own if mine else clash.theirs or ""
            self._keep(now.id, _with(replace(draft, base=base), clash.field, value))


def drafts() -> Drafts:
    """The unsaved edits of this session."""
    held: Drafts = st.session_state.setdefault(_STATE, Drafts())
    return held


def _with(draft: EntryDraft, name: str, value: str) -> EntryDraft:
    cells = {**draft.cells, name: value}
    if value == draft.base.cells.get(name, ""):
        del cells[name]
    return replace(draft, cells=cells)


def _seen(base: Entry, name: str, theirs: str | None) -> Entry:
    if base.kind is Kind.TEXT:
        return replace(base, body=theirs or "")
    cells = {n: v for n, v in base.cells.items() if n != name}
    return replace(base, body=cells if theirs is None else {**base.cells, name: theirs})


def _where(entry: Entry) -> set[str]:
    # A single text is a part of its own; an entry of a table belongs to the table.
    return {entry.section, entry.row.pointer}


def _line_ends(stored: str, typed: str) -> str:
    # A browser turns every line end into \n; a text with \r\n keeps its own.
    if not isinstance(typed, str):
        return typed  # a hand-made message; refused when it is saved
    if "\r\n" in stored and "\r" not in typed and "\n" not in stored.replace("\r\n", ""):
        return typed.replace("\n", "\r\n")
    return typed
