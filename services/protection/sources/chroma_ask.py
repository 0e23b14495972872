"""Ask a Chroma collection for neighbours: what a backup writes down and a drill asks again.

Only inside the child processes that open a copy; chromadb is theirs.
"""

from __future__ import annotations

from typing import Any

QUESTIONS = 20
NEAREST = 5


def sample(ids: list[str]) -> list[str]:
    """At most `QUESTIONS` ids, spread over all of them; the same for the same ids."""
    count = min(QUESTIONS, len(ids))
    return [ids[position * len(ids) // count] for position in range(count)]


def ask(collection: Any, ids: list[str]) -> list[dict[str, Any]]:
    """What each of these vectors has for neighbours, itself included.

    Returns:
        For each that is there: {"id", "nearest": [ids, nearest first], "distances"}.
    """
    if not ids:
        return []
    found = collection.get(ids=ids, include=["embeddings"])
    by_id = dict(zip(found["ids"], found["embeddings"], strict=True))
    asked = [name for name in ids if name in by_id]
    if not asked:
        return []
    answer = collection.query(
        query_embeddings=[[float(x) for x in by_id[name]] for name in asked],
        n_results=min(NEAREST, collection.count()),
        include=["distances"],
    )
    return [
        {
            "id": name,
            "nearest": list(nearest),
            "distances": [float(far) for far in distances],
        }
        for name, nearest, distances in zip(asked, answer["ids"], answer["distances"], strict=True)
    ]


def distances(collection: Any, space: str, question: str, ids: list[str]) -> list[float | None]:
    """The exact distances of some vectors to one, computed from the vectors themselves.

    An index answers approximately; these do not depend on it. None for one that is gone.
    """
    import numpy as np

    found = collection.get(ids=sorted({question, *ids}), include=["embeddings"])
    held = {
        name: np.asarray(row, dtype=np.float64)
        for name, row in zip(found["ids"], found["embeddings"], strict=True)
    }
    at = held.get(question)
    if at is None:
        return [None] * len(ids)
    return [None if name not in held else _distance(np, space, at, held[name]) for name in ids]


def _distance(np: Any, space: str, one: Any, other: Any) -> float:
    if space == "l2":
        return float(((one - other) ** 2).sum())
    product = float(one @ other)
    if space == "ip":
        return 1.0 - product
    return 1.0 - product / (float(np.linalg.norm(one) * np.linalg.norm(other)) or 1.0)
