"""Every format of the knowledge base, in and out: nothing is lost, and nothing is executed."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.knowledge import reading
from services.knowledge.document import Row, from_rows, to_rows
from services.knowledge.exchange import formats
from services.knowledge.exchange.documents import only
from services.knowledge.exchange.model import Format, ReadFile
from services.knowledge.literal import scan
from services.knowledge.sections import SECTIONS, Shape
from services.knowledge.shapes import NotImportable
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
    "_x005F_", "x005F_", "x005F\r", "_x0041", "(exact) ", '(exact) "a"', "(exact) 1", "<r>a</r>",
    "\ud7ff\ue000\ufffd\ufffe\uffff", "\U0001f600\U0001f469\u200d\U0001f680", "\u05d0\u202e\u200f",
    "\u200b\ufeff\u2060", "\ufeff", "\u2028\u2029", "a\u0301", "e\u0301\u00e9", "]]>", "<b>&</b>",
    '"', '""', '"""', "'''", 'ends with "', "a,b;c\td|e", "sep=;", "field:a", "continued 2: a",
    "key", "text", "section", "kind", "Key ", "Best for", "best_for", "(order of fields)",
    "(further fields)", "a" * 40, "x" * 33_000, "\U0001f600" * 17_000, "\r\n" * 16_500,
    "a/b", "~1", "a.b", "/", "//", "a\\b", "C:\\x", "\\n", "{{x}}", "${x}", "\x7e",
]  # fmt: skip

# What the formats themselves write for signs that they can't hold, in pieces.
_SPELLINGS = (
    "_x", "_", "x005F", "x005F_", "000D", "000d_", "0041_", "\r", "\ufffe", "(exact) ", '"',
    "<r>", "</r>", "\\u005f", "&#13;",
)  # fmt: skip

_CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"))
_TEXTS = st.one_of(
    st.sampled_from(TRICKY),
    st.text(st.one_of(_CHARACTERS, st.sampled_from("\n\r\t =-'\"_xX0D(:#")), max_size=12),
    st.lists(st.sampled_from(TRICKY[:78]), min_size=2, max_size=3).map("".join),
    st.lists(st.sampled_from(_SPELLINGS), min_size=1, max_size=6).map("".join),
)
_KEYS = st.one_of(
    st.sampled_from([text for text in TRICKY if len(text) < 30]),
    st.text(_CHARACTERS, max_size=6),
    st.lists(st.sampled_from(_SPELLINGS), min_size=1, max_size=4).map("".join),
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
        assert not file.whole


# --- files of people and of other programs ---

FABRIC = "/fabric_guide"


def taken(file: ReadFile) -> dict[str, Any]:
    """What a file gives of the fabrics, or everything where it gives none."""
    found = document_of(file)
    return found.get("fabric_guide", found)


CSV_FILES: dict[str, tuple[bytes, str]] = {
    "a comma": (b"key,care\nsilk,cold\n", ""),
    "semicolons": (b"key;care\nsilk;cold\n", "semicolons"),
    "tabs": (b"key\tcare\nsilk\tcold\n", "tabs"),
    "Excel's own hint": (b"sep=;\r\nkey;care\r\nsilk;cold\r\n", "semicolons"),
    "a mark before UTF-8": (b"\xef\xbb\xbfkey,care\nsilk,cold\n", ""),
    "UTF-16": ("key\tcare\nsilk\tcold\n".encode("utf-16"), "UTF-16"),
    "old line ends": (b"key,care\rsilk,cold\r", ""),
    "titles for names": (b" KEY , Care\nsilk,cold\n", ""),
    "rows without anything": (b"\n\nkey,care\n\n,,\nsilk,cold\n\n", ""),
    "rows that are short": (b"key,care,best_for\nsilk,cold\n", ""),
    "a section by its title": (b"section,key,care\nFabrics,silk,cold\n", ""),
    "a section by its name": (b"section,key,care\nfabric_guide,silk,cold\n", ""),
}


@pytest.mark.parametrize("case", CSV_FILES)
def test_csv_is_read_as_whichever_program_wrote_it(case: str) -> None:
    data, said = CSV_FILES[case]
    file = formats.read("fabric_guide.csv", data)
    assert file.faults == ()
    assert taken(file) == {"silk": {"care": "cold"}}
    assert said in " ".join(file.notes)
    assert not file.whole


def test_an_encoding_that_had_to_be_assumed_is_said() -> None:
    file = formats.read("occasions.csv", "key,text\ncafé,“Smart” – always\n".encode("cp1252"))
    assert document_of(file) == {"occasions": {"café": "“Smart” – always"}}
    assert any("Windows-1252" in note for note in file.notes)


def test_a_blank_cell_is_not_given_and_an_empty_text_is_written_as_a_word() -> None:
    data = b"key,care,best_for,description\nsilk,,(empty),\\(empty)\n"
    (row,) = [r for r in formats.read("fabric_guide.csv", data).rows if r.key == "silk"]
    assert row.body == {"best_for": "", "description": "(empty)"}
    assert row.blank == {"care"}


def test_new_fields_are_kept_and_noted() -> None:
    file = formats.read("fabric_guide.csv", b"key,care,Origin\nsilk,cold,China\n")
    assert taken(file) == {"silk": {"care": "cold", "Origin": "China"}}
    assert any("Origin" in note for note in file.notes)


WRONG_ROWS: dict[str, tuple[str, bytes, int, str, str, str]] = {
    # name, file, row, column, message, fix
    "no key": ("occasions.csv", b"key,text\nok,a\n,b\n", 3, "key", "missing", "key"),
    "no such section": (
        "x.csv",
        b"section,key,care\nfabrics,ok,a\nfabric_gide,silk,b\n",
        3,
        "section",
        "no section fabric_gide",
        "/fabric_guide",
    ),
    "no section at all": ("x.csv", b"key,text\nfabric_pairing,a\nok,b\n", 3, "section", "says", ""),
    "a text too long": (
        "fabric_guide.csv",
        b"key,Care\nok,a\nsilk," + b"x" * 1_000_000 + b"\n",
        3,
        "Care",
        "1,000,000 characters",
        "Shorten",
    ),
    "a control character": ("occasions.csv", b"key,text\nok,a\nx,b\x07\n", 3, "text", "U+0007", ""),
    "null bytes": ("occasions.csv", b"key,text\nok,a\nx,b\0\n", 3, "text", "U+0000", ""),
    "a key that can't be stored": (
        "occasions.csv",
        b"key,text\nok,a\n" + b"k" * 500 + b",b\n",
        3,
        "key",
        "longer",
        "shorter",
    ),
    "a cell too many": ("occasions.csv", b"key,text\nok,a\nx,b,c\n", 3, "column 3", "no head", ""),
    "a field where texts are": (
        "occasions.csv",
        b"key,text,care\nok,a,\nx,b,c\n",
        3,
        "care",
        "no fields",
        "text",
    ),
    "a text where fields are": (
        "fabric_guide.csv",
        b"key,text,care\nok,,a\nx,b,c\n",
        3,
        "text",
        "no column text",
        "description, care",
    ),
    "a kind that is none": ("x.csv", b"section,kind,key,text\noccasions,,ok,a\noccasions,z,b,c\n",
        3, "kind", "no kind z", "blank"),
    "a value that is none": (
        "x.csv",
        b"section,kind,key,text\n(top),,ok,a\n(top),value,b,{\n",
        3,
        "text",
        "not valid JSON",
        "",
    ),
    "something inside a text": (
        "x.csv",
        b"section,kind,key,text\n(top),,ok,a\n/ok,,b,c\n",
        3,
        "section",
        "nothing can lie in it",
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_ROWS)
def test_a_wrong_row_is_told_with_its_place_and_the_others_are_taken(case: str) -> None:
    name, data, row, column, message, fix = WRONG_ROWS[case]
    file = formats.read(name, data)
    (fault,) = file.faults
    assert (fault.at.row, fault.at.column) == (row, column)
    assert message in fault.message
    assert fix in fault.fix
    assert fault.raw
    assert [r.key for r in file.rows if r.at.row] in (["ok"], ["fabric_pairing"])
    assert file.tables == () or file.rows[-1].section not in file.tables
    assert not file.whole


def test_a_key_that_is_there_twice_is_taken_from_neither_row() -> None:
    file = formats.read("occasions.csv", b"key,text\na,one\nb,two\na,three\n")
    assert document_of(file) == {"occasions": {"b": "two"}}
    assert [fault.at.row for fault in file.faults] == [2, 4]
    assert file.tables == ()


NOT_CSV = {
    "nothing": b"",
    "blanks": b"\n \n",
    "no key column": b"name,text\na,b\n",
    "a heading twice": b"key,text,Text\na,b,c\n",
    "a quote without end": b'key,text\na,"b\nc,d\n',
    "half of UTF-16": b"\xff\xfek",
    "bytes of a picture": b"\x89PNG\r\n\x1a\n\x81\x8d",
    "endless columns": b"key," + b"," * 600_000,
}


@pytest.mark.parametrize("case", NOT_CSV)
def test_what_is_no_table_is_refused_in_words(case: str) -> None:
    with pytest.raises(NotImportable) as refused:
        formats.read("occasions.csv", NOT_CSV[case])
    assert refused.value.hint


def test_formulas_stand_in_csv_as_texts_and_come_back() -> None:
    document = {"occasions": {"a": "=HYPERLINK(1)", "=b": "'=c", "d": " +1", "e": "'tis"}}
    data = formats.write(to_rows(document), Format.CSV, part="/occasions")[2]
    cells = [cell for row in csv.reader(io.StringIO(data.decode("utf-8-sig"))) for cell in row]
    assert not [cell for cell in cells if cell.lstrip()[:1] in ("=", "+", "-", "@")]
    assert "'tis" in cells
    assert document_of(formats.read("occasions.csv", data)) == document


# --- JSON, Python, YAML ---


def test_one_wrong_entry_of_a_document_is_left_out_and_the_rest_is_taken() -> None:
    wanted = {
        "fabric_guide": {"silk": {"care": 5, "best_for": None}, "wool": {"care": "air"}},
        "occasions": {"a": ["x"], "b": "fine"},
        "fabric_pairing": {},
        "pattern_rules": "x",
        "mine": {"c": "y" * 100_001, "d": [1]},
    }
    file = formats.read("kb.json", json.dumps(wanted).encode())
    assert document_of(file) == {
        "fabric_guide": {"wool": {"care": "air"}},
        "occasions": {"b": "fine"},
        "mine": {"d": [1]},
    }
    assert [(fault.at.column, fault.field) for fault in file.faults] == [
        ("/fabric_pairing", "text"),
        ("/pattern_rules", "text"),
        ("/fabric_guide/silk", "care"),
        ("/fabric_guide/silk", "best_for"),
        ("/occasions/a", "text"),
        ("/mine/c", "text"),
    ]
    assert file.tables == ()
    assert not file.whole


def test_plain_words_in_yaml_are_texts_and_only_numbers_of_json_are_numbers() -> None:
    data = b"no: off\nday: 2024-01-31\nid: 00123\nnumber: 5\ntruth: true\nempty: ~\nhex: 0x1f\n"
    assert document_of(formats.read("kb.yml", data)) == {
        "no": "off", "day": "2024-01-31", "id": "00123", "number": 5, "truth": True,
        "empty": "~", "hex": "0x1f",
    }  # fmt: skip


def test_yaml_reads_the_same_with_the_loader_of_other_programs() -> None:
    document = small_kb() | {"mine": {"no": "no", "n": 1.5, "l": [1, None, "~"], "t": "12:30"}}
    data = formats.write(to_rows(document), Format.YAML)[2]
    assert exactly(yaml.safe_load(data)) == exactly(document)
    assert b"basics: |" in data  # a text of several lines stands as a person reads it


NOT_YAML = {
    "an alias": (b"a: &x b\nc: *x\n", "line 1"),
    "a merged mapping": (b"a: {b: c}\nd:\n  <<: {e: f}\n", "line 3"),
    "a tag": (b"a: b\nc: !!python/object/apply:os.system ['x']\n", "line 2"),
    "a tag of YAML's own": (b"a: !!binary aGk=\n", "line 1"),
    "a key twice": (b"a: b\nc: d\na: e\n", "line 3"),
    "two documents": (b"a: b\n---\nc: d\n", "line 2"),
    "endless depth": (b"[" * 100_000, "line 1"),
    "a list as a key": (b"[a]: b\n", "line 1"),
    "a number without end": (b"a: " + b"9" * 5000, "line 1"),
    "a tab for blanks": (b"a:\n\tb: c\n", "line 2"),
    "no mapping": (b"- a\n", ""),
    "comments alone": (b"# nothing\n", ""),
    "not UTF-8": (b"a: \xff\n", ""),
}


@pytest.mark.parametrize("case", NOT_YAML)
def test_yaml_that_only_programs_need_is_refused_with_its_line(case: str) -> None:
    data, line = NOT_YAML[case]
    with pytest.raises(NotImportable) as refused:
        formats.read("kb.yaml", data)
    assert [place for place, _what in refused.value.places] == ([line] if line else [])
    assert refused.value.hint


@settings(deadline=None, max_examples=150)
@given(document=documents(), cut=st.integers(0, 300), data=st.data())
def test_a_large_module_is_scanned_as_the_parser_reads_it(
    document: dict[str, Any], cut: int, data: Any
) -> None:
    source = b"import os\n" + formats.write(to_rows(document), Format.MODULE)[2] + b"\nX = 1\n"
    scanned = scan(source, "FASHION_KNOWLEDGE_BASE", 20)
    if scanned is not None:
        assert exactly(scanned.value) == exactly(document)
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(source)))
        sign = data.draw(st.sampled_from([b"", *(bytes([c]) for c in b'",{}#\\\na1')]))
        source = source[:at] + sign + source[min(len(source), at + cut % 4) :]
    with pytest.MonkeyPatch.context() as patched:
        said = []
        for small in (10**9, 0):
            patched.setattr(reading, "_SMALL", small)
            try:
                node = reading.assigned_value(source)
                ends = (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)
                said.append((exactly(reading.read_module(source)), ends))
            except NotImportable as refused:
                said.append((str(refused), (0, 0, 0, 0)))
    assert said[0] == said[1]
