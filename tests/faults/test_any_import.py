"""Any knowledge base, any file, any choice, through the database: the accepted cells, no more."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.core.databases import read_shop
from services.core.errors import DeskError, Invalid
from services.knowledge import entries, history, undoing
from services.knowledge.comparing import Mode
from services.knowledge.document import canonical, from_rows, to_rows
from services.knowledge.exchange import applying
from services.knowledge.exchange.choosing import chosen, taken
from services.knowledge.exchange.formats import write
from services.knowledge.exchange.looking import touched
from services.knowledge.exchange.model import Format
from services.knowledge.exchange.planning import Options, worked_out
from services.knowledge.state import revision
from tests.faults.matrix import LONG
from tests.knowledge_base import load, small_kb, state
from tests.unit.test_knowledge_choosing import BASES, after, cells, draw_choice

QUICK = {"suppress_health_check": [HealthCheck.function_scoped_fixture], "deadline": None}


@settings(max_examples=400 if LONG else 20, **QUICK)
@given(BASES, BASES, st.sampled_from(Mode), st.data())
def test_what_is_accepted_is_done_and_taking_it_back_gives_what_was_there(
    ctx, shop, editor, base, file, mode, data
):
    load(ctx, from_rows(to_rows(base)))
    before = state(ctx)
    name, content = "kb.json", json.dumps(file).encode()
    try:
        plan = applying.preview(ctx, editor, name, content, Options(mode))
    except DeskError:
        assert state(ctx) == before
        return
    choice = draw_choice(data, plan)
    with read_shop(ctx) as connection:
        current = entries.everything(connection)
        some = touched(connection, plan.file, plan.options)
        whole, ground = worked_out(current, revision(connection), plan.file, plan.options)
    assert {entry.id for entry in some} <= {entry.id for entry in current}
    assert (whole.fingerprint, whole.unchanged) == (plan.fingerprint, plan.unchanged)
    expected = cells(after(current, chosen(whole, ground, choice)))
    typed = applying.REPLACE_WORD
    try:
        done = applying.apply_import(ctx, editor, plan, choice, typed=typed)
    except Invalid:
        assert not taken(plan, choice)
        assert state(ctx) == before
        return
    with read_shop(ctx) as connection:
        assert cells(entry.row for entry in entries.everything(connection)) == expected
    undoing.undo(ctx, editor, undoing.preview(ctx, editor, done.id))
    assert state(ctx) == before


FILES = {form: write(to_rows(small_kb()), form)[2] for form in Format}
PIECES = [b"{", b"'", b'"', b"\\", b"(", b"\n", b",", b"\x00", b"=", b"- ", b": ", b"\xff", b"<"]


@settings(max_examples=2_500 if LONG else 60, **QUICK)
@given(st.sampled_from(Format), st.sampled_from(Mode), st.data())
def test_a_mutated_file_is_imported_wholly_or_refused_and_nothing_else(
    ctx, shop, editor, form, mode, data
):
    load(ctx, {"occasions": {"gala": "Long."}, "fabric_pairing": "Rough beside smooth."})
    source = bytearray(FILES[form])
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(source) - 1))
        piece = data.draw(st.binary(max_size=3) | st.sampled_from(PIECES))
        source[at : at + data.draw(st.integers(0, 4))] = piece
    before, sets = state(ctx), history.recent(ctx, editor).total
    try:
        plan = applying.preview(ctx, editor, f"kb.{form}", bytes(source), Options(mode))
        applying.apply_import(ctx, editor, plan, typed=applying.REPLACE_WORD)
    except DeskError as refused:
        assert refused.message
        assert state(ctx) == before
        assert history.recent(ctx, editor).total == sets
        return
    again = applying.preview_of(ctx, editor, plan.file, plan.options)
    assert again.is_empty, "what was shown is what was done"
    assert canonical(entries.document(ctx.shop)) == state(ctx)
