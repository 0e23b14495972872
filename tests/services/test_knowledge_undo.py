"""Taking back: a change set goes, everybody's later work stays, nothing is lost on the way."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from db.control import kb_draft_entries, kb_drafts
from db.engine import read
from services.core import audit
from services.core.errors import Conflict, Denied, DeskError, Invalid
from services.knowledge import changes, entries, history, recycling, undoing
from services.knowledge.changes import Add, Delete, Edit
from services.knowledge.comparing import Mode
from services.knowledge.document import canonical
from services.knowledge.drafting import keeping, offering, rows
from services.knowledge.drafting.model import EntryDraft
from services.knowledge.exchange import applying
from services.knowledge.exchange.planning import Options
from tests.conftest import person
from tests.knowledge_base import COLOURS, FABRICS, load, named, state


def _edit(ctx, actor, section, key, **after):
    entry = named(ctx, actor, section, key)
    before = {name: entry.cells.get(name, "") for name in after}
    return changes.save(ctx, actor, [Edit(entry.id, entry.version, before, after)])


def _undo(ctx, actor, change_set, only=()):
    return undoing.undo(ctx, actor, undoing.preview(ctx, actor, change_set.id, only))


def test_a_save_of_every_kind_is_taken_back_to_the_byte_and_can_itself_be_taken_back(
    ctx, shop, editor
):
    load(ctx)
    before = state(ctx)
    navy, rust = (named(ctx, editor, COLOURS, key) for key in ("navy", "rust"))
    done = changes.save(
        ctx,
        editor,
        [
            Edit(navy.id, navy.version, {"text": navy.body}, {"text": "New."}, "navy", "midnight"),
            Delete(rust.id, rust.version),
            Add(COLOURS, "teal", {"text": "Teal likes sand."}),
        ],
    )
    changed = state(ctx)
    plan = undoing.preview(ctx, editor, done.id)
    assert {(one.key, one.action) for one in plan.changes} == {
        ("navy", "edit"),
        ("rust", "add"),
        ("teal", "delete"),
    }
    assert plan.kept == ()
    undone = undoing.undo(ctx, editor, plan)
    assert state(ctx) == before
    assert (undone.kind, undone.added, undone.edited, undone.deleted) == ("undo", 1, 1, 1)
    assert "Takes back the change by Editor" in undone.reason
    _undo(ctx, editor, undone)
    assert state(ctx) == changed


def test_later_edits_of_others_stay_cell_by_cell(ctx, shop, editor, admin):
    load(ctx)
    done = _edit(ctx, editor, FABRICS, "linen", care="Boil it.", description="Rough.")
    _edit(ctx, admin, FABRICS, "linen", care="Hand wash only.")
    plan = undoing.preview(ctx, editor, done.id)
    assert [(one.key, one.field, one.why) for one in plan.kept] == [
        ("linen", "care", f"{admin.name} changed it since")
    ]
    undoing.undo(ctx, editor, plan)
    cells = named(ctx, editor, FABRICS, "linen").cells
    assert cells["care"] == "Hand wash only."
    assert cells["description"] != "Rough."


def test_an_entry_that_somebody_wrote_on_since_is_not_deleted_by_taking_its_adding_back(
    ctx, shop, editor, admin
):
    load(ctx)
    done = changes.save(ctx, editor, [Add(COLOURS, "teal", {"text": "Teal."})])
    _edit(ctx, admin, COLOURS, "teal", text="Teal likes sand.")
    plan = undoing.preview(ctx, editor, done.id)
    assert plan.is_empty and [one.field for one in plan.kept] == ["entry"]
    with pytest.raises(Invalid, match="nothing left to take back"):
        undoing.undo(ctx, editor, plan)
    assert named(ctx, editor, COLOURS, "teal").body == "Teal likes sand."


def test_what_comes_back_keeps_its_id_and_never_takes_an_old_version_for_its_own(
    ctx, shop, editor, admin
):
    """Somebody who still has the entry on the screen must not overwrite what was saved since."""
    load(ctx)
    stale = named(ctx, editor, COLOURS, "rust")
    _edit(ctx, admin, COLOURS, "rust", text="Rust likes olive.")
    newer = named(ctx, admin, COLOURS, "rust")
    done = changes.save(ctx, admin, [Delete(newer.id, newer.version)])
    _undo(ctx, admin, done)
    back = entries.entry(ctx, editor, stale.id)
    assert back.body == "Rust likes olive." and back.version > newer.version
    with pytest.raises(changes.EditConflict):
        changes.save(
            ctx, editor, [Edit(stale.id, stale.version, {"text": stale.body}, {"text": "Mine."})]
        )
    assert [one.action for one in history.history(ctx, editor, back)][:3] == [
        "add",
        "delete",
        "edit",
    ]


def test_an_import_that_replaced_everything_is_taken_back_with_places_and_holders(
    ctx, shop, editor
):
    load(ctx)
    before = state(ctx)
    data = canonical({"occasions": {"gala": "Long."}})
    plan = applying.preview(ctx, editor, "kb.json", data, Options(Mode.REPLACE))
    done = applying.apply_import(ctx, editor, plan, typed="replace")
    _undo(ctx, editor, done)
    assert state(ctx) == before


def test_a_name_that_another_entry_has_by_now_is_not_taken_from_it(ctx, shop, editor):
    load(ctx)
    rust = named(ctx, editor, COLOURS, "rust")
    done = changes.save(ctx, editor, [Delete(rust.id, rust.version)])
    changes.save(ctx, editor, [Add(COLOURS, "rust", {"text": "Another rust."})])
    plan = undoing.preview(ctx, editor, done.id)
    assert [one.why for one in plan.kept] == ["another entry has its name now"]
    assert plan.is_empty
    navy = named(ctx, editor, COLOURS, "navy")
    renamed = changes.save(
        ctx, editor, [Edit(navy.id, navy.version, key_before="navy", key_after="midnight")]
    )
    changes.save(ctx, editor, [Add(COLOURS, "navy", {"text": "Another navy."})])
    assert [one.field for one in undoing.preview(ctx, editor, renamed.id).kept] == ["key"]


def test_a_plan_holds_only_while_the_entries_are_as_it_saw_them(ctx, shop, editor, admin):
    load(ctx)
    done = _edit(ctx, editor, COLOURS, "navy", text="Wrong.")
    plan = undoing.preview(ctx, editor, done.id)
    _edit(ctx, admin, COLOURS, "navy", text="Right.")
    with pytest.raises(Conflict, match="nothing was taken back"):
        undoing.undo(ctx, editor, plan)
    assert named(ctx, editor, COLOURS, "navy").body == "Right."


def test_one_entry_of_a_change_set_can_be_taken_back_alone(ctx, shop, editor):
    load(ctx)
    navy, rust = (named(ctx, editor, COLOURS, key) for key in ("navy", "rust"))
    done = changes.save(
        ctx,
        editor,
        [Delete(navy.id, navy.version), Delete(rust.id, rust.version)],
    )
    _undo(ctx, editor, done, only=[rust.id])
    assert named(ctx, editor, COLOURS, "rust").body == rust.body
    assert [one.key for one in recycling.deleted(ctx, editor).entries] == ["navy"]


def test_the_bin_lists_what_was_deleted_and_finds_it_by_its_text(ctx, shop, editor):
    load(ctx)
    rust = named(ctx, editor, COLOURS, "rust")
    changes.save(ctx, editor, [Delete(rust.id, rust.version)], "out of season")
    found = recycling.deleted(ctx, editor, search=rust.body[:12].upper())
    (one,) = found.entries
    assert (one.key, one.cells["text"], one.by, one.reason) == (
        "rust",
        rust.body,
        "Editor",
        "out of season",
    )
    assert recycling.deleted(ctx, editor, search="nothing like it").total == 0
    assert recycling.deleted(ctx, editor, page=2).entries == ()


def test_a_purge_removes_the_texts_everywhere_and_leaves_who_did_what(ctx, shop, editor, admin):
    load(ctx)
    secret = "Ask Ana at +351 900 000 000"
    done = changes.save(ctx, editor, [Add(COLOURS, "teal", {"text": secret})])
    teal = named(ctx, editor, COLOURS, "teal")
    gone = changes.save(ctx, editor, [Delete(teal.id, teal.version)])
    with pytest.raises(Denied):
        recycling.purge(ctx, editor, [teal.id], "purge")
    with pytest.raises(Invalid, match="confirmation"):
        recycling.purge(ctx, admin, [teal.id], "yes")
    navy = named(ctx, editor, COLOURS, "navy")
    with pytest.raises(Invalid, match="nothing was purged"):
        recycling.purge(ctx, admin, [teal.id, navy.id], "purge")
    assert recycling.purge(ctx, admin, [teal.id], "purge") == 1
    assert recycling.deleted(ctx, admin).total == 0
    for change_set in (done, gone):
        (told,) = history.details(ctx, admin, change_set.id).changes
        assert told.key == "teal" and secret not in str(told)
        assert undoing.preview(ctx, admin, change_set.id).is_empty
    shop_bytes = ctx.settings.shop_sqlite_path.read_bytes()
    assert secret.encode() not in shop_bytes
    events = audit.events(ctx, person("admin"), audit.AuditFilter(actions=("knowledge.purge",)))
    assert events.total == 1 and secret not in str(events)


def _draft_of(ctx, actor, *found, text):
    drafts = {one.id: EntryDraft(one, one.key, {"text": text}) for one in found}
    draft_id = keeping.new_id()
    keeping.keep(ctx, actor, draft_id, drafts)
    return draft_id


def test_a_purge_takes_the_texts_out_of_everybodys_drafts_and_leaves_their_other_work(
    ctx, shop, editor, admin
):
    load(ctx)
    secret = "Ask Ana at +351 900 000 000"
    changes.save(ctx, editor, [Add(COLOURS, "teal", {"text": secret})])
    teal, navy = (named(ctx, editor, COLOURS, key) for key in ("teal", "navy"))
    mixed = _draft_of(ctx, editor, teal, navy, text="Mine.")
    alone = _draft_of(ctx, admin, teal, text=f"{secret}, please.")
    changes.save(ctx, admin, [Delete(teal.id, teal.version)])
    recycling.purge(ctx, admin, [teal.id], "purge")
    assert [one.id for one in offering.mine(ctx, admin)] == []
    assert offering.look(ctx, editor, mixed).keys() == {navy.id}
    with read(ctx.control) as connection:
        assert alone not in set(connection.scalars(select(kb_drafts.c.id)))
        assert secret not in str(connection.execute(select(kb_draft_entries)).all())


def test_a_purge_that_is_stopped_between_the_two_databases_is_still_to_be_done(
    ctx, shop, editor, admin, monkeypatch
):
    load(ctx)
    navy = named(ctx, editor, COLOURS, "navy")
    _draft_of(ctx, editor, navy, text="Mine.")
    changes.save(ctx, admin, [Delete(navy.id, navy.version)])
    real = rows.purge

    def stopped(*args):
        real(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(rows, "purge", stopped)
        recycling.purge(ctx, admin, [navy.id], "purge")
    assert recycling.found_ids(ctx, admin) == (navy.id,)
    assert recycling.purge(ctx, admin, [navy.id], "purge") == 1
    assert offering.mine(ctx, editor) == ()


def test_nothing_is_purged_while_the_desks_own_database_cannot_be_written(
    ctx, shop, admin, monkeypatch
):
    load(ctx)
    navy = named(ctx, admin, COLOURS, "navy")
    changes.save(ctx, admin, [Delete(navy.id, navy.version)])
    with read(ctx.control) as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(DeskError):
        recycling.purge(ctx, admin, [navy.id], "purge")
    with read(ctx.control) as connection:
        connection.exec_driver_sql("PRAGMA query_only = OFF")
    (kept,) = recycling.deleted(ctx, admin).entries
    assert kept.cells == {"text": navy.body}


def test_who_may_only_read_can_take_nothing_back(ctx, shop, editor, manager):
    load(ctx)
    done = _edit(ctx, editor, COLOURS, "navy", text="New.")
    with pytest.raises(Denied):
        undoing.preview(ctx, manager, done.id)
    with pytest.raises(Denied):
        undoing.undo(ctx, manager, undoing.preview(ctx, editor, done.id))
