"""The bare pipeline: what a backup or a restore can't do without, and nothing else.

`python -m benchmarks.bare DATABASE TARGET`: SQLite's online backup in one step, then one
pass of sha256, zstd level 3 on two threads, sha256, to a file.
`python -m benchmarks.bare --restore STORED DATABASE`: one pass of sha256, zstd, sha256 into
a file, then SQLite's online backup into the live database.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import zstandard

_PIECE = 1 << 20


def main() -> None:
    """Run it once."""
    if sys.argv[1] == "--restore":
        restore(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        back_up(Path(sys.argv[1]), Path(sys.argv[2]))


def back_up(source: Path, target: Path) -> None:
    """From a database in use to a compressed file."""
    copy = target.with_suffix(".copy")
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(copy)) as aside,
    ):
        aside.execute("PRAGMA journal_mode=OFF")
        aside.execute("PRAGMA synchronous=OFF")
        live.backup(aside, pages=-1)
    plain, stored = hashlib.sha256(), hashlib.sha256()
    packer = zstandard.ZstdCompressor(level=3, threads=2).compressobj(size=copy.stat().st_size)
    with open(copy, "rb") as file, open(target, "wb") as out:
        while piece := file.read(_PIECE):
            plain.update(piece)
            _store(packer.compress(piece), stored, out)
        _store(packer.flush(), stored, out)
        out.flush()
        os.fsync(out.fileno())
    copy.unlink()


def restore(stored: Path, database: Path) -> None:
    """From a compressed file into a database in use."""
    copy = stored.with_suffix(".copy")
    digests = hashlib.sha256(), hashlib.sha256()
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    with open(stored, "rb") as file, open(copy, "wb") as out:
        while piece := file.read(_PIECE):
            digests[0].update(piece)
            _store(unpacker.decompress(piece), digests[1], out)
        out.flush()
        os.fsync(out.fileno())
    with closing(sqlite3.connect(copy)) as aside, closing(sqlite3.connect(database)) as live:
        aside.backup(live, pages=-1)
    copy.unlink()


def _store(data: bytes, digest: hashlib._Hash, out: BinaryIO) -> None:
    if data:
        digest.update(data)
        out.write(data)


if __name__ == "__main__":
    main()
