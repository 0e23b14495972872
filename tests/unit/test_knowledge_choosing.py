"""Whatever the knowledge base, the file and the choice: what is accepted is done, no more."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from services.knowledge.comparing import Mode, difference
from services.knowledge.document import Kind, Row, canonical, from_rows, to_rows
from services.knowledge.entries import Entry
from services.knowledge.exchange.choosing import ALL, Choice, carried_over, chosen, only, taken
from services.knowledge.exchange.model import Format, Origin, ReadFile, ReadRow
from services.knowledge.exchange.planning import WHOLE, Options, Sort, worked_out
from tests.knowledge_base import DOCUMENTS, small_kb

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_WORDS = st.sampled_from(["", "a", "b", "c", "deep/er", "~"])
_RECORDS = st.dictionaries(
    st.sampled_from(["linen", "wool", "silk", "hemp"]),
    st.dictionaries(st.sampled_from(["care", "best_for", "origin"]), _WORDS, max_size=3),
    max_size=4,
)
_TABLES = st.fixed_dictionaries(
    {},
    optional={
        "fabric_guide": _RECORDS,
        "occasions": st.dictionaries(_WORDS, _WORDS, max_size=5),
        "fabric_pairing": _WORDS,
        "other": st.dictionaries(_WORDS, _WORDS | st.dictionaries(_WORDS, _WORDS), max_size=3),
    },
)
BASES = DOCUMENTS | _TABLES
MODES = st.sampled_from(Mode)


def entries_of(document):
    """A knowledge base in memory, with gaps between the places."""
    return [
        Entry(number, r.section, r.key, r.kind, r.body, r.position * 2, 1, _AT, "Somebody")
        for number, r in enumerate(to_rows(document), 1)
    ]


def file_of(document, tables):
    rows = tuple(
        ReadRow(r.section, r.key, r.kind, r.body, r.position, Origin()) for r in to_rows(document)
    )
    return ReadFile("kb.json", Format.JSON, rows, (), tuple(tables), True)


def after(current, found):
    """The rows when a difference is carried out."""
    rows = {entry.id: entry.row for entry in current}
    for entry in found.removed:
        del rows[entry.id]
    for entry, row in (*found.changed, *found.moved):
        assert rows[entry.id] == entry.row, "nothing is written twice"
        rows[entry.id] = row
    for entry_id, position in found.shifted:
        row = rows[entry_id]
        rows[entry_id] = Row(row.section, row.key, row.kind, row.body, position)
    return [*rows.values(), *found.added]


def cells(rows):
    """Every text by its place: what a person sees, without the order."""
    told = {}
    for row in rows:
        if row.kind is Kind.RECORD:
            told[row.pointer, None] = "record"
            told |= {(row.pointer, name): text for name, text in row.body.items()}
        else:
            told[row.pointer, None] = (row.kind, json.dumps(row.body))
    return told


def planned(data, base, file, mode):
    current = entries_of(base)
    tables = [r.pointer for r in to_rows(file) if r.kind is Kind.GROUP]
    chosen_tables = frozenset(data.draw(st.sets(st.sampled_from(tables)))) if tables else None
    options = Options(mode, chosen_tables)
    return current, *worked_out(current, "r", file_of(file, tables), options)


def draw_choice(data, plan):
    """Any ticks that a page can leave behind."""
    items = data.draw(st.sets(st.sampled_from([i.id for i in plan.items]))) if plan.items else set()
    pairs = [(i.id, c.name) for i in plan.items if i.by_cell for c in i.cells]
    some = data.draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    return Choice(frozenset(items), frozenset(some))


@settings(max_examples=300)
@given(BASES, BASES, MODES, st.data())
def test_exactly_the_accepted_cells_change_and_nothing_else(base, file, mode, data):
    current, plan, ground = planned(data, base, file, mode)
    choice = draw_choice(data, plan)
    found = chosen(plan, ground, choice)
    rows = after(current, found)
    from_rows(rows)  # what comes out is a document: nothing lies in a text
    before, now = cells(entry.row for entry in current), cells(rows)
    accepted = {item.id: item for item in taken(plan, choice)}
    allowed = {}
    for where, item in accepted.items():
        refused = choice.rejected_cells(item)
        for cell in item.cells:
            if cell.name not in refused:
                allowed[where, cell.name] = cell.after
        allowed[where, None] = None
    for place in before.keys() | now.keys():
        where, name = place
        if before.get(place) == now.get(place):
            # A cell that was accepted has its new text.
            if place in allowed and name is not None:
                assert allowed[place] == before.get(place)
            continue
        kinds = {e.kind for e in current if e.row.pointer == where}
        kinds |= {r.kind for r in rows if r.pointer == where}
        if kinds == {Kind.GROUP}:
            continue  # a place for entries comes with the first and goes with the last
        assert where in accepted, "nobody asked for this"
        if name is not None and accepted[where].by_cell:
            assert allowed[place] == now.get(place)


def test_what_lies_in_a_group_that_becomes_a_value_goes_with_it_whatever_was_ticked():
    current = entries_of({"occasions": {"gala": "Long and dark."}})
    file = file_of({"occasions": None}, [])
    plan, ground = worked_out(current, "r", file, Options(Mode.MERGE, None))
    (inner,) = (item.id for item in plan.items if item.goes_with)
    rows = after(current, chosen(plan, ground, Choice(frozenset({inner}))))
    assert from_rows(rows) == {"occasions": None}


@settings(max_examples=200)
@given(BASES, BASES, MODES, st.data())
def test_with_everything_accepted_it_is_the_difference_itself(base, file, mode, data):
    current, plan, ground = planned(data, base, file, mode)
    found = chosen(plan, ground, ALL)
    tables = plan.options.tables or ()
    assert found == difference(current, to_rows(file), mode, tables)
    if mode is Mode.REPLACE:
        assert canonical(from_rows(after(current, found))) == canonical(file)
    assert found.is_empty == plan.is_empty or _only_holders(found)


def _only_holders(found):
    return all(row.kind is Kind.GROUP for row in found.added) and not found.changed


@settings(max_examples=200)
@given(BASES, BASES, MODES, st.data())
def test_with_everything_rejected_nothing_is_done(base, file, mode, data):
    _current, plan, ground = planned(data, base, file, mode)
    assert chosen(plan, ground, only(plan, ())).is_empty


@settings(max_examples=100)
@given(BASES, BASES, MODES, st.data())
def test_what_was_left_out_is_offered_again_by_the_same_file(base, file, mode, data):
    current, plan, ground = planned(data, base, file, mode)
    choice = draw_choice(data, plan)
    rows = after(current, chosen(plan, ground, choice))
    left = [
        Entry(n, r.section, r.key, r.kind, r.body, r.position, 1, _AT, "")
        for n, r in enumerate(rows, 1)
    ]
    again, _ground = worked_out(left, "s", plan.file, plan.options)
    accepted = {item.id for item in taken(plan, choice)}
    for item in again.items:
        partly = item.id in accepted and choice.rejected_cells(plan.by_id[item.id])
        whole = item.id in accepted and not partly
        assert not whole or item.sort is Sort.MOVED or _only_order(item), item


def _only_order(item):
    return not item.cells or any(cell.name == WHOLE for cell in item.cells)


@given(BASES, BASES, MODES, st.data())
def test_a_choice_carried_over_to_the_same_plan_is_the_same(base, file, mode, data):
    _current, plan, _ground = planned(data, base, file, mode)
    choice = draw_choice(data, plan)
    carried = carried_over(choice, plan, plan)
    assert (carried.choice, carried.other) == (choice, frozenset())
    assert Choice.from_values(json.loads(json.dumps(choice.as_values()))) == choice


def test_ticks_by_row_and_cell_add_up():
    current = entries_of(small_kb())
    file = {"fabric_guide": {"linen": {"care": "Cold.", "best_for": "Heat"}}}
    plan, _ground = worked_out(current, "r", file_of(file, ()), Options())
    item = plan.items[0]
    choice = ALL.without_cell(item.id, "care")
    assert choice.takes(item) and choice.rejected_cells(item) == {"care"}
    assert not choice.without_cell(item.id, "best_for").takes(item)
    assert choice.with_cell(item.id, "care") == ALL
    assert choice.rejecting([item.id]).accepting([item.id]) == ALL
