"""Rows as tables: one for everything, or one for each part and one for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from services.knowledge.document import Kind, Row
from services.knowledge.exchange.cells import (
    FURTHER,
    KEY,
    KIND,
    ORDER,
    SECTION,
    TEXT,
    TOP,
    Column,
    heading_of,
    shown,
)
from services.knowledge.exchange.checking import HOLDERS
from services.knowledge.exchange.tables import dumped
from services.knowledge.sections import SECTIONS, Part, Shape, part_at, title_of

_MAX_EXTRA = 40
"""Fields that the registry does not know and that have columns; others share one."""


@dataclass(frozen=True)
class WrittenTable:
    """A table as it stands in a file; None is a blank cell."""

    title: str
    columns: tuple[Column, ...]
    rows: list[tuple[str | None, ...]]

    @property
    def headings(self) -> tuple[str, ...]:
        """The first row."""
        return tuple(heading_of(column) for column in self.columns)


REST = "Everything else"
"""Title of the sheet with single texts, and with what no part describes."""


def one_table(rows: Sequence[Row], part: str | None) -> WrittenTable:
    """Everything in one table, for CSV."""
    if part is None:
        return _table(REST, rows, with_section=True, with_kind=True)
    inside, declared = _inside(rows, part)
    return _table(
        title_of(part),
        inside,
        with_section=True,
        with_kind=declared is not None or any(_kind_word(row) for row in inside),
        declared=declared,
        own=part_at(part),
    )


def sheets(rows: Sequence[Row], part: str | None) -> list[WrittenTable]:
    """A table for each part, and one for the rest."""
    own = part_at(part) if part is not None else None
    if part is not None and (own is None or own.shape is Shape.TEXT):
        return [one_table(rows, part)]
    found: list[WrittenTable] = []
    fitting: dict[str, list[Row]] = {}
    rest: list[Row] = []
    groups = {row.pointer for row in rows if row.kind is Kind.GROUP}
    for row in rows:
        table = part_at(row.section)
        if table is not None and row.kind is _kind_in(table):
            fitting.setdefault(row.section, []).append(row)
        else:
            rest.append(row)
    for table in (table for section in SECTIONS for table in section.parts):
        if table.shape is not Shape.TEXT and table.pointer in groups:
            held = fitting.get(table.pointer, [])
            if part is None or (table.pointer == part and held):
                found.append(_table(sheet_title(table), held, own=table))
    if part is None:
        found.append(_table(REST, rest, with_section=True, with_kind=True))
    elif own is not None and (len(found) != 1 or _lies_in(rest, part)):
        return [one_table(rows, part)]
    return found


def sheet_title(part: Part) -> str:
    """The name of a part's sheet: at most 31 signs, none of those that Excel forbids."""
    return title_of(part.pointer).replace(" / ", ", ")[:31]


def _lies_in(rows: Iterable[Row], part: str) -> bool:
    return any(row.section == part or row.section.startswith(part + "/") for row in rows)


def _kind_in(part: Part) -> Kind:
    return Kind.RECORD if part.shape is Shape.RECORDS else Kind.TEXT


def _inside(rows: Sequence[Row], part: str) -> tuple[list[Row], str | None]:
    """What lies in a part, or the entry that it is; and the section that has to be declared."""
    own = next((row for row in rows if row.pointer == part), None)
    if own is None:
        return [], None
    if own.kind is not Kind.GROUP:
        registered = own.section in HOLDERS or part_at(own.section) is not None
        return [own], None if registered else own.section
    inside = [row for row in rows if row.section == part or row.section.startswith(part + "/")]
    return inside, None if inside and part_at(part) is not None else part


def _table(
    title: str,
    rows: Sequence[Row],
    *,
    with_section: bool = False,
    with_kind: bool = False,
    declared: str | None = None,
    own: Part | None = None,
) -> WrittenTable:
    fields = _fields(rows, own)
    columned = frozenset(fields)
    further = any(row.kind is Kind.RECORD and not columned.issuperset(row.body) for row in rows)
    orders = [_order(row, fields) if row.kind is Kind.RECORD else None for row in rows]
    with_order = any(order is not None for order in orders)
    records = own is not None and own.shape is Shape.RECORDS
    with_text = not records or any(row.kind is not Kind.RECORD for row in rows)
    columns = [
        *([Column(SECTION, False)] if with_section else []),
        *([Column(KIND, False)] if with_kind else []),
        Column(KEY, False),
        *([Column(TEXT, False)] if with_text else []),
        *(Column(name, True) for name in fields),
        *([Column(FURTHER, False)] if further else []),
        *([Column(ORDER, False)] if with_order else []),
    ]
    none: tuple[str | None, ...] = (None,) * len(fields)
    written: list[tuple[str | None, ...]] = []

    def line(
        section: str | None,
        kind: str | None,
        key: str | None,
        text: str | None,
        cells: tuple[str | None, ...] = none,
        more: str | None = None,
        order: str | None = None,
    ) -> None:
        written.append(
            (
                *((section,) if with_section else ()),
                *((kind,) if with_kind else ()),
                key,
                *((text,) if with_text else ()),
                *cells,
                *((more,) if further else ()),
                *((order,) if with_order else ()),
            )
        )

    if declared is not None:
        line(declared, Kind.GROUP.value, None, None)
    for row, order in zip(rows, orders, strict=True):
        section = own.pointer if own is not None and own.shape is Shape.TEXT else row.section
        head = (section or TOP, _kind_word(row), shown(row.key), _text(row))
        if row.kind is not Kind.RECORD:
            line(*head)
            continue
        body: dict[str, str] = row.body
        cells = tuple(shown(body[name]) if name in body else None for name in fields)
        left = {name: text for name, text in body.items() if name not in columned}
        line(*head, cells, dumped(left) if left else None, order)
    return WrittenTable(title, tuple(columns), written)


def _fields(rows: Sequence[Row], own: Part | None) -> list[str]:
    known: dict[str, None] = dict.fromkeys(own.field_names if own is not None else ())
    extra: dict[str, None] = {}
    for row in rows:
        if row.kind is Kind.RECORD:
            part = part_at(row.section)
            if part is not None:
                known |= dict.fromkeys(part.field_names)
            extra |= dict.fromkeys(row.body)
    unknown = [name for name in extra if name not in known][:_MAX_EXTRA]
    return [*known, *unknown]


def _order(row: Row, fields: Sequence[str]) -> str | None:
    body: dict[str, Any] = row.body
    named = [name for name in fields if name in body]
    there = frozenset(named)
    standing = [*named, *(name for name in body if name not in there)]
    return None if standing == list(body) else dumped(list(body))


def _kind_word(row: Row) -> str | None:
    if row.kind in (Kind.GROUP, Kind.VALUE):
        return row.kind.value
    part = part_at(row.section)
    records = part is not None and part.shape is Shape.RECORDS
    return row.kind.value if (row.kind is Kind.RECORD) != records else None


def _text(row: Row) -> str | None:
    if row.kind is Kind.TEXT:
        return shown(row.body)
    return dumped(row.body) if row.kind is Kind.VALUE else None
