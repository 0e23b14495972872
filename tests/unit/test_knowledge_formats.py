"""Every format of the knowledge base, in and out: nothing is lost, and nothing is executed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.knowledge.document import Row, from_rows, to_rows
from services.knowledge.exchange import formats
from services.knowledge.exchange.documents import only
from services.knowledge.exchange.model import Format, ReadFile
from services.knowledge.sections import SECTIONS, Shape
from tests.knowledge_base import small_kb

PARTS = [part for section in SECTIONS for part in section.parts]

TRICKY = [
    "", " ", "\n", "\r", "\r\n", "\t", "a\rb\r\nc\nd", "\nbegins and ends\n    ", "  blanks  ",
    "=1+1", "+1", "-1", "@SUM(A1)", "'=1", "''=1", "'tis", "'", "\t=1", "\r=1", " =1", "\n-1",
    "\uff1d1", "(empty)", "\\(empty)", "\\\\(empty)", "(EMPTY)", "\\", "(top)", "(other)",
    "TRUE", "true", "1e5", "00123", "0x1f", "1_000", "2024-01-31", "12:30:45", "NULL", "null",
    "~", "no", "No", "yes", "y", "on", "off", ".inf", ".nan", "<<", "=", "-", "?", ":", "---",
    "...", "- a", "a: b", "a #b", "# a", "[a]", "{a}", "&a", "*a", "!a", "|", ">", "%a", "`a`",
    "_x000D_", "_x005F_x000D_", "_x000d_", "_x000", "_x0041\r", "_x00_x000D_", "_xD83D__xDE00_",
    "\ud7ff\ue000\ufffd\ufffe\uffff", "\U0001f600\U0001f469\u200d\U0001f680", "\u05d0\u202e\u200f",
    "\u200b\ufeff\u2060", "\ufeff", "\u2028\u2029", "a\u0301", "e\u0301\u00e9", "]]>", "<b>&</b>",
    '"', '""', '"""', "'''", 'ends with "', "a,b;c\td|e", "sep=;", "field:a", "continued 2: a",
    "key", "text", "section", "kind", "Key ", "Best for", "best_for", "(order of fields)",
    "(further fields)", "a" * 40, "x" * 33_000, "\U0001f600" * 17_000, "\r\n" * 16_500,
    "a/b", "~1", "a.b", "/", "//", "a\\b", "C:\\x", "\\n", "{{x}}", "${x}", "\x7e",
]  # fmt: skip

_CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"))
_TEXTS = st.one_of(
    st.sampled_from(TRICKY),
    st.text(st.one_of(_CHARACTERS, st.sampled_from("\n\r\t =-'\"_xX0D(:#")), max_size=12),
    st.lists(st.sampled_from(TRICKY[:70]), min_size=2, max_size=3).map("".join),
)
_KEYS = st.one_of(
    st.sampled_from([text for text in TRICKY if len(text) < 30]), st.text(_CHARACTERS, max_size=6)
)
_JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        _TEXTS,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=5,
)
_FREE = st.recursive(
    st.one_of(_TEXTS, _JSON), lambda inner: st.dictionaries(_KEYS, inner, max_size=4), max_leaves=8
)
_NAMES = st.one_of(
    st.sampled_from(["description", "care", "best_for", "characteristics", "occasions"]), _KEYS
)


def _of(shape: Shape) -> st.SearchStrategy[Any]:
    if shape is Shape.TEXT:
        return _TEXTS
    if shape is Shape.TEXTS:
        return st.dictionaries(_KEYS, _TEXTS, max_size=4)
    return st.dictionaries(_KEYS, st.dictionaries(_NAMES, _TEXTS, max_size=5), max_size=4)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Anything the knowledge base may hold: known parts in their shape, and whatever else."""
    whole: list[tuple[tuple[str, ...], Any]] = []
    for part in draw(st.lists(st.sampled_from(PARTS), max_size=5, unique=True)):
        whole.append((part.path, draw(_of(part.shape))))
    for top in draw(st.lists(_KEYS, max_size=3, unique=True)):
        if not any(part.path[0] == top for part in PARTS):
            whole.append(((top,), draw(_FREE)))
    if draw(st.booleans()):
        name = draw(_KEYS.filter(lambda key: key not in ("basics", "by_color")))
        whole.append((("color_matching", name), draw(_FREE)))
    document: dict[str, Any] = {}
    for path, value in draw(st.permutations(whole)):
        held = document
        for key in path[:-1]:
            held = held.setdefault(key, {})
        held[path[-1]] = value
    return document


def document_of(file: ReadFile) -> dict[str, Any]:
    """What a file says, as one document."""
    return from_rows(Row(r.section, r.key, r.kind, r.body, r.position) for r in file.rows)


def exactly(one: Any) -> str:
    """A text that differs for anything that differs, order and type included."""
    return json.dumps(one)


@pytest.mark.parametrize("format", Format)
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(document=documents())
@example(document={})
@example(document=small_kb())
@example(document={"": {"": {"": "", "a": {}}}, "fabric_guide": {"": {"": "", "text": "a"}}})
@example(document={"tricky": {f"{n} {t[:40]}": t for n, t in enumerate(TRICKY)}})
@example(document={"fabric_guide": {t: {t: t} for t in TRICKY if len(t) < 99}})
def test_what_is_exported_reads_back_as_exactly_the_same_knowledge_base(
    format: Format, document: dict[str, Any]
) -> None:
    name, _mime, data = formats.write(to_rows(document), format)
    file = formats.read(name, data)
    assert file.faults == ()
    assert exactly(document_of(file)) == exactly(document)
    assert file.whole
    assert formats.write(to_rows(document), format)[2] == data


@pytest.mark.parametrize("format", Format)
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(document=documents(), data=st.data())
@example(document=small_kb(), data=None)
def test_an_exported_part_reads_back_as_exactly_that_part(
    format: Format, document: dict[str, Any], data: Any
) -> None:
    places = [row.pointer for row in to_rows(document)] + ["/not/there"]
    for part in places if data is None else [data.draw(st.sampled_from(places))]:
        name, _mime, content = formats.write(to_rows(document), format, part=part)
        file = formats.read(name, content)
        assert file.faults == ()
        assert exactly(document_of(file)) == exactly(only(document, part))
        assert not file.whole or part == "/not/there"
