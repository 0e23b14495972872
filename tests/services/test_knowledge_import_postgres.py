"""Import on PostgreSQL: the same contract, thousands of rows at once, and all of it or nothing."""

from __future__ import annotations

import json

import pytest

from services.core.doors import unwatched
from services.core.errors import Conflict
from services.knowledge import changes, entries, undoing
from services.knowledge.changes import Add
from services.knowledge.comparing import Mode
from services.knowledge.document import canonical
from services.knowledge.exchange import applying, exporting, job
from services.knowledge.exchange.choosing import Choice
from services.knowledge.exchange.model import Format
from services.knowledge.exchange.planning import Options, Sort
from tests.doors import run_door
from tests.knowledge_base import COLOURS, load, small_kb, state
from tests.services.postgres_desk import desk_on

MANY = {
    "occasions": {f"day_{number}": f"What one wears on day {number}." for number in range(3_000)},
    "fabric_guide": {f"cloth_{number}": {"care": "Cold."} for number in range(500)},
}


@pytest.fixture
def ctx(postgres_server, tmp_path):
    context = desk_on(postgres_server, tmp_path)
    yield context
    context.close()


def test_thousands_of_rows_are_imported_by_a_job_exported_and_taken_back(ctx, editor):
    load(ctx)
    before = state(ctx)
    data = json.dumps(MANY).encode()
    plan = applying.preview(ctx, editor, "kb.json", data)
    assert job.is_large(plan)
    ended = job.work_off(ctx, job.queue(ctx, editor, plan, data), unwatched)
    assert ended.result["added"] == 3_500
    for form in (Format.CSV, Format.XLSX):
        made = exporting.export(ctx, editor, form)
        again = applying.preview(ctx, editor, made.name, made.data, Options(Mode.REPLACE))
        assert (again.is_empty, again.faults) == (True, ())
    done = job.outcome(ctx, editor).change_set
    undoing.undo(ctx, editor, undoing.preview(ctx, editor, done.id))
    assert state(ctx) == before


def test_a_section_is_replaced_but_for_what_is_rejected_and_never_by_an_old_preview(
    ctx, editor, admin
):
    load(ctx)
    colours = {"moss": "Moss likes camel.", "navy": "New."}
    data = canonical({"color_matching": {"by_color": colours}})
    plan = applying.preview(ctx, editor, "kb.json", data, Options(Mode.SECTION))
    assert (plan.counts[Sort.REMOVED], plan.counts[Sort.MOVED]) == (1, 1)
    changes.save(ctx, admin, [Add("/occasions", "gala", {"text": "Long."})])
    with pytest.raises(Conflict):
        applying.apply_import(ctx, editor, plan)
    found = applying.rebase(ctx, editor, plan, Choice(frozenset({COLOURS + "/navy"})))
    assert (found.other, [one.author for one in found.meanwhile]) == (frozenset(), [admin.name])
    applying.apply_import(ctx, editor, found.plan, found.choice)
    held = entries.document(ctx.shop)["color_matching"]["by_color"]
    kept = small_kb()["color_matching"]["by_color"]["navy"]
    assert list(held.items()) == [("moss", "Moss likes camel."), ("navy", kept)]


def test_an_import_that_is_killed_before_its_end_leaves_nothing(ctx, editor):
    load(ctx)
    before = state(ctx)
    data = json.dumps(MANY).encode()
    waiting = job.queue(ctx, editor, applying.preview(ctx, editor, "kb.json", data), data)
    run_door(ctx, "tests.services.import_child", waiting.id, more={"KILL_AT": "Closing"})
    assert state(ctx) == before
    assert job.outcome(ctx, editor).waits
