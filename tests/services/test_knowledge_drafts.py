"""Drafts on the server: what was typed is there again, saved once, and nobody else's business."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import func, insert, select, update

from db.control import kb_draft_entries, kb_drafts
from db.engine import read, write
from services.core import audit
from services.core.access import ROLES, Actor, ActorKind, system_actor
from services.core.errors import Conflict, DeskError, Invalid, Transient
from services.knowledge import changes, entries, transfer
from services.knowledge.changes import Add, Delete, Edit, EditConflict, NothingToSave
from services.knowledge.drafting import keeping, offering, presence
from services.knowledge.drafting.model import MAX_ENTRIES, EntryDraft, NewEntry, decode, encode
from services.knowledge.drafting.placing import placed
from tests.conftest import database_file
from tests.knowledge_base import COLOURS, FABRICS, load, named, small_kb
from tests.services.postgres_desk import desk_on

EDITOR = Actor("anna", "Anna", ActorKind.ACCOUNT, ROLES["editor"], "editor")
OTHER = Actor("ben", "Ben", ActorKind.ACCOUNT, ROLES["editor"], "editor")


@pytest.fixture
def kb(desk, shop):
    """A desk whose clock the test moves, with a small knowledge base."""
    load(desk)
    return desk


@pytest.fixture
def on_server(postgres_server, tmp_path, clock):
    """The same on a PostgreSQL server."""
    context = desk_on(postgres_server, tmp_path)
    load(context)
    yield replace(context, clock=clock)
    context.close()


def wrote(ctx, key="navy", text="Navy, in a draft.", where=COLOURS):
    """A draft of one text."""
    entry = named(ctx, EDITOR, where, key)
    return entry.id, EntryDraft(entry, entry.key, {"text": text})


def kept(ctx, *drafts, actor=EDITOR):
    """A draft on the server with these entries; gives its id."""
    draft_id = keeping.new_id()
    assert keeping.keep(ctx, actor, draft_id, dict(drafts)) == keeping.Kept(begun=True)
    return draft_id


def edit_of(draft):
    """What a page saves of a draft."""
    base = draft.base
    if draft.deleted:
        return Delete(base.id, base.version, base.digest)
    before = {name: base.cells.get(name, "") for name in draft.cells}
    keys = (base.key, draft.key) if draft.key != base.key else (None, None)
    return Edit(base.id, base.version, before, dict(draft.cells), *keys)


def count(ctx, table):
    with read(ctx.control) as connection:
        return connection.scalar(select(func.count()).select_from(table))


def kept_and_taken(ctx, clock):
    number, draft = wrote(ctx)
    added = NewEntry(-1, COLOURS, COLOURS, "téal\x00", {"text": "a\x00b 👗 \ud800"})
    old = kept(ctx, (number, draft), (-1, added))
    clock.forward(days=2)
    (offered,) = offering.mine(ctx, EDITOR)
    assert (offered.id, offered.entries, offered.alive) == (old, 2, False)
    assert (clock() - offered.touched_at).days == 2
    assert offering.look(ctx, EDITOR, old) == {number: draft, -1: added}
    tab = kept(ctx, (-1, replace(added, key="sand")))
    taken = offering.take_over(ctx, EDITOR, old, tab)
    assert taken.stored == {number: draft, -2: replace(added, ref=-2)}
    assert (taken.placed, taken.left) == (taken.stored, 0)
    assert set(offering.look(ctx, EDITOR, tab)) == {number, -1, -2}
    assert offering.mine(ctx, EDITOR, tab) == ()
    assert keeping.keep(ctx, EDITOR, old, {number: draft}).elsewhere
    assert keeping.keep(ctx, EDITOR, old, {}).elsewhere
    assert offering.discard(ctx, EDITOR, tab) == 3
    assert offering.mine(ctx, EDITOR) == ()


def test_a_draft_is_there_days_later_and_goes_on_in_another_tab_while_the_first_lets_go(kb, clock):
    kept_and_taken(kb, clock)


def test_the_same_is_so_on_a_server(on_server, clock):
    kept_and_taken(on_server, clock)


def test_only_what_changed_is_written_and_the_last_entry_ends_the_draft(kb):
    (navy, one), (rust, two) = wrote(kb), wrote(kb, "rust")
    draft_id = kept(kb, (navy, one), (rust, two))
    with write(kb.control) as connection:
        untouched = update(kb_draft_entries).where(kb_draft_entries.c.number == rust)
        connection.execute(untouched.values(body="{}"))
    keeping.keep(kb, EDITOR, draft_id, {navy: replace(one, cells={"text": "Anew."})})
    assert offering.look(kb, EDITOR, draft_id) == {navy: replace(one, cells={"text": "Anew."})}
    keeping.keep(kb, EDITOR, draft_id, {navy: None, rust: None})
    assert (count(kb, kb_drafts), count(kb, kb_draft_entries)) == (0, 0)


def test_nobody_finds_or_touches_the_draft_of_another_account_or_another_desk(kb):
    number, draft = wrote(kb)
    draft_id = kept(kb, (number, draft))
    elsewhere = replace(kb, settings=kb.settings.model_copy(update={"instance_id": "other"}))
    mine = kept(kb, wrote(kb, "rust"), actor=OTHER)
    for ctx, actor in ((kb, OTHER), (elsewhere, EDITOR)):
        assert draft_id not in [one.id for one in offering.mine(ctx, actor)]
        for attempt in (
            lambda ctx=ctx, actor=actor: offering.look(ctx, actor, draft_id),
            lambda ctx=ctx, actor=actor: offering.take_over(ctx, actor, draft_id, mine),
            lambda ctx=ctx, actor=actor: offering.discard(ctx, actor, draft_id),
            lambda ctx=ctx, actor=actor: keeping.keep(ctx, actor, draft_id, {number: None}),
            lambda ctx=ctx, actor=actor: keeping.keep(ctx, actor, draft_id, {}),
            lambda ctx=ctx, actor=actor: keeping.begin_save(ctx, actor, draft_id),
        ):
            with pytest.raises(Invalid, match="not there"):
                attempt()
    assert offering.look(kb, EDITOR, draft_id) == {number: draft}


@pytest.mark.parametrize("bad", ["", "x" * 32, "A" * 32, "../etc/passwd", "0" * 33, None, 7])
def test_what_is_no_id_of_a_draft_is_refused_everywhere(kb, bad):
    good = keeping.new_id()
    for attempt in (
        lambda: keeping.keep(kb, EDITOR, bad, {}),
        lambda: keeping.begin_save(kb, EDITOR, bad),
        lambda: offering.look(kb, EDITOR, bad),
        lambda: offering.discard(kb, EDITOR, bad),
        lambda: offering.take_over(kb, EDITOR, bad, good),
        lambda: offering.take_over(kb, EDITOR, good, bad),
        lambda: presence.here(kb, EDITOR, bad, COLOURS),
    ):
        with pytest.raises(Invalid):
            attempt()


def test_a_desk_that_is_killed_after_a_save_neither_offers_the_draft_again_nor_saves_it_twice(kb):
    number, draft = wrote(kb)
    draft_id = kept(kb, (number, draft))
    name = keeping.begin_save(kb, EDITOR, draft_id)
    # Killed here: nothing was saved, the draft is offered.
    assert [one.id for one in offering.mine(kb, EDITOR)] == [draft_id]
    changes.save(kb, EDITOR, [edit_of(draft)], change_set_id=name)
    # Killed here, before the draft was cleared; and somebody changes the text since.
    entry = entries.entry(kb, OTHER, number)
    changes.save(kb, OTHER, [Edit(number, entry.version, {"text": entry.body}, {"text": "Later."})])
    with pytest.raises(Conflict, match="saved already"):
        offering.take_over(kb, EDITOR, draft_id, keeping.new_id())
    assert offering.mine(kb, EDITOR) == ()
    assert count(kb, kb_drafts) == 0
    assert entries.entry(kb, EDITOR, number).body == "Later."


def test_what_is_typed_after_a_save_that_could_not_be_cleared_away_is_kept(kb):
    number, draft = wrote(kb)
    draft_id = kept(kb, (number, draft))
    name = keeping.begin_save(kb, EDITOR, draft_id)
    changes.save(kb, EDITOR, [edit_of(draft)], change_set_id=name)
    rust, more = wrote(kb, "rust")
    keeping.keep(kb, EDITOR, draft_id, {number: None, rust: more})
    assert [one.entries for one in offering.mine(kb, EDITOR)] == [1]
    assert offering.look(kb, EDITOR, draft_id) == {rust: more}


def test_a_saved_draft_that_was_not_noted_down_ends_as_nothing_to_save(kb):
    draft = wrote(kb)[1]
    rust = named(kb, EDITOR, COLOURS, "rust")
    linen = named(kb, EDITOR, FABRICS, "linen")
    made = [
        edit_of(draft),
        Delete(rust.id, rust.version, rust.digest),
        Edit(linen.id, 1, key_before="linen", key_after="flax"),
        Add(COLOURS, "teal", {"text": "Teal likes sand."}),
        Add(FABRICS, "silk", {"description": "Smooth.", "care": "Cold."}, -2),
    ]
    changes.save(kb, EDITOR, made)
    with pytest.raises(NothingToSave):
        changes.save(kb, EDITOR, made)


def test_an_entry_of_another_text_under_the_same_key_is_still_refused(kb):
    with pytest.raises(Invalid, match="can't be saved"):
        changes.save(kb, EDITOR, [Add(COLOURS, "navy", {"text": "Another."})])


def test_a_draft_from_before_a_restore_asks_instead_of_overwriting_what_has_its_version(kb):
    number, draft = wrote(kb)
    draft_id = kept(kb, (number, draft))
    with closing(sqlite3.connect(database_file(kb.settings.shop_database_url))) as raw:
        # As a restore leaves it: the same id and version, another text.
        raw.execute("UPDATE kb_entries SET body = '\"From a backup.\"' WHERE id = ?", (number,))
        raw.commit()
    taken = offering.take_over(kb, EDITOR, draft_id, keeping.new_id())
    with pytest.raises(EditConflict) as caught:
        changes.save(kb, EDITOR, [edit_of(taken.placed[number])])
    (clash,) = caught.value.clashes
    assert (clash.base, clash.theirs, clash.mine) == (
        "Navy likes sand and white.", "From a backup.", "Navy, in a draft.",
    )  # fmt: skip


def test_a_deletion_from_before_a_restore_asks_where_the_text_is_another_one(kb):
    entry = named(kb, EDITOR, COLOURS, "navy")
    with pytest.raises(EditConflict):
        changes.save(kb, EDITOR, [Delete(entry.id, entry.version, "0" * 32)])


def test_a_draft_finds_its_entry_by_its_place_where_the_ids_are_others(kb):
    (navy, one), (moss, two) = wrote(kb), wrote(kb, "moss")
    fit = named(kb, EDITOR, "/style_advice", "fit")
    gone = EntryDraft(replace(fit, id=navy, key="drape", section="/occasions"), "drape", {})
    shifted = {
        moss: replace(one, base=replace(one.base, id=moss)),  # navy's text under moss's id
        9_999: replace(two, base=replace(two.base, id=9_999)),
        navy: replace(gone, cells={"text": "A text whose entry is not there."}),
    }
    found = placed(kb, shifted)
    assert found[navy].base.key == "navy" and found[navy].cells == one.cells
    assert found[moss].base.key == "moss" and found[moss].cells == two.cells
    (new,) = [one for number, one in found.items() if number < 0]
    assert new == NewEntry(
        new.ref, "/occasions", "/occasions", "drape", {"text": "A text whose entry is not there."}
    )


def test_a_draft_stays_with_its_entry_when_somebody_renames_deletes_or_imports_it(kb):
    (navy, one), (rust, two) = wrote(kb), wrote(kb, "rust")
    draft_id = kept(kb, (navy, one), (rust, two))
    renamed = Edit(navy, 1, key_before="navy", key_after="midnight")
    changes.save(kb, OTHER, [renamed, Delete(rust, 1)])
    taken = offering.take_over(kb, EDITOR, draft_id, keeping.new_id())
    assert set(taken.placed) == {navy, rust}
    with pytest.raises(EditConflict) as caught:
        changes.save(kb, EDITOR, [edit_of(draft) for draft in taken.placed.values()])
    assert [(clash.entry_id, clash.theirs) for clash in caught.value.clashes] == [(rust, None)]
    changes.save(kb, EDITOR, [edit_of(taken.placed[navy])])
    assert entries.entry(kb, EDITOR, navy).key == "midnight"
    transfer.restore_document(kb, system_actor(), small_kb(), "again")
    assert placed(kb, {navy: one})


def test_an_entry_that_this_tab_has_changes_in_stays_behind(kb):
    (navy, one), (rust, two) = wrote(kb), wrote(kb, "rust")
    old = kept(kb, (navy, one), (rust, two))
    tab = kept(kb, (navy, replace(one, cells={"text": "Other."})))
    taken = offering.take_over(kb, EDITOR, old, tab)
    assert (set(taken.stored), taken.left) == ({rust}, 1)
    assert offering.look(kb, EDITOR, old) == {navy: one}
    assert offering.look(kb, EDITOR, tab)[navy].cells == {"text": "Other."}


def test_too_much_is_left_out_and_said_while_the_rest_is_kept(kb, monkeypatch):
    number, draft = wrote(kb, text="x" * 1_000_000)
    draft_id = kept(kb, (number, draft))  # a cell of a megabyte is kept, though it can't be saved
    monkeypatch.setattr(keeping, "MAX_CHARACTERS", 1_500_000)
    rust, more = wrote(kb, "rust", "y" * 1_000_000)
    moss, little = wrote(kb, "moss")
    done = keeping.keep(kb, EDITOR, draft_id, {rust: more, moss: little})
    assert done.left_out == (rust,)
    assert "at most" in done.why
    assert set(offering.look(kb, EDITOR, draft_id)) == {number, moss}
    done = keeping.keep(kb, EDITOR, draft_id, {number: None, rust: more})
    assert done.left_out == ()


def test_two_thousand_entries_are_kept_and_one_more_is_not(kb):
    many = {
        -n: NewEntry(-n, COLOURS, COLOURS, f"k{n}", {"text": "t"})
        for n in range(1, MAX_ENTRIES + 2)
    }
    draft_id = keeping.new_id()
    done = keeping.keep(kb, EDITOR, draft_id, many)
    assert done.left_out == (-MAX_ENTRIES - 1,)
    assert offering.mine(kb, EDITOR)[0].entries == MAX_ENTRIES


@pytest.mark.parametrize(
    "body", ["", "{}", "[]", "null", '{"base": 7, "key": "a", "cells": {}}', "[" * 3000,
             '{"base": {"id": 1}, "key": "a", "cells": {}, "deleted": false}']
)  # fmt: skip
def test_a_kept_row_that_can_not_be_read_is_passed_over(kb, body):
    number, draft = wrote(kb)
    draft_id = kept(kb, (number, draft))
    with write(kb.control) as connection:
        values = {"draft_id": draft_id, "number": 7_777, "size": len(body), "body": body}
        connection.execute(insert(kb_draft_entries).values(**values))
    assert offering.look(kb, EDITOR, draft_id) == {number: draft}


def test_what_a_hand_made_message_puts_in_place_of_a_text_is_not_kept(kb):
    number, draft = wrote(kb)
    odd = replace(draft, cells={"text": {"a": [1]}, "care": None, "best_for": "fine"})
    assert decode(number, encode(odd)).cells == {"best_for": "fine"}


def test_drafts_that_nobody_touched_for_ninety_days_are_swept_at_the_next_visit(kb, clock):
    kept(kb, wrote(kb))
    clock.forward(days=89)
    assert len(offering.mine(kb, EDITOR)) == 1
    clock.forward(days=2)
    assert offering.mine(kb, OTHER) == ()
    assert (count(kb, kb_drafts), count(kb, kb_draft_entries)) == (0, 0)


def test_a_locked_database_says_so_and_neither_the_error_nor_a_log_quotes_the_draft(kb, caplog):
    number, draft = wrote(kb, text="nobody reads this")
    kb.control.dispose()
    with closing(sqlite3.connect(database_file(kb.settings.control_url))) as raw:
        raw.execute("ALTER TABLE kb_draft_entries RENAME TO away")
        raw.commit()
        with caplog.at_level(logging.DEBUG), pytest.raises(DeskError) as caught:
            keeping.keep(kb, EDITOR, keeping.new_id(), {number: draft})
        raw.execute("ALTER TABLE away RENAME TO kb_draft_entries")
        raw.commit()
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert "nobody reads this" not in f"{caught.value} {caplog.text}"


def test_a_writer_that_holds_the_database_is_named_and_what_was_kept_stays(kb, monkeypatch):
    number, draft = wrote(kb)
    draft_id = kept(kb, (number, draft))
    with read(kb.control) as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(database_file(kb.settings.control_url))) as raw:
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(Transient, match="locked"):
            keeping.keep(kb, EDITOR, draft_id, {number: None})
        raw.rollback()
    assert offering.look(kb, EDITOR, draft_id) == {number: draft}


def test_drafts_reach_neither_the_audit_log_nor_the_shop(kb, admin):
    number, draft = wrote(kb, text="nobody reads this")
    draft_id = kept(kb, (number, draft))
    offering.take_over(kb, EDITOR, draft_id, keeping.new_id())
    told = audit.events(kb, admin, audit.AuditFilter())
    assert "nobody reads this" not in repr(told)
    assert b"nobody reads this" not in database_file(kb.settings.shop_database_url).read_bytes()
