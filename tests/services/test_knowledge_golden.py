"""Golden questions: kept once each, in order, and asked before every release."""

from __future__ import annotations

import copy

import pytest
from sqlalchemy import update

from db.knowledge import entries as entries_table
from db.knowledge import state as state_table
from services.core import audit
from services.core.access import command_line_actor
from services.core.audit import AuditFilter
from services.core.databases import read_shop, write_shop
from services.core.errors import Conflict, Invalid
from services.knowledge.asking import LookUp
from services.knowledge.releasing import golden, status
from tests.knowledge_base import COLOURS, load, named, small_kb
from tests.services.publishing import publish, say


def _asked(ctx, actor):
    return [one.question for one in golden.questions(ctx, actor)]


def _audited(ctx):
    found = audit.events(ctx, command_line_actor("x"), AuditFilter()).events
    return [(one.action, one.actor_name) for one in found if one.subject_kind == "golden question"]


def test_a_question_is_kept_with_its_note_and_whoever_added_it(ctx, shop, editor, manager):
    made = golden.add(ctx, editor, "  silk   blouse ", "asked every day")
    assert golden.questions(ctx, manager) == (made,)
    assert (made.question, made.note, made.author) == (
        "silk blouse",
        "asked every day",
        editor.name,
    )
    golden.edit_note(ctx, editor, made.id, "<b>*why*</b>")
    assert golden.questions(ctx, manager)[0].note == "<b>*why*</b>"
    assert golden.remove(ctx, editor, made.id).question == "silk blouse"
    assert golden.questions(ctx, manager) == ()
    assert _audited(ctx) == [
        ("question.remove", editor.name),
        ("question.edit", editor.name),
        ("question.add", editor.name),
    ]


@pytest.mark.parametrize("again", ["navy", "NAVY", " Navy ", "ｎａｖｙ", "návy"])
def test_a_question_that_only_looks_otherwise_is_known_already(ctx, shop, editor, again):
    golden.add(ctx, editor, "Navy")
    with pytest.raises(Invalid, match="“Navy” is a golden question already") as caught:
        golden.add(ctx, editor, again)
    assert caught.value.hint
    assert _asked(ctx, editor) == ["Navy"]


@pytest.mark.parametrize("question", ["", " \t ", "x" * 201, "a\x00b", "a\ud800", "\x1b[0m"])
def test_what_nobody_could_ask_is_refused_and_nothing_is_kept(ctx, shop, editor, question):
    with pytest.raises(Invalid):
        golden.add(ctx, editor, question)
    with pytest.raises(Invalid):
        golden.add(ctx, editor, "navy", "n" * 501)
    assert _asked(ctx, editor) == [] and _audited(ctx) == []


def test_at_most_five_hundred_are_kept_and_a_list_comes_in_whole_or_not_at_all(ctx, shop, editor):
    many = "\n".join(f"question {number}" for number in range(499))
    assert golden.add_lines(ctx, editor, many) == golden.Added(499, 0)
    with pytest.raises(Invalid, match="At most 500"):
        golden.add_lines(ctx, editor, "one more\nand another")
    assert len(_asked(ctx, editor)) == 499
    golden.add(ctx, editor, "one more")
    with pytest.raises(Invalid, match="At most 500"):
        golden.add(ctx, editor, "and another")
    # What is there already takes no room.
    assert golden.add_lines(ctx, editor, many) == golden.Added(0, 499)


def test_a_list_goes_out_and_comes_in_again_as_it_was(ctx, shop, editor):
    golden.add(ctx, editor, "navy", "why: a, b")
    golden.add(ctx, editor, "ماذا ألبس", "")
    golden.add(ctx, editor, '"; DROP TABLE kb_questions --', "")
    text = golden.lines(golden.questions(ctx, editor))
    before = [(one.question, one.note) for one in golden.questions(ctx, editor)]
    for one in golden.questions(ctx, editor):
        golden.remove(ctx, editor, one.id)
    added = golden.add_lines(ctx, editor, "\ufeff" + text.replace("\n", "\r\n") + "NAVY\n\n")
    assert added == golden.Added(3, 1)
    assert [(one.question, one.note) for one in golden.questions(ctx, editor)] == before


def test_a_list_with_a_bad_line_says_which_and_adds_nothing(ctx, shop, editor):
    with pytest.raises(Invalid, match="Line 3: .*None was added"):
        golden.add_lines(ctx, editor, "navy\n\n" + "x" * 300)
    with pytest.raises(Invalid, match="no question"):
        golden.add_lines(ctx, editor, " \n\n")
    assert _asked(ctx, editor) == []


def test_a_question_that_somebody_removed_is_said_to_be_gone(ctx, shop, editor):
    made = golden.add(ctx, editor, "navy")
    golden.remove(ctx, editor, made.id)
    with pytest.raises(Conflict, match="removed this golden question"):
        golden.remove(ctx, editor, made.id)
    with pytest.raises(Conflict):
        golden.edit_note(ctx, editor, made.id, "x")


def test_only_questions_whose_answers_differ_are_told_and_all_are_counted(ctx, shop, editor):
    golden.add_lines(ctx, editor, "Navy\twhat buyers ask\nrust\njob interview")
    before, after = small_kb(), copy.deepcopy(small_kb())
    after["color_matching"]["by_color"]["navy"] = "Navy likes red."
    with read_shop(ctx) as connection:
        found, asked = golden.changes(connection, before, after)
        same, _asked = golden.changes(connection, before, before)
    assert asked == 3 and same == ()
    (one,) = found
    assert (one.question, one.note, one.changed) == ("Navy", "what buyers ask", (LookUp.COLOUR,))
    assert one.before[0].texts == (("text", before["color_matching"]["by_color"]["navy"]),)
    assert one.after[0].texts == (("text", "Navy likes red."),)


def test_what_waits_to_be_published_is_counted_and_a_new_order_is_told(ctx, shop, editor, manager):
    assert status.status(ctx, manager) == status.Status(None, 0, 0, 0)
    load(ctx)
    first = status.status(ctx, manager)
    assert first.release is None and first.changed == first.entries > 0
    publish(ctx, editor)
    assert status.status(ctx, manager).is_clean
    say(ctx, editor, "Red.")
    assert status.status(ctx, manager) == status.Status(1, 1, 0, first.entries)
    say(ctx, editor, "Navy likes sand and white.")
    assert status.status(ctx, manager).is_clean  # as before, though saved twice since
    navy = named(ctx, editor, COLOURS, "navy")
    with write_shop(ctx) as connection:
        there = update(entries_table).where(entries_table.c.id == navy.id)
        connection.execute(there.values(position=99))
        connection.execute(update(state_table).values(revision="another"))
    found = status.status(ctx, manager)
    assert (found.changed, found.moved, found.is_clean) == (0, 1, False)
