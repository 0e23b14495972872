"""Import and export: a file is what it says or is refused, and nothing is ever lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import Denied
from services.knowledge import transfer
from services.knowledge.document import canonical
from services.knowledge.exchange import applying
from services.knowledge.reading import read_file
from services.knowledge.shapes import NotImportable
from services.knowledge.writing import to_module
from tests.knowledge_base import DOCUMENTS, load, small_kb, state

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
def test_a_file_that_is_not_what_it_says_is_refused_with_its_place(case):
    name, data, said, hinted = BAD[case]
    with pytest.raises(NotImportable) as caught:
        read_file(name, data)
    assert said in caught.value.message
    assert hinted in f"{caught.value}"
    assert "Nothing was imported" in caught.value.message


def test_a_module_is_read_and_never_run(ctx, shop, editor, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("still here")
    data = (
        f"import os\nos.remove({str(victim)!r})\n".encode()
        + HEAD
        + b"{'occasions': {'casual': 'Relaxed.'}}\n"
        + b"def get(key: str) -> str:\n    return FASHION_KNOWLEDGE_BASE['occasions'][key]\n"
    )
    plan = applying.preview(ctx, editor, "fashion_kb.py", data)
    assert [item.key for item in plan.items] == ["casual"]
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
        "/fabric_pairing",
        "/dress_codes",
        "/occasions/a",
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
    plan = applying.preview(ctx, editor, found.path, found.data)
    applying.apply_import(ctx, editor, plan)
    assert not transfer.find_shop_module(ctx).differs
    path.write_bytes(HEAD + b"{'a': null}")
    assert "breaks the module" in transfer.find_shop_module(ctx).problem.message


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
