"""Looking through a part: every filter alone and together, marks of what is not published, keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, select

from db.engine import write
from db.knowledge import activations, published, releases
from db.knowledge import entries as table
from services.core.errors import DeskError
from services.knowledge import browsing, bulk, changes, entries, moving, undoing
from services.knowledge.bulk import Replace
from services.knowledge.changes import Add, Delete, Edit
from services.knowledge.entries import Filter
from services.knowledge.moving import Step
from services.knowledge.validation import NotValid
from tests.conftest import person
from tests.knowledge_base import COLOURS, FABRICS, load, named, state
from tests.services.postgres_desk import desk_on

ADVICE = "/style_advice"


def _keys(ctx, search="", where=ADVICE, **only):
    found = entries.page(ctx, person("manager"), where, search=search, only=Filter(**only))
    assert found.total == len(found.entries)
    return "".join(one.key for one in found.entries)


def _write(ctx, actor, key, text):
    entry = named(ctx, actor, ADVICE, key)
    edit = Edit(entry.id, entry.version, {"text": entry.body}, {"text": text})
    return changes.save(ctx, actor, [edit])


def _publish(ctx):
    """Make what is saved the current release, as publishing does in the database."""
    now = ctx.now()
    facts = {"at": now, "author_id": "1", "author": "Mia"}
    counts = dict.fromkeys(("entries", "added", "edited", "deleted"), 0)
    with write(ctx.shop) as connection:
        number = len(connection.execute(select(releases)).all()) + 1
        row = {"number": number, "notes": "", "revision": "", "digest": "", **facts, **counts}
        connection.execute(insert(releases).values(document=b"", members=b"", **row))
        connection.execute(published.delete())
        members = connection.execute(select(table.c.id, table.c.digest)).all()
        connection.execute(
            insert(published), [{"entry_id": one, "digest": said} for one, said in members]
        )
        made = {"release": number, "author_kind": "person", "reason": "", "relayed": True, **facts}
        connection.execute(insert(activations).values(**made))


@pytest.fixture
def letters(ctx, shop, clock):
    """Six entries, written on six days by two people."""
    desk = replace(ctx, clock=clock)
    load(desk, {"style_advice": {key: f"Text {key}." for key in "abcdef"}})
    for key, role in zip("abcdef", ["editor", "admin"] * 3, strict=True):
        clock.forward(days=1)
        _write(desk, person(role), key, f"Anew: {key}, {'silk' if key in 'ad' else 'wool'}.")
    return desk


def test_who_changed_an_entry_last_and_when_are_filters(letters, clock):
    now = clock()
    assert _keys(letters, author="Editor") == "ace"
    assert _keys(letters, author="Nobody") == ""
    assert _keys(letters, since=now - timedelta(days=2)) == "def"
    assert _keys(letters, since=now) == "f"
    assert _keys(letters, until=now) == "abcde"  # that moment is no longer of it
    assert _keys(letters, since=now - timedelta(days=3), until=now, author="Admin") == "d"
    assert browsing.authors(letters, person("manager"), ADVICE) == ("Admin", "Editor")


def test_search_and_filters_cut_each_other_and_the_order_stays(letters):
    moving.step(
        letters, person("editor"), {named(letters, person("editor"), ADVICE, "d").id: 2}, Step.TOP
    )
    assert _keys(letters, search="SILK") == "da"
    assert _keys(letters, search="wool anew", author="Editor") == "ce"
    found = browsing.ids_of(
        letters, person("manager"), ADVICE, search="wool", only=Filter(author="Editor")
    )
    assert [one.key for one in browsing.chosen(letters, person("manager"), found)] == ["c", "e"]


def test_pages_of_what_is_found_follow_each_other_without_a_gap(letters):
    pages = [
        entries.page(letters, person("manager"), ADVICE, search="wool", page=number, rows=3)
        for number in (1, 2, 3)
    ]
    assert [[one.key for one in page.entries] for page in pages] == [["b", "c", "e"], ["f"], []]
    assert {page.total for page in pages} == {4}


def test_a_filter_never_shows_what_held_before_somebody_saved(letters):
    admin = person("admin")
    assert _keys(letters, author="Admin") == "bdf"
    _write(letters, admin, "a", "Mine.")
    assert _keys(letters, author="Admin") == "abdf"
    assert _keys(letters, search="mine") == "a"
    a = named(letters, admin, ADVICE, "a")
    changes.save(letters, admin, [Delete(a.id, a.version)])
    assert _keys(letters, author="Admin") == "bdf"
    assert entries.sections(letters, admin)[1].entries == 5


def test_unpublished_entries_are_marked_from_the_first_release_on(letters, editor):
    ids = browsing.ids_of(letters, editor, ADVICE)
    assert browsing.unpublished_ids(letters, editor, ids) == frozenset()
    assert browsing.unpublished_sections(letters, editor) == {}
    _publish(letters)
    assert _keys(letters, unpublished=True) == ""
    _write(letters, editor, "c", "Later.")
    changes.save(letters, editor, [Add(ADVICE, "z", {"text": "New."})])
    moving.step(letters, editor, {ids[5]: 2}, Step.TOP)  # its place is not published
    assert _keys(letters, unpublished=True) == "cz"
    marked = browsing.unpublished_ids(letters, editor, browsing.ids_of(letters, editor, ADVICE))
    assert {one.key for one in browsing.chosen(letters, editor, marked)} == {"c", "z"}
    assert browsing.unpublished_sections(letters, editor) == {"style_advice": 2}
    _publish(letters)  # the revision stays, and yet nothing is unpublished any more
    assert _keys(letters, unpublished=True) == ""
    assert browsing.unpublished_sections(letters, editor) == {}


def test_a_text_at_the_very_top_counts_for_its_own_section(ctx, shop, editor):
    load(ctx)
    _publish(ctx)
    text = entries.page(ctx, editor, "/fabric_pairing").entries[0]
    changes.save(ctx, editor, [Edit(text.id, 1, {"text": text.body}, {"text": "Anew."})])
    assert browsing.unpublished_sections(ctx, editor) == {"fabric_pairing": 1}


def test_only_entries_with_findings_are_shown(ctx, shop, editor):
    said = "Cool, crisp and quick to dry; it creases, and is meant to."
    linen = dict.fromkeys(("description", "care", "best_for", "characteristics"), said)
    load(ctx, {"fabric_guide": {"linen": linen, "silk": {**linen, "care": ""}}})
    assert _keys(ctx, where=FABRICS) == "linensilk"
    assert _keys(ctx, where=FABRICS, with_findings=True) == "silk"
    assert _keys(ctx, "linen", where=FABRICS, with_findings=True) == ""


def test_sections_count_every_kind_of_part_and_name_who_was_last(ctx, shop, clock, editor):
    desk = replace(ctx, clock=clock)
    load(desk)
    clock.forward(days=1)
    navy = named(desk, editor, COLOURS, "navy")
    changes.save(desk, editor, [Edit(navy.id, 1, {"text": navy.body}, {"text": "Anew."})])
    found = {one.section.key: one for one in entries.sections(desk, editor)}
    colours = found["color_matching"]
    assert [one.entries for one in colours.parts] == [3, 1]
    assert (colours.updated_by, colours.updated_at) == ("Editor", clock())
    assert found["fabric_pairing"].entries == 1
    assert found["fabric_pairing"].updated_by == "system"
    assert found["recommendation_priority"].entries == 0


@pytest.mark.parametrize(
    ("key", "free"),
    [
        ("navy", "navy_2"),
        ("v-neck", "v-neck_2"),
        ("size_3", "size_5"),
        ("a" * 120, "a" * 114 + "_2"),
    ],
)
def test_the_key_of_a_duplicate_is_free_in_its_section(ctx, shop, editor, key, free):
    load(ctx, {"style_advice": {"navy": "x", "size_3": "x", "size-4": "x", "a" * 120: "x"}})
    assert browsing.free_key(ctx, editor, ADVICE, key) == free
    assert browsing.free_key(ctx, editor, ADVICE, "navy", ["Navy-2"]) == "navy_3"
    changes.save(ctx, editor, [Add(ADVICE, free, {"text": "Fine."})])


def test_a_save_reads_no_key_that_is_not_like_a_new_one(ctx, shop, editor):
    load(ctx, {"style_advice": {f"key_{n}": "Text." for n in range(300)}})
    read: list[int] = []

    def count(_connection, cursor, statement, *_more):
        if statement.lstrip().upper().startswith("SELECT") and "kb_entries" in statement:
            read.append(statement.count("?"))

    entry = named(ctx, editor, ADVICE, "key_7")
    event.listen(ctx.shop, "after_cursor_execute", count)
    changes.save(
        ctx,
        editor,
        [
            Add(ADVICE, "fresh", {"text": "New."}),
            Edit(entry.id, 1, key_before="key_7", key_after="seven"),
        ],
    )
    event.remove(ctx.shop, "after_cursor_execute", count)
    assert 0 < len(read) < 10
    for key in ("Key-8", "KEY_8", "kéy8"):
        with pytest.raises(NotValid):
            changes.save(ctx, editor, [Add(ADVICE, key, {"text": "Twin."})])
    changes.save(ctx, editor, [Add(ADVICE, "key_7", {"text": "Free again."})])


def test_on_postgresql_everything_is_found_moved_and_changed_as_on_sqlite(
    postgres_server, tmp_path, editor, admin
):
    ctx = desk_on(postgres_server, tmp_path)
    try:
        load(ctx, {"style_advice": {key: f"Text {key} in grey." for key in "abcdef"}})
        _publish(ctx)
        before = state(ctx)
        done = _write(ctx, editor, "b", "Silk.")
        assert _keys(ctx, author="Editor") == _keys(ctx, unpublished=True) == "b"
        assert _keys(ctx, search="grey", until=ctx.now()) == "acdef"
        assert browsing.unpublished_sections(ctx, editor) == {"style_advice": 1}
        assert entries.sections(ctx, editor)[1].entries == 6
        assert browsing.free_key(ctx, editor, ADVICE, "b") == "b_2"
        with pytest.raises(NotValid, match="can't be saved"):
            changes.save(ctx, editor, [Add(ADVICE, "B", {"text": "Twin."})])
        versions = {
            one.id: one.version
            for one in browsing.chosen(ctx, editor, browsing.ids_of(ctx, editor, ADVICE)[4:])
        }
        moved = moving.step(ctx, editor, versions, Step.TOP)
        assert _keys(ctx) == "efabcd"
        found = browsing.chosen(ctx, editor, browsing.ids_of(ctx, editor, ADVICE))
        replaced = bulk.apply(ctx, admin, bulk.plan(found, Replace("GREY", "gray")))
        assert (replaced.kind, replaced.edited) == ("bulk", 5)
        for change_set in (replaced, moved, done):
            undoing.undo(ctx, admin, undoing.preview(ctx, admin, change_set.id))
        assert state(ctx) == before
    finally:
        ctx.close()


@pytest.mark.parametrize("search", ["%", "_", "'", '"', "\x00", "*", "a" * 5_000, "NEAR(", "🧵"])
def test_nonsense_is_looked_for_and_breaks_nothing(letters, search):
    try:
        found = entries.page(letters, person("manager"), ADVICE, search=search)
    except DeskError as error:
        assert error.hint
    else:
        assert found.total == 0
