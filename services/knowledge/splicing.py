"""Put a knowledge base into the shop's module, and leave every other byte of it alone. Pure.

The module holds the functions that the rest of the shop imports; only the value that is
assigned to `FASHION_KNOWLEDGE_BASE` is ours.
"""

from __future__ import annotations

import io
import json
import re
import tokenize
from collections.abc import Mapping
from typing import Any

from services.core.errors import Broken, Invalid
from services.knowledge.reading import VARIABLE, assigned_value, read_module, value_of
from services.knowledge.writing import value_source

_BOM = b"\xef\xbb\xbf"
# Where Python ends a line; str.splitlines knows more ends than the parser.
_LINE_END = re.compile(r"\r\n|\r|\n")


def splice(module: bytes, document: Mapping[str, Any]) -> bytes:
    """The module with another knowledge base in it.

    Args:
        module: the source as it is, in any encoding that Python reads.
        document: what `FASHION_KNOWLEDGE_BASE` is to be.

    Raises:
        NotImportable: the module can't be read, or does not assign it once, as a literal.
        Invalid: the module's encoding can't hold a letter of the knowledge base.
        Broken: what came out would not read back as exactly this document.
    """
    begin, end = _span(module)
    bom = _BOM if module.startswith(_BOM) else b""
    encoding = tokenize.detect_encoding(io.BytesIO(module).readline)[0].removesuffix("-sig")
    text = module.removeprefix(bom).decode(encoding)
    starts = [0, *(end.end() for end in _LINE_END.finditer(text))]
    first, last = _offset(text, starts, *begin), _offset(text, starts, *end)
    ends = _LINE_END.findall(text)
    newline = max(set(ends), key=ends.count) if ends else "\n"
    source = value_source(document).replace("\n", newline)
    try:
        spliced = bom + f"{text[:first]}{source}{text[last:]}".encode(encoding)
    except UnicodeEncodeError as error:
        raise Invalid(
            f"The shop's module is declared {encoding}, which has no "
            f"{error.object[error.start]!r}; it was not written.",
            "Save the module as UTF-8, then publish again.",
        ) from None
    if json.dumps(read_module(spliced, limited=False)) != json.dumps(document):
        raise Broken(
            f"{VARIABLE} could not be put into the module so that it reads back as the same "
            "knowledge base; nothing was written.",
            "Tell whoever looks after the desk, with a copy of that module.",
        )
    return spliced


def _span(module: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where the value begins and ends: line and column. The parsed module is let go here."""
    node = assigned_value(module, limited=False)
    value_of(node)  # one that code works out is not ours to replace
    return (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)


def _offset(text: str, starts: list[int], line: int, column: int) -> int:
    # The parser counts columns in bytes of UTF-8, whatever the file is written in.
    begin = starts[line - 1]
    end = starts[line] if line < len(starts) else len(text)
    return begin + len(text[begin:end].encode()[:column].decode())
