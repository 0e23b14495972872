"""Publishing into the shop's module replaces one value and not a byte more."""

from __future__ import annotations

import inspect
import types

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.core.errors import Invalid
from services.knowledge.reading import read_module
from services.knowledge.shapes import NotImportable
from services.knowledge.splicing import splice
from services.shop.sample import fashion_kb
from tests.knowledge_base import DOCUMENTS, small_kb

SHOPS_OWN = inspect.getsource(fashion_kb).encode()
_AROUND = st.lists(
    st.sampled_from(
        [
            "# été → now",
            "import os",
            "def look(): return FASHION_KNOWLEDGE_BASE",
            'TEXT = """\n  FASHION_KNOWLEDGE_BASE = {}\n"""',
            "x = 1; y = 2",
            "\x0c",
            "",
        ]
    ),
    max_size=5,
)


@given(DOCUMENTS, DOCUMENTS, _AROUND, _AROUND, st.sampled_from(["\n", "\r\n", "\r"]))
@example({}, {"a": 'ends with "', "b": "line\r\nline\u2028"}, ["# \u2028 \x0b"], [], "\r\n")
def test_all_bytes_around_the_value_stay_and_the_value_reads_back(old, new, before, after, newline):
    head = newline.join([*before, "FASHION_KNOWLEDGE_BASE = "])
    tail = newline.join(["  # the knowledge", *after, ""])
    module = (head + repr(old) + tail).encode()
    spliced = splice(module, new)
    assert spliced.startswith(head.encode()) and spliced.endswith(tail.encode())
    assert read_module(spliced) == new
    assert splice(spliced, new) == spliced


def test_the_shops_own_functions_answer_from_the_new_value():
    document = {**read_module(SHOPS_OWN)}
    document["color_matching"]["by_color"]["navy"] = "Navy → red."
    module = types.ModuleType("published")
    exec(compile(splice(SHOPS_OWN, document), "published.py", "exec"), module.__dict__)
    assert module.get_color_advice("NAVY") == "Navy → red."
    assert document == module.FASHION_KNOWLEDGE_BASE


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig", "utf-16"])
def test_a_module_in_another_encoding_keeps_it_or_is_refused_whole(encoding):
    declared = "" if encoding.startswith("utf") else f"# -*- coding: {encoding} -*-\n"
    module = f"{declared}FASHION_KNOWLEDGE_BASE = {{'é': 'ü'}}\nNOTE = 'ä'\n".encode(encoding)
    if encoding == "utf-16":
        with pytest.raises(NotImportable):
            splice(module, small_kb())
        return
    spliced = splice(module, {"é": "ö"})
    assert spliced.endswith("\nNOTE = 'ä'\n".encode(encoding.removesuffix("-sig")))
    assert read_module(spliced) == {"é": "ö"}
    if declared:
        with pytest.raises(Invalid, match="no '→'"):
            splice(module, {"a": "→"})


@pytest.mark.parametrize(
    "module",
    [
        b"",
        b"FASHION_KNOWLEDGE_BASE = load()\n",
        b"FASHION_KNOWLEDGE_BASE = load()\nFASHION_KNOWLEDGE_BASE['a'] = 1\n",
        b"FASHION_KNOWLEDGE_BASE = {}\nFASHION_KNOWLEDGE_BASE = {}\n",
        b"if True:\n    FASHION_KNOWLEDGE_BASE = {}\n",
        b"FASHION_KNOWLEDGE_BASE = {\n",
    ],
)
def test_a_module_without_one_clear_place_for_it_is_refused(module):
    with pytest.raises(NotImportable):
        splice(module, small_kb())
