"""Publishing: what is saved becomes a release, the release what the shop reads."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from db.engine import read
from db.knowledge import activations, published
from db.knowledge import entries as table
from db.knowledge import releases as stored
from services.core import audit
from services.core.errors import Broken, Conflict, Invalid
from services.knowledge import entries
from services.knowledge.changes import Add, Delete, Edit, save
from services.knowledge.history import FieldChange
from services.knowledge.reading import read_module
from services.knowledge.relay import relay
from services.knowledge.releasing import activating, archive, comparing, golden, releases, standing
from services.knowledge.releasing.model import FolderState
from services.knowledge.releasing.published import unpublished
from tests.conftest import desk_settings
from tests.knowledge_base import COLOURS, FABRICS, load, named, small_kb
from tests.services.publishing import JSON, MODULE, navy_in, publish, say, value_in


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


def test_what_is_saved_is_published_and_the_shop_reads_it(ctx, shop, editor, folder):
    wanted = load(ctx)
    plan = releases.preview(ctx, editor)
    assert (plan.number, plan.comparison.added, plan.is_empty) == (1, 16, False)
    made = releases.publish(ctx, editor, plan, "  The first one ")
    assert made.problem is None and made.written_at is not None and made.folder == str(folder)
    assert value_in(folder) == wanted
    assert json.loads((folder / JSON).read_bytes()) == wanted
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [JSON, MODULE]
    assert standing.folder(ctx, editor).state is FolderState.CURRENT
    (one,) = releases.recent(ctx, editor).releases
    assert (one.number, one.notes, one.entries, one.is_current) == (1, "The first one", 16, True)
    with read(ctx.shop) as connection:
        assert unpublished(connection).count == 0


def test_saved_is_not_published(ctx, shop, editor, folder):
    load(ctx)
    publish(ctx, editor)
    say(ctx, editor, "Navy likes red.")
    assert navy_in(folder) == "Navy likes sand and white."
    (change,) = releases.preview(ctx, editor).comparison.changes
    assert (change.action, change.section, change.key) == ("edit", COLOURS, "navy")
    assert change.fields == (FieldChange("text", "Navy likes sand and white.", "Navy likes red."),)


def test_a_plan_holds_for_the_state_it_was_made_of_alone(ctx, shop, editor, folder):
    load(ctx)
    plan = releases.preview(ctx, editor)
    say(ctx, editor, "Navy likes red.")
    with pytest.raises(Conflict, match="was changed since this preview; nothing was published"):
        releases.publish(ctx, editor, plan, "Too late")
    assert releases.recent(ctx, editor).total == 0 and list(folder.iterdir()) == []


def test_a_plan_does_not_hold_once_another_release_was_made_current(ctx, shop, editor, folder):
    load(ctx)
    publish(ctx, editor)
    say(ctx, editor, "Navy likes red.")
    publish(ctx, editor)
    say(ctx, editor, "Navy likes green.")
    plan = releases.preview(ctx, editor)
    activating.make_current(ctx, editor, 1, "It was better")
    with pytest.raises(Conflict, match="Another release was made current"):
        releases.publish(ctx, editor, plan, "Compared with another one")


def test_two_clicks_make_one_release(ctx, shop, editor, folder):
    load(ctx)
    plan = releases.preview(ctx, editor)
    came: list[str] = []

    def click() -> None:
        try:
            came.append(str(releases.publish(ctx, editor, plan, "Twice").release))
        except Conflict as error:
            came.append(error.message)

    threads = [threading.Thread(target=click) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came)[0] == "1" and "nothing was published" in sorted(came)[1]
    assert releases.recent(ctx, editor).total == 1
    assert value_in(folder) == small_kb()


def test_nothing_to_publish_and_no_notes_are_refused(ctx, shop, editor, folder):
    load(ctx)
    for notes in ("", "  \n ", "x" * 501, "a\x00b", "bad\ud800"):
        with pytest.raises(Invalid, match="published"):
            publish(ctx, editor, notes)
    publish(ctx, editor)
    with pytest.raises(Invalid, match="nothing to publish"):
        publish(ctx, editor)
    assert releases.recent(ctx, editor).total == 1
    assert publish(ctx, editor, "All the same", again=True).release == 2


def test_an_order_that_changed_is_something_to_publish(ctx, shop, editor, folder):
    load(ctx)
    publish(ctx, editor)
    turned = small_kb()
    colours = turned["color_matching"]["by_color"]
    turned["color_matching"]["by_color"] = dict(reversed(colours.items()))
    load(ctx, turned)
    seen = releases.preview(ctx, editor)
    assert (seen.comparison.edited, seen.comparison.moved, seen.is_empty) == (0, 2, False)
    publish(ctx, editor)
    assert list(value_in(folder)["color_matching"]["by_color"]) == ["moss", "rust", "navy"]


def test_an_empty_section_that_came_is_something_to_publish(ctx, shop, editor, folder):
    load(ctx)
    publish(ctx, editor)
    load(ctx, {**small_kb(), "made_up": {}})
    seen = releases.preview(ctx, editor).comparison
    assert (seen.added, seen.moved) == (0, 1)
    publish(ctx, editor)
    assert value_in(folder)["made_up"] == {}


def test_any_release_is_made_current_again_and_what_is_saved_stays(ctx, shop, editor, folder):
    load(ctx)
    publish(ctx, editor)
    say(ctx, editor, "Navy likes red.")
    publish(ctx, editor)
    saved = entries.document(ctx.shop)
    made = activating.make_current(ctx, editor, 1, "Red was a mistake")
    assert (made.release, made.reason, made.problem) == (1, "Red was a mistake", None)
    assert value_in(folder) == small_kb() and entries.document(ctx.shop) == saved
    with read(ctx.shop) as connection:
        assert archive.current_document(connection) == small_kb()
        waiting = unpublished(connection)
    assert waiting.entries == {named(ctx, editor, COLOURS, "navy").id} and waiting.gone == 0
    assert [one.release for one in releases.activations(ctx, editor).activations] == [1, 2, 1]
    assert [one.is_current for one in releases.recent(ctx, editor).releases] == [False, True]
    for number, why in ((1, "current already"), (9, "no release 9")):
        with pytest.raises(Invalid, match=why):
            activating.make_current(ctx, editor, number, "again")
    with pytest.raises(Invalid, match="reason"):
        activating.make_current(ctx, editor, 2, " ")


def test_any_two_releases_compare_in_both_directions(ctx, shop, editor, folder):
    load(ctx)
    publish(ctx, editor)
    navy, rust = (named(ctx, editor, COLOURS, key) for key in ("navy", "rust"))
    linen = named(ctx, editor, FABRICS, "linen")
    save(
        ctx,
        editor,
        [
            Edit(navy.id, navy.version, key_before="navy", key_after="midnight"),
            Delete(rust.id, rust.version),
            Add(COLOURS, "teal", {"text": "<b>Teal</b> likes *sand*."}),
            Edit(linen.id, linen.version, {"care": linen.body["care"]}, {"care": "Steam."}),
        ],
    )
    publish(ctx, editor)
    found = comparing.compare(ctx, editor, 1, 2)
    assert (found.added, found.edited, found.deleted, found.moved) == (1, 2, 1, 0)
    told = {(one.key, one.action): one.fields for one in found.changes}
    assert told[("midnight", "edit")] == (FieldChange("key", "navy", "midnight"),)
    assert told[("linen", "edit")] == (FieldChange("care", "Wash warm, iron damp.", "Steam."),)
    assert told[("teal", "add")][1] == FieldChange("text", None, "<b>Teal</b> likes *sand*.")
    assert told[("rust", "delete")][1] == FieldChange("text", "Rust likes cream.", None)
    back = comparing.compare(ctx, editor, 2, 1)
    assert (back.added, back.edited, back.deleted) == (1, 2, 1)
    assert comparing.compare(ctx, editor, 2, None).changes == ()
    assert comparing.compare(ctx, editor, None, 1).added == 16
    with pytest.raises(Invalid, match="no release 7"):
        comparing.compare(ctx, editor, 7, None)


def test_an_entry_deleted_and_made_again_compares_by_its_place(ctx, shop, editor, folder):
    load(ctx)
    publish(ctx, editor)
    rust = named(ctx, editor, COLOURS, "rust")
    save(ctx, editor, [Delete(rust.id, rust.version)])
    save(ctx, editor, [Add(COLOURS, "rust", {"text": "Rust likes blue."})])
    seen = releases.preview(ctx, editor).comparison
    assert (seen.added, seen.edited, seen.deleted) == (0, 1, 0)


def test_golden_questions_are_asked_before_a_publish(ctx, shop, editor, folder):
    load(ctx)
    publish(ctx, editor)
    golden.add(ctx, editor, "navy")
    golden.add(ctx, editor, "rust")
    say(ctx, editor, "Navy likes red.")
    seen = releases.preview(ctx, editor).comparison
    assert seen.asked == 2
    (answer,) = seen.answers
    assert answer.question == "navy"
    assert answer.after[0].texts == (("text", "Navy likes red."),)


def test_a_release_is_exported_as_it_was_and_the_export_is_told(ctx, shop, editor, admin, folder):
    load(ctx)
    publish(ctx, editor)
    say(ctx, editor, "Navy likes red.")
    publish(ctx, editor)
    assert json.loads(releases.export_json(ctx, editor, 1).data) == small_kb()
    assert read_module(releases.export_module(ctx, editor, 1).data) == small_kb()
    told = audit.events(ctx, admin, audit.AuditFilter(actions=("release.export",)))
    assert told.total == 2
    with pytest.raises(Invalid, match="no release 3"):
        releases.export_json(ctx, editor, 3)


def test_the_audit_log_is_told_of_every_activation_once(ctx, shop, editor, admin, folder):
    load(ctx)
    publish(ctx, editor, "Spring")
    say(ctx, editor, "Navy likes red.")
    publish(ctx, editor, "Summer")
    activating.make_current(ctx, editor, 1, "Too early")
    with ctx.shop.begin() as connection:  # as a desk leaves it that is killed before it told
        connection.execute(update(activations).values(relayed=False))
    assert relay(ctx) == 0 and relay(ctx) == 0
    told = audit.events(ctx, admin, audit.AuditFilter(text="release"))
    actions = [event.action for event in reversed(told.events)]
    assert actions == ["release.publish", "release.write"] * 2 + ["release.again", "release.write"]
    assert {event.actor_id for event in told.events} == {editor.id}
    assert told.events[1].summary.endswith("release 1 of the knowledge base: Too early")


def test_a_desk_without_a_folder_keeps_releases_all_the_same(ctx, shop, editor):
    lonely = replace(ctx, settings=ctx.settings.model_copy(update={"kb_publish_dir": None}))
    load(lonely)
    made = publish(lonely, editor)
    assert (made.written_at, made.folder, made.problem) == (None, None, None)
    assert standing.folder(lonely, editor).state is FolderState.NOT_SET
    with pytest.raises(Invalid, match="KB_PUBLISH_DIR"):
        activating.write_again(lonely, editor)


def test_a_folder_that_is_named_later_gets_the_release_when_asked(ctx, shop, editor, folder):
    load(ctx)
    lonely = replace(ctx, settings=ctx.settings.model_copy(update={"kb_publish_dir": None}))
    with pytest.raises(Invalid, match="no release yet"):
        activating.write_again(ctx, editor)
    publish(lonely, editor)
    assert activating.finish(ctx) is None and list(folder.iterdir()) == []
    assert standing.folder(ctx, editor).state is FolderState.BEHIND
    assert activating.write_again(ctx, editor).problem is None
    assert value_in(folder) == small_kb()


def test_a_release_that_rotted_in_the_database_is_never_written(ctx, shop, editor, folder):
    load(ctx)
    publish(ctx, editor)
    say(ctx, editor, "Navy likes red.")
    publish(ctx, editor)
    with ctx.shop.begin() as connection:
        data = archive.packed(b'{"color_matching": {}}')
        connection.execute(update(stored).where(stored.c.number == 1).values(document=data))
    with pytest.raises(Broken, match="Release 1 is damaged"):
        activating.make_current(ctx, editor, 1, "back")
    assert navy_in(folder) == "Navy likes red."


def test_published_entries_are_exactly_those_of_the_release(ctx, shop, editor, folder):
    load(ctx)
    publish(ctx, editor)
    load(ctx, {"occasions": {"b": "B"}})
    publish(ctx, editor)
    activating.make_current(ctx, editor, 1, "more")
    activating.make_current(ctx, editor, 2, "less")
    with read(ctx.shop) as connection:
        rows = dict(tuple(row) for row in connection.execute(select(published)))
        there = select(table.c.id, table.c.digest).where(table.c.kind != "group")
        assert rows == dict(tuple(row) for row in connection.execute(there))


def test_pages_of_releases_do_not_carry_their_documents(ctx, shop, editor, folder):
    load(ctx)
    for number in range(5):
        publish(ctx, editor, f"Release {number}", again=True)
    page = releases.recent(ctx, editor, page=2, rows=2)
    assert ([one.number for one in page.releases], page.total) == ([3, 2], 5)
    assert releases.release(ctx, editor, 4).notes == "Release 3"
    with pytest.raises(Invalid):
        releases.release(ctx, editor, 6)
    assert releases.activations(ctx, editor, page=3, rows=2).activations[0].release == 1
