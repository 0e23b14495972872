"""Between a document (of a module, JSON or YAML) and what a file says."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from services.knowledge.document import Kind, kind_of
from services.knowledge.exchange.checking import TEXT, require_few, wrong_with
from services.knowledge.exchange.model import Fault, Origin, ReadRow
from services.knowledge.sections import path_of, pointer
from services.knowledge.shapes import NotImportable, place
from services.knowledge.validation import KEY

_MAX_RAW = 5_000


def rows_of(document: Mapping[str, Any]) -> tuple[list[ReadRow], list[Fault]]:
    """The rows of a document that can be taken, each holder before what it holds.

    An entry that is wrong is left out with all that lies in it.
    """
    rows: list[ReadRow] = []
    faults: list[Fault] = []
    waiting: deque[tuple[str, Mapping[str, Any]]] = deque([("", document)])
    while waiting:
        section, held = waiting.popleft()
        for position, (key, value) in enumerate(held.items()):
            kind = kind_of(section, value)
            where = section + pointer((key,))
            wrong = list(wrong_with(section, key, kind, value))
            if wrong:
                raw = _raw(section, key, kind, value)
                faults += [
                    Fault(Origin(column=where), key, one.field, one.message, one.fix, raw)
                    for one in wrong
                ]
                require_few(faults)
                continue
            body = {} if kind is Kind.GROUP else value
            rows.append(ReadRow(section, key, kind, body, position, Origin(column=where)))
            if kind is Kind.GROUP:
                waiting.append((where, value))
    return rows, faults


def require_right(document: Mapping[str, Any]) -> None:
    """Refuse a document of which anything can't be taken.

    Raises:
        NotImportable: lists every place, what is expected there, and what was found.
    """
    _rows, faults = rows_of(document)
    if not faults:
        return
    wrong = []
    for fault in faults:
        inside = () if fault.field in (TEXT, KEY) else (fault.field,)
        where = place((*path_of(fault.at.column), *inside))
        wrong.append((where, fault.message[0].lower() + fault.message[1:].rstrip(".")))
    first_place, first = wrong[0]
    more = f" There are {len(wrong) - 1} more such places." if len(wrong) > 1 else ""
    raise NotImportable(
        f"{first_place}: {first}.{more}",
        "Correct the file; everything listed is checked before anything is imported.",
        tuple(wrong),
    )


def _raw(section: str, key: str, kind: Kind, value: Any) -> dict[str, str]:
    if kind is Kind.RECORD:
        cells = dict(value)
    elif kind is Kind.TEXT:
        cells = {TEXT: value}
    else:
        cells = {TEXT: json.dumps(value, ensure_ascii=False)[:_MAX_RAW]}
    return {"section": section, "key": key, **cells}


def only(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What lies at a pointer, alone in the document that leads there; empty when nothing does."""
    held: Any = document
    path = path_of(where)
    for key in path:
        if not isinstance(held, Mapping) or key not in held:
            return {}
        held = held[key]
    for key in reversed(path):
        held = {key: held}
    found: dict[str, Any] = held
    return dict(found)
