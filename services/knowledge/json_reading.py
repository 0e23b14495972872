"""Read a knowledge base from JSON: strictly, and with the place of what is wrong."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn

from services.knowledge.shapes import NotImportable, Place, place

MAX_DEPTH = 20


class _Twice:
    """An object in which a key is there twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        times = Counter(key for key, _value in pairs)
        self.key = next(key for key, count in times.items() if count > 1)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Twice:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Twice(pairs)


def read_json(data: bytes) -> dict[str, Any]:
    """The document of a JSON file: UTF-8, one object, no key twice, no NaN."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotImportable(
            f"The file is not UTF-8 text (line {line}).", "Save it as UTF-8."
        ) from None
    document = json_value(text)
    if not isinstance(document, dict):
        raise NotImportable(
            "The file is not a JSON object.", "A knowledge base begins with { and ends with }."
        )
    return document


def json_value(text: str) -> Any:
    """The value of a JSON text: no key twice, no NaN, no endless depth or number.

    Raises:
        NotImportable: it is not such a text; says where.
    """
    try:
        parsed = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise NotImportable(
            f"The file is not valid JSON: {error.msg} in line {error.lineno}, "
            f"column {error.colno}.",
            "Correct that line, or export the file again from where it comes from.",
            ((f"line {error.lineno}", error.msg),),
        ) from None
    except RecursionError:
        raise NotImportable("The file is nested too deeply to be a knowledge base.") from None
    except ValueError:
        raise NotImportable("The file holds a number that is far too long.") from None
    _check(parsed, (), 0)
    return parsed


def _no_constant(name: str) -> NoReturn:
    raise NotImportable(f"The file holds {name}, which is not JSON.", "Put a text in quotes there.")


def _check(value: Any, path: Place, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotImportable(f"{place(path)} is nested too deeply.")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(inner, str):
                _check(inner, (*path, key), depth + 1)
            elif depth == MAX_DEPTH:
                raise NotImportable(f"{place((*path, key))} is nested too deeply.")
    elif isinstance(value, list):
        for inner in value:
            _check(inner, path, depth + 1)
    elif isinstance(value, _Twice):
        where = place((*path, value.key))
        raise NotImportable(
            f"The key {where} is there twice.",
            "Readers of JSON silently keep only the last one. Remove one of them.",
            ((where, "twice"),),
        )
    elif isinstance(value, float) and not math.isfinite(value):
        raise NotImportable(f"{place(path)} is a number that is too large.")
