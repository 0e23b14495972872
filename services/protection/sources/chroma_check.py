"""Child process: look into a restored Chroma folder and its portable tables.

`python -m services.protection.sources.chroma_check FOLDER TABLES` reads one JSON object
from standard input (`{"questions": {collection: [[id, [ids]], ...]}, "tables": {collection:
file}}`) and prints one. The folder is changed by this: it must be a copy of its own.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from services.core.lineage import end_with_parent
from services.protection.sources.chroma_ask import ask, distances
from services.protection.sources.chroma_export import space_of


def main() -> int:
    """Look into everything and print what was found."""
    end_with_parent()
    folder, tables = Path(sys.argv[1]), Path(sys.argv[2])
    wanted = json.load(sys.stdin)
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(
        path=str(folder), settings=Settings(anonymized_telemetry=False)
    )
    answer = {
        "chromadb": chromadb.__version__,
        "collections": {
            listed.name: _look(listed, wanted["questions"].get(listed.name, []))
            for listed in client.list_collections()
        },
        "tables": {name: _table(tables / file) for name, file in wanted["tables"].items()},
    }
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    return 0


def _look(collection: Any, questions: list[list[Any]]) -> dict[str, Any]:
    space = space_of(collection)
    ids = collection.get(include=[])["ids"]
    try:
        answers = ask(collection, [question for question, _recorded in questions])
        problem = ""
    except Exception as error:
        answers, problem = [], f"{type(error).__name__}: {error}"[:200]
    return {
        "count": len(ids),
        "ids": _digest(ids),
        "space": space,
        "problem": problem,
        "answers": answers,
        "exact": [
            {
                "id": question,
                "nearest": recorded,
                "distances": distances(collection, space, question, recorded),
            }
            for question, recorded in questions
        ],
    }


def _table(path: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    ids: list[str] = []
    dimensions: set[int] = set()
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                ids += batch.column("id").to_pylist()
                dimensions |= {len(row) for row in batch.column("embedding").to_pylist()}
    except Exception as error:
        return {"problem": f"{type(error).__name__}: {error}"[:200], "count": 0, "ids": ""}
    return {
        "problem": "",
        "count": len(ids),
        "ids": _digest(ids),
        "dimensions": sorted(dimensions),
    }


def _digest(ids: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
