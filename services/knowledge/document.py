"""The knowledge base as one document, and as rows of `kb_entries`, without any loss.

A document is a dict of dicts and texts. Order, empty dicts and whatever no section
describes (other values included) come back exactly as they went in.
"""

from __future__ import annotations

import enum
import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.core.errors import Broken
from services.knowledge.sections import Shape, part_at, path_of, pointer


class Kind(enum.StrEnum):
    """What a row holds."""

    TEXT = "text"
    RECORD = "record"  # {field: text}; only where the registry says that records lie
    GROUP = "group"  # a dict whose entries are rows of their own
    VALUE = "value"  # anything else: kept, not edited


@dataclass(frozen=True)
class Row:
    """One key of the document: where it lies, what it holds, and its place there."""

    section: str
    key: str
    kind: Kind
    body: Any
    position: int

    @property
    def pointer(self) -> str:
        """Where the row itself lies."""
        return self.section + pointer((self.key,))


def kind_of(section: str, value: Any) -> Kind:
    """What kind of row a value becomes at its place."""
    if isinstance(value, str):
        return Kind.TEXT
    if not isinstance(value, dict):
        return Kind.VALUE
    part = part_at(section)
    if (
        part is not None
        and part.shape is Shape.RECORDS
        and all(isinstance(text, str) for text in value.values())
    ):
        return Kind.RECORD
    return Kind.GROUP


def to_rows(document: Mapping[str, Any]) -> list[Row]:
    """The rows of a document, each holder before what it holds."""
    rows: list[Row] = []
    waiting: deque[tuple[str, Mapping[str, Any]]] = deque([("", document)])
    while waiting:
        section, held = waiting.popleft()
        for position, (key, value) in enumerate(held.items()):
            kind = kind_of(section, value)
            row = Row(section, key, kind, {} if kind is Kind.GROUP else value, position)
            rows.append(row)
            if kind is Kind.GROUP:
                waiting.append((row.pointer, value))
    return rows


def from_rows(rows: Iterable[Row]) -> dict[str, Any]:
    """The document of these rows; a holder that has no row of its own is made.

    Raises:
        Broken: a row lies inside something that holds no entries.
    """
    document: dict[str, Any] = {}
    holders: dict[str, dict[str, Any]] = {"": document}
    for row in sorted(rows, key=lambda row: (row.section.count("/"), row.position)):
        holder = _holder(holders, row.section)
        if row.kind is Kind.GROUP:
            holders[row.pointer] = holder.setdefault(row.key, {})
        else:
            holder[row.key] = row.body
    return document


def _holder(holders: dict[str, dict[str, Any]], where: str) -> dict[str, Any]:
    if where in holders:
        return holders[where]
    path = path_of(where)
    parent = _holder(holders, pointer(path[:-1]))
    made = parent.setdefault(path[-1], {})
    if not isinstance(made, dict):
        raise Broken(
            f"The knowledge base holds entries below {where}, which is a text.",
            "Restore the knowledge base from a backup, or ask whoever looks after the desk.",
        )
    holders[where] = made
    return made


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one JSON text of a document: its own order, UTF-8, two spaces, a final newline."""
    return (json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()


def same(one: Any, other: Any) -> bool:
    """Whether two bodies are equal to the byte, order included (1, 1.0 and True differ)."""
    return json.dumps(one) == json.dumps(other)
