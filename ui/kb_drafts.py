"""Unsaved edits of the knowledge base: kept by row id in the session, over pages and sections.

A draft remembers the entry as the person saw it, so that a save can tell what they changed
from what somebody else changed in the meantime.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import streamlit as st

from services.knowledge.changes import Add, Change, Clash, Delete, Edit
from services.knowledge.entries import Entry
from services.knowledge.validation import KEY, Problem

_STATE = "kb_drafts"


@dataclass
class EntryDraft:
    """What is unsaved in one entry."""

    base: Entry
    key: str
    cells: dict[str, str]  # only those that differ from the base
    deleted: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it says what is stored."""
        return not self.deleted and not self.cells and self.key == self.base.key

    @property
    def shown(self) -> dict[str, str]:
        """All cells as the person has them now."""
        return {**self.base.cells, **self.cells}


@dataclass
class NewEntry:
    """An entry that is not saved yet."""

    ref: int
    where: str  # pointer of the part it belongs to
    section: str
    key: str
    cells: dict[str, str]

    @property
    def is_blank(self) -> bool:
        """Whether nothing was written into it."""
        return not self.key.strip() and not any(text.strip() for text in self.cells.values())


@dataclass
class Drafts:
    """Everything that this person has changed and not saved, in this tab."""

    entries: dict[int, EntryDraft] = field(default_factory=dict)
    new: dict[int, NewEntry] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    clashes: tuple[Clash, ...] = ()
    generation: int = 0  # of all widgets: a new one shows what the drafts say
    grid_generation: int = 0  # of the table alone: typing beside it must not lose the focus

    @property
    def generations(self) -> tuple[int, int]:
        """What a table must be drawn with to show what the drafts say."""
        return self.generation, self.grid_generation

    @property
    def count(self) -> int:
        """Entries with unsaved changes."""
        return len(self.entries) + sum(1 for one in self.new.values() if not one.is_blank)

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
        if name != KEY:
            value = _line_ends(draft.base.cells.get(name, ""), value)
        if name == KEY:
            draft.key = value
        elif value == draft.base.cells.get(name, ""):
            draft.cells.pop(name, None)
        else:
            draft.cells[name] = value
        self._keep(entry.id, draft)

    def mark(self, entry: Entry, *, deleted: bool) -> None:
        """The person deleted the entry, or took that back."""
        draft = self.entries.get(entry.id) or EntryDraft(entry, entry.key, {})
        draft.deleted = deleted
        self._keep(entry.id, draft)

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
        if name == KEY:
            self.new[ref].key = value
        else:
            self.new[ref].cells[name] = value

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

    def edits(self) -> list[Change]:
        """What to save."""
        made: list[Change] = []
        for draft in self.entries.values():
            base = draft.base
            if draft.deleted:
                made.append(Delete(base.id, base.version))
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
                )
            )
        made += [
            Add(one.section, one.key.strip(), dict(one.cells), one.ref)
            for one in self.new.values()
            if not one.is_blank
        ]
        return made

    def settle(self, clash: Clash, now: Entry | None, *, mine: bool) -> None:
        """Resolve one clash: from now on `theirs` is what the person has seen.

        Args:
            now: the entry as it is stored; None when it was deleted.
            mine: keep the person's own value, to be saved over theirs.
        """
        draft = self.entries.pop(clash.entry_id, None)
        if draft is None:
            return
        if now is None:
            if mine and not draft.deleted:
                ref = self.add(draft.base.section, draft.base.section, (), draft.key)
                self.new[ref].cells = draft.shown
            return
        if not mine:
            if clash.field == KEY:
                draft.key = now.key
            draft.cells.pop(clash.field, None)
            draft.deleted = False
        cells = {n: v for n, v in draft.cells.items() if v != now.cells.get(n, "")}
        key = now.key if draft.key == draft.base.key else draft.key
        self._keep(now.id, replace(draft, base=now, key=key, cells=cells))


def drafts() -> Drafts:
    """The unsaved edits of this session."""
    held: Drafts = st.session_state.setdefault(_STATE, Drafts())
    return held


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
