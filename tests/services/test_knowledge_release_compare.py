"""Comparing: every change in reach, the same answers as whole documents, and damage survived."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update

from db.engine import read, write
from db.knowledge import releases as stored
from services.core.errors import Broken
from services.knowledge.asking import Asker
from services.knowledge.changes import Delete, save
from services.knowledge.releasing import activating, archive, comparing, golden, releases, standing
from services.knowledge.releasing.model import SHOWN, FolderState
from tests.conftest import desk_settings
from tests.knowledge_base import COLOURS, FABRICS, load, named, small_kb
from tests.services.publishing import navy_in, publish, say


@pytest.fixture
def settings(tmp_path):
    """A desk that publishes into the folder of the shop's module."""
    return desk_settings(tmp_path, kb_publish_dir="utils")


@pytest.fixture
def folder(settings):
    """The folder that the shop reads."""
    path = settings.publish_dir
    path.mkdir(parents=True)
    return path


def test_every_change_is_in_reach_and_each_comes_once(ctx, shop, editor, folder):
    document = small_kb()
    colours = document["color_matching"]["by_color"]
    colours |= {f"c{number:04}": f"Colour {number}." for number in range(2 * SHOWN + 30)}
    load(ctx, document)
    seen = releases.preview(ctx, editor).comparison
    assert len(seen.changes) == SHOWN and seen.added == 16 + 2 * SHOWN + 30
    publish(ctx, editor)
    for before, after in ((None, None), (None, 1)):
        told = [
            change
            for offset in range(0, seen.added + SHOWN, SHOWN)
            for change in comparing.more(ctx, editor, before, after, offset)
        ]
        assert len(told) == seen.added and len({change.entry_id for change in told}) == seen.added
        assert {"c0007", "navy", "linen"} <= {change.key for change in told}
        assert tuple(told[:SHOWN]) == seen.changes
        assert comparing.more(ctx, editor, before, after, 9999) == ()
        assert comparing.more(ctx, editor, before, after, -5) == seen.changes


def test_golden_questions_are_answered_as_whole_documents_answer_them(ctx, shop, editor, folder):
    lines = "NaVy\nrust\nlinen\nwoollen\njob interview\nweather\nfit\nin\nnothing such\nteal"
    golden.add_lines(ctx, editor, lines)
    load(ctx)
    publish(ctx, editor)
    say(ctx, editor, "Navy likes red.")
    rust = named(ctx, editor, COLOURS, "rust")
    linen = named(ctx, editor, FABRICS, "linen")
    save(ctx, editor, [Delete(rust.id, rust.version), Delete(linen.id, linen.version)])
    with read(ctx.shop) as connection:
        then, now = archive.document_of(connection, 1), archive.freeze(connection).document
        questions = golden.asked(connection)
    wanted = golden.changed_answers(questions, Asker(then), Asker(now))
    assert {one.question for one in wanted} >= {"NaVy", "rust", "linen"}
    seen = releases.preview(ctx, editor).comparison
    assert (seen.answers, seen.asked) == (wanted, len(questions))
    publish(ctx, editor)
    assert comparing.compare(ctx, editor, 1, 2).answers == wanted
    back = comparing.compare(ctx, editor, 2, 1).answers
    assert [(one.before, one.after) for one in back] == [(one.after, one.before) for one in wanted]
    first = golden.changed_answers(questions, Asker({}), Asker(then))
    assert comparing.compare(ctx, editor, None, 1).answers == first


JUNK = archive.packed(json.dumps([[1, 2]]).encode())


@pytest.mark.parametrize(
    "harm",
    [
        {"document": b"broken"},
        {"document": archive.packed(b"{}")},
        {"members": b"broken"},
        {"members": archive.packed(b"not JSON")},
        {"members": JUNK},
        {"members": archive.packed(b"7")},
    ],
    ids=["document", "another document", "members", "no JSON", "no members", "a number"],
)
@pytest.mark.parametrize("is_changed", [True, False])
def test_a_current_release_that_is_damaged_can_be_published_over_or_left(
    ctx, shop, editor, folder, harm, is_changed
):
    load(ctx)
    golden.add(ctx, editor, "navy")
    publish(ctx, editor)
    say(ctx, editor, "Navy likes red.")
    publish(ctx, editor)
    if is_changed:
        say(ctx, editor, "Navy likes green.")
    with write(ctx.shop) as connection:
        connection.execute(update(stored).where(stored.c.number == 2).values(**harm))
    plan = releases.preview(ctx, editor)
    seen = plan.comparison
    assert (seen.before, seen.added, seen.edited, plan.is_empty) == (2, 16, 0, False)
    assert "Release 2 is damaged" in seen.unreadable
    with pytest.raises(Broken) as found:
        activating.wanted_release(ctx, 2)
    assert "Publish what is saved as a new release, or make another release" in found.value.hint
    activating.make_current(ctx, editor, 1, "2 is damaged")
    assert navy_in(folder) == "Navy likes sand and white."
    back = releases.preview(ctx, editor).comparison
    assert (back.unreadable, back.edited) == ("", 1)


def test_what_is_published_over_a_damaged_release_is_whole(ctx, shop, editor, folder):
    load(ctx)
    publish(ctx, editor)
    with write(ctx.shop) as connection:
        connection.execute(update(stored).values(document=b"broken", members=b"broken"))
    made = publish(ctx, editor, "Over a damaged one")
    assert (made.release, made.problem) == (2, None)
    assert standing.folder(ctx, editor).state is FolderState.CURRENT
    now = releases.preview(ctx, editor)
    assert now.is_empty and not now.comparison.unreadable
    assert releases.release(ctx, editor, 2).added == 16
