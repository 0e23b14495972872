"""History, going back and the bin on PostgreSQL say and do what they do on SQLite."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.core.access import system_actor
from services.core.errors import Conflict, Invalid
from services.knowledge import changes, history, moving, recycling, rollback
from services.knowledge.changes import Add, Delete, Edit
from services.knowledge.history import HistoryFilter
from services.knowledge.rollback import Moment
from tests.conftest import person
from tests.knowledge_base import COLOURS, FABRICS, load, named, state
from tests.services.postgres_desk import desk_on

EDITOR, ADMIN, ZOE = person("editor"), person("admin"), system_actor("Zoe")


@pytest.fixture
def ctx(postgres_server, tmp_path):
    context = desk_on(postgres_server, tmp_path)
    load(context)
    yield context
    context.close()


def edit(ctx, actor, where, key, reason="", **after):
    entry = named(ctx, actor, where, key)
    before = {name: entry.cells[name] for name in after}
    return changes.save(ctx, actor, [Edit(entry.id, entry.version, before, after)], reason)


def delete(ctx, where, key):
    entry = named(ctx, EDITOR, where, key)
    changes.save(ctx, EDITOR, [Delete(entry.id, entry.version)], "Ünused")
    return entry.id


def test_every_filter_of_the_history_finds_what_it_finds_in_a_file(ctx):
    begun = ctx.now()
    done = edit(ctx, EDITOR, COLOURS, "navy", "ÄRGER 100% _done_", text="A.")
    other = edit(ctx, ZOE, FABRICS, "linen", "Washing", care="Boil it.")

    def found(**wanted):
        page = history.recent(ctx, EDITOR, wanted=HistoryFilter(**wanted))
        assert page.total == len(page.change_sets)
        return [one.id for one in page.change_sets]

    assert found(text="ärger") == found(text="100% _DONE_") == [done.id]
    assert found(text="100x") == found(author="zoe") == found(until=begun - timedelta(days=9)) == []
    assert found(author="Zoe") == found(section=FABRICS, kind="edit") == [other.id]
    assert found(since=begun, kind="edit", section="/color_matching") == [done.id]
    assert history.authors(ctx, EDITOR) == ("Editor", "Zoe", "system")
    (told,) = history.details(ctx, EDITOR, done.id).changes
    assert [(one.before, one.after) for one in told.fields] == [
        ("Navy likes sand and white.", "A.")
    ]


def test_going_back_puts_everything_and_its_order_as_it_was_and_refuses_what_moved(ctx):
    edit(ctx, EDITOR, COLOURS, "navy", text="A.")
    then, before = history.recent(ctx, EDITOR).change_sets[0], state(ctx)
    delete(ctx, COLOURS, "rust")
    changes.save(ctx, EDITOR, [Add(COLOURS, "teal", {"text": "Teal."})])
    moss = named(ctx, EDITOR, COLOURS, "moss")
    moving.move(ctx, EDITOR, {moss.id: moss.version}, before=named(ctx, EDITOR, COLOURS, "navy").id)
    plan = rollback.preview(ctx, EDITOR, Moment(then.id))
    assert (plan.added, plan.deleted, plan.change_sets) == (1, 1, 3)
    edit(ctx, ZOE, COLOURS, "navy", text="B.")
    with pytest.raises(Conflict, match="since you looked"):
        rollback.roll_back(ctx, EDITOR, plan, typed=rollback.WORD)
    plan = rollback.preview(ctx, EDITOR, Moment(then.id))
    rollback.roll_back(ctx, EDITOR, plan, typed=rollback.WORD)
    assert state(ctx) == before


def test_the_bin_is_searched_gives_back_and_forgets_for_good(ctx):
    before = state(ctx)
    rust, linen = delete(ctx, COLOURS, "rust"), delete(ctx, FABRICS, "linen")
    assert [one.key for one in recycling.deleted(ctx, EDITOR, search="CRISP").entries] == ["linen"]
    assert recycling.deleted(ctx, EDITOR, search="100%").total == 0
    assert set(recycling.found_ids(ctx, EDITOR)) == {rust, linen}
    assert recycling.bring_back(ctx, EDITOR, [rust, linen]).kept == ()
    assert state(ctx) == before
    delete(ctx, COLOURS, "rust")
    assert recycling.purge(ctx, ADMIN, [rust], recycling.PURGE_WORD) == 1
    assert recycling.deleted(ctx, EDITOR).total == 0
    with pytest.raises(Invalid, match="not in the recycle bin"):
        recycling.bring_back(ctx, EDITOR, [rust])
    plan = rollback.preview(ctx, EDITOR, Moment(at=ctx.now()))
    assert plan.is_empty
