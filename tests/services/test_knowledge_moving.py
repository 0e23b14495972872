"""Moving: the order is what was asked for, nobody else's place changes, and it can be undone."""

from __future__ import annotations

import random

import pytest

from services.core.errors import Conflict, Denied, Invalid
from services.knowledge import changes, entries, history, moving, undoing
from services.knowledge.changes import Add, Delete, Edit
from services.knowledge.moving import Step
from tests.knowledge_base import COLOURS, load, named, state

LETTERS = "abcdefgh"


@pytest.fixture
def alphabet(ctx, shop):
    """A part of eight entries, some places of which are free."""
    load(ctx, {"style_advice": {letter: f"Text {letter}." for letter in LETTERS}})


def _order(ctx, actor, where="/style_advice"):
    return "".join(one.key for one in entries.page(ctx, actor, where).entries)


def _versions(ctx, actor, keys, where="/style_advice"):
    found = entries.page(ctx, actor, where).entries
    return {one.id: one.version for one in found if one.key in keys}


def _id(ctx, actor, key):
    return named(ctx, actor, "/style_advice", key).id


def _undo(ctx, actor, change_set):
    return undoing.undo(ctx, actor, undoing.preview(ctx, actor, change_set.id))


@pytest.mark.parametrize(
    ("keys", "to", "order"),
    [
        ("c", Step.UP, "acbdefgh"),
        ("c", Step.DOWN, "abdcefgh"),
        ("c", Step.TOP, "cabdefgh"),
        ("c", Step.END, "abdefghc"),
        ("bc", Step.UP, "bcadefgh"),
        ("bf", Step.TOP, "bfacdegh"),
        ("bf", Step.UP, "bfacdegh"),
        ("bf", Step.DOWN, "acdegbfh"),
        ("gh", Step.UP, "abcdeghf"),
        ("bg", Step.END, "acdefhbg"),
    ],
)
def test_a_step_gives_the_order_that_was_asked_for_and_is_taken_back(
    ctx, alphabet, editor, keys, to, order
):
    before = state(ctx)
    done = moving.step(ctx, editor, _versions(ctx, editor, keys), to)
    assert _order(ctx, editor) == order
    assert (done.kind, done.edited, done.added, done.deleted) == ("edit", len(keys), 0, 0)
    undone = _undo(ctx, editor, done)
    assert state(ctx) == before
    _undo(ctx, editor, undone)
    assert _order(ctx, editor) == order


def test_any_moves_one_after_the_other_keep_the_order_of_a_list_and_are_taken_back_one_by_one(
    ctx, alphabet, editor
):
    chance = random.Random(7)
    orders, done = [_order(ctx, editor)], []
    for _turn in range(25):
        now = orders[-1]
        keys = set(chance.sample(LETTERS, chance.randint(1, 4)))
        target = chance.choice([*(set(LETTERS) - keys), None])
        rest = [one for one in now if one not in keys]
        at = len(rest) if target is None else rest.index(target)
        wanted = "".join([*rest[:at], *(one for one in now if one in keys), *rest[at:]])
        before = None if target is None else _id(ctx, editor, target)
        versions = _versions(ctx, editor, keys)
        if wanted == now:
            with pytest.raises(Invalid, match="already"):
                moving.move(ctx, editor, versions, before=before)
            continue
        done.append(moving.move(ctx, editor, versions, before=before))
        assert _order(ctx, editor) == wanted
        orders.append(wanted)
    for change_set, order in zip(reversed(done), reversed(orders[:-1]), strict=True):
        _undo(ctx, editor, change_set)
        assert _order(ctx, editor) == order


def test_only_the_moved_entries_have_a_new_version_and_a_history(ctx, alphabet, editor):
    moving.step(ctx, editor, _versions(ctx, editor, "h"), Step.TOP, "It matters most")
    found = {one.key: one for one in entries.page(ctx, editor, "/style_advice").entries}
    assert {key for key, one in found.items() if one.version > 1} == {"h"}
    assert history.history(ctx, editor, found["h"])[0].reason == "It matters most"
    assert len(history.history(ctx, editor, found["a"])) == 1


def test_a_move_is_taken_back_around_what_others_wrote_since(ctx, alphabet, editor, admin):
    done = moving.step(ctx, editor, _versions(ctx, editor, "h"), Step.TOP)
    c, d = (named(ctx, editor, "/style_advice", key) for key in "cd")
    changes.save(
        ctx,
        admin,
        [
            Edit(c.id, c.version, {"text": c.body}, {"text": "New."}),
            Delete(d.id, d.version),
            Add("/style_advice", "z", {"text": "Last."}),
        ],
    )
    _undo(ctx, editor, done)
    assert _order(ctx, editor) == "abcefghz"
    assert named(ctx, editor, "/style_advice", "c").body == "New."


def test_moving_what_somebody_changed_since_is_refused_and_nothing_moves(
    ctx, alphabet, editor, admin
):
    versions = _versions(ctx, editor, "cd")
    d = named(ctx, editor, "/style_advice", "d")
    changes.save(ctx, admin, [Edit(d.id, d.version, {"text": d.body}, {"text": "New."})])
    before = state(ctx)
    with pytest.raises(Conflict, match="nothing was moved"):
        moving.step(ctx, editor, versions, Step.TOP)
    gone = _id(ctx, editor, "a")
    changes.save(ctx, admin, [Delete(gone, 1)])
    with pytest.raises(Conflict, match="not there any more; nothing was moved"):
        moving.move(ctx, editor, _versions(ctx, editor, "c"), before=gone)
    assert _order(ctx, editor) == "bcdefgh"
    assert before != state(ctx)


def test_what_has_no_order_of_its_own_is_not_moved(ctx, shop, editor, nobody):
    load(ctx)
    before = state(ctx)
    basics = named(ctx, editor, "/color_matching/basics", "basics")
    navy = named(ctx, editor, COLOURS, "navy")
    fit = named(ctx, editor, "/style_advice", "fit")
    for versions, target, words in (
        ({basics.id: 1}, None, "expects this text at its place"),
        ({navy.id: 1, fit.id: 1}, None, "of several sections"),
        ({navy.id: 1}, navy.id, "before itself"),
        ({}, None, "No entry was chosen"),
        (dict.fromkeys(range(10_001), 1), None, "at most 10,000"),
    ):
        with pytest.raises(Invalid, match=words):
            moving.move(ctx, editor, versions, before=target)
    with pytest.raises(Conflict, match="not there any more"):
        moving.move(ctx, editor, {navy.id: 1}, before=fit.id)
    with pytest.raises(Denied):
        moving.move(ctx, nobody, {navy.id: 1}, before=None)
    with pytest.raises(Denied):
        moving.step(ctx, nobody, {navy.id: 1}, Step.TOP)
    assert state(ctx) == before
