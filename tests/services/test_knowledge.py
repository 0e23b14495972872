"""The knowledge base as people read it: whole, in order, searchable, with its history."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.errors import Broken, Denied, Misconfigured
from services.knowledge import changes, entries, history, transfer
from services.knowledge.changes import Add, Delete, Edit
from services.knowledge.document import Kind, Row, canonical, from_rows, to_rows
from services.knowledge.exchange import exporting
from services.knowledge.exchange.model import Format
from services.knowledge.sections import SECTIONS, Shape, path_of, pointer
from services.knowledge.wording import Mark, compare
from tests.knowledge_base import COLOURS, DOCUMENTS, load, named, small_kb, state


@given(DOCUMENTS)
def test_any_document_comes_back_from_its_rows_byte_for_byte(document):
    assert canonical(from_rows(reversed(to_rows(document)))) == canonical(document)


@given(st.lists(st.text(max_size=6), max_size=5))
def test_a_pointer_gives_its_path_back(path):
    assert list(path_of(pointer(path))) == path


def test_rows_inside_a_text_are_said_to_be_broken_and_not_dropped():
    rows = [Row("", "a", Kind.TEXT, "x", 0), Row("/a", "b", Kind.TEXT, "y", 0)]
    with pytest.raises(Broken):
        from_rows(rows)


def test_the_registry_lists_the_shops_eleven_sections_in_its_order(shared_shop):
    real = json.loads((shared_shop / "kb.json").read_text())
    assert [section.key for section in SECTIONS] == list(real)
    for section in SECTIONS:
        for part in section.parts:
            value = real
            for key in part.path:
                value = value[key]
            assert isinstance(value, str) is (part.shape is Shape.TEXT)
            if part.shape is Shape.RECORDS:
                assert all(tuple(record) == part.field_names for record in value.values())


def test_the_real_knowledge_base_is_stored_and_exported_byte_for_byte(ctx, real_shop, shared_shop):
    real = json.loads((shared_shop / "kb.json").read_text())
    load(ctx, real)
    assert state(ctx) == canonical(real)
    texts = entries.document(ctx.shop)["color_matching"]["basics"]
    assert texts == real["color_matching"]["basics"]
    assert texts[0] == "\n"


def test_sections_are_listed_in_order_with_counts_and_whatever_is_unknown(ctx, shop, manager):
    load(ctx, {**small_kb(), "houses": {"style": {"a": "x"}}, "seen": 5})
    found = entries.sections(ctx, manager)
    assert [s.section.key for s in found][:11] == [s.key for s in SECTIONS]
    by_key = {s.section.key: s for s in found}
    assert by_key["color_matching"].entries == 4
    assert {p.part.pointer: p.entries for p in by_key["outfit_formulas"].parts} == {
        "/outfit_formulas/by_primary_category": 1,
        "/outfit_formulas/description": 1,
        "/outfit_formulas/color_logic": 0,
        "/outfit_formulas/formality_logic": 0,
        "/outfit_formulas/season_logic": 1,
    }
    assert not by_key["houses"].known
    assert entries.page(ctx, manager, "/houses/style").entries[0].body == "x"
    assert entries.page(ctx, manager, "/seen").entries[0].body == 5
    for summary in found:
        for part in summary.parts:
            assert entries.page(ctx, manager, part.part.pointer).total == part.entries


def test_search_finds_keys_and_texts_in_any_case_and_script_and_pages(ctx, shop, manager):
    many = {f"tone_{n:04}": f"Tone {n} → Ärmel_{n}%" for n in range(1200)}
    load(ctx, {"color_matching": {"by_color": many}})
    assert entries.page(ctx, manager, COLOURS, search="ÄRMEL_7%").total == 1
    assert entries.page(ctx, manager, COLOURS, search="→").total == 1200
    assert entries.page(ctx, manager, COLOURS, search="description").total == 0
    third = entries.page(ctx, manager, COLOURS, search="tone_01", page=2, rows=30)
    assert [e.key for e in third.entries] == [f"tone_{n:04}" for n in range(130, 160)]
    assert third.total == 100
    assert len(entries.page(ctx, manager, COLOURS, page=24).entries) == 50


def test_nobody_reads_without_the_permission(ctx, shop, nobody):
    for call in (
        lambda: entries.sections(ctx, nobody),
        lambda: entries.page(ctx, nobody, COLOURS),
        lambda: entries.entry(ctx, nobody, 1),
        lambda: history.recent(ctx, nobody),
        lambda: exporting.export(ctx, nobody, Format.JSON),
    ):
        with pytest.raises(Denied):
            call()


def test_history_tells_before_and_after_of_each_cell_and_of_earlier_entries(
    ctx, shop, editor, admin
):
    load(ctx)
    navy = named(ctx, editor, COLOURS, "navy")
    changes.save(ctx, editor, [Edit(navy.id, 1, {"text": navy.body}, {"text": "New."})], "why")
    changes.save(ctx, admin, [Delete(navy.id, 2)])
    changes.save(ctx, admin, [Add(COLOURS, "navy", {"text": "Again."})])
    told = history.history(ctx, editor, named(ctx, editor, COLOURS, "navy"))
    assert [(c.action, c.author, c.reason) for c in told] == [
        ("add", "Admin", ""),
        ("delete", "Admin", ""),
        ("edit", "Editor", "why"),
        ("add", "system", "for a test"),
    ]
    assert told[2].fields == (history.FieldChange("text", navy.body, "New."),)
    page = history.recent(ctx, editor, rows=2)
    assert page.total == 4
    assert [(s.added, s.edited, s.deleted) for s in page.change_sets] == [(1, 0, 0), (0, 0, 1)]
    assert history.details(ctx, editor, page.change_sets[0].id).changes[0].key == "navy"


def test_a_missing_shop_and_missing_tables_are_said_in_words(ctx, editor):
    with pytest.raises(Misconfigured, match="no shop database"):
        entries.sections(ctx, editor)
    path = ctx.settings.shop_sqlite_path
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE users (id INTEGER)")
    with pytest.raises(Misconfigured, match="no tables for the knowledge base"):
        entries.sections(ctx, editor)
    assert transfer.canonical_json(ctx.shop) == b"{}\n"


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_word_comparison_holds_both_texts_completely(before, after):
    pieces = compare(before, after)
    assert "".join(p.text for p in pieces if p.mark is not Mark.NEW) == before
    assert "".join(p.text for p in pieces if p.mark is not Mark.GONE) == after


def test_long_texts_are_compared_without_waiting_for_every_word():
    before = "\n".join(f"line {n} of many words here" for n in range(1500))
    pieces = compare(before, before.replace("line 700 ", "row 700 "))
    assert [p.text for p in pieces if p.mark is Mark.NEW] == ["row 700 of many words here\n"]
    huge = compare("a " * 50_000, "b " * 50_000)
    assert [p.mark for p in huge] == [Mark.GONE, Mark.NEW]
