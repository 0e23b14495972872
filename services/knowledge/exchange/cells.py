"""How a text stands in a cell of a table, and a field in its heading; each way and back.

A blank cell means "not given". So an empty text is written as a word, and a text that looks
like that word gets a backslash. What a spreadsheet would compute gets an apostrophe. Each rule
is undone by exactly one step, whatever the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.knowledge.sections import SECTIONS, path_of, pointer, title_of

EMPTY = "(empty)"
"""Stands for an empty text."""

TOP = "(top)"
"""Stands for the top of the knowledge base where a section is named."""

SECTION, KIND, KEY, TEXT = "section", "kind", "key", "text"
ORDER = "(order of fields)"
"""Heading: the names of a record's fields, where they stand in another order than the columns."""

FURTHER = "(further fields)"
"""Heading: fields of a record that have no column of their own, as JSON."""

SHEET, ROW, WRONG, FIX = "(sheet)", "(row)", "(what is wrong)", "(how to fix it)"
"""Headings of the file of errors; a file that was put right there is read without them."""

_SPECIAL = (SECTION, KIND, KEY, TEXT, ORDER, FURTHER, SHEET, ROW, WRONG, FIX)
_FIELD = "field:"
_CONTINUED = re.compile(r"continued ([0-9]{1,4}): (.*)", re.DOTALL)
_LIKE_EMPTY = re.compile(r"\\*\(empty\)", re.IGNORECASE)
_FORMULA = re.compile("'*(?:[\t\r]|\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20])")


def shown(text: str) -> str:
    """A text as it stands in a cell, never blank."""
    if not text:
        return EMPTY
    return "\\" + text if _LIKE_EMPTY.fullmatch(text) else text


def meant(cell: str) -> str:
    """The text that a cell stands for; the way back from `shown`."""
    if _LIKE_EMPTY.fullmatch(cell):
        return cell[1:] if cell[0] == "\\" else ""
    return cell


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return "'" + cell if _FORMULA.match(cell) else cell


def restored(cell: str) -> str:
    """The way back from `harmless`."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


@dataclass(frozen=True)
class Column:
    """What stands in a column of a table."""

    name: str  # of the field; or one of the special headings
    is_field: bool
    piece: int = 1  # from 2: it continues the column of the same name


def column_of(heading: str) -> Column:
    """What a heading says; `Best for` and `best_for` are the same."""
    if continued := _CONTINUED.fullmatch(heading):
        base = column_of(continued[2])
        return Column(base.name, base.is_field, int(continued[1]))
    if heading.startswith(_FIELD):
        return Column(heading[len(_FIELD) :], True)
    word = heading.strip()
    if word.lower() in _SPECIAL:
        return Column(word.lower(), False)
    return Column(_FIELDS.get(_folded(word), word), True)


def heading_of(column: Column) -> str:
    """A heading that says exactly this column."""
    heading = column.name
    if column.is_field and column_of(heading) != Column(column.name, True):
        heading = _FIELD + heading
    elif column.is_field and not heading:
        heading = _FIELD
    return f"continued {column.piece}: {heading}" if column.piece > 1 else heading


def _folded(word: str) -> str:
    return re.sub(r"[\s_-]+", "_", word.strip().lower())


_FIELDS = {
    _folded(word): field.name
    for section in SECTIONS
    for part in section.parts
    for field in part.fields
    for word in (field.name, field.title)
}


def section_of(cell: str) -> str | None:
    """The pointer that a person means by a section: a pointer, a name or a title.

    None where it is none of these; a pointer is taken as it stands, whether or not anything
    is known to lie there.
    """
    if cell.startswith("/"):
        return cell
    if cell.strip().lower() == TOP:
        return ""
    return PLACES.get(_plain(cell))


def _plain(words: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", words.casefold()))


def _places() -> dict[str, str]:
    found: dict[str, str] = {}
    for section in SECTIONS:
        for part in section.parts:
            names = (".".join(part.path), title_of(part.pointer))
            found.update({_plain(name): part.pointer for name in names})
        where = pointer((section.key,))
        found.setdefault(_plain(section.key), where)
        found.setdefault(_plain(section.title), where)
    for section in SECTIONS:  # the last word alone, where it can mean one thing only
        for part in section.parts:
            for name in (path_of(part.pointer)[-1], part.title):
                found.setdefault(_plain(name), part.pointer)
    return found


PLACES = _places()
"""Registered sections and parts by every name a person may give them, folded."""
