"""Going back to a release that the history does not reach: what is kept of it counts."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from db.knowledge import releases as table
from services.core.databases import write_shop
from services.core.errors import Broken, Conflict, Invalid
from services.knowledge import changes, history, recycling, rollback, transfer, undoing
from services.knowledge.changes import Add, Delete, Edit
from services.knowledge.rollback import Moment
from tests.conftest import person
from tests.knowledge_base import COLOURS, FABRICS, load, named, small_kb, state
from tests.services.postgres_desk import desk_on
from tests.services.publishing import publish, say

EDITOR, ADMIN = person("editor"), person("admin")
RELEASE = Moment(release=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request, tmp_path):
    """A knowledge base with a release that is older than its history, and edits since."""
    if request.param == "sqlite":
        request.getfixturevalue("shop")
        ctx = request.getfixturevalue("ctx")
    else:
        ctx = desk_on(request.getfixturevalue("postgres_server"), tmp_path / "server")
    load(ctx)
    yield ctx
    if request.param != "sqlite":
        ctx.close()


def released(ctx):
    """Publish what is saved, and let the history not know it; gives what it says."""
    publish(ctx, ADMIN)
    with write_shop(ctx) as connection:
        connection.execute(update(table).values(revision="from before the history"))
    return state(ctx)


def edited(ctx):
    """Somebody changes a text, adds, deletes, renames and empties a section."""
    say(ctx, EDITOR, "Other.")
    rust, linen = named(ctx, EDITOR, COLOURS, "rust"), named(ctx, EDITOR, FABRICS, "linen")
    wool = named(ctx, EDITOR, FABRICS, "wool")
    made = [
        Add(COLOURS, "teal", {"text": "Teal."}),
        Delete(rust.id, rust.version),
        Edit(linen.id, linen.version, key_before="linen", key_after="flax"),
        Delete(wool.id, wool.version),
    ]
    changes.save(ctx, EDITOR, made)


def test_all_of_it_goes_back_to_the_byte_as_one_change_that_can_be_taken_back(desk):
    document = released(desk)
    edited(desk)
    before = state(desk)
    plan = rollback.preview(desk, EDITOR, RELEASE)
    assert (plan.added, plan.edited, plan.deleted, plan.change_sets) == (3, 1, 2, 2)
    assert "when release 1 was made" in plan.about and not plan.is_empty
    with pytest.raises(Invalid, match="confirmation"):
        rollback.roll_back(desk, EDITOR, plan)
    done = rollback.roll_back(desk, EDITOR, plan, typed=rollback.WORD)
    assert state(desk) == document and done.kind == "rollback"
    assert rollback.preview(desk, EDITOR, RELEASE).is_empty
    undoing.undo(desk, EDITOR, undoing.preview(desk, EDITOR, done.id))
    assert state(desk) == before


def test_a_part_goes_back_alone_also_when_everything_above_it_is_gone(ctx, shop):
    load(ctx)
    released(ctx)
    edited(ctx)
    navy = named(ctx, EDITOR, COLOURS, "navy")
    rollback.roll_back(ctx, EDITOR, rollback.preview(ctx, EDITOR, RELEASE, FABRICS))
    assert transfer.canonical_json(ctx.shop).count(b"flax") == 0
    assert named(ctx, EDITOR, FABRICS, "linen").cells["care"] == "Wash warm, iron damp."
    assert named(ctx, EDITOR, COLOURS, "navy") == navy
    odd = {name: value for name, value in small_kb().items() if name != "color_matching"}
    load(ctx, odd)
    rollback.roll_back(ctx, EDITOR, rollback.preview(ctx, EDITOR, RELEASE, COLOURS))
    assert named(ctx, EDITOR, COLOURS, "rust").body == "Rust likes cream."
    load(ctx, odd | {"color_matching": "One text."})
    plan = rollback.preview(ctx, EDITOR, RELEASE, COLOURS)
    assert plan.is_empty and {one.key for one in plan.kept} == {"navy", "rust", "moss"}


def test_nothing_happens_when_somebody_saved_meanwhile_or_the_release_is_damaged(ctx, shop):
    load(ctx)
    released(ctx)
    edited(ctx)
    plan = rollback.preview(ctx, EDITOR, RELEASE)
    say(ctx, EDITOR, "Later.")
    before = state(ctx)
    with pytest.raises(Conflict, match="since you looked"):
        rollback.roll_back(ctx, EDITOR, plan, typed=rollback.WORD)
    with write_shop(ctx) as connection:
        connection.execute(update(table).values(document=b"\x00"))
    with pytest.raises(Broken, match="damaged"):
        rollback.preview(ctx, EDITOR, RELEASE)
    assert state(ctx) == before


def test_what_was_purged_stays_gone_although_the_release_still_says_it(ctx, shop):
    load(ctx)
    released(ctx)
    rust = named(ctx, EDITOR, COLOURS, "rust")
    changes.save(ctx, EDITOR, [Delete(rust.id, rust.version)])
    recycling.purge(ctx, ADMIN, [rust.id], recycling.PURGE_WORD)
    say(ctx, EDITOR, "Other.")
    plan = rollback.preview(ctx, EDITOR, RELEASE)
    assert [(one.key, one.why) for one in plan.kept] == [("rust", "its texts were purged for good")]
    rollback.roll_back(ctx, EDITOR, plan, typed=rollback.WORD)
    assert b"Rust likes cream" not in state(ctx)
    assert named(ctx, EDITOR, COLOURS, "navy").body == "Navy likes sand and white."
    assert history.recent(ctx, EDITOR).change_sets[0].kind == "rollback"
