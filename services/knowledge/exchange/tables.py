"""What a table says: rows with a key and a text, or with a column for each field of a record.

A row's section stands in its `section` cell, or is told by the sheet, the file or the caller.
`kind` is blank but for a group, a value that is no text (as JSON), and where it has to be said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from services.knowledge.document import Kind
from services.knowledge.exchange.cells import (
    FURTHER,
    KEY,
    KIND,
    ORDER,
    SECTION,
    TEXT,
    TOP,
    Column,
    column_of,
    meant,
    section_of,
)
from services.knowledge.exchange.checking import Wrong
from services.knowledge.exchange.gathering import Found, Gathering
from services.knowledge.exchange.model import Origin
from services.knowledge.json_reading import json_value
from services.knowledge.sections import Part, Shape, part_at, path_of, pointer, title_of
from services.knowledge.shapes import NotImportable
from services.knowledge.validation import MAX_POINTER

_KINDS = {"": None, **{kind.value: kind for kind in Kind}}


@dataclass(frozen=True)
class Bad:
    """A cell that says something, but not the text that was meant."""

    raw: str
    message: str
    fix: str


Cell = str | Bad
Cells = Sequence[Cell]


class NoTable(Exception):
    """This is no table of entries; says why, and what to do."""

    def __init__(self, message: str, fix: str, row: int = 1) -> None:
        super().__init__(message)
        self.message, self.fix, self.row = message, fix, row


class _Refused(Exception):
    """A row can't be taken."""

    def __init__(self, wrong: Wrong, section: str | None, key: str = "") -> None:
        super().__init__(wrong.message)
        self.wrong, self.section, self.key = wrong, section, key


@dataclass(frozen=True)
class _Slot:
    heading: str
    name: str
    indexes: tuple[int, ...]  # of the column, and of those that continue it


class Table:
    """One table of a file.

    Args:
        gathering: takes what it says.
        heading: its first row.
        restore: how a cell becomes what was written into it.
        part: where entries lie that have no section of their own.
        sheet: its name in a workbook.

    Raises:
        NoTable: the headings are not those of a table of entries.
    """

    def __init__(
        self,
        gathering: Gathering,
        heading: tuple[int, Cells],
        restore: Callable[[str], str],
        part: str | None = None,
        sheet: str = "",
    ) -> None:
        self._gathering, self._restore = gathering, restore
        self._part, self._sheet = part, sheet
        number, cells = heading
        while cells and cells[-1] == "":
            cells = cells[:-1]
        self._headings = [cell if isinstance(cell, str) else cell.raw for cell in cells]
        slots = self._slots(number, cells)
        self._special = {slot.name: slot for column, slot in slots.items() if not column.is_field}
        self._fields = [slot for column, slot in slots.items() if column.is_field]
        if KEY not in self._special:
            raise NoTable(
                "There is no column with the heading key.",
                "The first row must name the columns: key, and text or the fields of the entries.",
                number,
            )
        self._places: dict[str, str | Wrong] = {}
        self._headings_of = {slot.name: slot.heading for slot in self._fields}
        self._headings_of |= {name: slot.heading for name, slot in self._special.items()}

    @property
    def names_kinds(self) -> bool:
        """Whether it has the columns that a whole knowledge base needs."""
        return KIND in self._special and SECTION in self._special

    def _slots(self, number: int, cells: Cells) -> dict[Column, _Slot]:
        found: dict[Column, list[tuple[int, int]]] = {}
        headings: dict[Column, str] = {}
        for index, cell in enumerate(cells):
            if isinstance(cell, Bad):
                raise NoTable(f"A heading is unclear: {cell.message}", cell.fix, number)
            if not cell:
                continue
            column = column_of(self._restore(cell))
            base = Column(column.name, column.is_field)
            pieces = found.setdefault(base, [])
            if any(column.piece == piece for piece, _index in pieces):
                raise NoTable(
                    f"Two columns have the heading {cell[:120]}.",
                    "Remove one of them, or give it another heading.",
                    number,
                )
            pieces.append((column.piece, index))
            headings.setdefault(base, cell)
        return {
            column: _Slot(headings[column], column.name, tuple(i for _p, i in sorted(pieces)))
            for column, pieces in found.items()
        }

    def read(self, rows: Iterable[tuple[int, Cells]]) -> None:
        """Take in the rows below the headings; empty ones are passed over."""
        for number, cells in rows:
            if any(cells):
                at = Origin(self._sheet, number)
                try:
                    self._row(at, cells)
                except _Refused as refused:
                    wrong = refused.wrong
                    column = self._headings_of.get(wrong.field, wrong.field)
                    self._gathering.fault(
                        Origin(self._sheet, number, column),
                        refused.key,
                        wrong,
                        self._raw(cells),
                        refused.section,
                    )
        self._note_new_fields()

    def _row(self, at: Origin, cells: Cells) -> None:
        section = self._section(cells)
        key_cell = self._cell(self._special[KEY], cells)
        kind_word = self._cell(self._special.get(KIND), cells).strip().lower()
        if kind_word not in _KINDS:
            raise _Refused(
                Wrong(KIND, f"There is no kind {kind_word[:40]}.", "Leave it blank for a text."),
                section,
                key_cell,
            )
        kind = _KINDS[kind_word]
        if not key_cell and kind is Kind.GROUP and section is not None:
            self._gathering.declare(section, at, self._raw(cells))
            return
        key = self._decode(key_cell) if key_cell else None
        section, key = self._entry(section, key, key_cell, cells)
        self._refuse_stray(section, key, cells)
        part = part_at(section)
        if kind is None:
            kind = Kind.TEXT if part is None or part.shape is not Shape.RECORDS else Kind.RECORD
        try:
            body, blank = self._body(kind, part, cells)
        except _Refused as refused:
            raise _Refused(refused.wrong, section, key) from None
        self._gathering.take(
            Found(section, key, kind, body, blank, at, self._headings_of, lambda: self._raw(cells))
        )

    # --- where a row lies ---

    def _section(self, cells: Cells) -> str | None:
        """The section that a row names; None where it names none."""
        told = self._cell(self._special.get(SECTION), cells)
        if not told:
            return None
        place = self._places.get(told)
        if place is None:
            where = section_of(self._decode(told))
            place = where if where is not None and _can_be(where) else None
            place = self._gathering.unknown(told) if place is None else place
            self._places[told] = place
            if place == "" and told.strip().lower() == TOP:
                self._gathering.says_top = True
        if isinstance(place, Wrong):
            raise _Refused(place, None, self._key_told(cells))
        return place

    def _entry(
        self, section: str | None, key: str | None, key_cell: str, cells: Cells
    ) -> tuple[str, str]:
        if section is None:
            section = self._part
        own = part_at(section) if section is not None else None
        is_text = own is not None and own.shape is Shape.TEXT
        if own is not None and is_text and key in (None, own.path[-1]):
            # The section is the text itself: its key need not be said again.
            return pointer(own.path[:-1]), own.path[-1]
        if key is None:
            raise _Refused(
                Wrong(KEY, "The key is missing.", "Write the key of the entry, or empty the row."),
                section,
            )
        if section is None:
            own = part_at(pointer((key,)))
            if own is not None and own.shape is Shape.TEXT:
                return "", key
            raise _Refused(
                Wrong(
                    SECTION,
                    "Nothing says which section this entry belongs to.",
                    "Add a column section, or name the file or the sheet after the section, "
                    "for example fabric_guide.",
                ),
                None,
                key,
            )
        return section, key

    def _key_told(self, cells: Cells) -> str:
        index = self._special[KEY].indexes[0]
        cell = cells[index] if index < len(cells) else ""
        return cell if isinstance(cell, str) else cell.raw

    # --- what it says ---

    def _body(self, kind: Kind, part: Part | None, cells: Cells) -> tuple[Any, frozenset[str]]:
        if kind is Kind.RECORD:
            return self._record(part, cells)
        for slot in self._fields:
            if self._cell(slot, cells):
                what = "A group" if kind is Kind.GROUP else "This entry"
                raise _Refused(
                    Wrong(
                        slot.name,
                        f"{what} has no fields; the column {slot.heading[:80]} can't be kept.",
                        "Empty this cell; write the text into the column text.",
                    ),
                    None,
                )
        text = self._cell(self._special.get(TEXT), cells)
        if kind is Kind.GROUP:
            if text:
                raise _Refused(
                    Wrong(TEXT, "A group has no text.", "Empty this cell, or the kind."), None
                )
            return {}, frozenset()
        if kind is Kind.VALUE:
            return self._value(text), frozenset()
        return (self._decode(text), frozenset()) if text else ("", frozenset({TEXT}))

    def _value(self, cell: str) -> Any:
        try:
            value = json_value(self._decode(cell))
        except NotImportable as error:
            message = error.message.removesuffix(" Nothing was imported.")
            raise _Refused(Wrong(TEXT, message, error.hint), None) from None
        if isinstance(value, str | dict):
            raise _Refused(
                Wrong(
                    TEXT,
                    "The kind is value, but this is a text or a group of entries.",
                    "Leave the kind blank for a text; give each entry of a group its own row.",
                ),
                None,
            )
        return value

    def _record(self, part: Part | None, cells: Cells) -> tuple[Any, frozenset[str]]:
        if part is None or part.shape is not Shape.RECORDS:
            raise _Refused(
                Wrong(KIND, "Entries of this section have no fields.", "Leave the kind blank."),
                None,
            )
        if self._cell(self._special.get(TEXT), cells):
            raise _Refused(
                Wrong(
                    TEXT,
                    f"{title_of(part.pointer)} has no column text.",
                    f"Write it into the fields: {', '.join(part.field_names)}.",
                ),
                None,
            )
        body: dict[str, str] = {}
        blank: list[str] = []
        for slot in self._fields:
            if cell := self._cell(slot, cells):
                body[slot.name] = self._decode(cell)
            else:
                blank.append(slot.name)
        if further := self._cell(self._special.get(FURTHER), cells):
            body |= self._json(FURTHER, further, dict)
        if order := self._cell(self._special.get(ORDER), cells):
            names = [name for name in self._json(ORDER, order, list) if name in body]
            body = {name: body[name] for name in [*names, *body]}
        return body, frozenset(blank)

    def _json(self, name: str, cell: str, wanted: type) -> Any:
        wrong = Wrong(
            name,
            f"The column {name} can't be read.",
            "It is written by an export; empty it, or copy it from a new export.",
        )
        try:
            value = json_value(self._decode(cell))
        except NotImportable:
            raise _Refused(wrong, None) from None
        texts = value.values() if isinstance(value, dict) else value
        if not isinstance(value, wanted) or not all(isinstance(text, str) for text in texts):
            raise _Refused(wrong, None)
        return value

    # --- cells ---

    def _decode(self, cell: str) -> str:
        return meant(self._restore(cell))

    def _cell(self, slot: _Slot | None, cells: Cells) -> str:
        if slot is None:
            return ""
        told = ""
        for index in slot.indexes:
            if index < len(cells):
                cell = cells[index]
                if isinstance(cell, Bad):
                    raise _Refused(
                        Wrong(slot.name, cell.message, cell.fix), self._part, self._key_told(cells)
                    )
                told += cell
        return told

    def _refuse_stray(self, section: str, key: str, cells: Cells) -> None:
        for index, cell in enumerate(cells):
            if cell and (index >= len(self._headings) or not self._headings[index]):
                raise _Refused(
                    Wrong(
                        f"column {index + 1}",
                        f"Column {index + 1} has no heading, but a cell in this row.",
                        "Give the column a heading, or empty the cell. In CSV, a text with a "
                        "separator in it must stand in quotes.",
                    ),
                    section,
                    key,
                )

    def _raw(self, cells: Cells) -> dict[str, str]:
        raw: dict[str, str] = {}
        for index, cell in enumerate(cells):
            heading = self._headings[index] if index < len(self._headings) else ""
            text = cell if isinstance(cell, str) else cell.raw
            if heading or text:
                raw[heading or f"column {index + 1}"] = text
        return raw

    def _note_new_fields(self) -> None:
        part = part_at(self._part) if self._part is not None else None
        if part is None or part.shape is not Shape.RECORDS:
            return
        for slot in self._fields:
            if slot.name not in part.field_names:
                self._gathering.notes[
                    f"{title_of(part.pointer)}: the shop is not known to read a field "
                    f"{slot.name[:80]}; it is kept as a new field."
                ] = None


def _can_be(where: str) -> bool:
    # A pointer that is not written as pointers are would not come back the same.
    return len(where) <= MAX_POINTER and pointer(path_of(where)) == where


def dumped(value: Any) -> str:
    """A value as JSON in a cell."""
    return json.dumps(value, ensure_ascii=False)
