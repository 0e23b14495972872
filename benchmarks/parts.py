"""What the single parts of a backup cost: packing, checking, digesting, one by one.

`python -m benchmarks.parts [--mb 200]` prints what the choices in codec.py, digests.py and
references.py rest on. Each part runs alone in this process, in memory, from the page cache.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import zstandard

from benchmarks.shopdata import make_shop
from services.protection import codec, digests, references
from services.protection.references import statement

_PIECE = 1 << 20
_WAYS = ((1, 2), (2, 2), (3, 2), (3, 0))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mb", type=int, default=200, help="size of the database")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="desk-bench-") as folder:
        database = make_shop(Path(folder) / "shop.db", options.mb)
        database.read_bytes()  # from here on from the page cache
        print(f"{'':46}{'seconds':>9}{'CPU s':>8}{'ratio':>8}")
        for level, threads in _WAYS:
            name = f"zstd level {level}, {threads or 'no'} threads, both digests"
            _show(name, lambda level=level, threads=threads: _packed(database, level, threads))
        _show("what codec.py does", lambda: _ours(database))
        for name, part in _CHECKS.items():
            _show(name, lambda part=part: part(database))
    return 0


def _show(name: str, part: Callable[[], float | None]) -> None:
    begun, used = time.perf_counter(), time.process_time()
    ratio = part()
    took, cpu = time.perf_counter() - begun, time.process_time() - used
    print(f"{name:46}{took:9.2f}{cpu:8.2f}" + (f"{ratio:8.2f}" if ratio else ""), flush=True)


def _packed(database: Path, level: int, threads: int) -> float:
    plain, stored, count = hashlib.sha256(), hashlib.sha256(), 0
    packer = zstandard.ZstdCompressor(level=level, threads=threads).compressobj()
    with open(database, "rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            plain.update(piece)
            out = packer.compress(piece)
            stored.update(out)
            count += len(out)
    out = packer.flush()
    stored.update(out)
    return database.stat().st_size / (count + len(out))


def _ours(database: Path) -> float:
    with (
        open(database, "rb", buffering=0) as file,
        codec.PackingReader(file, compress=True) as reader,
    ):
        while reader.read(_PIECE):
            pass
        return reader.plain_bytes / reader.stored_bytes


def _pragma(name: str) -> Callable[[Path], None]:
    def run(database: Path) -> None:
        with closing(digests.open_copy(database)) as connection:
            connection.execute("PRAGMA cache_size=-32768")
            connection.execute(f"PRAGMA {name}").fetchall()

    return run


def _violations(database: Path) -> None:
    with closing(digests.open_copy(database)) as connection:
        references.violations(connection)


def _digested(database: Path) -> None:
    digests.table_digests(database)


def _through_python(database: Path) -> None:
    with closing(digests.open_copy(database)) as connection:
        for (table,) in _tables(connection):
            for _row in connection.execute(statement("SELECT * FROM $table", table=table)):
                pass


def _joined_in_sql(database: Path) -> None:
    with closing(digests.open_copy(database)) as connection:
        for (table,) in _tables(connection):
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            joined = "||'|'||".join(f"quote({name})" for name in names)
            for _row in connection.execute(f"SELECT {joined} FROM {table}"):
                pass


def _tables(connection: sqlite3.Connection) -> list[tuple[str]]:
    return connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()


_CHECKS: dict[str, Callable[[Path], float | None]] = {
    "PRAGMA quick_check": _pragma("quick_check(1)"),
    "PRAGMA integrity_check": _pragma("integrity_check(1)"),
    "PRAGMA foreign_key_check": _pragma("foreign_key_check"),
    "references.py": _violations,
    "digests.py, every table": _digested,
    "every value through Python": _through_python,
    "every value joined in SQL": _joined_in_sql,
}


if __name__ == "__main__":
    sys.exit(main())
