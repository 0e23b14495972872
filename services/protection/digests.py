"""How many rows a table holds, and a digest of what is in them.

Fetching every value through Python, or joining them in SQL, takes longer than packing them
(`python -m benchmarks.parts`). The rows are therefore read as SQLite stored them, in the file
format that has not changed since 2004.

**The digest `records-1`**, so that others can recompute it: sha256 over the rows of a table
in *descending* order of their keys (rowid, or primary key for a table WITHOUT ROWID), each
row as

    varint(length of the record) [varint(rowid)] record

where `varint` and the record are those of https://www.sqlite.org/fileformat2.html (sections
1.6 and 2.1), the record is complete (what spilled to overflow pages is put back), and the
rowid is there only when the table names it (an INTEGER PRIMARY KEY): other rowids are
renumbered by VACUUM. Nothing of the layout goes in: page size, the order of pages, free
space, indexes, the versions of SQLite and Python make no difference. (Descending, because
SQLite fills a page from its end: the rows of a page that only grew lie there in exactly this
order, and are hashed without being taken apart.)

One thing looks like a difference and is none for the shop: a row written before its table
gained a column has a shorter record until it is written again. Equal digests therefore
always mean equal content; different ones may, very rarely, also mean such a row.

Only for a file that nobody writes to. Run as a module, it is the child process that checks
a captured copy while the parent compresses it: `python -m services.protection.digests FILE`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from operator import sub
from pathlib import Path
from struct import Struct
from struct import error as StructError

from services.protection import references

DIGEST = "records-1"
"""Name of the digest, kept in the manifest."""

_OURS = ("kb_restores",)
_FOREIGN = ("sqlite_", "_litestream_")

_LEAF, _INTERIOR = 0x0D, 0x05
_INDEX_LEAF, _INDEX_INTERIOR = 0x0A, 0x02
_MAX_DEPTH = 40
_RUN = 64  # pages read at once
_ENOUGH = 1 << 17  # bytes gathered before they are hashed
_PADDED = 4  # a cell of up to four bytes may be padded to four
_PAGE_NUMBER = Struct(">I")


class Damaged(Exception):
    """The file is not what the format says a database is."""


@dataclass(frozen=True)
class FileFacts:
    """What a captured copy holds."""

    verdict: str  # "ok", or what quick_check found
    tables: dict[str, tuple[int, str]]  # name -> rows, digest
    foreign_key_violations: int
    sha256: str = ""  # of the whole file, where that was asked for


def is_counted(table: str) -> bool:
    """Whether a table takes part in digests and comparisons.

    Left out is what changes by itself: SQLite's own tables, Litestream's, and the mark that
    a restore leaves behind.
    """
    return table not in _OURS and not table.startswith(_FOREIGN)


def file_facts(path: Path, *, hashed: bool = False, with_references: bool = True) -> FileFacts:
    """Check a copy and measure every table; a damaged one is not measured.

    Args:
        hashed: digest the file as well.
        with_references: count the rows that refer to none.

    Raises:
        sqlite3.Error, OSError: it can't be read.
    """
    sha256 = ""
    if hashed:
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with closing(open_copy(path)) as connection:
        connection.execute("PRAGMA cache_size=-32768")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            return FileFacts(str(found), {}, 0, sha256)
        violations = references.violations(connection) if with_references else 0
    try:
        return FileFacts("ok", table_digests(path), violations, sha256)
    except Damaged as error:
        return FileFacts(str(error), {}, 0, sha256)


def table_digests(
    path: Path, wanted: Callable[[str], bool] = is_counted
) -> dict[str, tuple[int, str]]:
    """Rows and digest of every table of a file that nobody writes to.

    Args:
        wanted: whether a table is measured.

    Raises:
        Damaged: the file can't be followed.
        sqlite3.Error, OSError: it can't be read.
    """
    with closing(open_copy(path)) as connection:
        roots = list(_roots(connection, wanted))
    with open(path, "rb", buffering=0) as file:
        pages = _Pages(file.fileno())
        try:
            return {name: _digest(pages, root, keyed) for name, root, keyed in sorted(roots)}
        except (IndexError, ValueError, StructError) as error:
            raise Damaged("a page of a table can't be read") from error


def open_copy(path: Path) -> sqlite3.Connection:
    """Open a file that nobody writes to; no companion file is made or looked at."""
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro&immutable=1",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )


def _roots(
    connection: sqlite3.Connection, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, int, bool]]:
    tables = connection.execute(
        "SELECT name, rootpage FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
    ).fetchall()
    for name, root in tables:
        if not wanted(name):
            continue
        has_key = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?) WHERE pk > 0)", (name,)
        ).fetchone()[0]
        # The rowid stands for the key exactly when SQLite needed no index for it.
        by_index = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk')", (name,)
        ).fetchone()[0]
        yield name, root, bool(has_key and not by_index)


class _Pages:
    """Reads pages, and knows how much of a cell lies on its page."""

    def __init__(self, descriptor: int) -> None:
        header = os.pread(descriptor, 100, 0)
        if header[:16] != b"SQLite format 3\0":
            raise Damaged("file is not a database")
        size = int.from_bytes(header[16:18], "big")
        self._descriptor = descriptor
        self.size = 65536 if size == 1 else size
        self.usable = self.size - header[20]
        self.count = os.fstat(descriptor).st_size // self.size
        self.most_table = self.usable - 35
        self.most_index = (self.usable - 12) * 64 // 255 - 23
        self.least = (self.usable - 12) * 32 // 255 - 23

    def page(self, number: int) -> memoryview:
        """One page; pages count from 1."""
        return self.run(number, 1)

    def run(self, number: int, count: int) -> memoryview:
        """Consecutive pages."""
        if not 1 <= number <= self.count - count + 1:
            raise Damaged(f"page {number} lies outside the file")
        return memoryview(os.pread(self._descriptor, self.size * count, (number - 1) * self.size))

    def local(self, payload: int, most: int) -> int:
        """How many bytes of a payload lie on its own page."""
        if payload <= most:
            return payload
        part = self.least + (payload - self.least) % (self.usable - 4)
        return part if part <= most else self.least


class _Gathered:
    """Hashes what it is given, in pieces worth hashing."""

    def __init__(self) -> None:
        self.rows = 0
        self._sha256 = hashlib.sha256()
        self._parts: list[bytes | memoryview] = []
        self._held = 0

    def add(self, part: bytes | memoryview) -> None:
        """The next bytes of the stream."""
        self._parts.append(part)
        self._held += len(part)
        if self._held >= _ENOUGH:
            self._flush()

    def hexdigest(self) -> str:
        """The digest of everything that was added."""
        self._flush()
        return self._sha256.hexdigest()

    def _flush(self) -> None:
        self._sha256.update(b"".join(self._parts))
        self._parts.clear()
        self._held = 0


def _digest(pages: _Pages, root: int, keyed: bool) -> tuple[int, str]:
    gathered = _Gathered()
    _tree(pages, root, pages.page(root), keyed, gathered, 0)
    return gathered.rows, gathered.hexdigest()


def _tree(
    pages: _Pages, number: int, page: memoryview, keyed: bool, gathered: _Gathered, depth: int
) -> None:
    if depth > _MAX_DEPTH:
        raise Damaged("a table's tree does not end")
    start = 100 if number == 1 else 0
    kind = page[start]
    if kind == _LEAF:
        for at in reversed(_pointers(page, start, 8)):
            _cell(pages, page, at, pages.most_table, keyed, gathered)
    elif kind == _INTERIOR:
        children = [_PAGE_NUMBER.unpack_from(page, at)[0] for at in _pointers(page, start, 12)]
        children.append(_PAGE_NUMBER.unpack_from(page, start + 8)[0])
        for first, count in _runs_last_first(children):
            _run(pages, first, count, keyed, gathered, depth + 1)
    elif kind == _INDEX_LEAF:
        for at in reversed(_pointers(page, start, 8)):
            _cell(pages, page, at, pages.most_index, None, gathered)
    elif kind == _INDEX_INTERIOR:
        last = _PAGE_NUMBER.unpack_from(page, start + 8)[0]
        _tree(pages, last, pages.page(last), keyed, gathered, depth + 1)
        for at in reversed(_pointers(page, start, 12)):
            _cell(pages, page, at + 4, pages.most_index, None, gathered)
            child = _PAGE_NUMBER.unpack_from(page, at)[0]
            _tree(pages, child, pages.page(child), keyed, gathered, depth + 1)
    else:
        raise Damaged(f"page {number} is not part of a table")


def _runs_last_first(numbers: list[int]) -> Iterator[tuple[int, int]]:
    # The pages of a table that grew by appending lie one after the other: read many at once.
    end = len(numbers)
    while end:
        last, count = numbers[end - 1], 1
        while count < min(_RUN, end) and numbers[end - 1 - count] == last - count:
            count += 1
        yield last - count + 1, count
        end -= count


def _run(
    pages: _Pages, first: int, count: int, keyed: bool, gathered: _Gathered, depth: int
) -> None:
    content, size = pages.run(first, count), pages.size
    for step in range(count - 1, -1, -1):
        begin = step * size
        if not (keyed and content[begin] == _LEAF and _whole(pages, content, begin, gathered)):
            page = content[begin : begin + size]
            _tree(pages, first + step, page, keyed, gathered, depth)


def _whole(pages: _Pages, content: memoryview, begin: int, gathered: _Gathered) -> bool:
    """Take the rows of a leaf as they lie, where that is their order."""
    # Without free blocks and fragments the cells fill the end of the page. Where each lies
    # before the one of the smaller key, that end is the stream as it is. What may not be
    # taken so: cells long enough to have spilled, and such as are padded to four bytes.
    if content[begin + 1] or content[begin + 2] or content[begin + 7]:
        return False
    count = content[begin + 3] << 8 | content[begin + 4]
    if not count:
        return False
    pointers = _pointer_struct(count).unpack_from(content, begin + 8)
    sizes = [*map(sub, (pages.usable, *pointers), pointers)]
    if min(sizes) <= _PADDED or max(sizes) > pages.least:
        return False
    gathered.rows += count
    gathered.add(content[begin + pointers[-1] : begin + pages.usable])
    return True


def _cell(
    pages: _Pages, page: memoryview, at: int, most: int, keyed: bool | None, gathered: _Gathered
) -> None:
    # keyed: None for a table without rowids, else whether the rowid is part of the row.
    length, after = _varint(page, at)
    begin = after
    if keyed is not None:
        begin = _varint(page, after)[1]
    local = pages.local(length, most)
    head = page[at:begin] if keyed else page[at:after]
    gathered.rows += 1
    if begin + local > pages.usable:
        raise Damaged("a row reaches beyond its page")
    gathered.add(head)
    gathered.add(page[begin : begin + local])
    left = length - local
    following = _PAGE_NUMBER.unpack_from(page, begin + local)[0] if left else 0
    while left:
        spilled = pages.page(following)
        part = min(left, pages.usable - 4)
        gathered.add(spilled[4 : 4 + part])
        following = _PAGE_NUMBER.unpack_from(spilled)[0]
        left -= part


def _pointers(page: memoryview, start: int, header: int) -> tuple[int, ...]:
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    return _pointer_struct(count).unpack_from(page, start + header)


@lru_cache(maxsize=4096)
def _pointer_struct(count: int) -> Struct:
    return Struct(f">{count}H")


def _varint(page: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for step in range(8):
        byte = page[at + step]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + step + 1
    return value << 8 | page[at + 8], at + 9


def main() -> int:
    """Print the facts of one file as JSON."""
    *flags, path = sys.argv[1:]
    found = file_facts(
        Path(path), hashed="--hashed" in flags, with_references="--no-references" not in flags
    )
    json.dump(
        [found.verdict, found.tables, found.foreign_key_violations, found.sha256],
        sys.stdout,
        ensure_ascii=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
