"""Read a knowledge base from a file: a Python module or JSON. Nothing is ever executed.

Each reader gives a document or refuses with the place in the file and what to do there.
"""

from __future__ import annotations

import ast
import io
import math
import tokenize
import warnings
from collections.abc import Iterator
from typing import Any

from services.knowledge.exchange.documents import require_right
from services.knowledge.json_reading import MAX_DEPTH, read_json
from services.knowledge.literal import Scanned, scan
from services.knowledge.shapes import NotImportable, Place, place

MAX_BYTES = 48_000_000
"""The shop's own module has 28 KB; one of 100,000 entries about 25 MB."""

MAX_TOKENS = 600_000
VARIABLE = "FASHION_KNOWLEDGE_BASE"

_SMALL = 250_000
_MAX_QUOTES = 2_000_000
_MAX_JOINED = 2_000


def read_file(name: str, data: bytes) -> dict[str, Any]:
    """The document in a file, by the ending of its name; shapes are checked too.

    Args:
        name: `something.py` or `something.json`.
        data: the file's bytes.

    Raises:
        NotImportable: it is too large, is not what its name says, or has wrong shapes.
    """
    if len(data) > MAX_BYTES:
        raise NotImportable(
            f"The file is too large: {len(data) / 1e6:.1f} MB, where at most "
            f"{MAX_BYTES / 1e6:.0f} MB are read.",
            "Is this the right file? A large knowledge base can be imported part by part.",
        )
    ending = name.lower().rpartition(".")[2]
    if ending == "py":
        document = read_module(data)
    elif ending == "json":
        document = read_json(data)
    else:
        raise NotImportable(
            "Only fashion_kb.py (or another .py file) and .json files can be imported.",
            "Rename the file if it is one of these.",
        )
    require_right(document)
    return document


def read_module(data: bytes, *, limited: bool = True) -> dict[str, Any]:
    """The value that a module assigns to FASHION_KNOWLEDGE_BASE, read without running it.

    Functions and imports around it are passed over; anything but literals inside it, and
    anything that changes it afterwards, is refused with its line.

    Args:
        limited: refuse masses of code, as a file that somebody sends may hold them. What the
            desk wrote itself, or the shop imports, is read whatever its size.
    """
    scanned = _scanned(data, limited=limited)
    return scanned[0].value if scanned else value_of(_assigned(_parse(data, limited=limited)))


def value_of(value: ast.expr) -> dict[str, Any]:
    """The dict that a node of `assigned_value` stands for, without running it.

    Raises:
        NotImportable: it is no dict, or holds anything but literals; says where.
    """
    document = _literal(value, (), 0)
    if not isinstance(document, dict):
        raise _at(value, f"{VARIABLE} is not a dict")
    return document


def assigned_value(data: bytes, *, limited: bool = True) -> ast.expr:
    """The node of the value that a module assigns to FASHION_KNOWLEDGE_BASE, once.

    Of a large value that is plain data the node tells the place, and not what is in it.

    Args:
        limited: as for `read_module`.

    Raises:
        NotImportable: the module is no Python, or assigns it never, twice, or changes it after.
    """
    scanned = _scanned(data, limited=limited)
    return scanned[1] if scanned else _assigned(_parse(data, limited=limited))


def _scanned(data: bytes, *, limited: bool) -> tuple[Scanned, ast.expr] | None:
    """The value of a large module and where it stands, when it is plain data."""
    if len(data) <= _SMALL or (found := scan(data, VARIABLE, MAX_DEPTH)) is None:
        return None
    try:
        node = _assigned(_parse(found.rest, limited=limited))
    except NotImportable:
        return None  # the parser names the right line only of the whole
    at = (found.line, found.column)
    is_same = isinstance(node, ast.Dict) and not node.keys and (node.lineno, node.col_offset) == at
    return (found, node) if is_same else None


def _parse(data: bytes, *, limited: bool) -> ast.Module:
    if limited and len(data) > _SMALL:
        _refuse_masses(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(data)
    except SyntaxError as error:
        raise _syntax(error) from None
    except (RecursionError, MemoryError):
        raise NotImportable(
            "The file is nested too deeply to be a knowledge base.",
            "Export it again from where it comes from.",
        ) from None
    except ValueError:
        raise NotImportable(
            "The file is not Python text: it holds null bytes.",
            "Is it really a Python file, saved as UTF-8?",
        ) from None


def _refuse_masses(data: bytes) -> None:
    # A small file of bare commas becomes gigabytes of syntax tree; counting tokens first
    # keeps the desk upright. What can't be tokenised is refused by the parser, with its line.
    # A token that does not end costs room for each quote and backslash in it.
    count = sum(map(data.count, (b'"', b"'", b"\\")))
    if count > _MAX_QUOTES:
        raise _masses()
    count = 0
    try:
        for _token in tokenize.tokenize(io.BytesIO(data).readline):
            count += 1
            if count > MAX_TOKENS:
                break
    except (tokenize.TokenError, SyntaxError, ValueError):
        return
    if count > MAX_TOKENS:
        raise _masses()


def _masses() -> NotImportable:
    return NotImportable(
        f"The file holds more than {MAX_TOKENS:,} pieces of code that is no plain data.",
        "Is this the right file? A large knowledge base can be imported as JSON.",
    )


def _syntax(error: SyntaxError) -> NotImportable:
    reason = str(error.msg)
    if "encoding" in reason or "codec" in reason:
        return NotImportable(
            "The file's encoding does not fit: it is not the text it says it is.",
            "Save it as UTF-8, or declare its encoding in the first line "
            "(# -*- coding: latin-1 -*-).",
            ((_line(error.lineno), reason),),
        )
    return NotImportable(
        f"The file is not valid Python: {reason} in line {error.lineno or '?'}.",
        "Correct that line, or export the file again from where it comes from.",
        ((_line(error.lineno), reason),),
    )


def _line(number: int | None) -> str:
    return f"line {number}" if number else "the file"


def _assigned(module: ast.Module) -> ast.expr:
    values: list[ast.expr] = []
    own: set[int] = set()
    for statement in module.body:
        value = _value_of(statement)
        if value is not None:
            values.append(value)
            own.add(id(statement))
    for statement in module.body:
        if id(statement) not in own:
            for node in _outside_functions(statement):
                _refuse_change(node)
    if not values:
        raise NotImportable(
            f"The module assigns nothing to {VARIABLE} at its top level.",
            f"It must hold one line that begins with {VARIABLE} = {{",
        )
    if len(values) > 1:
        raise _at(
            values[1], f"{VARIABLE} is assigned a second time (first in line {values[0].lineno})"
        )
    return values[0]


def _value_of(statement: ast.stmt) -> ast.expr | None:
    if isinstance(statement, ast.AnnAssign):
        targets: list[ast.expr] = [statement.target]
    elif isinstance(statement, ast.Assign):
        targets = statement.targets
    else:
        return None
    return statement.value if any(_is_variable(target) for target in targets) else None


def _is_variable(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == VARIABLE


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def _refuse_change(node: ast.AST) -> None:
    """Refuse what would change the value while the module loads: only running it would tell."""
    if isinstance(node, ast.Name) and _is_variable(node) and not isinstance(node.ctx, ast.Load):
        raise _at(node, f"{VARIABLE} is assigned or deleted inside another statement")
    inner: ast.AST = node
    while isinstance(inner, ast.Subscript | ast.Attribute):
        inner = inner.value
    if not _is_variable(inner) or inner is node:
        return
    stored = isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load)
    method = isinstance(node, ast.Attribute) and node.attr in _CHANGING
    if stored or method:
        raise _at(node, f"{VARIABLE} is changed by code after it was assigned")


_CHANGING = frozenset({"update", "pop", "popitem", "clear", "setdefault", "__setitem__"})


def _literal(node: ast.expr, path: Place, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise _at(node, f"{place(path)} is nested too deeply")
    if isinstance(node, ast.Dict):
        return _dict(node, path, depth)
    if isinstance(node, ast.List):
        return [_literal(item, path, depth + 1) for item in node.elts]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _joined(node, path)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = node.operand.value if isinstance(node.operand, ast.Constant) else None
        if isinstance(number, int | float) and not isinstance(number, bool):
            return _constant(node, -number, path)
    if isinstance(node, ast.Constant):
        return _constant(node, node.value, path)
    raise _code(node, path)


def _constant(node: ast.expr, value: Any, path: Place) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise _at(node, f"{place(path)} is an infinite number")
    if value is None or isinstance(value, str | int | float):
        return value
    raise _at(node, f"{place(path)} is {type(value).__name__}, where a text is expected")


def _joined(node: ast.expr, path: Place) -> str:
    pieces: list[str] = []
    waiting: list[ast.expr] = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
            waiting += [part.left, part.right]
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            pieces.append(part.value)
        else:
            raise _code(part, path)
        if len(pieces) > _MAX_JOINED:
            raise _at(node, f"{place(path)} is put together from too many pieces")
    return "".join(reversed(pieces))


def _dict(node: ast.Dict, path: Place, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value in zip(node.keys, node.values, strict=True):
        if key_node is None:
            raise _at(value, f"{place(path)} takes in another dict with **")
        key = _literal(key_node, path, depth + 1)
        if not isinstance(key, str):
            raise _at(key_node, f"{place(path)} has a key that is no text")
        if key in found:
            raise _at(
                key_node,
                f"{place((*path, key))} is there twice (first in line {lines[key]})",
                "Python would silently keep only the last one. Remove one of them.",
            )
        lines[key] = key_node.lineno
        found[key] = _literal(value, (*path, key), depth + 1)
    return found


_SPELLED = {"true": "True", "false": "False", "null": "None", "undefined": "None", "NaN": "None"}


def _code(node: ast.expr, path: Place) -> NotImportable:
    where = place(path)
    if isinstance(node, ast.Name):
        if node.id in _SPELLED:
            return _at(
                node,
                f"{where} is {node.id}, which is JSON and breaks the module",
                "Put a text in quotes there. The shop's own editor is known to write this.",
            )
        return _at(node, f"{where} refers to the name {node.id[:40]}")
    if isinstance(node, ast.JoinedStr):
        return _at(node, f"{where} is an f-string, which is code")
    if isinstance(node, ast.Call):
        return _at(node, f"{where} calls a function")
    if isinstance(node, ast.Tuple | ast.Set):
        return _at(node, f"{where} is a {type(node).__name__.lower()}, where a text is expected")
    return _at(node, f"{where} is code, not a text")


def _at(node: ast.AST, what: str, hint: str = "") -> NotImportable:
    line = getattr(node, "lineno", None)
    return NotImportable(
        f"Line {line}: {what}.",
        hint or "Only texts and dicts of texts are read; code in the file is never run.",
        ((_line(line), what),),
    )
