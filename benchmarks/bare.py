"""The bare pipeline: what a backup can't do without, and nothing else.

`python -m benchmarks.bare DATABASE TARGET`: SQLite's online backup in one step, then one
pass of sha256, zstd level 3 on two threads, sha256, to a file.
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


def main() -> None:
    """Run it once."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
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
        while piece := file.read(1 << 20):
            plain.update(piece)
            _store(packer.compress(piece), stored, out)
        _store(packer.flush(), stored, out)
        out.flush()
        os.fsync(out.fileno())
    copy.unlink()


def _store(data: bytes, digest: hashlib._Hash, out: BinaryIO) -> None:
    if data:
        digest.update(data)
        out.write(data)


if __name__ == "__main__":
    main()
