"""What the shop's old scripts leave behind, made by real tools, with their faults."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import tarfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.core.context import Context
from services.core.settings import PROJECT_ROOT
from tests.faults.scene import furnish
from tests.shops import build_shop

CHROMA = """
import sys
import chromadb
client = chromadb.PersistentClient(path=sys.argv[1])
shop = client.create_collection("insightshop_products", metadata={"hnsw:space": "cosine"})
numbers = range(1, int(sys.argv[2]) + 1)
shop.add(
    ids=[f"product_{n}" for n in numbers],
    embeddings=[[float((n * k) % 7) + 0.1 for k in range(1, 9)] for n in numbers],
    documents=[f"Product {n}" for n in numbers],
    metadatas=[{"product_id": n} for n in numbers],
)
"""


def chroma_folder(folder: Path, products: int = 40) -> Path:
    """A vector folder as Chroma itself writes it, in a process of its own."""
    import sys

    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-c", CHROMA, str(folder), str(products)],
        cwd=PROJECT_ROOT,
        check=True,
        capture_output=True,
    )
    return folder


class OldBucket:
    """Objects as the old scripts name them, in a folder that is (or becomes) a bucket."""

    def __init__(self, root: Path, vectors: Path, instance: str = "") -> None:
        self.root = root / "backups" / instance if instance else root / "backups"
        self._vectors = vectors

    def database(self, stamp: str, *, products: int = 40) -> Path:
        """A whole copy of a shop's database."""
        path = self.root / "database" / f"insightshop_{stamp}.db"
        return build_shop(path, products=products)

    def vectors(self, stamp: str) -> Path:
        """The vector folder, packed by tar as the script did."""
        path = self.root / "vector_db" / f"vector_db_{stamp}.tar.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["tar", "czf", str(path), "-C", str(self._vectors.parent), self._vectors.name],
            check=True,
        )
        return path

    def both(self, stamp: str, **shop: int) -> tuple[Path, Path]:
        """One run of the old script."""
        return self.database(stamp, **shop), self.vectors(stamp)

    def put(self, name: str, content: bytes) -> Path:
        """Any object below `backups/`."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def latest(path: Path) -> Path:
    """Copy an object to its `_latest`, as the script did at its end."""
    kind = "vector_db" if path.name.endswith(".tar.gz") else "insightshop"
    ending = ".tar.gz" if kind == "vector_db" else path.suffix
    target = path.with_name(f"{kind}_latest{ending}")
    target.write_bytes(path.read_bytes())
    return target


def evil_tar(path: Path, *members: tarfile.TarInfo, content: bytes = b"evil") -> Path:
    """An archive with members of one's own choice, beside what every such archive holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """A member of any name and type."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def rows(path: Path, table: str) -> int:
    """Rows of a table."""
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def furnished_over(ctx: Context) -> Context:
    """A furnished desk whose store is a folder, `bucket`, that old scripts used before it."""
    furnish(ctx)
    root = ctx.settings.desk_home.parent / "bucket"
    root.mkdir()
    return replace(
        ctx, settings=ctx.settings.model_copy(update={"backup_store_url": f"file:{root}"})
    )


class Runs:
    """Pickled, it runs a program when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/it-ran",)
