"""Import: what was shown and accepted is what is done, and nothing else, all of it or nothing."""

from __future__ import annotations

import csv
import io
import json

import pytest

from services.core import audit
from services.core.errors import Conflict, Invalid
from services.knowledge import changes, entries, history
from services.knowledge.changes import Add, Edit
from services.knowledge.comparing import Mode
from services.knowledge.document import Kind, canonical
from services.knowledge.exchange import applying, exporting
from services.knowledge.exchange.choosing import Choice, only
from services.knowledge.exchange.faulty import errors_file
from services.knowledge.exchange.model import Format, Origin, ReadFile, ReadRow
from services.knowledge.exchange.planning import Options, Sort
from tests.knowledge_base import load, named, small_kb, state

COLOURS = "/color_matching/by_color"
SECTION, REPLACE = Options(Mode.SECTION), Options(Mode.REPLACE)


def look(ctx, actor, document, options=applying.MERGED):
    """The preview of a JSON file with this document."""
    return applying.preview(ctx, actor, "kb.json", json.dumps(document).encode(), options)


def table_file(rows, *, tables=(), name="colours.csv"):
    """A file of rows: (section, key, body, blank cells)."""
    read = tuple(
        ReadRow(
            section,
            key,
            Kind.TEXT if isinstance(body, str) else Kind.RECORD,
            body,
            number,
            Origin(row=number + 2),
            frozenset(blank),
        )
        for number, (section, key, body, blank) in enumerate(rows)
    )
    return ReadFile(name, Format.CSV, read, (), tuple(tables), False)


def by_sort(plan, sort):
    return {item.key for item in plan.items if item.sort is sort}


def test_the_real_knowledge_base_goes_out_and_in_without_a_change(
    ctx, real_shop, shared_shop, admin
):
    data = (shared_shop / "kb.json").read_bytes()
    plan = applying.preview(ctx, admin, "kb.json", data)
    assert (plan.counts[Sort.NEW], plan.notes) == (101, ())
    applying.apply_import(ctx, admin, plan)
    assert state(ctx) == canonical(json.loads(data))
    exported = exporting.export(ctx, admin, Format.MODULE)
    assert '"basics": """\nColor coordination' in exported.data.decode()
    again = applying.preview(ctx, admin, exported.name, exported.data, REPLACE)
    assert (again.is_empty, again.unchanged) == (True, 101)


def test_a_merge_adds_and_changes_and_leaves_the_rest(ctx, shop, editor):
    load(ctx)
    file = {
        "color_matching": {"by_color": {"teal": "Teal likes sand.", "navy": "New."}},
        "fabric_guide": {"linen": {"care": "Cold."}},
        "dress_codes": {"casual": "Relaxed."},
    }
    plan = look(ctx, editor, file)
    assert by_sort(plan, Sort.NEW) == {"teal", "casual"}
    changed = {item.key: item.cells for item in plan.items if item.sort is Sort.CHANGED}
    told = {key: [(c.name, c.before, c.after) for c in cells] for key, cells in changed.items()}
    assert told == {
        "navy": [("text", "Navy likes sand and white.", "New.")],
        "linen": [("care", "Wash warm, iron damp.", "Cold.")],
    }
    done = applying.apply_import(ctx, editor, plan, reason="season")
    assert (done.kind, done.added, done.edited, done.deleted) == ("import", 2, 2, 0)
    wanted = small_kb()
    wanted["color_matching"]["by_color"] |= file["color_matching"]["by_color"]
    wanted["fabric_guide"]["linen"]["care"] = "Cold."
    held = entries.document(ctx.shop)
    assert {**wanted, "dress_codes": file["dress_codes"]} == held
    assert list(held)[2:5] == ["occasions", "dress_codes", "fabric_guide"]


def test_replacing_all_gives_exactly_the_file_and_asks_for_the_word(ctx, shop, editor):
    load(ctx)
    kept = named(ctx, editor, COLOURS, "rust")
    file = {
        "fabric_pairing": "New.",
        "color_matching": {"by_color": {"rust": kept.body, "navy": "New."}},
        "empty": {},
    }
    plan = look(ctx, editor, file, REPLACE)
    with pytest.raises(Invalid, match="Type replace"):
        applying.apply_import(ctx, editor, plan, typed="yes")
    assert state(ctx) == canonical(small_kb())
    applying.apply_import(ctx, editor, plan, typed="replace")
    assert state(ctx) == canonical(file)
    assert named(ctx, editor, COLOURS, "rust").id == kept.id


def test_replacing_a_section_leaves_the_others_alone_and_takes_the_order_of_the_file(
    ctx, shop, editor
):
    load(ctx)
    file = table_file(
        [(COLOURS, "moss", "Moss likes camel.", ()), (COLOURS, "navy", "New.", ())],
        tables=[COLOURS],
    )
    plan = applying.preview_of(ctx, editor, file, SECTION)
    assert by_sort(plan, Sort.REMOVED) == {"rust"}
    assert [item.moves for item in plan.items if item.sort is Sort.MOVED] == [2]
    applying.apply_import(ctx, editor, plan)
    wanted = small_kb()
    wanted["color_matching"]["by_color"] = {"moss": "Moss likes camel.", "navy": "New."}
    assert state(ctx) == canonical(wanted)


def test_only_the_chosen_tables_are_replaced_and_the_rest_is_merged(ctx, shop, editor):
    load(ctx)
    rows = [(COLOURS, "navy", "New.", ()), ("/occasions", "gala", "Long.", ())]
    file = table_file(rows, tables=[COLOURS, "/occasions"])
    only_colours = Options(Mode.SECTION, frozenset({COLOURS}))
    plan = applying.preview_of(ctx, editor, file, only_colours)
    applying.apply_import(ctx, editor, plan)
    held = entries.document(ctx.shop)
    assert held["color_matching"]["by_color"] == {"navy": "New."}
    assert set(held["occasions"]) == {"job_interview", "gala"}


def test_a_file_of_a_part_replaces_no_whole_knowledge_base(ctx, shop, editor):
    load(ctx)
    with pytest.raises(Invalid, match="holds a part"):
        applying.preview_of(ctx, editor, table_file([(COLOURS, "a", "A.", ())]), REPLACE)


@pytest.mark.parametrize("mode", [Mode.MERGE, Mode.SECTION])
def test_blank_cells_overwrite_nothing_unless_asked(ctx, shop, editor, mode):
    load(ctx)
    linen = small_kb()["fabric_guide"]["linen"]
    wool = small_kb()["fabric_guide"]["wool"]
    rows = [
        ("/fabric_guide", "linen", {"care": "Cold."}, linen.keys() - {"care"}),
        ("/fabric_guide", "wool", {}, wool.keys()),
        ("/fabric_guide", "silk", {"care": "Cold."}, {"best_for"}),
    ]
    file = table_file(rows, tables=["/fabric_guide"])
    plan = applying.preview_of(ctx, editor, file, Options(mode))
    assert [(item.key, len(item.cells)) for item in plan.items] == [("linen", 1), ("silk", 1)]
    asked = applying.preview_of(ctx, editor, file, Options(mode, None, blanks_empty=True))
    applying.apply_import(ctx, editor, asked)
    held = entries.document(ctx.shop)["fabric_guide"]
    assert held["linen"] == {**dict.fromkeys(linen, ""), "care": "Cold."}
    assert set(held["wool"].values()) == {""}
    assert held["silk"] == {"care": "Cold."}


def test_what_is_rejected_by_row_and_by_cell_stays_as_it_is(ctx, shop, editor):
    load(ctx)
    file = {
        "color_matching": {"by_color": {"teal": "Teal.", "navy": "New.", "rust": "New."}},
        "fabric_guide": {
            "linen": {"care": "Cold.", "best_for": "Heat"},
            "silk": {"care": "Cold.", "best_for": "Evening"},
        },
    }
    plan = look(ctx, editor, file)
    choice = Choice(
        frozenset({COLOURS + "/teal", COLOURS + "/navy"}),
        frozenset({("/fabric_guide/linen", "care"), ("/fabric_guide/silk", "best_for")}),
    )
    applying.apply_import(ctx, editor, plan, choice)
    wanted = small_kb()
    wanted["color_matching"]["by_color"]["rust"] = "New."
    wanted["fabric_guide"]["linen"]["best_for"] = "Heat"
    wanted["fabric_guide"]["silk"] = {"care": "Cold."}
    assert state(ctx) == canonical(wanted)


def test_an_entry_that_nobody_lets_go_stays_where_it_stood_and_so_does_its_holder(
    ctx, shop, editor
):
    load(ctx)
    plan = look(ctx, editor, {"color_matching": {"by_color": {"navy": "New."}}}, REPLACE)
    keeps = [item.id for item in plan.items if item.key in ("moss", "v-neck")]
    applying.apply_import(ctx, editor, plan, Choice(frozenset(keeps)), typed="replace")
    assert entries.document(ctx.shop) == {
        "color_matching": {"by_color": {"navy": "New.", "moss": "Moss likes camel."}},
        "dress_styles": {"necklines": small_kb()["dress_styles"]["necklines"]},
    }


def test_only_what_is_new_can_be_taken(ctx, shop, editor):
    load(ctx)
    plan = look(ctx, editor, {"occasions": {"job_interview": "New.", "gala": "Long."}})
    applying.apply_import(ctx, editor, plan, only(plan, {Sort.NEW}))
    held = entries.document(ctx.shop)["occasions"]
    assert held == {"job_interview": "Plain and pressed.", "gala": "Long."}


def test_accepting_nothing_writes_nothing(ctx, shop, editor):
    load(ctx)
    before = history.recent(ctx, editor).total
    plan = look(ctx, editor, {"occasions": {"gala": "Long."}})
    with pytest.raises(Invalid, match="Nothing of this file is accepted"):
        applying.apply_import(ctx, editor, plan, only(plan, set()))
    assert history.recent(ctx, editor).total == before


def test_importing_what_is_there_already_says_so(ctx, shop, editor):
    load(ctx)
    plan = look(ctx, editor, small_kb())
    with pytest.raises(Invalid, match="nothing to import"):
        applying.apply_import(ctx, editor, plan)


def test_what_the_shop_would_not_read_is_noted_and_kept(ctx, shop, editor):
    file = {
        "color_matching": {"by_color": {"Deep Blue": "x"}},
        "fabric_guide": {"silk": {"description": "x", "origin": "y"}},
        "seen": 5,
    }
    plan = look(ctx, editor, file)
    assert len(plan.notes) == 3
    assert "deep_blue would be found" in " ".join(plan.notes)
    applying.apply_import(ctx, editor, plan)
    assert entries.document(ctx.shop) == {
        "color_matching": file["color_matching"],
        "fabric_guide": file["fabric_guide"],
        "seen": 5,
    }


def test_a_key_that_is_in_the_file_twice_is_taken_once_and_told(ctx, shop, editor):
    file = table_file([(COLOURS, "teal", "First.", ()), (COLOURS, "teal", "Second.", ())])
    plan = applying.preview_of(ctx, editor, file)
    assert [(fault.at.row, fault.key) for fault in plan.faults] == [(3, "teal")]
    assert "first in row 2" in plan.faults[0].message
    applying.apply_import(ctx, editor, plan)
    assert named(ctx, editor, COLOURS, "teal").body == "First."


def test_a_text_that_becomes_a_place_for_entries_takes_what_lies_in_it_along(ctx, shop, editor):
    load(ctx, {"seen": "a text", "other": {"in": {"deep": "x"}}})
    plan = look(ctx, editor, {"seen": {"a": "A."}, "other": {"in": "a text"}})
    assert {item.id: item.goes_with for item in plan.items} == {
        "/seen": "",
        "/seen/a": "/seen",
        "/other/in": "",
        "/other/in/deep": "/other/in",
    }
    applying.apply_import(ctx, editor, plan, Choice(frozenset({"/seen"})))
    assert entries.document(ctx.shop) == {"seen": "a text", "other": {"in": "a text"}}


# --- the knowledge base moves ---


def test_an_import_is_refused_when_the_knowledge_base_moved_since_its_preview(
    ctx, shop, editor, admin
):
    load(ctx)
    plan = look(ctx, editor, {"dress_codes": {"casual": "Relaxed."}})
    changes.save(ctx, admin, [Add(COLOURS, "teal", {"text": "Teal."})])
    before = state(ctx)
    with pytest.raises(Conflict, match="changed since this preview"):
        applying.apply_import(ctx, editor, plan)
    assert state(ctx) == before
    assert not applying.is_current(ctx, plan)


def test_a_rebase_tells_who_changed_what_and_carries_the_choice_over(ctx, shop, editor, admin):
    load(ctx)
    file = {"color_matching": {"by_color": {"navy": "New.", "rust": "New.", "teal": "Teal."}}}
    plan = look(ctx, editor, file)
    choice = Choice(frozenset({COLOURS + "/rust"}))
    navy = named(ctx, admin, COLOURS, "navy")
    edit = Edit(navy.id, navy.version, {"text": navy.body}, {"text": "Theirs."})
    changes.save(ctx, admin, [edit], reason="spring")
    found = applying.rebase(ctx, editor, plan, choice)
    assert [(one.author, one.reason, one.entries) for one in found.meanwhile] == [
        (admin.name, "spring", 1)
    ]
    assert (found.other, found.choice) == (frozenset({COLOURS + "/navy"}), choice)
    applying.apply_import(ctx, editor, found.plan, found.choice)
    held = entries.document(ctx.shop)["color_matching"]["by_color"]
    assert (held["navy"], held["rust"], held["teal"]) == ("New.", "Rust likes cream.", "Teal.")


def test_clicking_twice_imports_once(ctx, shop, editor):
    load(ctx)
    plan = look(ctx, editor, {"occasions": {"gala": "Long."}})
    applying.apply_import(ctx, editor, plan)
    with pytest.raises(Conflict):
        applying.apply_import(ctx, editor, plan)
    assert (
        len([one for one in history.recent(ctx, editor).change_sets if one.kind == "import"]) == 1
    )


# --- export ---


def test_exports_are_audited_and_a_part_is_a_file_of_its_own(ctx, shop, admin, manager):
    load(ctx)
    whole = exporting.export(ctx, manager, Format.JSON)
    assert whole.data == canonical(small_kb())
    part = exporting.export(ctx, manager, Format.JSON, COLOURS)
    assert json.loads(part.data) == {
        "color_matching": {"by_color": small_kb()["color_matching"]["by_color"]}
    }
    log = audit.events(ctx, admin, audit.AuditFilter(actions=("knowledge.export",)))
    assert [event.summary.split(" as ")[0] for event in log.events] == [
        "Exported 3 entries of Colours / By colour",
        "Exported 16 entries of the knowledge base",
    ]
    assert log.events[0].actor_name == "Manager"
    with pytest.raises(Invalid, match="nothing to export"):
        exporting.export(ctx, manager, Format.JSON, "/nowhere")


@pytest.mark.parametrize("form", list(Format))
def test_every_export_imports_again_without_a_change(ctx, shop, editor, form):
    load(ctx)
    made = exporting.export(ctx, editor, form)
    plan = applying.preview(ctx, editor, made.name, made.data, REPLACE)
    assert plan.is_empty
    part = exporting.export(ctx, editor, form, "/fabric_guide")
    plan = applying.preview(ctx, editor, part.name, part.data, SECTION)
    assert (plan.is_empty, plan.unchanged) == (True, 2)


# --- what can't be taken ---


def table(rows):
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def test_the_file_of_errors_is_safe_to_open_and_can_be_put_right_and_imported(ctx, shop, editor):
    load(ctx)
    formula = '=HYPERLINK("http://evil.example","x")'
    data = table(
        [
            ["section", "key", "description", "care"],
            ["/fabric_guide", "silk", "Fine.", "Cold."],
            ["/fabric_guide", "satin", formula, "bell \x07"],
            ["nowhere", "felt", "'=1+1", "@now"],
        ]
    )
    plan = applying.preview(ctx, editor, "kb.csv", data)
    assert by_sort(plan, Sort.NEW) == {"silk"}
    made = errors_file(plan)
    rows = list(csv.reader(io.StringIO(made.data.decode("utf-8-sig"))))
    assert rows[0][:4] == ["section", "key", "description", "care"]
    assert [row[1] for row in rows[1:]] == ["satin", "felt"]
    assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r") and cell]
    assert "control character" in rows[1][6] and "no section nowhere" in rows[2][6].lower()
    applying.apply_import(ctx, editor, plan)
    rows[1][3], rows[2][0] = "Warm.", "/fabric_guide"
    again = applying.preview(ctx, editor, made.name, table(rows))
    assert (by_sort(again, Sort.NEW), again.faults) == ({"satin", "felt"}, ())
    applying.apply_import(ctx, editor, again)
    held = entries.document(ctx.shop)["fabric_guide"]
    assert held["satin"] == {"description": formula, "care": "Warm."}
    assert held["felt"] == {"description": "=1+1", "care": "@now"}


def test_a_table_that_names_no_section_is_read_as_the_part_that_one_chooses(ctx, shop, editor):
    load(ctx)
    data = table([["key", "text"], ["teal", "Teal."]])
    plan = applying.preview(ctx, editor, "spring.csv", data)
    assert (plan.is_empty, [fault.field for fault in plan.faults]) == (True, ["section"])
    plan = applying.preview(ctx, editor, "spring.csv", data, part=COLOURS)
    applying.apply_import(ctx, editor, plan)
    assert named(ctx, editor, COLOURS, "teal").body == "Teal."


def test_a_new_entry_whose_text_is_blank_is_told_and_left_out(ctx, shop, editor):
    load(ctx)
    data = table([["section", "key", "text"], [COLOURS, "teal", ""], [COLOURS, "navy", ""]])
    plan = applying.preview(ctx, editor, "kb.csv", data)
    assert [(fault.at.row, fault.key) for fault in plan.faults] == [(2, "teal")]
    assert (plan.is_empty, plan.unchanged) == (True, 1)
