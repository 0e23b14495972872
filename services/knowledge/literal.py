"""The value of a large module, scanned as text: a syntax tree would take forty times the room.

Only what an export writes is understood: dicts, lists, plain strings, numbers, True, False and
None. Everything else is left to the parser, which says what is wrong and where.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

# Nothing is tried twice (`*+`): a hostile file costs no more than its length.
_TOKEN = re.compile(
    r"[ \t\n]*+(?:#[^\n]*+\n[ \t\n]*+)*+(?:"
    r"(?P<long>\"\"\")|(?P<text>\"|'(?!''))"
    r"|(?P<sign>[{}\[\]:,])"
    r"|(?P<number>-?(?:0|[1-9][0-9]*+)(?P<float>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![\w.]))"
    r"|(?P<word>True|False|None)(?!\w))",
    re.DOTALL | re.ASCII,
)
_ENDS = {sign: re.compile(rf"[{sign}\\\n]") for sign in "\"'"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_WORDS = {"True": True, "False": False, "None": None}
_LONGEST_NUMBER = 4_000


@dataclass(frozen=True)
class Scanned:
    """A value, and the module with an empty dict of the same extent in its place."""

    value: dict[str, Any]
    line: int
    column: int  # in bytes, as the syntax tree counts
    rest: bytes


class _NotPlain(Exception):
    """Something that only the parser may judge."""


def scan(data: bytes, variable: str, max_depth: int) -> Scanned | None:
    """The dict that a module assigns to a variable at the beginning of a line, if it is plain.

    Whether this is the module's own assignment, and the only one, is for the parser to see.
    """
    if b"\r" in data or b"\0" in data or b"\f" in data or b"coding" in data[:500]:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    found = re.search(rf"^{re.escape(variable)}(?:[ \t]*:[^=\n]*)?[ \t]*=[ \t]*\{{", text, re.M)
    if found is None or text.startswith("\ufeff"):
        return None
    start = found.end() - 1
    try:
        value, end = _value(text, start, max_depth)
    except _NotPlain:
        return None
    lines = text.count("\n", start, end)
    first = text.rfind("\n", 0, start) + 1
    last = text.rfind("\n", 0, end) + 1
    gap = len(text[max(last, start + 1) : end - 1].encode())
    empty = "{" + "\\\n" * lines + " " * gap + "}"  # continued lines: nothing to parse
    rest = text[:start] + empty + text[end:]
    column = len(text[first:start].encode())
    return Scanned(value, text.count("\n", 0, start) + 1, column, rest.encode())


def _value(text: str, start: int, max_depth: int) -> tuple[dict[str, Any], int]:
    """The dict that begins here, and where it ends."""
    root: list[Any] = []
    stack: list[Any] = [root]
    keys: list[str | None] = [None]
    ready = True  # whether a value or an end may follow, and not only a comma
    position = start
    match = _TOKEN.match
    while True:
        token = match(text, position)
        if token is None:
            raise _NotPlain
        position = token.end()
        kind = token.lastgroup
        held = stack[-1]
        if kind == "sign":
            sign = token["sign"]
            if sign == ",":
                if ready:
                    raise _NotPlain
                ready = True
                continue
            if sign in "}]":
                if keys[-1] is not None or isinstance(held, dict) != (sign == "}"):
                    raise _NotPlain
                stack.pop()
                keys.pop()
                ready = False
                if len(stack) == 1:
                    found: dict[str, Any] = root[0]
                    return found, position
                continue
            if sign == ":" or not ready:
                raise _NotPlain
            value: Any = {} if sign == "{" else []
        elif not ready:
            raise _NotPlain
        else:
            value, position = _scalar(text, kind, token)
        if isinstance(held, dict):
            if keys[-1] is None:
                if not isinstance(value, str) or value in held:
                    raise _NotPlain
                colon = match(text, position)
                if colon is None or colon["sign"] != ":":
                    raise _NotPlain
                position = colon.end()
                keys[-1] = value
                continue
            held[keys[-1]] = value
            keys[-1] = None
        else:
            held.append(value)
        if kind == "sign":
            if len(stack) > max_depth:
                raise _NotPlain
            stack.append(value)
            keys.append(None)
        else:
            ready = False


def _scalar(text: str, kind: str | None, token: re.Match[str]) -> tuple[Any, int]:
    """A text, a number or a word, and where it ends."""
    begin = token.end()
    if kind == "long":
        end = _long_end(text, begin)
        return _plain(text[begin:end]), end + 3
    if kind == "text":
        end = _text_end(text, begin, token["text"])
        return _plain(text[begin:end]), end + 1
    if kind == "word":
        return _WORDS[token["word"]], begin
    number = token["number"]
    if len(number) > _LONGEST_NUMBER:
        raise _NotPlain
    if not token["float"]:
        return int(number), begin
    value = float(number)
    if not math.isfinite(value):
        raise _NotPlain
    return value, begin


def _long_end(text: str, position: int) -> int:
    end = text.find('"""', position)
    while end >= 0:
        slash = text.find("\\", position, end)
        if slash < 0:
            return end
        position = slash + 2
        if position > end:
            end = text.find('"""', position)
    raise _NotPlain


def _text_end(text: str, position: int, quote: str) -> int:
    while found := _ENDS[quote].search(text, position):
        if found[0] == quote:
            return found.start()
        if found[0] == "\n" or text[found.end() : found.end() + 1] == "\n":
            break
        position = found.end() + 1
    raise _NotPlain


def _plain(quoted: str) -> str:
    return _ESCAPE.sub(_unescaped, quoted) if "\\" in quoted else quoted


def _unescaped(escape: re.Match[str]) -> str:
    if escape[1]:
        sign = chr(int(escape[1], 16))
        if "\ud800" <= sign <= "\udfff":
            raise _NotPlain
        return sign
    if escape[2] not in _ESCAPES:
        raise _NotPlain
    return _ESCAPES[escape[2]]
