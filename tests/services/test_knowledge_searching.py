"""The search index: what it finds, how it keeps up, and what becomes of it when it breaks."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from services.core.databases import read_shop
from services.core.errors import Invalid
from services.core.settings import PROJECT_ROOT
from services.knowledge import changes, recycling
from services.knowledge.changes import Add, Delete, Edit
from services.knowledge.entries import everything
from services.knowledge.searching import index
from services.knowledge.searching.file import path_of_index
from tests.knowledge_base import COLOURS, FABRICS, load, named
from tests.services.postgres_desk import desk_on


def found(ctx, words):
    """Keys of what matches."""
    with read_shop(ctx) as connection:
        ids = index.matching(ctx, connection, words)
        return {one.key for one in everything(connection) if one.id in ids}


def best(ctx, words, limit=50, offset=0):
    """Keys in their order, and the total."""
    with read_shop(ctx) as connection:
        ranking = index.ranked(ctx, connection, words, limit, offset)
        keys = {one.id: one.key for one in everything(connection)}
    return [keys[number] for number in ranking.ids], ranking.total


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request, tmp_path):
    """A desk with a small knowledge base, on either kind of database."""
    if request.param == "sqlite":
        ctx = request.getfixturevalue("ctx")
        request.getfixturevalue("shop")
    else:
        ctx = desk_on(request.getfixturevalue("postgres_server"), tmp_path / "server")
        request.addfinalizer(ctx.close)
    load(ctx)
    return ctx


def test_every_word_counts_and_neither_case_nor_accents_nor_width(filled, editor):
    changes.save(filled, editor, [Add(COLOURS, "creme", {"text": "Crème brûlée, ＷＩＤＥ ﬁne"})])
    assert found(filled, "SAND quiet") == {"basics"}
    assert found(filled, "creme BRULEE") == found(filled, "wide fine") == {"creme"}
    assert found(filled, "sand cream") == set()
    assert found(filled, "ikes") == {"navy", "rust", "moss"}
    assert found(filled, "wh") == {"basics", "navy"}
    assert found(filled, "wh pearl") == set() and found(filled, "wh av") == {"navy"}
    assert len(found(filled, "  ")) == len(set(keys_of(filled)))


def keys_of(ctx):
    with read_shop(ctx) as connection:
        return [one.key for one in everything(connection) if one.kind != "group"]


def test_a_save_a_rename_and_a_delete_are_found_at_once_and_what_went_is_not(filled, editor):
    assert found(filled, "sand") == {"basics", "navy"}
    navy, rust = named(filled, editor, COLOURS, "navy"), named(filled, editor, COLOURS, "rust")
    changes.save(
        filled,
        editor,
        [
            Edit(navy.id, navy.version, {"text": navy.body}, {"text": "Navy likes pearl."}),
            Delete(rust.id, rust.version),
            Add(FABRICS, "tweed", {"description": "Rough as sand.", "care": "Brush it."}),
        ],
    )
    assert found(filled, "sand") == {"basics", "tweed"}
    assert found(filled, "pearl") == {"navy"} and found(filled, "rust") == set()


def test_the_key_itself_comes_first_then_keys_that_hold_the_words_then_texts(filled, editor):
    changes.save(
        filled,
        editor,
        [
            Add("/occasions", "about_linen", {"text": "A word."}),
            Add("/occasions", "beach", {"text": "Linen, linen and linen."}),
            Add("/occasions", "cruise", {"text": "Linen once, and much else that is long."}),
        ],
    )
    assert best(filled, "linen") == (["linen", "about_linen", "beach", "cruise"], 4)
    assert best(filled, "linen", 2, 1) == (["about_linen", "beach"], 4)
    assert best(filled, "Job Interview")[0][0] == "job_interview"
    assert best(filled, "") == ([], 0)


@pytest.mark.parametrize(
    "typed",
    ['"', '"navy"', "navy*", "NEAR(a b)", "key:navy", "-", "a OR b", "%", "'; DROP TABLE texts --"],
)
def test_what_means_something_to_a_database_is_looked_for_as_it_stands(filled, editor, typed):
    changes.save(filled, editor, [Add(COLOURS, "odd", {"text": f"So {typed} stands here."})])
    assert "odd" in found(filled, typed)
    assert "odd" in best(filled, typed)[0]


def test_a_pasted_novel_is_refused_in_words(filled):
    with pytest.raises(Invalid, match="at most 400"):
        found(filled, "x " * 1000)


def test_an_older_state_of_the_database_is_searched_as_it_was(ctx, shop, editor):
    load(ctx)
    path = ctx.settings.shop_sqlite_path
    before = path.read_bytes()
    changes.save(ctx, editor, [Add(COLOURS, "plum", {"text": "Plum likes mint."})])
    assert found(ctx, "mint") == {"plum"}
    path.write_bytes(before)
    assert found(ctx, "mint") == set()
    changes.save(ctx, editor, [Add(COLOURS, "lime", {"text": "Lime likes mint."})])
    assert found(ctx, "mint") == {"lime"}


def test_only_the_desk_reads_the_file_and_no_half_letter_or_zero_byte_breaks_it(ctx, shop):
    load(ctx, {"style_advice": {"odd\x00": "zero \x00 byte", "half": "a \ud800 half"}})
    assert found(ctx, "byte") == {"odd\x00"} and found(ctx, "half") == {"half"}
    assert found(ctx, "\x00") == {"odd\x00", "half"}  # both are half a letter
    for file in path_of_index(ctx).parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def _nonsense(path):
    path.write_bytes(b"no database at all" * 1000)


def _half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _scrambled(path):
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


def _foreign(path):
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE texts (word)")
    other.close()


def _empty(path):
    path.write_bytes(b"")


def _folder(path):
    path.unlink()
    path.mkdir()
    (path / "something").touch()


def _older(path):
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 4711")
    other.close()


@pytest.mark.parametrize("spoil", [_nonsense, _half, _scrambled, _foreign, _empty, _folder, _older])
def test_a_file_that_is_no_index_of_ours_is_built_anew(ctx, shop, editor, spoil):
    load(ctx)
    assert found(ctx, "sand") == {"basics", "navy"}
    spoil(path_of_index(ctx))
    assert found(ctx, "sand") == {"basics", "navy"}
    assert best(ctx, "sand")[1] == 2
    assert _indexed(ctx) == len(keys_of(ctx))


def _indexed(ctx):
    with sqlite3.connect(path_of_index(ctx)) as connection:
        return connection.execute("SELECT count(*) FROM texts").fetchone()[0]


def test_where_the_index_cannot_be_written_the_entries_themselves_are_searched(ctx, shop, editor):
    load(ctx)
    with_index = [best(ctx, words) for words in ("linen", "likes", "ro")]
    index.forget(ctx)
    folder = path_of_index(ctx).parent
    (folder / "kb.lock").unlink()
    folder.rmdir()
    folder.write_text("in the way")
    assert found(ctx, "sand") == {"basics", "navy"}
    for words, before in zip(("linen", "likes", "ro"), with_index, strict=True):
        keys, total = best(ctx, words)
        assert (set(keys), total, keys[0]) == (set(before[0]), before[1], before[0][0])


def test_a_full_disk_leaves_the_search_right(ctx, shop, editor, monkeypatch):
    load(ctx)
    real = sqlite3.connect

    def tiny(*args, **options):
        connection = real(*args, **options)
        connection.execute("PRAGMA max_page_count = 8")
        return connection

    monkeypatch.setattr("services.knowledge.searching.file.sqlite3.connect", tiny)
    assert found(ctx, "sand") == {"basics", "navy"}
    monkeypatch.undo()
    assert found(ctx, "sand") == {"basics", "navy"} and _indexed(ctx) == len(keys_of(ctx))


def test_much_to_read_is_left_to_a_thread_and_found_all_the_same(ctx, shop, editor, monkeypatch):
    load(ctx)
    monkeypatch.setattr(index, "MUCH", 3)
    assert found(ctx, "sand") == {"basics", "navy"}
    for thread in threading.enumerate():
        if thread.name == "search-index":
            thread.join(30)
    assert _indexed(ctx) == len(keys_of(ctx))


def test_threads_that_search_while_others_save_find_what_is_saved(ctx, shop, editor):
    load(ctx)
    failures = []

    def work(number):
        try:
            for turn in range(6):
                word = f"w{number}x{turn}"
                changes.save(ctx, editor, [Add(COLOURS, word, {"text": f"Says {word}y."})])
                if found(ctx, f"{word}y") != {word}:
                    failures.append(word)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def child(ctx, work):
    """Another process of the desk that does some work with `ctx` and `connection`."""
    lines = [
        "import os, signal, sys",
        "from pathlib import Path",
        "from tests.conftest import desk_settings",
        "from services.core.context import open_context",
        "from services.core.databases import read_shop",
        "from services.knowledge.searching import index",
        "ctx = open_context(desk_settings(Path(sys.argv[1])))",
        *work,
    ]
    return subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines), str(ctx.settings.desk_home.parent)],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_process_killed_while_it_built_the_index_leaves_nothing_half_behind(ctx, shop, editor):
    load(ctx)
    killed = child(
        ctx,
        [
            "real = index._bring_up",
            "def half(*args):",
            "    real(*args)",
            "    os.kill(os.getpid(), signal.SIGKILL)",
            "index._bring_up = half",
            "index.refresh(ctx)",
        ],
    )
    assert killed.wait(60) == -signal.SIGKILL
    assert _indexed(ctx) == 0
    assert found(ctx, "sand") == {"basics", "navy"} and _indexed(ctx) == len(keys_of(ctx))


def test_two_processes_that_search_while_a_third_saves_find_what_is_saved(ctx, shop, editor):
    load(ctx)
    search = [
        "for turn in range(40):",
        "    with read_shop(ctx) as connection:",
        "        likes = index.matching(ctx, connection, 'likes')",
        "        index.forget(ctx) if turn % 10 == 9 else None",
        "        assert likes == frozenset(",
        "            one.id for one in index._scan(connection, ('likes',))), turn",
        "print('right')",
    ]
    others = [child(ctx, search), child(ctx, search)]
    for number in range(15):
        changes.save(ctx, editor, [Add(COLOURS, f"k{number}", {"text": f"It likes n{number}x."})])
        assert found(ctx, f"n{number}x") == {f"k{number}"}
    assert [one.communicate(timeout=90)[0].strip() for one in others] == ["right", "right"]


def test_a_purge_leaves_no_piece_of_the_text_in_the_index(ctx, shop, admin):
    load(ctx)
    changes.save(ctx, admin, [Add(COLOURS, "secret", {"text": "Zanzibarquartz."})])
    assert found(ctx, "zanzibarquartz") == {"secret"}
    entry = named(ctx, admin, COLOURS, "secret")
    changes.save(ctx, admin, [Delete(entry.id, entry.version)])
    assert found(ctx, "zanzibarquartz") == set()
    recycling.purge(ctx, admin, [entry.id], "purge")
    assert found(ctx, "zanzibarquartz") == set()
    for file in path_of_index(ctx).parent.iterdir():
        assert b"zanzibar" not in file.read_bytes()
