"""What the XML of a sheet says, row by row, and of the texts that its cells share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from services.knowledge.exchange.tables import Bad, Cell
from services.knowledge.exchange.xlsx_text import unescaped
from services.knowledge.shapes import NotImportable

MAX_COLUMNS = 16_384

_LONGEST = 1_000_000  # of a text in XML; Excel's own are at most 32,767
_NAMESPACES = (
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    "http://purl.oclc.org/ooxml/spreadsheetml/main",
)

SAVE = "Save it anew as .xlsx in your spreadsheet program, or as CSV in UTF-8."
"""What helps with a workbook that can't be read."""


def no_workbook() -> NotImportable:
    """It is none, or not whole."""
    return NotImportable("The file is not an .xlsx workbook, or it is damaged.", SAVE)


def too_much() -> NotImportable:
    """A small file that becomes a large one."""
    return NotImportable(
        "The workbook unfolds into more than a knowledge base can hold.", "Is this the right file?"
    )


def local(name: str) -> str:
    """The name of an element of spreadsheets without its namespace; empty for any other."""
    space, _blank, inner = name.rpartition(" ")
    return inner if space in _NAMESPACES else ""


class Reader:
    """Takes what the XML parser meets."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count
        self._known: dict[str, str] = {}
        self._text: list[str] | None = None
        self._length = 0
        self.ready: list[Any] = []

    def start(self, name: str, facts: dict[str, str]) -> None:
        """An element begins."""
        raise NotImplementedError

    def end(self, name: str) -> None:
        """An element ends."""
        raise NotImplementedError

    def text(self, text: str) -> None:
        """Characters of an element."""
        if self._text is not None:
            self._length += len(text)
            if self._length > _LONGEST:
                raise too_much()
            self._count(len(text))
            self._text.append(text)

    def _name(self, name: str) -> str:
        inner = self._known.get(name)
        if inner is None:
            inner = self._known[name] = local(name)
        return inner


class StringReader(Reader):
    """The texts that cells share."""

    def __init__(self, count: Callable[[int], None]) -> None:
        super().__init__(count)
        self.strings: list[str] = []
        self._pieces: list[str] = []
        self._aside = 0

    def start(self, name: str, facts: dict[str, str]) -> None:
        """A text, or a piece of one in its own script."""
        inner = self._name(name)
        if inner == "si":
            self._pieces, self._length = [], 0
        elif inner == "rPh":  # how it is pronounced: no part of the text
            self._aside += 1
        elif inner == "t" and not self._aside:
            self._text = self._pieces

    def end(self, name: str) -> None:
        """The text is complete."""
        inner = self._name(name)
        if inner == "t":
            self._text = None
        elif inner == "rPh":
            self._aside -= 1
        elif inner == "si":
            self.strings.append(unescaped("".join(self._pieces)))


class SheetReader(Reader):
    """The rows of a sheet."""

    def __init__(
        self, strings: list[str], dates: frozenset[int], count: Callable[[int], None]
    ) -> None:
        super().__init__(count)
        self.merged = self.numbers = 0
        self._strings, self._dates = strings, dates
        self._row: list[Cell] = []
        self._number = 0
        self._column = -1
        self._facts: dict[str, str] = {}
        self._pieces: list[str] = []
        self._aside = 0
        self._is_formula = False
        self._columns: dict[str, int] = {}

    def start(self, name: str, facts: dict[str, str]) -> None:
        """A row, a cell, or what is in one."""
        inner = self._name(name)
        if inner == "c":
            self._facts, self._pieces, self._is_formula = facts, [], False
            self._length = 0
            told = facts.get("r")
            self._column = self._index(told) if told else self._column + 1
        elif inner == "v" or (inner == "t" and not self._aside):
            self._text = self._pieces
        elif inner == "f":
            self._is_formula = True
        elif inner == "row":
            told = facts.get("r", "")
            sound = told.isascii() and told.isdigit() and len(told) < 9
            self._number = int(told) if sound else self._number + 1
            self._row, self._column = [], -1
        elif inner == "rPh":
            self._aside += 1
        elif inner == "mergeCell":
            self.merged += 1

    def end(self, name: str) -> None:
        """The cell or the row is complete."""
        inner = self._name(name)
        if inner in ("v", "t"):
            self._text = None
        elif inner == "c":
            cell = self._cell("".join(self._pieces))
            if cell:
                row, column = self._row, self._column
                if not 0 <= column < MAX_COLUMNS:
                    raise no_workbook()
                if len(row) < column:
                    self._blanks(column - len(row))
                if len(row) == column:
                    row.append(cell)
                else:
                    row[column] = cell
        elif inner == "row":
            if self._row:
                self.ready.append((self._number, self._row))
        elif inner == "rPh":
            self._aside -= 1

    def _blanks(self, count: int) -> None:
        self._count(20 * count)  # a far column costs as much as the cells before it
        self._row.extend([""] * count)

    def _index(self, told: str) -> int:
        letters = told.rstrip("0123456789")
        index = self._columns.get(letters)
        if index is None:
            index = 0
            for letter in letters[:4].upper():
                if not "A" <= letter <= "Z":
                    raise no_workbook()
                index = index * 26 + ord(letter) - 64
            self._columns[letters] = index = index - 1
        return index

    def _cell(self, said: str) -> Cell:
        kind = self._facts.get("t", "n")
        if kind == "inlineStr":
            return unescaped(said) if not self._is_formula else _formula(said)
        if self._is_formula:
            return _formula(said)
        if not said:
            return ""
        if kind == "s":
            text = self._shared(said)
            self._count(len(text))
            return text
        if kind == "str":
            return unescaped(said)
        if kind == "b":
            return "TRUE" if said.strip() == "1" else "FALSE"
        if kind == "e":
            return Bad(
                said[:80],
                f"The cell holds an error ({said[:20]}).",
                "Write the text that was meant.",
            )
        if kind == "d" or self._is_date():
            return Bad(
                said[:80],
                "The spreadsheet program made a date of this cell; what was typed is gone.",
                "Format the cell as text and type it again.",
            )
        self.numbers += 1
        return _number(said)

    def _shared(self, said: str) -> str:
        told = said.strip()
        if not (told.isascii() and told.isdigit() and len(told) < 10):
            raise no_workbook()
        index = int(told)
        if index >= len(self._strings):
            raise no_workbook()
        return self._strings[index]

    def _is_date(self) -> bool:
        told = self._facts.get("s", "")
        return told.isascii() and told.isdigit() and len(told) < 9 and int(told) in self._dates


def _formula(said: str) -> Bad:
    return Bad(
        said[:80],
        "The cell is a formula; what it last gave may not be what it gives now.",
        "Copy the cell and paste it as a value, or format it as text and type it.",
    )


def _number(said: str) -> Cell:
    told = said.strip()
    if re.fullmatch(r"-?[0-9]{1,15}", told):
        return told
    try:
        number = float(told)
    except ValueError:
        raise no_workbook() from None
    # Of what was typed a program keeps 15 digits, and writes 0.1 as 0.10000000000000001.
    text = f"{number:.15g}"
    if abs(number) < 1e15 and sum(sign.isdigit() for sign in text.strip("-0.")) < 15:
        return text
    return Bad(
        told[:80],
        "The spreadsheet program made a number of this cell, and may have rounded it.",
        "Format the cell as text and type it again.",
    )
