"""Search by meaning: a real Chroma, and the model's place taken by counted groups of letters.

The stand-in is honest about being one: it knows spelling and no meaning. What is proved is that
what the model would say is kept up to date, found, and never in anybody's way.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zlib import crc32

import pytest

from services.core.settings import PROJECT_ROOT
from services.knowledge import changes, inspecting, recycling
from services.knowledge.changes import Add, Delete, Edit
from services.knowledge.searching import meaning
from services.knowledge.searching.file import path_of_index
from services.knowledge.searching.find import How, find
from tests.knowledge_base import COLOURS, load, named

PATIENCE = 60.0


def letters(texts):
    """A vector of 64 counters for each text: of its groups of three letters."""
    vectors = []
    for text in texts:
        counts = [0.01] * 64
        for at in range(len(text) - 2):
            counts[crc32(text[at : at + 3].lower().encode("utf-8", "replace")) % 64] += 1.0
        vectors.append(counts)
    return vectors


@pytest.fixture
def model(monkeypatch, ctx):
    """The stand-in, and what it was asked to embed."""
    asked = []
    monkeypatch.setattr(meaning, "missing", lambda _ctx: "")
    monkeypatch.setattr(meaning, "load_model", lambda: lambda t: asked.extend(t) or letters(t))
    yield asked
    close(ctx)


def close(ctx):
    keeper = meaning._keepers.pop(path_of_index(ctx), None)
    if keeper is not None:
        keeper.close()


def by_meaning(ctx, actor, words):
    find(ctx, actor, words, how=How.MEANING)
    meaning.wait(ctx, PATIENCE)
    return find(ctx, actor, words, how=How.MEANING)


def test_the_nearest_comes_first_and_a_save_is_known_to_the_next_search(ctx, shop, editor, model):
    load(ctx)
    first = find(ctx, editor, "navy and sand", how=How.MEANING)
    assert first.how is How.WORDS and "being worked out" in first.why
    found = by_meaning(ctx, editor, "navy likes sand and white")
    assert found.how is How.MEANING and found.hits[0].key == "navy"
    navy, rust = named(ctx, editor, COLOURS, "navy"), named(ctx, editor, COLOURS, "rust")
    changes.save(
        ctx,
        editor,
        [
            Edit(navy.id, navy.version, {"text": navy.body}, {"text": "Quite another thing."}),
            Delete(rust.id, rust.version),
            Add(COLOURS, "lilac", {"text": "Lilac loves pewter, always."}),
        ],
    )
    del model[:]
    found = by_meaning(ctx, editor, "lilac loves pewter always")
    assert found.hits[0].key == "lilac" and "rust" not in {hit.key for hit in found.hits}
    embedded = [text for text in model if text != "lilac loves pewter always"]
    assert sorted(embedded) == ["lilac. Lilac loves pewter, always.", "navy. Quite another thing."]


def test_near_duplicates_are_told_by_meaning_where_it_is_known(ctx, shop, editor, model):
    text = "Keep it short here."
    load(ctx, {"style_advice": {"fit": text, "fits": text, "layering": "Thin under thick."}})
    by_meaning(ctx, editor, "fit")
    inspecting.report(ctx, editor)
    found = [one for one in inspecting.report(ctx, editor).findings if "near" in one.check]
    assert [(one.key, "fit" in one.message) for one in found] == [("fits", True)]


def test_a_folder_that_chroma_cannot_read_is_thrown_away_and_built_anew(ctx, shop, editor, model):
    load(ctx)
    folder = path_of_index(ctx).parent / "meaning" / "broken"
    folder.mkdir(parents=True)
    (folder / "chroma.sqlite3").write_bytes(b"no database" * 1000)
    first = by_meaning(ctx, editor, "navy")
    assert first.how is How.WORDS and "could not be worked out" in first.why and first.hits
    assert by_meaning(ctx, editor, "navy").how is How.MEANING


def test_a_purge_leaves_nothing_that_was_worked_out_of_the_text(ctx, shop, admin, model):
    load(ctx)
    by_meaning(ctx, admin, "navy")
    folder = path_of_index(ctx).parent / "meaning"
    before = {one.name for one in folder.iterdir()}
    rust = named(ctx, admin, COLOURS, "rust")
    changes.save(ctx, admin, [Delete(rust.id, rust.version)])
    recycling.purge(ctx, admin, [rust.id], "purge")
    assert before and not folder.exists()
    found = by_meaning(ctx, admin, "navy likes sand and white")
    assert found.how is How.MEANING and found.hits[0].key == "navy"


def test_a_purge_while_another_process_has_the_folder_is_done_by_that_one(ctx, shop, admin, model):
    load(ctx)
    by_meaning(ctx, admin, "navy")
    folder = path_of_index(ctx).parent / "meaning"
    before = {one.name for one in folder.iterdir()}
    owner = meaning._keepers.pop(path_of_index(ctx))  # as another process has it
    meaning.forget(ctx)
    assert folder.exists()
    meaning._keepers[path_of_index(ctx)] = owner
    rust = named(ctx, admin, COLOURS, "rust")
    changes.save(ctx, admin, [Delete(rust.id, rust.version)])
    assert by_meaning(ctx, admin, "navy").how is How.MEANING
    assert not before & {one.name for one in folder.iterdir()}


def test_what_was_known_before_a_restart_is_not_worked_out_again(ctx, shop, editor, model):
    load(ctx)
    by_meaning(ctx, editor, "navy")
    close(ctx)
    del model[:]
    assert by_meaning(ctx, editor, "navy").how is How.MEANING
    assert set(model) == {"navy"}


def test_the_folder_is_the_desks_own_and_the_shops_vectors_are_not_touched(
    ctx, shop, editor, model
):
    load(ctx)
    by_meaning(ctx, editor, "navy")
    folder = path_of_index(ctx).parent / "meaning"
    assert len(list(folder.glob("*/chroma.sqlite3"))) == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.is_relative_to(ctx.settings.instance_dir)
    assert not ctx.settings.vector_dir.exists()


def test_one_process_works_it_out_and_another_searches_by_words(ctx, shop, editor, model):
    load(ctx)
    lock = path_of_index(ctx).parent / "meaning.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.flock(f, fcntl.LOCK_EX);"
            " print('held', flush=True); sys.stdin.read()",
            str(lock),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline()
        found = by_meaning(ctx, editor, "navy")
        assert found.how is How.WORDS and "Another process" in found.why and found.hits
    finally:
        holder.communicate(b"", timeout=30)
    assert by_meaning(ctx, editor, "navy").how is How.MEANING


def test_without_the_model_it_says_where_it_belongs_and_chroma_is_not_even_imported(
    ctx, shop, editor, monkeypatch, tmp_path
):
    load(ctx)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    found = find(ctx, editor, "navy", how=How.MEANING)
    assert found.how is How.WORDS and found.hits and str(tmp_path) in found.why
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; import services.knowledge.searching.find, services.knowledge.inspecting;"
            " print('chromadb' in sys.modules, 'onnxruntime' in sys.modules)",
        ],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["False", "False"]


def test_a_model_that_lacks_a_file_is_not_there_and_nothing_is_downloaded(
    ctx, monkeypatch, tmp_path
):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    folder = tmp_path / meaning._MODEL
    folder.mkdir(parents=True)
    for name in meaning._FILES[1:]:
        (folder / name).touch()
    assert meaning._FILES[0] in meaning.missing(ctx)
    (folder / meaning._FILES[0]).touch()
    assert meaning.missing(ctx) == ""
    for name in meaning._FILES:
        (folder / name).unlink()
    from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2

    monkeypatch.setattr(ONNXMiniLM_L6_V2, "DOWNLOAD_PATH", folder.parent)
    with pytest.raises(FileNotFoundError, match="not there"):
        meaning.load_model()(["navy"])
