"""Many people who edit the same section at once, and the accounts that are settled after."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from db.control import audit_log
from db.engine import read
from db.knowledge import change_sets, entries
from db.knowledge import changes as changes_table
from services.core.access import ROLES, Actor, ActorKind
from services.core.context import Context, open_context
from services.core.databases import read_shop
from services.core.errors import Conflict, Invalid, Transient
from services.core.settings import Settings
from services.knowledge import changes, undoing
from services.knowledge.changes import Add, Change, Delete, Edit, EditConflict
from services.knowledge.entries import Entry, entry_of, page
from services.knowledge.ledger import ChangeSet
from services.knowledge.relay import relay
from services.knowledge.validation import NotValid

SECTION = "/fabric_guide"
FIELDS = ("description", "care", "best_for", "characteristics")


@dataclass
class Editor(threading.Thread):
    """One person with a desk of their own; notes what was acknowledged."""

    settings: Settings
    number: int
    until: float
    saved: list[tuple[ChangeSet, dict[tuple[int, str], tuple[str, str]]]] = field(
        default_factory=list
    )
    counts: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(name=f"editor {self.number}")
        self._chance = random.Random(self.number)
        self._actor = Actor(
            f"id-{self.number}",
            f"Editor {self.number}",
            ActorKind.ACCOUNT,
            ROLES["editor"],
            "editor",
        )

    def __hash__(self) -> int:
        return hash(self.name)

    def run(self) -> None:
        """Edit until the time is up."""
        ctx = open_context(self.settings)
        try:
            turn = 0
            while time.monotonic() < self.until:
                turn += 1
                self._turn(ctx, turn)
        except BaseException as error:
            self.failure = error
        finally:
            ctx.close()

    def _turn(self, ctx: Context, turn: int) -> None:
        seen = list(page(ctx, self._actor, SECTION, rows=40).entries)
        # What others do while this person thinks is what clashes are made of.
        time.sleep(self._chance.random() / 50)
        does = self._chance.random()
        try:
            if does < 0.12 and self.saved:
                self._undo(ctx)
            elif does < 0.22 or len(seen) < 8:
                key = f"e{self.number}_{turn}"
                self._save(ctx, [Add(SECTION, key, {name: f"{key} {name}" for name in FIELDS})])
            elif does < 0.29:
                one = self._chance.choice(seen)
                self._save(ctx, [Delete(one.id, one.version)])
            elif does < 0.37:
                one = self._chance.choice(seen)
                key = f"r{self.number}_{turn}"
                self._save(ctx, [Edit(one.id, one.version, key_before=one.key, key_after=key)])
            else:
                # Few entries that all like, so that the same cells are meant again and again.
                some = self._chance.sample(seen[:8], self._chance.randint(1, 3))
                self._save(ctx, [self._edit(one, turn) for one in some])
        except Transient:
            self.counts["waited too long"] += 1
        except (Invalid, NotValid):
            self.counts["refused"] += 1

    def _edit(self, one: Entry, turn: int) -> Edit:
        names = self._chance.sample(FIELDS, self._chance.randint(1, 2))
        after = {name: f"{self.number}.{turn}.{one.id}.{name}" for name in names}
        return Edit(one.id, one.version, {n: one.cells.get(n, "") for n in names}, after)

    def _save(self, ctx: Context, edits: list[Change]) -> None:
        for _try in range(4):
            try:
                done = changes.save(ctx, self._actor, edits, f"of {self.number}")
            except EditConflict as clash:
                self.counts["clashes"] += 1
                edits = self._settled(ctx, edits, clash)
                if not edits:
                    return
                continue
            cells = {
                (edit.entry_id, name): (edit.before[name], text)
                for edit in edits
                if isinstance(edit, Edit)
                for name, text in edit.after.items()
            }
            self.saved.append((done, cells))
            self.counts["merged"] += bool(done.notes)
            return

    def _settled(self, ctx: Context, edits: list[Change], clash: EditConflict) -> list[Change]:
        """Theirs for some cells, mine for the others, seen as it is now: as a person decides."""
        theirs = {(one.entry_id, one.field) for one in clash.clashes if self._chance.random() < 0.5}
        ids = {edit.entry_id for edit in edits if not isinstance(edit, Add)}
        with read_shop(ctx) as connection:
            found = connection.execute(select(entries).where(entries.c.id.in_(ids)))
            now = {row.id: entry_of(row) for row in found}
        settled: list[Change] = []
        for edit in edits:
            if isinstance(edit, Add) or edit.entry_id not in now:
                continue
            one = now[edit.entry_id]
            if isinstance(edit, Delete):
                if (one.id, "entry") not in theirs:
                    settled.append(Delete(one.id, one.version))
                continue
            after = {n: text for n, text in edit.after.items() if (one.id, n) not in theirs}
            renamed = edit.key_after if (one.id, "key") not in theirs else None
            if after or renamed:
                before = {name: one.cells.get(name, "") for name in after}
                key = one.key if renamed else None
                settled.append(Edit(one.id, one.version, before, after, key, renamed))
        return settled

    def _undo(self, ctx: Context) -> None:
        done = self._chance.choice(self.saved)[0]
        plan = undoing.preview(ctx, self._actor, done.id)
        if plan.is_empty:
            return
        try:
            self.saved.append((undoing.undo(ctx, self._actor, plan), {}))
            self.counts["taken back"] += 1
        except Conflict:
            self.counts["undo refused: somebody was faster"] += 1


def edit_together(settings: Settings, editors: int, seconds: float) -> list[Editor]:
    """Let so many people edit for so long; gives them when all have stopped."""
    until = time.monotonic() + seconds
    people = [Editor(settings, number, until) for number in range(1, editors + 1)]
    for one in people:
        one.start()
    for one in people:
        one.join(seconds + 120)
        assert not one.is_alive(), f"{one.name} hangs"
    for one in people:
        if one.failure is not None:
            raise one.failure
    return people


@dataclass(frozen=True)
class Books:
    """The history as it is when all have stopped, found to be sound."""

    sets: list[Any]
    by_set: dict[str, dict[int, Any]]  # change set -> entry -> what it did to it
    live: int

    def counted(self) -> Counter[str]:
        """How much is in it."""
        rows = sum(map(len, self.by_set.values()))
        return Counter(
            {
                "change sets": len(self.sets),
                "changes of entries": rows,
                "entries left": self.live,
            }
        )


def open_books(ctx: Context) -> Books:
    """Replay the history; it gives what is there, and each set is in the audit log once."""
    relay(ctx)
    with read_shop(ctx) as connection:
        rows = connection.execute(
            select(changes_table, change_sets.c.number)
            .join(change_sets)
            .order_by(changes_table.c.id)
        ).all()
        sets = list(connection.execute(select(change_sets)))
        live = {row.id: _facts(row) for row in connection.execute(select(entries))}
        versions = {row.id: row.version for row in connection.execute(select(entries))}
    _replay(rows, live, versions)
    told = Counter(row.relay_key for row in _audited(ctx))
    assert told == Counter(f"kb:{row.id}" for row in sets), "each is in the audit log once"
    assert all(row.relayed for row in sets)
    by_set: dict[str, dict[int, Any]] = {row.id: {} for row in sets}
    for row in rows:
        assert row.entry_id not in by_set[row.change_set_id], "an entry once a set"
        by_set[row.change_set_id][row.entry_id] = row
    return Books(sets, by_set, len(live))


def settle_accounts(ctx: Context, people: list[Editor]) -> Counter[str]:
    """Every acknowledged save is there once, and nobody wrote over what they had not seen.

    Returns:
        What happened, counted.
    """
    books = open_books(ctx)
    counted = books.counted()
    for person in people:
        counted += person.counts
        for done, cells in person.saved:
            assert done.id in books.by_set, f"{person.name} was told of a save that is not there"
            counted["saves acknowledged"] += 1
            for (entry_id, name), (seen, text) in cells.items():
                row = books.by_set[done.id].get(entry_id)
                if row is None or row.before["body"].get(name) == row.after["body"].get(name):
                    continue  # somebody had written the very same
                counted["cells written"] += 1
                assert row.before["body"].get(name, "") == seen, "nobody writes over the unseen"
                assert row.after["body"][name] == text, "what was acknowledged is what is there"
    ids = [done.id for person in people for done, _cells in person.saved]
    assert len(ids) == len(set(ids))
    return counted


def _replay(rows: list[Any], live: dict[int, Any], versions: dict[int, int]) -> None:
    state: dict[int, Any] = {}
    writes: Counter[int] = Counter()
    last = 0
    for row in rows:
        assert row.number >= last, "the history is in the order in which it was written"
        last = row.number
        before = _said(row.before)
        assert state.get(row.entry_id) == before, "each before is the after that came before it"
        writes[row.entry_id] += 1
        if row.after is None:
            del state[row.entry_id]
        else:
            state[row.entry_id] = _said(row.after)
    assert state == live, "the history from its beginning gives exactly what is there"
    assert all(writes[one] >= version for one, version in versions.items())


def _facts(row: Any) -> dict[str, Any]:
    return {"key": row.key, "kind": row.kind, "body": row.body}


def _said(side: Any) -> dict[str, Any] | None:
    return None if side is None else {name: side[name] for name in ("key", "kind", "body")}


def _audited(ctx: Context) -> list[Any]:
    query = select(audit_log.c.relay_key).where(audit_log.c.relay_key.startswith("kb:"))
    with read(ctx.control) as connection:
        return list(connection.execute(query))
