"""Asking what is saved, beside what is published and what the shop serves today."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from sqlalchemy import insert, update

from db.engine import write
from db.knowledge import activations, releases
from services.core.errors import Invalid
from services.knowledge import changes, trying
from services.knowledge.asking import Found, LookUp, ask
from services.knowledge.changes import Add, Delete, Edit
from services.knowledge.document import canonical
from services.knowledge.releasing import golden
from services.knowledge.trying import Source
from services.knowledge.writing import to_module
from tests.knowledge_base import COLOURS, FABRICS, load, named, small_kb


@pytest.fixture
def module(ctx, shop):
    """The shop's own module, saying what the knowledge base says."""
    load(ctx)
    path = ctx.settings.shop_kb_module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_module(small_kb()))
    return path


def _release(ctx, document, number=1, files=None):
    """A release in the database, as publishing leaves it."""
    data = canonical(document)
    who = {"author_id": "x", "author": "x", "at": ctx.now()}
    with write(ctx.shop) as connection:
        connection.execute(
            insert(releases).values(
                number=number,
                notes="",
                revision="",
                digest=hashlib.sha256(data).hexdigest(),
                entries=1,
                added=0,
                edited=0,
                deleted=0,
                document=zlib.compress(data),
                members=b"",
                **who,
            )
        )
        connection.execute(
            insert(activations).values(
                release=number, author_kind="account", reason="", files=files, **who
            )
        )


def _sides(found, look_up=LookUp.COLOUR):
    place = list(LookUp).index(look_up)
    return {
        side.source: (dict(side.answers[place].texts) or side.answers[place].found)
        for side in found.sides
    }


def _recolour(ctx, actor, text):
    navy = named(ctx, actor, COLOURS, "navy")
    changes.save(ctx, actor, [Edit(navy.id, navy.version, {"text": navy.body}, {"text": text})])
    return navy


@pytest.mark.parametrize(
    "question", ["navy", "Silk Wool", "n", "LINEN", "job interview", "sh", "?"]
)
def test_what_is_saved_answers_key_by_key_what_the_whole_document_answers(
    ctx, shop, editor, question
):
    load(ctx)
    (saved,) = trying.try_out(ctx, editor, question).sides
    assert saved.answers == ask(small_kb(), question)


def test_before_the_first_release_the_shops_own_module_is_what_customers_meet(
    ctx, shop, editor, module
):
    assert trying.try_out(ctx, editor, "Navy").changed == ()
    navy = _recolour(ctx, editor, "Red.")
    found = trying.try_out(ctx, editor, "Navy")
    assert _sides(found) == {Source.SHOP: {"text": navy.body}, Source.SAVED: {"text": "Red."}}
    assert found.changed == (LookUp.COLOUR,)
    assert found.entries == {(COLOURS, "navy"): navy.id}


def test_a_release_stands_between_the_shop_and_what_is_saved(ctx, shop, editor, module):
    published = small_kb()
    published["color_matching"]["by_color"]["navy"] = "Published."
    _release(ctx, published)
    navy = _recolour(ctx, editor, "Saved.")
    found = trying.try_out(ctx, editor, "navy")
    assert list(_sides(found).items()) == [
        (Source.SHOP, {"text": navy.body}),
        (Source.RELEASE, {"text": "Published."}),
        (Source.SAVED, {"text": "Saved."}),
    ]
    assert [side.release for side in found.sides] == [None, 1, None]


def test_a_module_that_the_current_release_wrote_is_not_asked_again(ctx, shop, editor, module):
    digest = hashlib.sha256(module.read_bytes()).hexdigest()
    _release(ctx, small_kb(), files={"fashion_kb.py": digest})
    assert list(_sides(trying.try_out(ctx, editor, "navy"))) == [Source.RELEASE, Source.SAVED]
    module.write_bytes(to_module({"color_matching": {"by_color": {"navy": "By hand."}}}))
    assert _sides(trying.try_out(ctx, editor, "navy"))[Source.SHOP] == {"text": "By hand."}


@pytest.mark.parametrize("content", [None, b"FASHION_KNOWLEDGE_BASE = load()\n", b"\xff\xfe{"])
def test_a_module_that_is_missing_or_no_data_is_said_and_the_rest_is_asked(
    ctx, shop, editor, module, content
):
    module.unlink() if content is None else module.write_bytes(content)
    for _again in range(2):
        found = trying.try_out(ctx, editor, "rust")
        assert list(_sides(found)) == [Source.SAVED] and found.notes and not found.changed
        assert found.sides[0].answers[0].found is Found.ENTRY


def test_a_release_that_cant_be_read_is_said_and_what_is_saved_is_asked(ctx, shop, editor):
    load(ctx)
    _release(ctx, small_kb())
    with write(ctx.shop) as connection:
        connection.execute(update(releases).values(document=b"broken", digest="0" * 64))
    found = trying.try_out(ctx, editor, "navy")
    assert list(_sides(found)) == [Source.SAVED]
    assert "Release 1 is damaged" in found.notes[0]
    golden.add(ctx, editor, "navy")
    report = trying.golden_answers(ctx, editor)
    assert report.before is None and "Release 1 is damaged" in report.note


def test_edits_that_nobody_saved_are_asked_on_top_without_being_saved(ctx, shop, editor):
    load(ctx)
    navy, rust = (named(ctx, editor, COLOURS, key) for key in ("navy", "rust"))
    linen = named(ctx, editor, FABRICS, "linen")
    edits = [
        Edit(navy.id, navy.version, {"text": navy.body}, {"text": "Mine."}),
        Edit(rust.id, rust.version, key_before="rust", key_after="brick"),
        Delete(linen.id, linen.version),
        Add(COLOURS, "teal", {"text": "New."}),
    ]

    def unsaved(question, look_up=LookUp.COLOUR):
        return _sides(trying.try_out(ctx, editor, question, edits), look_up).get(Source.UNSAVED)

    assert unsaved("navy") == {"text": "Mine."}
    assert unsaved("rust") is Found.GENERAL
    assert unsaved("brick") == {"text": rust.body}
    assert unsaved("teal") == {"text": "New."}
    assert unsaved("linen", LookUp.FABRIC) is Found.NOTHING
    assert unsaved("moss") is None  # the same as saved
    assert _sides(trying.try_out(ctx, editor, "navy"))[Source.SAVED] == {"text": navy.body}


def test_a_dict_where_a_text_belongs_is_answered_as_the_shop_would(ctx, shop, editor):
    odd = {"occasions": {"party": {"late": "Black.", "early": {"noon": "White."}}}}
    load(ctx, odd)
    (saved,) = trying.try_out(ctx, editor, "party").sides
    assert saved.answers == ask(odd, "party")


def test_a_question_of_any_length_or_kind_is_answered_or_refused(ctx, shop, editor, module):
    assert trying.try_out(ctx, editor, "<b>'; DROP TABLE kb_entries --").sides
    for bad in ("x" * 201, "  ", "a\x00b"):
        with pytest.raises(Invalid):
            trying.try_out(ctx, editor, bad)


def test_an_empty_knowledge_base_answers_with_what_the_shop_says_then(ctx, shop, editor):
    found = trying.try_out(ctx, editor, "navy")
    assert all(one.found is not Found.ENTRY for one in found.sides[0].answers)
    assert found.entries == {} and "Nothing is published yet" in found.notes[0]


def test_golden_questions_say_which_answers_the_next_release_changes(ctx, shop, editor, module):
    golden.add_lines(ctx, editor, "navy\nrust")
    assert trying.golden_answers(ctx, editor).changes == {}
    _recolour(ctx, editor, "Red.")
    report = trying.golden_answers(ctx, editor)
    assert report.before is Source.SHOP and set(report.changes) == {"navy"}
    published = small_kb()
    published["color_matching"]["by_color"] |= {"navy": "Red.", "rust": "Old."}
    _release(ctx, published, number=7)
    report = trying.golden_answers(ctx, editor)
    assert (report.before, report.release) == (Source.RELEASE, 7)
    assert set(report.changes) == {"rust"}
    golden.remove(ctx, editor, golden.questions(ctx, editor)[1].id)
    assert trying.golden_answers(ctx, editor).changes == {}


def test_a_first_set_is_offered_of_what_the_knowledge_base_answers(ctx, shop, editor):
    assert trying.starters(ctx, editor) == ()
    load(ctx)
    offered = trying.starters(ctx, editor)
    assert {"navy", "job interview", "linen"} <= set(offered) and "black tie" not in offered
    for question in offered:
        answers = trying.try_out(ctx, editor, question).sides[0].answers
        assert any(one.found is Found.ENTRY for one in answers)
    golden.add_lines(ctx, editor, "\n".join(offered))
