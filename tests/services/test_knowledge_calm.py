"""What pages of a large knowledge base rest on: nobody is held up, nothing is done twice."""

from __future__ import annotations

from array import array

import pytest

from db.engine import write
from services.core.databases import read_shop
from services.knowledge import aside, changes, entries, inspecting, state, trying
from services.knowledge.searching import index
from tests.knowledge_base import load


def _save(ctx, editor, text):
    one = entries.page(ctx, editor, "/color_matching/by_color", rows=1).entries[0]
    changes.save(ctx, editor, [changes.Edit(one.id, one.version, one.cells, {"text": text})])


@pytest.fixture
def calm(ctx, shop, monkeypatch):
    load(ctx)
    monkeypatch.setattr(entries, "_CALM", 1)
    return ctx


def test_whoever_reads_everything_calmly_holds_up_nobody_who_saves(calm, editor):
    with read_shop(calm) as connection:
        wanted = [one.id for one in entries.everything(connection)]
    reading = entries.everything_calmly(calm)
    found = [next(reading).id]
    _save(calm, editor, "Saved while another reads.")
    assert found + [one.id for one in reading] == wanted


def test_checks_during_which_somebody_saved_are_not_taken_for_that_state(calm, editor, monkeypatch):
    real = aside.everything_calmly

    def disturbed(ctx):
        yield from real(ctx)
        _save(ctx, editor, "Saved while the checks read.")

    monkeypatch.setattr(aside, "everything_calmly", disturbed)
    asked = {"now": calm.now().isoformat(), "categories": []}
    assert aside.answer(calm, asked)["revision"] == ""
    told = aside.Looked("", (), ())
    monkeypatch.setattr(aside, "look", lambda _ctx, _categories: told)
    inspecting.refresh(calm)
    monkeypatch.setattr(inspecting, "MUCH", 0)
    with read_shop(calm) as connection:
        assert not inspecting._checked(calm, connection)[1]


def test_an_index_built_while_somebody_saves_finds_what_was_saved(calm, editor, monkeypatch):
    monkeypatch.setattr(index, "_CHUNK", 1)
    real, saved = index._read, []

    def disturbed(connection, wanted):
        rows = list(real(connection, wanted))
        if not saved:
            saved.append(True)
            connection.rollback()  # a real reader would be another connection
            _save(calm, editor, "Unmistakable zeppelin.")
        return iter(rows)

    monkeypatch.setattr(index, "_read", disturbed)
    index.refresh(calm)
    monkeypatch.setattr(index, "_read", real)
    with read_shop(calm) as connection:
        assert len(index.matching(calm, connection, "zeppelin")) == 1
        assert index.occurs(calm, connection, "zeppelin")
        assert not index.occurs(calm, connection, "dirigible")


def test_a_few_large_values_push_out_older_ones_and_many_small_ones_do_not(calm, monkeypatch):
    monkeypatch.setattr(state, "_WEIGHT", 1_000)
    state._known.clear()
    asked = []

    def ask(name, value):
        with read_shop(calm) as connection:
            state.once_a_revision(connection, name, lambda: asked.append(name) or value)

    for number in range(200):
        ask(f"small {number}", number)
    ask("small 0", 0)
    assert len(asked) == 200
    ask("large", array("q", range(950)))
    ask("large", array("q"))
    ask("small 0", 0)
    assert asked[200:] == ["large"]
    ask("small 1", 1)
    assert asked[-1] == "small 1"


def test_questions_to_begin_with_are_those_that_something_is_written_for(calm, editor):
    offered = trying.starters(calm, editor)
    assert offered
    with write(calm.shop) as connection:
        connection.execute(entries.table.delete())
        connection.execute(state.state.update().values(revision="emptied"))
    assert trying.starters(calm, editor) == ()
