"""How a text stands in a cell of a workbook, and back.

What XML can't hold a workbook spells: a carriage return is `_x000D_`. Programs differ in how
they tell a text that looks like such a spelling from one (openpyxl drops every `x005F_` of a
text that cells share), and XlsxWriter takes a text in `<r>` for markup. So the desk writes such
a text, and only such a one, as JSON behind a mark: without spellings, and the same in every
program. In files of other programs a text that looks like a spelling reads as what it spells.
"""

from __future__ import annotations

import json
import re

MAX_CELL = 32_767
"""What a cell holds, in UTF-16 units; Excel cuts what is longer, and repairs the file."""

_MARK = "(exact) "
_UNCLEAR = re.compile(r"_x[0-9A-Fa-f]{4}|x005F|<r>|\A\(exact\) ")
_SPELLING = re.compile(r"_x([0-9A-Fa-f]{4})_")
_HALVES = re.compile("[\ud800-\udfff]")
_MAX_MARKED = 5_400
"""Characters that fit into a cell behind the mark, whatever they are: six signs for each."""


def exact(text: str) -> str:
    """A text as a cell that every program keeps."""
    if not _UNCLEAR.search(text):
        return text
    told = json.dumps(text, ensure_ascii=False)
    return _MARK + told.replace("_", "\\u005f").replace("<", "\\u003c")


def meant(cell: str) -> str:
    """The text that a cell's characters stand for; the way back from `exact`, spellings too."""
    if "_x" in cell:
        cell = _SPELLING.sub(lambda sign: chr(int(sign[1], 16)), cell)
        if _HALVES.search(cell):
            # Some programs spell a sign beyond 65,535 as its two halves.
            cell = cell.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if cell.startswith(_MARK):
        try:
            told = json.loads(cell[len(_MARK) :])
        except (ValueError, RecursionError):
            return cell  # somebody's own words
        return told if isinstance(told, str) and not _HALVES.search(told) else cell
    return cell


def pieces(text: str) -> list[str]:
    """A text as the cells that it needs, side by side."""
    cell = exact(text)
    if 2 * len(cell) <= MAX_CELL or _units(cell, len(cell)) <= MAX_CELL:
        return [cell]
    most = MAX_CELL if cell == text else _MAX_MARKED
    found: list[str] = []
    while text:
        end = min(len(text), most)
        while _units(text, end) > most:
            end -= (_units(text, end) - most + 1) // 2
        found.append(exact(text[:end]))
        text = text[end:]
    return found


def _units(text: str, end: int) -> int:
    return len(text[:end].encode("utf-16-le")) // 2
