"""Going back: to any moment, by change, time or release, all of it or a part, to the byte."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from sqlalchemy import select

from db.knowledge import changes as changes_table
from services.core.databases import read_shop
from services.core.errors import Conflict, Denied, DeskError, Invalid
from services.knowledge import changes, entries, history, moving, recycling, rollback, undoing
from services.knowledge.changes import Add, Delete, Edit
from services.knowledge.comparing import Mode
from services.knowledge.document import canonical
from services.knowledge.exchange import applying
from services.knowledge.exchange.planning import Options
from services.knowledge.rollback import Moment
from services.knowledge.sections import SECTIONS, Shape
from tests.conftest import person
from tests.knowledge_base import COLOURS, FABRICS, load, named, small_kb, state

EDITOR = person("editor")
TABLES = [
    part.pointer for section in SECTIONS for part in section.parts if part.shape is Shape.TEXTS
]
SINGLE = [
    ("/outfit_formulas", "color_logic"),
    ("/color_matching", "basics"),
    ("", "fabric_pairing"),
]


def _back(ctx, actor, moment, where="", typed=rollback.WORD):
    plan = rollback.preview(ctx, actor, moment, where)
    return rollback.roll_back(ctx, actor, plan, typed=typed)


def _edit(ctx, actor, section, key, **after):
    entry = named(ctx, actor, section, key)
    before = {name: entry.cells.get(name, "") for name in after}
    return changes.save(ctx, actor, [Edit(entry.id, entry.version, before, after)])


class Hands:
    """Somebody who does everything that a person can do, in any order."""

    def __init__(self, ctx, seed: int) -> None:
        self.ctx = ctx
        self.chance = random.Random(seed)
        self.moments: list[tuple[str, bytes]] = []

    def note(self) -> None:
        newest = history.recent(self.ctx, EDITOR, rows=1).change_sets[0]
        self.moments.append((newest.id, state(self.ctx)))

    def work(self, turns: int) -> None:
        for _turn in range(turns):
            does = self.chance.choice(
                [self.save, self.save, self.swap, self.move, self.move, self.merge, self.replace,
                 self.undo, self.undo, self.bring_back, self.part_back]
            )  # fmt: skip
            before = history.recent(self.ctx, EDITOR, rows=1).total
            try:
                does()
            except DeskError:
                continue
            if history.recent(self.ctx, EDITOR, rows=1).total > before:
                self.note()

    def _some(self, count: int):
        where = self.chance.choice([*TABLES, FABRICS])
        found = list(entries.page(self.ctx, EDITOR, where).entries)
        return where, self.chance.sample(found, min(count, len(found)))

    def save(self) -> None:
        where, found = self._some(3)
        edits = []
        for entry in found:
            name, text = next(iter(entry.cells.items()))
            does = self.chance.randrange(3)
            if does == 0:
                edits.append(Delete(entry.id, entry.version))
            elif does == 1:
                new = f"{text} {self.chance.randrange(99)}"
                edits.append(Edit(entry.id, entry.version, {name: text}, {name: new}))
            else:
                key = f"{self.chance.choice('abcdef')}{self.chance.randrange(9)}"
                edits.append(Edit(entry.id, entry.version, key_before=entry.key, key_after=key))
        if where != FABRICS and self.chance.random() < 0.6:
            key = f"{self.chance.choice('abcdef')}{self.chance.randrange(9)}"
            edits.append(Add(where, key, {"text": f"Text {self.chance.random()}"}))
        if self.chance.random() < 0.3:
            # A text that the shop expects at its own place among the others.
            edits.append(Add(*self.chance.choice(SINGLE), {"text": "One."}, -2))
        changes.save(self.ctx, EDITOR, edits)

    def swap(self) -> None:
        _where, found = self._some(2)
        if len(found) < 2:
            return
        one, other = found
        changes.save(
            self.ctx,
            EDITOR,
            [
                Edit(one.id, one.version, key_before=one.key, key_after=other.key),
                Edit(other.id, other.version, key_before=other.key, key_after=one.key),
            ],
        )

    def move(self) -> None:
        where, found = self._some(2)
        others = [e.id for e in entries.page(self.ctx, EDITOR, where).entries if e not in found]
        before = self.chance.choice([*others, None])
        moving.move(self.ctx, EDITOR, {e.id: e.version for e in found}, before=before)

    def _document(self):
        now = json.loads(state(self.ctx))
        for key in self.chance.sample(sorted(now), min(2, len(now))):
            does = self.chance.randrange(5)
            if does == 0:
                del now[key]
            elif does == 1 and isinstance(now[key], dict):
                pairs = list(now[key].items())
                self.chance.shuffle(pairs)
                now[key] = dict(pairs)
            elif does == 2:
                now[f"extra_{self.chance.randrange(3)}"] = {"inner": {"a": "One.", "b": 2}}
            elif does == 3:
                now[f"extra_{self.chance.randrange(3)}"] = "A text."
            else:
                now.update(self.chance.sample(list(small_kb().items()), 2))
        pairs = list(now.items())
        self.chance.shuffle(pairs)
        return dict(pairs)

    def merge(self) -> None:
        self._import(Mode.MERGE)

    def replace(self) -> None:
        self._import(Mode.REPLACE)

    def _import(self, mode: Mode) -> None:
        data = canonical(self._document())
        plan = applying.preview(self.ctx, EDITOR, "kb.json", data, Options(mode))
        applying.apply_import(self.ctx, EDITOR, plan, typed="replace")

    def undo(self) -> None:
        recent = history.recent(self.ctx, EDITOR, rows=6).change_sets
        plan = undoing.preview(self.ctx, EDITOR, self.chance.choice(recent).id)
        undoing.undo(self.ctx, EDITOR, plan)

    def bring_back(self) -> None:
        found = recycling.found_ids(self.ctx, EDITOR)
        recycling.bring_back(self.ctx, EDITOR, self.chance.sample(found, min(3, len(found))))

    def part_back(self) -> None:
        moment = self.chance.choice(self.moments)[0]
        where = self.chance.choice([*TABLES, "/outfit_formulas", "/dress_styles", FABRICS])
        _back(self.ctx, EDITOR, Moment(moment), where)


@pytest.mark.parametrize("seed", [1, 12])
def test_whatever_was_done_every_moment_before_can_be_had_again_to_the_byte(ctx, shop, seed):
    load(ctx)
    hands = Hands(ctx, seed)
    hands.note()
    hands.work(30)
    assert len(hands.moments) > 12
    wanted = list(hands.moments)
    hands.chance.shuffle(wanted)
    for moment, document in wanted[:8]:
        if state(ctx) != document:
            plan = rollback.preview(ctx, EDITOR, Moment(moment))
            assert plan.kept == ()
            before = state(ctx)
            done = rollback.roll_back(ctx, EDITOR, plan, typed=rollback.WORD)
            assert state(ctx) == document
            undoing.undo(ctx, EDITOR, undoing.preview(ctx, EDITOR, done.id))
            assert state(ctx) == before, "going back can itself be taken back"
            _back(ctx, EDITOR, Moment(moment))
        assert state(ctx) == document


def test_the_history_replayed_from_the_beginning_gives_what_is_there(ctx, shop):
    load(ctx)
    hands = Hands(ctx, 99)
    hands.note()
    hands.work(40)
    live: dict[int, dict] = {}
    with read_shop(ctx) as connection:
        for row in connection.execute(select(changes_table).order_by(changes_table.c.id)):
            if row.before is not None:
                before = {**row.before, "position": None}
                assert live.pop(row.entry_id) == before, "each change begins where the last ended"
            if row.after is not None:
                live[row.entry_id] = {**row.after, "position": None}
        rows = {one.id: one for one in entries.everything(connection)}
    assert live == {
        one.id: {"key": one.key, "kind": one.kind, "body": one.body, "position": None}
        for one in rows.values()
    }


def test_a_moment_is_a_change_a_time_or_a_release_and_all_are_the_same(ctx, shop, clock):
    ctx = replace(ctx, clock=clock)
    load(ctx)
    clock.forward(hours=1)
    first = _edit(ctx, EDITOR, COLOURS, "navy", text="One.")
    at, document = clock.now, state(ctx)
    clock.forward(hours=1)
    _edit(ctx, EDITOR, COLOURS, "navy", text="Two.")
    plans = [
        rollback.preview(ctx, EDITOR, moment)
        for moment in (Moment(first.id), Moment(at=at), Moment(at=at.replace(minute=30)))
    ]
    assert len({plan.fingerprint for plan in plans}) == 1
    (told,) = plans[0].changes
    assert (told.key, plans[0].edited, plans[0].change_sets) == ("navy", 1, 1)
    assert [(one.before, one.after) for one in told.fields] == [("Two.", "One.")]
    done = rollback.roll_back(ctx, EDITOR, plans[0], typed=rollback.WORD)
    assert state(ctx) == document and done.kind == "rollback"
    with pytest.raises(Invalid, match="There is no release 7; nothing was changed"):
        rollback.preview(ctx, EDITOR, Moment(release=7))
    with pytest.raises(Invalid, match="history does not reach"):
        rollback.preview(ctx, EDITOR, Moment("another desk's"))


def test_a_part_goes_back_alone_and_asks_for_no_word(ctx, shop):
    load(ctx)
    then = history.recent(ctx, EDITOR).change_sets[0]
    _edit(ctx, EDITOR, COLOURS, "navy", text="Other.")
    _edit(ctx, EDITOR, FABRICS, "linen", care="Boil it.")
    plan = rollback.preview(ctx, EDITOR, Moment(then.id), FABRICS)
    rollback.roll_back(ctx, EDITOR, plan)
    assert named(ctx, EDITOR, FABRICS, "linen").cells["care"] == "Wash warm, iron damp."
    assert named(ctx, EDITOR, COLOURS, "navy").body == "Other."


def test_a_plan_holds_only_for_what_it_saw_and_the_whole_asks_for_the_word(ctx, shop, manager):
    load(ctx)
    then = history.recent(ctx, EDITOR).change_sets[0]
    _edit(ctx, EDITOR, COLOURS, "navy", text="Other.")
    plan = rollback.preview(ctx, EDITOR, Moment(then.id))
    before = state(ctx)
    with pytest.raises(Invalid, match="confirmation"):
        rollback.roll_back(ctx, EDITOR, plan, typed="yes")
    _edit(ctx, EDITOR, COLOURS, "navy", text="Newer.")
    with pytest.raises(Conflict, match="nothing was changed"):
        rollback.roll_back(ctx, EDITOR, plan, typed=rollback.WORD)
    assert named(ctx, EDITOR, COLOURS, "navy").body == "Newer." and state(ctx) != before
    with pytest.raises(Denied):
        rollback.preview(ctx, manager, Moment(then.id))


def test_what_was_purged_stays_away_and_is_named(ctx, shop, admin):
    load(ctx)
    then = history.recent(ctx, EDITOR).change_sets[0]
    rust = named(ctx, EDITOR, COLOURS, "rust")
    changes.save(ctx, EDITOR, [Delete(rust.id, rust.version)])
    recycling.purge(ctx, admin, [rust.id], recycling.PURGE_WORD)
    _edit(ctx, EDITOR, COLOURS, "navy", text="Other.")
    plan = rollback.preview(ctx, EDITOR, Moment(then.id))
    assert [(one.key, one.why) for one in plan.kept] == [("rust", "its texts were purged for good")]
    rollback.roll_back(ctx, EDITOR, plan, typed=rollback.WORD)
    keys = [one.key for one in entries.page(ctx, EDITOR, COLOURS).entries]
    assert keys == ["navy", "moss"]


def test_an_entry_that_comes_back_keeps_its_id_and_its_history(ctx, shop):
    load(ctx)
    then = history.recent(ctx, EDITOR).change_sets[0]
    rust = named(ctx, EDITOR, COLOURS, "rust")
    changes.save(ctx, EDITOR, [Delete(rust.id, rust.version)])
    _back(ctx, EDITOR, Moment(then.id))
    back = named(ctx, EDITOR, COLOURS, "rust")
    assert back.id == rust.id and back.version > rust.version
    assert [one.kind for one in history.history(ctx, EDITOR, back)] == [
        "rollback",
        "edit",
        "restore",
    ]
