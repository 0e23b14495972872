"""Child process: read a copy of a Chroma folder, write each collection as a Parquet table.

`python -m services.protection.sources.chroma_export COPY FOLDER` prints one JSON object.
The copy is changed by this (our chromadb may be newer than the shop's).

A table has the columns id, embedding (list of float32), document and metadata (JSON text);
name, metadata and space of the collection stand in the file's own metadata. Embeddings of
a cosine collection come back normalised, within 5e-7 of what was put in.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from services.core.lineage import end_with_parent
from services.protection.sources.chroma_ask import ask, sample

_ROWS = 2000
"""Rows read at once: ids first, then pages by ids. Paging by offset misses rows while some
are deleted, and one read of everything fails at 100,000 (too many SQL variables)."""

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def main() -> int:
    """Export every collection of a copy."""
    end_with_parent()
    copy, folder = Path(sys.argv[1]), Path(sys.argv[2])
    if not _is_chroma(copy / "chroma.sqlite3"):
        return 1
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(
        path=str(copy), settings=Settings(anonymized_telemetry=False)
    )
    collections = [_export(listed, folder) for listed in client.list_collections()]
    json.dump({"chromadb": chromadb.__version__, "collections": collections}, sys.stdout)
    sys.stdout.flush()
    return 0


def _is_chroma(database: Path) -> bool:
    """Whether Chroma made it. Of any other, chromadb would take over a second to say no, or
    add its own tables to it and find no collection."""
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'collections'")
        return found.fetchone() is not None


def file_name(collection: str) -> str:
    """Name of a collection's table in a snapshot; odd names are replaced by a digest."""
    if _SAFE.fullmatch(collection):
        return f"vectors.{collection}.parquet"
    return f"vectors.{hashlib.sha256(collection.encode()).hexdigest()[:16]}.parquet"


def _export(collection: Any, folder: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    facts = {
        "name": collection.name,
        "metadata": collection.metadata or {},
        "space": space_of(collection),
    }
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("embedding", pa.list_(pa.float32())),
            ("document", pa.string()),
            ("metadata", pa.string()),
        ],
        metadata={"collection": json.dumps(facts, sort_keys=True)},
    )
    ids = sorted(collection.get(include=[])["ids"])
    count, dimension = 0, None
    target = folder / file_name(collection.name)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for page in _pages(collection, ids):
            embeddings = [[float(x) for x in row] for row in page["embeddings"]]
            dimension = dimension or (len(embeddings[0]) if embeddings else None)
            count += len(embeddings)
            metadata = [
                json.dumps(item or {}, sort_keys=True, ensure_ascii=False)
                for item in page["metadatas"]
            ]
            columns = [page["ids"], embeddings, page["documents"], metadata]
            arrays = [
                pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    if count != len(ids):
        raise RuntimeError(f"{count} of {len(ids)} vectors came back")
    return {
        "name": collection.name,
        "file": target.name,
        "count": count,
        "dimension": dimension,
        "space": facts["space"],
        "neighbours": _neighbours(collection, ids),
    }


def _neighbours(collection: Any, ids: list[str]) -> list[dict[str, Any]]:
    # A collection that can be read and not searched is still worth its table; the drill
    # then has nothing to ask, and says so.
    try:
        return ask(collection, sample(ids))
    except Exception as error:
        print(f"no neighbours of {collection.name!r}: {type(error).__name__}", file=sys.stderr)
        return []


def _pages(collection: Any, ids: list[str]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(ids), _ROWS):
        yield collection.get(
            ids=ids[start : start + _ROWS], include=["embeddings", "documents", "metadatas"]
        )


def space_of(collection: Any) -> str:
    """The distance that a collection compares by."""
    # On a folder that came from an older Chroma the configuration may say l2 where the
    # metadata says cosine: the metadata is right.
    named = (collection.metadata or {}).get("hnsw:space")
    if named:
        return str(named)
    configuration = getattr(collection, "configuration_json", None) or {}
    return str((configuration.get("hnsw") or {}).get("space") or "l2")


if __name__ == "__main__":
    sys.exit(main())
