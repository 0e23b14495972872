"""Write a knowledge base as a Python module that is data alone, and readable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from services.core.errors import Broken
from services.knowledge.reading import VARIABLE, read_module

_HEAD = '"""The fashion knowledge base of the shop: data alone, texts and dicts of texts."""\n\n'
_STEP = "    "


def to_module(document: Mapping[str, Any]) -> bytes:
    """The module's source; it is read back and compared before it is given out.

    Raises:
        Broken: it would not evaluate to exactly this document.
    """
    source = f"{_HEAD}{VARIABLE} = {value_source(document)}\n".encode()
    if json.dumps(read_module(source, limited=False)) != json.dumps(document):
        raise Broken(
            "The module could not be written so that it reads back as the same knowledge base.",
            "Export JSON instead, and tell whoever looks after the desk.",
        )
    return source


def value_source(document: Mapping[str, Any]) -> str:
    """The document as a Python literal, its lines ended by a newline character."""
    return _value(document, 0)


def _value(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        inner = _STEP * (depth + 1)
        lines = [f"{inner}{_quoted(k)}: {_value(v, depth + 1)},\n" for k, v in value.items()]
        return "{\n" + "".join(lines) + _STEP * depth + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item, depth) for item in value) + "]"
    return repr(value)


def _text(text: str) -> str:
    # Between three quotes a text stands as it is read, line by line; only where it holds
    # nothing that Python would take as something else there.
    if "\n" not in text or "\\" in text or '"""' in text or text[-1] == '"':
        return _quoted(text)
    if all(c == "\n" or c == "\t" or c.isprintable() for c in text):
        return f'"""{text}"""'
    return _quoted(text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
