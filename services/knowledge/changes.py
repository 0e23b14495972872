"""Saving edits: all of them or none, keyed by row id and version, merged by cell.

Two people who edit different cells of an entry both get what they wrote. Where both
changed the same cell nothing is saved, and the error shows base, theirs and mine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select

from db.knowledge import change_sets, changes, content_digest
from db.knowledge import entries as table
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import write_shop
from services.core.errors import Conflict, Invalid
from services.knowledge.document import Kind, Row
from services.knowledge.entries import TEXT, Entry, by_id
from services.knowledge.ledger import ChangeSet, Ledger
from services.knowledge.relay import relay
from services.knowledge.sections import Part, Shape, part_at, part_of_entry, path_of, pointer
from services.knowledge.twins import Twins
from services.knowledge.validation import (
    KEY,
    MAX_POINTER,
    MAX_REASON,
    NotValid,
    Problem,
    cell_problems,
    key_problem,
    text_problem,
)


@dataclass(frozen=True)
class Add:
    """A new entry at the end of a section."""

    section: str
    key: str
    cells: Mapping[str, str]
    ref: int = -1  # how problems name it: negative, unique among the adds of one save


@dataclass(frozen=True)
class Edit:
    """Changed cells of an entry, with what the person saw in them.

    `before` and `after` have the same names; only cells that were changed stand in them.
    """

    entry_id: int
    version: int
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    key_before: str | None = None
    key_after: str | None = None
    seen: Entry | None = None  # all of it, as the person saw it: tells what others changed


@dataclass(frozen=True)
class Delete:
    """An entry goes."""

    entry_id: int
    version: int
    digest: str = ""  # of what the person saw; a restored database may count anew


Change = Add | Edit | Delete


@dataclass(frozen=True)
class Clash:
    """A cell that two people changed; None stands for "not there"."""

    entry_id: int
    section: str
    key: str
    field: str
    base: str | None
    theirs: str | None
    mine: str | None
    who: str
    at: datetime | None


class EditConflict(Conflict):
    """Somebody else changed the same cells in the meantime; nothing was saved."""

    def __init__(self, clashes: tuple[Clash, ...]) -> None:
        first = clashes[0]
        more = f" and {len(clashes) - 1} more" if len(clashes) > 1 else ""
        super().__init__(
            f"{first.who} changed {first.key} ({first.field}){more} while you were editing; "
            "nothing of yours was saved.",
            "Compare both below, keep theirs or yours for each cell, then save again.",
        )
        self.clashes = clashes


class NothingToSave(Invalid):
    """The knowledge base already says exactly this."""


def save(
    ctx: Context,
    actor: Actor,
    edits: Sequence[Change],
    reason: str = "",
    *,
    kind: Literal["edit", "bulk"] = "edit",
    change_set_id: str = "",
) -> ChangeSet:
    """Write edits to the knowledge base as one change set.

    Args:
        edits: what the person changed; each entry at most once.
        reason: why, in a few words; may be empty.
        kind: how the history calls it: a person's own edits, or one done to many at once.
        change_set_id: what `keeping.begin_save` named; any other when not given.

    Returns:
        The change set; its notes say what was merged with the work of others.

    Raises:
        Denied: without `kb.edit`.
        NotValid: some cells can't be saved; lists all of them.
        EditConflict: the same cells were changed by somebody else; lists all of them.
        NothingToSave: the knowledge base already says all of it.
        Invalid: an edit names no entry, or the reason can't be stored.
    """
    require(actor, Permission.KB_EDIT)
    reason = sound_reason(reason)
    with write_shop(ctx) as connection:
        desk = _Desk(connection, edits)
        ledger = desk.weigh()
        done = ledger.write(ctx, actor, kind, reason, change_set_id)
        change_set = replace(done, notes=tuple(desk.notes))
    relay(ctx)
    return change_set


def sound_reason(reason: str) -> str:
    """A reason as it is stored.

    Raises:
        Invalid: it is too long or holds characters that can't be shown.
    """
    reason = reason.strip()
    if len(reason) > MAX_REASON or text_problem(reason):
        raise Invalid(
            f"The reason can't be saved: at most {MAX_REASON} characters, without control "
            "characters. Nothing was saved.",
            "Shorten it; your changes are still here.",
        )
    return reason


class _Desk:
    """Weighs the edits of one save against what is stored now, inside its transaction."""

    def __init__(self, connection: Connection, edits: Sequence[Change]) -> None:
        self._connection = connection
        self._edits = edits
        ids = [edit.entry_id for edit in edits if not isinstance(edit, Add)]
        if len(set(ids)) != len(ids):
            raise Invalid(
                "The same entry is edited twice in one save; nothing was saved.",
                "Reload the page and make the change again.",
            )
        self._now = by_id(connection, ids, lock=True)
        self._twins = self._read_twins()
        self._ledger = Ledger(connection)
        self._problems: list[Problem] = []
        self._clashes: list[Clash] = []
        self.notes: list[str] = []

    def weigh(self) -> Ledger:
        """Check every edit; the ledger holds what is to be written."""
        for edit in self._edits:
            if isinstance(edit, Delete):
                self._delete(edit)
        for edit in self._edits:
            if isinstance(edit, Edit):
                self._edit(edit)
        for edit in self._edits:
            if isinstance(edit, Add):
                self._add(edit)
        if self._problems:
            raise NotValid(tuple(self._problems))
        if self._clashes:
            raise EditConflict(tuple(self._clashes))
        if self._ledger.is_empty:
            raise NothingToSave(
                "There is nothing to save: the knowledge base already says exactly this.",
                "Change something first.",
            )
        return self._ledger

    def _read_twins(self) -> Twins:
        wanted: dict[str, list[str]] = {}
        renamed: list[Entry] = []
        for edit in self._edits:
            if isinstance(edit, Add):
                wanted.setdefault(edit.section, []).append(edit.key)
            elif isinstance(edit, Edit) and edit.key_after and edit.entry_id in self._now:
                renamed.append(self._now[edit.entry_id])
                wanted.setdefault(renamed[-1].section, []).append(edit.key_after)
        twins = Twins(self._connection, wanted)
        for entry in renamed:
            # Keys that are given up in this save are free in it: two entries may swap theirs.
            twins.free(entry.section, entry.key)
        return twins

    def _delete(self, edit: Delete) -> None:
        entry = self._now.get(edit.entry_id)
        if entry is None:
            self.notes.append("An entry you deleted was already gone.")
            return
        if entry.kind is Kind.GROUP:
            self._say(edit.entry_id, entry, KEY, "This holds other entries; delete those instead.")
        elif entry.version != edit.version or (edit.digest and entry.digest != edit.digest):
            mine = Clash(entry.id, entry.section, entry.key, "entry", None, None, None, "", None)
            theirs = next(iter(entry.cells.values()), None)
            who, at = entry.updated_by, entry.updated_at
            self._clashes.append(replace(mine, theirs=theirs, who=who, at=at))
        else:
            self._ledger.delete(entry)
            self._twins.free(entry.section, entry.key)

    def _edit(self, edit: Edit) -> None:
        entry = self._now.get(edit.entry_id)
        if entry is None:
            self._gone(edit)
            return
        if entry.kind not in (Kind.TEXT, Kind.RECORD):
            self._say(edit.entry_id, entry, TEXT, "This is no text; it is kept as it is.")
            return
        after = self._merged(entry, edit)
        key = self._new_key(entry, edit)
        if not after and key == entry.key:
            return
        if _says_else(entry, edit):
            self.notes.append(
                f"{entry.key}: merged with what {entry.updated_by} changed in the meantime."
            )
        cells = {**entry.cells, **after}
        part = part_of_entry(entry.section, entry.key)
        allowed = frozenset(entry.cells) | frozenset(part.field_names if part else ())
        found = list(cell_problems(entry.id, entry.section, key, cells, after, allowed))
        self._problems += found
        if not found:
            body = cells[TEXT] if entry.kind is Kind.TEXT else cells
            self._ledger.edit(entry, replace(entry.row, key=key, body=body))

    def _merged(self, entry: Entry, edit: Edit) -> dict[str, str]:
        """The cells to write; clashes are noted on the way."""
        after: dict[str, str] = {}
        for name, mine in edit.after.items():
            base, theirs = edit.before.get(name), entry.cells.get(name)
            if mine == theirs or (mine == "" and theirs is None):
                continue
            # Whatever the version says: a restored database may have counted up to the same.
            if (base or "") != (theirs or ""):
                self._clash(entry, name, base, theirs, mine)
                continue
            after[name] = mine
        return after

    def _new_key(self, entry: Entry, edit: Edit) -> str:
        mine = edit.key_after
        if mine is None or mine == entry.key:
            if mine is not None:
                self._twins.take(entry.section, entry.key)
            return entry.key
        if edit.key_before != entry.key:
            self._clash(entry, KEY, edit.key_before, entry.key, mine)
            return entry.key
        part = part_of_entry(entry.section, entry.key)
        if part is not None and part.shape is Shape.TEXT:
            self._say(entry.id, entry, KEY, "The shop reads this text by its name; it stays.")
            return entry.key
        problem = key_problem(part, mine) or self._twins.problem(entry.section, mine)
        if problem:
            self._say(entry.id, entry, KEY, problem)
            return entry.key
        self._twins.take(entry.section, mine)
        return mine

    def _add(self, edit: Add) -> None:
        part = self._part_for(edit.section, edit.key)
        kind = Kind.RECORD if part is not None and part.shape is Shape.RECORDS else Kind.TEXT
        single = part is not None and part.shape is Shape.TEXT
        if problem := "" if single else key_problem(part, edit.key):
            self._problems.append(Problem(edit.ref, edit.section, str(edit.key), KEY, problem))
            key = ""
        else:
            key = edit.key
            if self._says_already(edit, kind, part):
                self.notes.append(f"{key} was already there, word for word.")
                return
            if problem := self._twins.problem(edit.section, key):
                self._problems.append(Problem(edit.ref, edit.section, key, KEY, problem))
        names = part.field_names if part is not None and kind is Kind.RECORD else (TEXT,)
        cells = {name: edit.cells.get(name, "") for name in names}
        changed: dict[str, object] = {**cells, **edit.cells}
        found = list(
            cell_problems(edit.ref, edit.section, key, cells, changed, frozenset(names))
            if key
            else cell_problems(edit.ref, "", edit.key, cells, changed, frozenset(names))
        )
        self._problems += found
        if found or self._problems:
            return
        self._twins.take(edit.section, key)
        self._ledger.ensure_holders(edit.section)
        body = cells if kind is Kind.RECORD else cells[TEXT]
        position = self._ledger.place_for(edit.section, key)
        self._ledger.add(Row(edit.section, key, kind, body, position))

    def _says_already(self, edit: Add, kind: Kind, part: Part | None) -> bool:
        """Whether this very entry stands: it was saved from another tab, or asked for twice."""
        if not self._twins.has(edit.section, edit.key):
            return False
        names = part.field_names if part is not None and kind is Kind.RECORD else (TEXT,)
        cells = {**dict.fromkeys(names, ""), **edit.cells}
        body = cells if kind is Kind.RECORD else cells[TEXT]
        digest = select(table.c.digest).where(
            table.c.section == edit.section, table.c.key == edit.key
        )
        return self._connection.scalar(digest) == content_digest(edit.section, edit.key, kind, body)

    def _part_for(self, section: str, key: str) -> Part | None:
        part = part_of_entry(section, key)
        if part is not None:
            return part
        above = path_of(section)
        exists = bool(above) and self._connection.scalar(
            select(table.c.id).where(
                table.c.section == pointer(above[:-1]),
                table.c.key == above[-1],
                table.c.kind == Kind.GROUP,
            )
        )
        if not exists or len(section) + len(pointer((key,))) > MAX_POINTER:
            raise Invalid(
                "There is no such section in the knowledge base; nothing was saved.",
                "Reload the page and choose the section again.",
            )
        return part_at(section)

    def _gone(self, edit: Edit) -> None:
        query = (
            select(changes.c.key, changes.c.section, change_sets.c.author, change_sets.c.at)
            .join(change_sets)
            .where(changes.c.entry_id == edit.entry_id, changes.c.action == "delete")
            .order_by(changes.c.id.desc())
        )
        found = self._connection.execute(query).first()
        section, key, who, at = (
            (found.section, found.key, found.author, found.at)
            if found
            else ("", edit.key_before or "an entry", "Somebody", None)
        )
        for name, mine in edit.after.items() or [(KEY, edit.key_after)]:
            base = edit.before.get(name) if name != KEY else edit.key_before
            self._clashes.append(
                Clash(edit.entry_id, section, key, name, base, None, mine, who, at)
            )

    def _clash(
        self, entry: Entry, name: str, base: str | None, theirs: str | None, mine: str
    ) -> None:
        who, at = entry.updated_by, entry.updated_at
        self._clashes.append(
            Clash(entry.id, entry.section, entry.key, name, base, theirs, mine, who, at)
        )

    def _say(self, ref: int, entry: Entry, name: str, message: str) -> None:
        self._problems.append(Problem(ref, entry.section, entry.key, name, message))


def _says_else(entry: Entry, edit: Edit) -> bool:
    """Whether others changed what the person saw: a move counts up the version, and no more."""
    if edit.seen is None:
        return entry.version != edit.version
    return (entry.key, entry.cells) != (edit.seen.key, edit.seen.cells)
