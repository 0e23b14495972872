"""What somebody changed by hand in the shop's folder is offered for import, and never lost."""

from __future__ import annotations

import json

import pytest

from services.core.errors import Conflict
from services.knowledge import transfer
from services.knowledge.changes import Delete, save
from services.knowledge.reading import read_module
from services.knowledge.releasing import activating, folder, releases, standing
from services.knowledge.releasing.model import FolderState
from tests.conftest import desk_settings
from tests.knowledge_base import COLOURS, load, named, small_kb
from tests.services.publishing import JSON, MODULE, SHOPS_OWN, navy_in, publish, say, value_in


@pytest.fixture
def settings(tmp_path):
    """A desk that publishes into the folder of the shop's module."""
    return desk_settings(tmp_path, kb_publish_dir="utils")


@pytest.fixture
def place(settings):
    """The folder that the shop reads."""
    path = settings.publish_dir
    path.mkdir(parents=True)
    return path


def _by_hand(place, old="Navy likes sand and white.", new="Navy, by hand."):
    module = place / MODULE
    text = module.read_text("utf-8")
    assert old in text
    module.write_text(text.replace(old, new), "utf-8")
    return module.read_bytes()


def test_a_hand_edit_is_offered_for_import_and_not_written_over(ctx, shop, editor, place):
    load(ctx)
    publish(ctx, editor)
    edited = _by_hand(place)
    say(ctx, editor, "Rust likes tan.", "rust")
    plan = releases.preview(ctx, editor)
    assert plan.folder.state is FolderState.EDITED and plan.folder.edited == (MODULE, edited)
    for attempt in (
        lambda: publish(ctx, editor),
        lambda: activating.write_again(ctx, editor),
    ):
        with pytest.raises(Conflict, match="changed by hand"):
            attempt()
    assert (place / MODULE).read_bytes() == edited
    assert releases.recent(ctx, editor).total == 1


def test_what_was_published_from_here_is_not_offered_as_the_shops_own(ctx, shop, editor, place):
    load(ctx)
    (place / MODULE).write_bytes(SHOPS_OWN)
    assert transfer.find_shop_module(ctx).differs
    publish(ctx, editor, over_hand_edits=True)
    say(ctx, editor, "Rust likes tan.", "rust")
    assert transfer.find_shop_module(ctx) is None


def test_a_hand_edit_is_written_over_when_somebody_says_so_and_the_reason_tells(
    ctx, shop, editor, place
):
    load(ctx)
    publish(ctx, editor)
    _by_hand(place)
    say(ctx, editor, "Rust likes tan.", "rust")
    made = publish(ctx, editor, "Ours counts", over_hand_edits=True)
    assert made.problem is None
    assert made.reason == f"Ours counts (over changes made by hand in {MODULE})"
    assert navy_in(place) == "Navy likes sand and white."


def test_a_hand_edit_that_was_imported_and_edited_since_is_taken_over(ctx, shop, editor, place):
    load(ctx)
    publish(ctx, editor)
    edited = _by_hand(place)
    say(ctx, editor, "Rust likes tan.", "rust")  # not published: the file never says it
    imported = read_module(edited)["color_matching"]["by_color"]["navy"]
    say(ctx, editor, imported)
    assert standing.folder(ctx, editor).state is FolderState.BEHIND
    say(ctx, editor, "Navy, by hand and better.")
    assert publish(ctx, editor).problem is None
    assert navy_in(place) == "Navy, by hand and better."


def test_an_older_text_put_back_by_hand_is_a_hand_edit(ctx, shop, editor, place):
    load(ctx)
    publish(ctx, editor)
    say(ctx, editor, "Navy likes red.")
    publish(ctx, editor)
    _by_hand(place, "Navy likes red.", "Navy likes sand and white.")
    assert standing.folder(ctx, editor).state is FolderState.EDITED


def test_an_entry_removed_by_hand_is_a_hand_edit_until_the_desk_removes_it(
    ctx, shop, editor, place
):
    load(ctx)
    publish(ctx, editor)
    document = small_kb()
    del document["color_matching"]["by_color"]["rust"]
    (place / MODULE).write_bytes(folder.to_module(document))
    assert standing.folder(ctx, editor).state is FolderState.EDITED
    rust = named(ctx, editor, COLOURS, "rust")
    save(ctx, editor, [Delete(rust.id, rust.version)])
    assert standing.folder(ctx, editor).state is FolderState.BEHIND


def test_an_order_changed_by_hand_is_a_hand_edit(ctx, shop, editor, place):
    load(ctx)
    publish(ctx, editor)
    document = small_kb()
    colours = document["color_matching"]["by_color"]
    document["color_matching"]["by_color"] = dict(reversed(colours.items()))
    (place / MODULE).write_bytes(folder.to_module(document))
    assert standing.folder(ctx, editor).state is FolderState.EDITED
    load(ctx, document)
    assert standing.folder(ctx, editor).state is FolderState.BEHIND


@pytest.mark.parametrize(
    "data",
    [
        b'{"occasions": {"gala": "Long."}}',
        b"{not json",
        b"\xff",
        b"",
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
    ],
)
def test_a_json_file_changed_by_hand_counts_too(ctx, shop, editor, place, data):
    load(ctx)
    publish(ctx, editor)
    (place / JSON).write_bytes(data)
    seen = standing.folder(ctx, editor)
    assert (seen.state, seen.edited) == (FolderState.EDITED, (JSON, data))
    say(ctx, editor, "Navy likes red.")
    assert publish(ctx, editor, over_hand_edits=True).problem is None
    assert json.loads((place / JSON).read_bytes()) == value_in(place)


def test_a_module_that_was_never_ours_is_offered_before_the_first_release(ctx, shop, editor, place):
    load(ctx)
    (place / MODULE).write_bytes(SHOPS_OWN)
    seen = standing.folder(ctx, editor)
    assert (seen.state, seen.edited) == (FolderState.EDITED, (MODULE, SHOPS_OWN))
    with pytest.raises(Conflict, match="has never held"):
        publish(ctx, editor)
    assert (place / MODULE).read_bytes() == SHOPS_OWN


def test_a_file_that_was_removed_is_written_again(ctx, shop, editor, place):
    load(ctx)
    publish(ctx, editor)
    for name in (JSON, MODULE):
        (place / name).unlink()
        assert standing.folder(ctx, editor).state is FolderState.BEHIND
        assert activating.write_again(ctx, editor).problem is None
        assert value_in(place) == small_kb() and (place / JSON).is_file()
