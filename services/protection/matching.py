"""Do the vectors and the products belong to each other?

The shop keeps one vector for each active product, in one collection, under the id
`product_<id>`. A product without one is not found by the shop's search; a vector without a
product makes the search answer with something that is not for sale.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from sqlalchemy import Boolean, Engine, column, create_engine, inspect, select, table
from sqlalchemy.pool import NullPool

from db.engine import read
from services.core.context import Context
from services.protection import digests
from services.protection.model import VectorMatch
from services.protection.sources import chroma, chroma_ids

log = logging.getLogger("desk.matching")

COLLECTION = "insightshop_products"
PREFIX = "product_"
MOST_LISTED = 100
_SHOWN = 5


def match(database: Engine, vector_ids: Iterable[str]) -> VectorMatch:
    """Compare the active products of a database with the ids of the shop's vectors.

    Args:
        database: the shop's, or a copy of it.
        vector_ids: of the collection `COLLECTION`.

    Raises:
        SQLAlchemyError: the products can't be read.
    """
    return compare(products_of(database), vector_ids)


def products_of(database: Engine) -> dict[str, bool]:
    """Every product: its id, and whether it is active.

    Raises:
        SQLAlchemyError: they can't be read.
    """
    names = {found["name"] for found in inspect(database).get_columns("products")}
    wanted = [column("id"), *([column("is_active", Boolean)] if "is_active" in names else [])]
    with read(database) as connection:
        rows = connection.execute(select(*wanted).select_from(table("products")))
        return {str(row[0]): bool(row[1]) if len(row) > 1 else True for row in rows}


def compare(products: Mapping[str, bool], vector_ids: Iterable[str]) -> VectorMatch:
    """The same for products as `products_of` gives them."""
    active = {f"{PREFIX}{number}": number for number, is_active in products.items() if is_active}
    vectors = set(vector_ids)
    missing = sorted((active[name] for name in active.keys() - vectors), key=_in_order)
    stray = sorted(vectors - active.keys(), key=_in_order)
    return VectorMatch(
        products=len(active),
        vectors=len(vectors),
        without_vector=tuple(missing[:MOST_LISTED]),
        without_product=tuple(stray[:MOST_LISTED]),
        missing=len(missing),
        stray=len(stray),
    )


def vector_ids(folder: Path) -> tuple[str, ...] | None:
    """Ids of the shop's vectors in a Chroma folder, live or a copy; only its SQLite is read.

    Returns:
        None where there is no such folder, or none that holds the shop's collection.
    """
    return chroma_ids.vector_ids(folder / chroma.DATABASE, COLLECTION)


def explain(found: VectorMatch, products: Mapping[str, bool]) -> tuple[str, ...]:
    """What does not match, and why that may be, for a person; nothing when all matches."""
    told = []
    if found.missing:
        listed = ("products " if found.missing > 1 else "product ") + _some(
            found.without_vector, found.missing
        )
        told.append(
            f"{_count(found.missing, 'active product')} "
            f"{'has' if found.missing == 1 else 'have'} no vector "
            f"({listed}): the shop's search does not find "
            f"{'it' if found.missing == 1 else 'them'}. A product that was added in the last "
            "minutes gets one by itself; for others, start the shop again: it writes the vector "
            "of every active product."
        )
    if found.stray:
        told.append(
            f"{_count(found.stray, 'vector')} {'has' if found.stray == 1 else 'have'} no active "
            f"product ({_some(found.without_product, found.stray)}; {_why(found, products)}): "
            "the shop's search may answer with something that is not for sale."
        )
    return tuple(told)


def _why(found: VectorMatch, products: Mapping[str, bool]) -> str:
    listed = len(found.without_product)
    inactive = sum(name.removeprefix(PREFIX) in products for name in found.without_product)
    causes = (
        (inactive, "of a product that is not active any more"),
        (listed - inactive, "of a product that was deleted"),
    )
    why = " and ".join(f"{count} {cause}" for count, cause in causes if count)
    return why if found.stray == listed else f"of the first {listed}: {why}"


def live_notes(ctx: Context) -> tuple[str, ...]:
    """What does not match in the shop as it is now, for the end of a restore.

    Reads the products and the ids of the live vectors; a shop whose products or vectors can't
    be read just now gives no note: a restore does not fail over this.
    """
    try:
        ids = vector_ids(ctx.settings.vector_dir)
        if ids is None:
            return ()
        products = products_of(ctx.shop)
        return explain(compare(products, ids), products)
    except Exception as error:  # whatever it is, what was restored stays restored
        log.warning("products and vectors were not compared: %s", type(error).__name__)
        return ()


def mismatch(missing: int, stray: int) -> str:
    """The counts of what does not match, in half a sentence; empty when all matches."""
    parts = []
    if missing:
        parts.append(f"{_count(missing, 'active product')} without a vector")
    if stray:
        parts.append(f"{_count(stray, 'vector')} without an active product")
    return " and ".join(parts)


def headline(found: VectorMatch) -> str:
    """The same, or that all matches."""
    return mismatch(found.missing, found.stray) or (
        f"all {found.products:,} active products have their vector, and no vector is over"
    )


def copy_engine(path: Path) -> Engine:
    """An engine for an SQLite copy that nobody writes to; gives its file back after each use."""
    return create_engine("sqlite://", creator=lambda: digests.open_copy(path), poolclass=NullPool)


def _in_order(name: str) -> tuple[int, str]:
    """By number where there is one: product_9 before product_10."""
    digits = name.removeprefix(PREFIX)
    return (int(digits) if digits.isascii() and digits.isdigit() else 1 << 62, name)


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _some(names: tuple[str, ...], total: int) -> str:
    more = f" and {total - _SHOWN:,} more" if total > _SHOWN else ""
    return ", ".join(name[:40] for name in names[:_SHOWN]) + more
