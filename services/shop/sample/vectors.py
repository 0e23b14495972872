"""The sample shop's Chroma folder: one vector per product, as the shop keeps them.

The embeddings are not a language model's. Each word of a product's text is hashed to a
few places of the vector, so products that share words are neighbours, and the same text
always gives the same vector, without a download.
"""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Any

COLLECTION = "insightshop_products"
DIMENSION = 384
_PLACES = 4  # of each word


def product_id(row: dict[str, Any]) -> str:
    """The id of a product's vector."""
    return f"product_{row['id']}"


def document(row: dict[str, Any]) -> str:
    """What the shop keeps as text beside the vector."""
    return (
        f"{row['name']}. {row['description']} Category: {row['category']}. "
        f"Color: {row['color']}. Fabric: {row['fabric']}. Type: {row['clothing_type']}. "
        f"Occasion: {row['occasion']}. Price: ${row['price']}"
    )


def embed(text: str) -> list[float]:
    """A unit vector of `text`: the same for the same text on every machine."""
    vector = [0.0] * DIMENSION
    for word in re.findall(r"\w+", text.lower()):
        digest = hashlib.sha256(word.encode()).digest()
        for place in range(_PLACES):
            drawn = int.from_bytes(digest[place * 4 : place * 4 + 4], "big")
            vector[drawn % DIMENSION] += 1.0 if drawn & 0x8000_0000 else -1.0
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]


def metadata(row: dict[str, Any]) -> dict[str, str | int]:
    """What the shop stores with a vector; prices and flags are texts there."""
    return {
        "product_id": row["id"],
        "name": row["name"],
        "category": row["category"],
        "color": row["color"],
        "price": str(float(row["price"])),
        "brand": str(row["brand_other"]),
        "on_sale": "true" if row["sale_enabled"] else "false",
    }


def write_vectors(folder: Path, products: list[dict[str, Any]]) -> None:
    """Write a new Chroma folder with a vector for every active product.

    Args:
        folder: must not exist; is closed again when this returns, so it may be moved.
        products: product rows.
    """
    import chromadb
    from chromadb.config import Settings as ChromaSettings

    rows = [row for row in products if row["is_active"]]
    texts = [document(row) for row in rows]
    client = chromadb.PersistentClient(
        path=str(folder), settings=ChromaSettings(anonymized_telemetry=False)
    )
    try:
        collection = client.create_collection(
            COLLECTION, metadata={"hnsw:space": "cosine"}, embedding_function=None
        )
        collection.add(
            ids=[product_id(row) for row in rows],
            embeddings=[embed(text) for text in texts],
            documents=texts,
            metadatas=[metadata(row) for row in rows],
        )
    finally:
        client.close()
