"""How a text stands in the XML of a workbook, and back."""

from __future__ import annotations

import re

MAX_CELL = 32_767
"""What a cell holds, in UTF-16 units; Excel cuts what is longer, and repairs the file."""

_NO_XML = "\x00-\x08\x0b-\x1f\ufffe\uffff"
# XML readers turn a carriage return into a line feed: it is spelled like what XML forbids.
_SPELLED = re.compile(f"[{_NO_XML}]")
_LOOKS_SPELLED = re.compile(f"_(?=x[0-9A-Fa-f]{{4}}(?:_|[{_NO_XML}]))")
_SPELLING = re.compile(r"_x([0-9A-Fa-f]{4})_")
_HALVES = re.compile("[\ud800-\udfff]")


def escaped(text: str) -> str:
    """A text for XML: marks as entities, `_x000D_` for what XML can't hold."""
    if "_x" in text:
        text = _LOOKS_SPELLED.sub("_x005F_", text)
    if _SPELLED.search(text):
        text = _SPELLED.sub(lambda sign: f"_x{ord(sign[0]):04X}_", text)
    if "&" in text:
        text = text.replace("&", "&amp;")
    if "<" in text:
        text = text.replace("<", "&lt;")
    return text.replace(">", "&gt;") if ">" in text else text


def unescaped(text: str) -> str:
    """The text that a cell's characters stand for."""
    if "_x" not in text:
        return text
    plain = _SPELLING.sub(lambda sign: chr(int(sign[1], 16)), text)
    if _HALVES.search(plain):
        # Some programs spell a sign beyond 65,535 as its two halves.
        plain = plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return plain


def pieces(text: str) -> list[str]:
    """A text in pieces that each fit into a cell."""
    if 2 * len(text) <= MAX_CELL:
        return [text]
    found: list[str] = []
    while text:
        end = min(len(text), MAX_CELL)
        while _units(text, end) > MAX_CELL:
            end -= (_units(text, end) - MAX_CELL + 1) // 2
        found.append(text[:end])
        text = text[end:]
    return found


def _units(text: str, end: int) -> int:
    return len(text[:end].encode("utf-16-le")) // 2
