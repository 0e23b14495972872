"""Writes the sample shop's database file."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from db.engine import sqlite_url
from services.shop.sample import catalogue, schema, trade
from services.shop.sample_state import MARK


@dataclass(frozen=True)
class Contents:
    """Every row of the sample shop, by table, parents before children."""

    tables: dict[str, list[dict[str, Any]]]

    @property
    def products(self) -> list[dict[str, Any]]:
        """The product rows."""
        return self.tables["products"]


def invent(seed: int, now: datetime) -> Contents:
    """Make up every row. The same seed and moment give the same shop.

    Args:
        seed: of the random numbers.
        now: the moment that ages are counted from, aware.
    """
    rng = random.Random(seed)  # noqa: S311 - believable, not secret
    moment = now.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    goods = catalogue.products(rng, moment)
    people = trade.users(rng, moment)
    variants = catalogue.variations(rng, goods)
    orders, items = trade.orders(rng, moment, people, goods)
    paid, tried = trade.payments(rng, orders)
    opinions = trade.reviews(rng, moment, people, orders, items)
    trade.rate(goods, opinions)
    return Contents(
        {
            "users": people,
            "products": goods,
            "product_variations": variants,
            "product_relations": catalogue.relations(rng, goods),
            "orders": orders,
            "order_items": items,
            "payments": paid,
            "payment_logs": tried,
            "shipments": trade.shipments(rng, orders),
            "returns": trade.returns(rng, orders, items),
            "reviews": opinions,
            "wishlist_items": trade.wishlists(rng, moment, people, goods),
            "cart_items": trade.carts(rng, moment, people, variants),
            **trade.odds_and_ends(moment),
        }
    )


def write_database(path: Path, contents: Contents) -> None:
    """Write a new database file with the shop's tables and these rows, marked as a sample."""
    engine = create_engine(sqlite_url(path))
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"PRAGMA application_id = {MARK}")
            schema.metadata.create_all(connection)
            for name, rows in contents.tables.items():
                connection.execute(schema.metadata.tables[name].insert(), rows)
    finally:
        engine.dispose()


def check_database(path: Path) -> None:
    """Stop unless a fresh database is sound.

    Raises:
        sqlite3.DatabaseError: a page or a reference is wrong.
    """
    with closing(sqlite3.connect(path)) as connection:
        verdict = connection.execute("PRAGMA quick_check").fetchone()[0]
        if verdict != "ok" or connection.execute("PRAGMA foreign_key_check").fetchone():
            raise sqlite3.DatabaseError(f"the sample shop's database is unsound: {verdict}")
