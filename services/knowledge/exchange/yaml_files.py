"""YAML: written so that a person can read and compare it, read without resolving anything.

Plain words are texts, whatever YAML 1.1 makes of `no` or of a date; only what JSON calls a
number, true, false or null is one. Anchors, aliases, tags and keys that are there twice are
refused, so nothing in a file can unfold or construct anything.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from services.knowledge.json_reading import MAX_DEPTH
from services.knowledge.shapes import NotImportable, place

MAX_PIECES = 4_000_000
"""Keys, texts and whatever holds them; 100,000 entries have about a million."""

_HINT = "Export it again from where it comes from, or use JSON."
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None, "": None}


def read_yaml(data: bytes) -> dict[str, Any]:
    """The document of a YAML file.

    Raises:
        NotImportable: it is no YAML, or uses what only programs need; says the line.
    """
    import yaml

    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise NotImportable("The file is not UTF-8 text.", "Save it as UTF-8.") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = _Reader(yaml.parse(text, Loader=loader)).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark is not None else "the file"
        reason = str(getattr(error, "problem", None) or "it can't be read")
        raise NotImportable(
            f"The file is not valid YAML: {reason} in {where}.",
            "Correct that line, or export the file again from where it comes from.",
            ((where, reason),),
        ) from None
    except (RecursionError, ValueError):
        raise NotImportable("The file is no YAML that can be read.", _HINT) from None
    if not isinstance(document, dict):
        raise NotImportable(
            "The file holds no YAML mapping.", "A knowledge base begins with a key and a colon."
        )
    return document


class _Reader:
    """Builds a document from the parser's events, and from nothing else."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = _counted(events)

    def document(self) -> Any:
        """The only document of the file."""
        found: Any = None
        count = 0
        for event in self._events:
            if type(event).__name__ == "DocumentStartEvent":
                count += 1
                if count > 1:
                    raise _refused(event, "a second document begins")
                found = self._value(next(self._events), ())
        return found

    def _value(self, event: Any, path: tuple[str, ...]) -> Any:
        name = type(event).__name__
        if name == "AliasEvent" or event.anchor is not None:
            raise _refused(event, f"{place(path)} uses an anchor or an alias")
        if event.tag is not None and event.tag != "!":
            raise _refused(event, f"{place(path)} has a tag")
        if name == "ScalarEvent":
            return _scalar(event, path)
        if len(path) >= MAX_DEPTH:
            raise _refused(event, f"{place(path)} is nested too deeply")
        if name == "SequenceStartEvent":
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: tuple[str, ...]) -> list[Any]:
        found: list[Any] = []
        while type(event := next(self._events)).__name__ != "SequenceEndEvent":
            found.append(self._value(event, (*path, "-")))
        return found

    def _mapping(self, path: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            if type(event).__name__ != "ScalarEvent":
                raise _refused(event, f"{place(path)} has a key that is no text")
            if event.anchor is not None or event.tag not in (None, "!"):
                raise _refused(event, f"{place(path)} has a key with an anchor or a tag")
            key = event.value
            here = (*path, key)
            if key == "<<" and event.implicit[0]:
                raise _refused(event, f"{place(path)} takes in another mapping with <<")
            if key in found:
                raise _refused(event, f"{place(here)} is there twice")
            found[key] = self._value(next(self._events), here)
        return found


def _counted(events: Iterator[Any]) -> Iterator[Any]:
    for number, event in enumerate(events):
        if number > MAX_PIECES:
            raise _refused(event, f"the file holds more than {MAX_PIECES:,} pieces")
        yield event


def _scalar(event: Any, path: tuple[str, ...]) -> Any:
    text: str = event.value
    if not event.implicit[0]:  # quoted, or a block
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _NUMBER.fullmatch(text):
        try:
            number = float(text) if any(sign in text for sign in ".eE") else int(text)
        except ValueError:
            number = math.inf
        if not math.isfinite(number):
            raise _refused(event, f"{place(path)} is a number that is far too large")
        return number
    return text


def _refused(event: Any, what: str) -> NotImportable:
    line = event.start_mark.line + 1
    return NotImportable(f"Line {line}: {what}.", _HINT, ((f"line {line}", what),))


# --- writing ---

_STEP = "  "
_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_LONG_KEY = 1_000  # from 1,024 signs, a key has to be announced
_KEYWORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
# What a block may hold as it stands: no sign that YAML takes for an end of line, or forbids.
_NO_BLOCK = re.compile(
    "[^\n\t\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_ESCAPED = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")


def write_yaml(document: Mapping[str, Any]) -> bytes:
    """A YAML file that reads back as the same document in YAML 1.1 and 1.2."""
    if not document:
        return b"{}\n"
    return "".join(_lines(document, 0)).encode()


def _lines(held: Mapping[str, Any], depth: int) -> Iterator[str]:
    indent = _STEP * depth
    for key, value in held.items():
        name = _key(key)
        yield f"{indent}? {name}\n{indent}:" if len(name) > _LONG_KEY else f"{indent}{name}:"
        if isinstance(value, Mapping) and value:
            yield "\n"
            yield from _lines(value, depth + 1)
        elif isinstance(value, str):
            yield f" {_text(value, depth + 1)}\n"
        else:
            yield f" {_flow(value)}\n"


def _key(key: str) -> str:
    if _PLAIN_KEY.fullmatch(key) and key.lower() not in _KEYWORDS:
        return key
    return _quoted(key)


def _text(text: str, depth: int) -> str:
    if "\n" not in text or not text.strip("\n \t") or _NO_BLOCK.search(text):
        return _quoted(text)
    indent = _STEP * depth
    # The first line tells how far a block is indented, unless it begins with a blank.
    hint = str(len(_STEP)) if text[0] in " \n\t" else ""
    ends = len(text) - len(text.rstrip("\n"))
    chomp = "-" if not ends else "" if ends == 1 else "+"
    body = text if not ends else text[:-1]
    lines = (indent + line if line else "" for line in body.split("\n"))
    return f"|{hint}{chomp}\n" + "\n".join(lines)


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", quoted)


def _flow_key(key: str) -> str:
    quoted = _quoted(key)
    return f"? {quoted} " if len(quoted) > _LONG_KEY else quoted


def _flow(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow_key(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)
