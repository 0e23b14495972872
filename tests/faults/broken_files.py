"""Files of the knowledge base, broken in every way that is cheap to think of."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

from services.knowledge.document import to_rows
from services.knowledge.exchange import formats
from services.knowledge.exchange.model import Format
from tests.knowledge_base import small_kb

REAL = Path(__file__).resolve().parents[3] / "shared" / "insightshop" / "kb.json"

WORDS = [
    b"{", b"}", b"[", b"]", b'"', b"'", b'"""', b"\\", b"\n", b"\r", b"\r\n", b"\t", b"\0", b",",
    b";", b":", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc3", b"=1+1",
    b"&a ", b"*a", b"!!python/object:os.system ", b"<<: ", b"? ", b"- ", b"|2+\n", b"%YAML 9\n",
    b"---\n", b"...\n", b"NaN", b"1e999", b"9" * 5000, b"null", b"true", b"(empty)", b"(top)",
    b"group", b"value", b"key", b"section", b"text", b"continued 2: text", b"field:", b"/",
    b"/a/b/c", b"/fabric_guide", b"fabric_guide", b"None", b"__import__('os')", b"lambda: 0",
    b"# coding: utf-7\n", b"FASHION_KNOWLEDGE_BASE = {}\n", b"<a>", b"</c>", b"</row>", b"]]>",
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"&#0;", b"_xD83D_", b' t="s"', b' r="ZZZZ1"',
    b' r="A99999999999"', b"<f>1+1</f>", b' t="e"', b' t="d"', b"<v>1E400</v>", b"xmlns",
]  # fmt: skip


def whole_files(document: object | None = None) -> dict[Format, tuple[str, bytes]]:
    """The knowledge base in each format: the shop's own where it lies beside the project."""
    known = json.loads(REAL.read_bytes()) if REAL.exists() else small_kb()
    rows = to_rows(document if isinstance(document, dict) else known)
    written = {form: formats.write(rows, form) for form in Format}
    return {form: (name, data) for form, (name, _mime, data) in written.items()}


def mutations(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """The same file, broken anew each time."""
    while True:
        broken = bytearray(data)
        for _time in range(chance.choice((1, 1, 1, 2, 5, 20))):
            _break(broken, chance)
        yield bytes(broken)


def _break(broken: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(broken) + 1)
    way = chance.randrange(6)
    if way == 0 and broken:
        broken[at % len(broken)] ^= 1 << chance.randrange(8)
    elif way == 1:
        del broken[at:]
    elif way == 2:
        del broken[at : at + chance.choice((1, 7, 200))]
    elif way == 3:
        broken[at:at] = chance.choice(WORDS)
    elif way == 4:
        other = chance.randrange(len(broken) + 1)
        broken[at:at] = broken[other : other + chance.choice((1, 30, 3000))]
    else:
        other = chance.randrange(len(broken) + 1)
        broken[at : at + 50] = broken[other : other + 50]


def broken_inside(book: bytes, chance: random.Random) -> Iterator[bytes]:
    """A workbook that unpacks well, with broken XML in it."""
    with zipfile.ZipFile(io.BytesIO(book)) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    while True:
        name = chance.choice([*members, "xl/workbook.xml", "xl/worksheets/sheet11.xml"])
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as packed:
            for member, data in members.items():
                packed.writestr(member, next(mutations(data, chance)) if member == name else data)
        yield out.getvalue()
