"""Import and export: a file is what it says or is refused, and nothing is ever lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.core import audit
from services.core.errors import Conflict, Denied, Invalid
from services.knowledge import changes, entries, history, transfer
from services.knowledge.changes import Add
from services.knowledge.comparing import Mode
from services.knowledge.document import canonical
from services.knowledge.reading import read_file
from services.knowledge.shapes import NotImportable
from services.knowledge.writing import to_module
from tests.knowledge_base import DOCUMENTS, load, named, small_kb, state

HEAD = b"FASHION_KNOWLEDGE_BASE = "
COLOURS = "/color_matching/by_color"

TEXTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters=None)
    | st.sampled_from("\n\t\r\"\\'{=+-@→🧵\u202e\u2028"),
    max_size=40,
)


def module(document: object) -> bytes:
    return HEAD + repr(document).encode()


BAD = {
    "syntax error": ("kb.py", HEAD + b"{\n 'a': 'b'\n 'c': }", "not valid Python", "line 3"),
    "a call": ("kb.py", HEAD + b"{\n'a': __import__('os').system('x')}", "Line 2", "calls"),
    "a name": ("kb.py", HEAD + b"{'a': SECRET}", "refers to the name SECRET", ""),
    "an f-string": ("kb.py", HEAD + b"{'a': f'{1}'}", "f-string", ""),
    "a comprehension": ("kb.py", HEAD + b"{k: 'x' for k in 'ab'}", "is code", ""),
    "an expression": ("kb.py", HEAD + b"{'a': 'x' * 10**9}", "is code", ""),
    "dict unpacking": ("kb.py", HEAD + b"{**other}", "**", ""),
    "true of the shop's editor": ("kb.py", HEAD + b"{'a': true}", "breaks the module", "quotes"),
    "null of the shop's editor": ("kb.py", HEAD + b"{'a': null}", "breaks the module", "quotes"),
    "a key twice": ("kb.py", HEAD + b"{'a': 'x',\n\n'a': 'y'}", "Line 3: /a is there twice", "1"),
    "assigned twice": ("kb.py", HEAD + b"{}\n" + HEAD + b"{}", "a second time", ""),
    "changed by code": ("kb.py", HEAD + b"{}\nFASHION_KNOWLEDGE_BASE['a'] = 'x'", "changed", ""),
    "updated by code": ("kb.py", HEAD + b"{}\nFASHION_KNOWLEDGE_BASE.update(a='x')", "changed", ""),
    "assigned in an if": ("kb.py", b"if 1:\n    " + HEAD + b"{}", "inside another", ""),
    "no knowledge base": ("kb.py", b"X = {}", "assigns nothing", ""),
    "not a dict": ("kb.py", HEAD + b"'text'", "not a dict", ""),
    "a tuple": ("kb.py", HEAD + b"{'a': ('x',)}", "tuple", ""),
    "bytes": ("kb.py", HEAD + b"{'a': b'x'}", "bytes", ""),
    "a number as key": ("kb.py", HEAD + b"{1: 'x'}", "no text", ""),
    "not its declared encoding": (
        "kb.py",
        b"# coding: utf-8\n" + HEAD + b"{'a': '\xff'}",
        "enc",
        "",
    ),
    "an unknown encoding": ("kb.py", b"# coding: klingon\n" + HEAD + b"{}", "encoding", "UTF-8"),
    "null bytes": ("kb.py", HEAD + b"{'a': '\0'}", "null bytes", ""),
    "deep parentheses": ("kb.py", HEAD + b"(" * 5000, "not valid Python", ""),
    "deep minus": ("kb.py", HEAD + b"-" * 200_000 + b"1", "too deeply", ""),
    "a long sum": ("kb.py", HEAD + b"'a'+" * 200_000 + b"'a'", "", ""),
    "deep dicts": ("kb.py", HEAD + b"{'a':" * 90 + b"'x'" + b"}" * 90, "too deeply", ""),
    "masses of commas": ("kb.py", HEAD + b"[" + b"1," * 2_000_000 + b"]", "pieces of code", ""),
    "50 MB": ("kb.py", HEAD + b"{'a': '" + b"x" * 50_000_000 + b"'}", "too large: 50.0 MB", ""),
    "50 MB of JSON": ("kb.json", b" " * 50_000_000, "too large", ""),
    "broken JSON": ("kb.json", b'{"a": \n x}', "not valid JSON", ""),
    "a JSON list": ("kb.json", b"[]", "not a JSON object", ""),
    "a JSON key twice": ("kb.json", b'{"a": {"b": "x", "b": "y"}}', "/a/b is there twice", ""),
    "NaN": ("kb.json", b'{"a": NaN}', "NaN", ""),
    "infinity by size": ("kb.json", b'{"a": 1e999}', "too large", ""),
    "a number without end": ("kb.json", b'{"a": ' + b"9" * 6000 + b"}", "too long", ""),
    "deep JSON": ("kb.json", b'{"a":' * 100_000, "too deeply", ""),
    "deep JSON that closes": ("kb.json", b'{"a":' * 30 + b"1" + b"}" * 30, "too deeply", ""),
    "latin-1 JSON": ("kb.json", '{"a":\n "é"}'.encode("latin-1"), "not UTF-8", "UTF-8"),
    "UTF-16 JSON": ("kb.json", '{"a": "x"}'.encode("utf-16"), "not UTF-8", "UTF-8"),
    "half a character": ("kb.json", b'{"a": "\\ud800"}', "U+D800", ""),
    "a control character": ("kb.json", b'{"a": "x\\u0007"}', "U+0007", ""),
    "a huge text": ("kb.json", b'{"a": "' + b"x" * 1_000_000 + b'"}', "1,000,000 characters", ""),
    "a path without end": ("kb.json", json.dumps({"a" * 500: "x"}).encode(), "longer than", ""),
    "a text where records are": (
        "kb.json",
        b'{"fabric_guide": "x"}',
        "/fabric_guide: expected",
        "",
    ),
    "a text where a record is": (
        "kb.json",
        b'{"fabric_guide": {"silk": "x"}}',
        "/fabric_guide/silk: expected a record (description, care",
        "",
    ),
    "a number in a record": (
        "kb.json",
        b'{"fabric_guide": {"silk": {"care": 5}}}',
        "/fabric_guide/silk/care: expected a text, found a number",
        "",
    ),
    "a dict where a text is": ("kb.json", b'{"fabric_pairing": {}}', "expected a text", ""),
    "a list in a table of texts": ("kb.py", module({"occasions": {"a": []}}), "found a list", ""),
    "a text where parts are": ("kb.json", b'{"color_matching": ""}', "parts of Colours", ""),
    "another kind of file": ("kb.xlsx", b"PK", "Only fashion_kb.py", ""),
}


@pytest.mark.parametrize("case", BAD, ids=list(BAD))
def test_a_file_that_is_not_what_it_says_is_refused_with_its_place(ctx, shop, editor, case):
    name, data, said, hinted = BAD[case]
    load(ctx)
    with pytest.raises(NotImportable) as caught:
        transfer.preview(ctx, editor, name, data)
    assert said in caught.value.message
    assert hinted in f"{caught.value}"
    assert "Nothing was imported" in caught.value.message
    assert state(ctx) == canonical(small_kb())
    assert history.recent(ctx, editor).total == 1


def test_a_module_is_read_and_never_run(ctx, shop, editor, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("still here")
    data = (
        f"import os\nos.remove({str(victim)!r})\n".encode()
        + HEAD
        + b"{'occasions': {'casual': 'Relaxed.'}}\n"
        + b"def get(key: str) -> str:\n    return FASHION_KNOWLEDGE_BASE['occasions'][key]\n"
    )
    plan = transfer.preview(ctx, editor, "fashion_kb.py", data)
    assert [change.key for change in plan.merge.new] == ["casual"]
    assert victim.exists()


@pytest.mark.parametrize(
    "source",
    [
        b'# -*- coding: latin-1 -*-\nFASHION_KNOWLEDGE_BASE = {"a": "caf\xe9"}',
        '\ufeffFASHION_KNOWLEDGE_BASE: dict[str, str] = {"a": "ca" "f" + "é"}'.encode(),
        'KB = FASHION_KNOWLEDGE_BASE = {"a": """café"""}\nprint(KB)'.encode(),
    ],
)
def test_declared_encodings_annotations_and_joined_texts_are_read(source):
    assert read_file("x.py", source) == {"a": "café"}


def test_json_with_a_byte_order_mark_is_read():
    assert read_file("x.JSON", '\ufeff{"a": "é"}'.encode()) == {"a": "é"}


def test_all_wrong_shapes_are_listed_not_only_the_first():
    data = json.dumps({"fabric_pairing": 1, "occasions": {"a": None}, "dress_codes": []}).encode()
    with pytest.raises(NotImportable) as caught:
        read_file("kb.json", data)
    assert [place for place, _what in caught.value.places] == [
        "/occasions/a",
        "/dress_codes",
        "/fabric_pairing",
    ]


@given(DOCUMENTS)
def test_a_written_module_reads_back_as_the_same_document(document):
    source = to_module(document)
    namespace: dict[str, object] = {}
    exec(source, namespace)  # our own output: Python itself must agree with our reader
    assert json.dumps(namespace["FASHION_KNOWLEDGE_BASE"]) == json.dumps(document)


@given(st.dictionaries(TEXTS, TEXTS, max_size=6))
def test_any_text_survives_the_module(texts):
    source = to_module({"occasions": texts})
    namespace: dict[str, object] = {}
    exec(source, namespace)
    assert namespace["FASHION_KNOWLEDGE_BASE"] == {"occasions": texts}


STORABLE = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\t\r"), max_size=12
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example({"new": {"": 2**63, "one": 1.0, "none": None, "small": 1e-7}})
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "color_matching": st.fixed_dictionaries(
                {}, optional={"by_color": st.dictionaries(STORABLE, STORABLE, max_size=4)}
            ),
            "fabric_guide": st.dictionaries(
                STORABLE, st.dictionaries(STORABLE, STORABLE, max_size=3), max_size=3
            ),
            "new": st.dictionaries(STORABLE, st.none() | st.integers() | STORABLE, max_size=3),
        },
    )
)
def test_export_and_import_again_changes_nothing_for_any_content(ctx, shop, admin, document):
    load(ctx, document)
    for export in (transfer.export_json(ctx, admin), transfer.export_module(ctx, admin)):
        plan = transfer.preview(ctx, admin, export.name, export.data)
        assert plan.merge.is_empty
        assert plan.replace.is_empty
    assert state(ctx) == canonical(document)


def test_the_real_knowledge_base_goes_out_and_in_without_a_change(
    ctx, real_shop, shared_shop, admin
):
    data = (shared_shop / "kb.json").read_bytes()
    plan = transfer.preview(ctx, admin, "kb.json", data)
    assert (len(plan.merge.new), plan.notes) == (101, ())
    transfer.apply_import(ctx, admin, plan)
    assert state(ctx) == canonical(json.loads(data))
    exported = transfer.export_module(ctx, admin)
    assert '"basics": """\nColor coordination' in exported.data.decode()
    again = transfer.preview(ctx, admin, exported.name, exported.data)
    assert again.replace.is_empty
    assert again.merge.unchanged == 101


def test_a_merge_adds_and_changes_and_leaves_the_rest(ctx, shop, editor):
    load(ctx)
    file = {
        "color_matching": {"by_color": {"teal": "Teal likes sand.", "navy": "New."}},
        "fabric_guide": {"linen": {"care": "Cold."}},
        "dress_codes": {"casual": "Relaxed."},
    }
    plan = transfer.preview(ctx, editor, "kb.json", json.dumps(file).encode())
    assert {c.key for c in plan.merge.new} == {"teal", "casual"}
    assert {c.key: (c.before, c.after) for c in plan.merge.changed} == {
        "navy": ({"text": "Navy likes sand and white."}, {"text": "New."}),
        "linen": (
            small_kb()["fabric_guide"]["linen"],
            {**small_kb()["fabric_guide"]["linen"], "care": "Cold."},
        ),
    }
    assert plan.merge.removed == ()
    done = transfer.apply_import(ctx, editor, plan, reason="season")
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
    plan = transfer.preview(ctx, editor, "kb.json", json.dumps(file).encode())
    with pytest.raises(Invalid, match="Type replace"):
        transfer.apply_import(ctx, editor, plan, mode=Mode.REPLACE, typed="yes")
    assert state(ctx) == canonical(small_kb())
    transfer.apply_import(ctx, editor, plan, mode=Mode.REPLACE, typed="replace")
    assert state(ctx) == canonical(file)
    assert named(ctx, editor, COLOURS, "rust").id == kept.id


def test_an_import_is_refused_when_the_knowledge_base_moved_since_its_preview(
    ctx, shop, editor, admin
):
    load(ctx)
    plan = transfer.preview(ctx, editor, "kb.json", b'{"dress_codes": {"casual": "Relaxed."}}')
    changes.save(ctx, admin, [Add(COLOURS, "teal", {"text": "Teal."})])
    before = state(ctx)
    with pytest.raises(Conflict, match="changed since this preview"):
        transfer.apply_import(ctx, editor, plan)
    assert state(ctx) == before


def test_importing_what_is_there_already_says_so(ctx, shop, editor):
    load(ctx)
    plan = transfer.preview(ctx, editor, "kb.json", canonical(small_kb()))
    with pytest.raises(Invalid, match="nothing to import"):
        transfer.apply_import(ctx, editor, plan)


def test_what_the_shop_would_not_read_is_noted_and_kept(ctx, shop, editor):
    file = {
        "color_matching": {"by_color": {"Deep Blue": "x"}},
        "fabric_guide": {"silk": {"description": "x", "origin": "y"}},
        "seen": 5,
    }
    plan = transfer.preview(ctx, editor, "kb.json", json.dumps(file).encode())
    assert len(plan.notes) == 3
    assert "deep_blue would be found" in " ".join(plan.notes)
    transfer.apply_import(ctx, editor, plan)
    assert entries.document(ctx.shop) == {
        "color_matching": file["color_matching"],
        "fabric_guide": file["fabric_guide"],
        "seen": 5,
    }


@pytest.mark.parametrize("wanted", [{}, {"x": {"y": {"z": "deep"}}}, {"fabric_guide": {"a": {}}}])
def test_a_restore_makes_the_knowledge_base_exactly_the_document(ctx, shop, operator, wanted):
    load(ctx)
    done = transfer.restore_document(ctx, operator, wanted, "back to Monday")
    assert done.kind == "restore"
    assert state(ctx) == canonical(wanted)
    transfer.restore_document(ctx, operator, small_kb(), "and back")
    assert state(ctx) == canonical(small_kb())


def test_restoring_takes_the_restore_permission(ctx, shop, editor):
    load(ctx)
    with pytest.raises(Denied):
        transfer.restore_document(ctx, editor, {}, "no")
    assert state(ctx) == canonical(small_kb())


def test_the_shops_own_module_is_found_compared_and_never_run(ctx, shop, editor):
    assert transfer.find_shop_module(ctx) is None
    path = ctx.settings.shop_kb_module
    path.parent.mkdir()
    path.write_bytes(to_module(small_kb()) + b"\nraise SystemExit\n")
    found = transfer.find_shop_module(ctx)
    assert (found.differs, found.entries, found.problem) == (True, 16, None)
    plan = transfer.preview(ctx, editor, found.path, found.data)
    transfer.apply_import(ctx, editor, plan)
    assert not transfer.find_shop_module(ctx).differs
    path.write_bytes(HEAD + b"{'a': null}")
    assert "breaks the module" in transfer.find_shop_module(ctx).problem.message


def test_exports_are_audited(ctx, shop, admin, manager):
    load(ctx)
    export = transfer.export_json(ctx, manager)
    assert export.data == canonical(small_kb())
    log = audit.events(ctx, admin, audit.AuditFilter(actions=("knowledge.export",)))
    assert log.events[0].summary == "Exported 16 entries of the knowledge base as fashion_kb.json"
    assert log.events[0].actor_name == "Manager"


@settings(max_examples=150)
@given(st.data())
def test_a_mutated_file_is_read_or_refused_and_never_anything_else(data):
    source = bytearray(to_module(small_kb()))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(source) - 1))
        piece = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"{", b"'", b'"""', b"\\", b"(", b"f'", b"\n"])
        )
        source[at : at + data.draw(st.integers(0, 4))] = piece
    for name in ("kb.py", "kb.json"):
        try:
            read_file(name, bytes(source))
        except NotImportable as refused:
            assert refused.message
