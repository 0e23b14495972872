"""A small shop for tests, on SQLite or PostgreSQL, with the tables and habits of the real one."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(255) NOT NULL UNIQUE,
  password_hash VARCHAR(255), first_name VARCHAR(100) NOT NULL, is_admin BOOLEAN NOT NULL,
  created_at DATETIME NOT NULL);
CREATE TABLE products (id INTEGER PRIMARY KEY, name VARCHAR(255) NOT NULL, description TEXT,
  price NUMERIC(10, 2) NOT NULL, category VARCHAR(50) NOT NULL, color VARCHAR(50),
  brand VARCHAR(50) NOT NULL, stock_quantity INTEGER NOT NULL, is_active BOOLEAN NOT NULL,
  created_at DATETIME NOT NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, order_number VARCHAR(50) NOT NULL UNIQUE,
  user_id INTEGER REFERENCES users (id), total NUMERIC(10, 2) NOT NULL,
  status VARCHAR(50) NOT NULL, created_at DATETIME NOT NULL);
CREATE TABLE order_items (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id),
  product_id INTEGER NOT NULL REFERENCES products (id), quantity INTEGER NOT NULL,
  price NUMERIC(10, 2) NOT NULL);
CREATE TABLE cart_items (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL,
  product_id INTEGER NOT NULL, quantity INTEGER NOT NULL);
CREATE TABLE payment_logs (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id),
  amount NUMERIC(10, 2) NOT NULL, created_at DATETIME NOT NULL);
CREATE INDEX ix_orders_created_at ON orders (created_at);
"""


def build_shop(
    path: Path, *, products: int = 40, users: int = 12, orders: int = 60, seed: int = 7
) -> Path:
    """Write a shop database: every order has items, money mixes INTEGER and REAL, and one
    payment log refers to a user who is gone (as in real ones)."""
    rng = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(SCHEMA)
        db.executemany(
            "INSERT INTO users VALUES (?,?,?,?,?,?)",
            [
                (
                    n,
                    f"user{n}@example.org",
                    None,
                    f"User {n}",
                    n == 1,
                    f"2026-01-{n % 28 + 1:02} 08:00:00.000001",
                )
                for n in range(1, users + 1)
            ],
        )
        db.executemany(
            "INSERT INTO products VALUES (?,?,?,?,?,?,?,?,?,?)",
            [
                (
                    n,
                    f"Product {n}",
                    "Soft → warm",
                    rng.choice([20, 39.99, 54.5]),
                    "women",
                    "navy",
                    "own",
                    n,
                    True,
                    "2026-01-01 00:00:00.000000",
                )
                for n in range(1, products + 1)
            ],
        )
        for n in range(1, orders + 1):
            add_order(db, n, rng, products, users)
        db.execute("INSERT INTO payment_logs VALUES (1, 99999, 12.5, '2026-02-01 00:00:00.000000')")
    return path


def add_order(
    db: sqlite3.Connection, number: int, rng: random.Random, products: int = 40, users: int = 12
) -> None:
    """One order with one to three items, as the shop writes it."""
    db.execute(
        "INSERT INTO orders VALUES (?,?,?,?,?,?)",
        (
            number,
            f"ORD-20260301-{number:08X}",
            rng.randint(1, users),
            rng.choice([45.4892, 80]),
            "processing",
            f"2026-03-{number % 28 + 1:02} 10:00:00.000000",
        ),
    )
    for _ in range(rng.randint(1, 3)):
        db.execute(
            "INSERT INTO order_items (order_id, product_id, quantity, price) VALUES (?,?,?,?)",
            (number, rng.randint(1, products), rng.randint(1, 4), 19.99),
        )


SERVER_SCHEMA = """
CREATE TABLE users (id SERIAL PRIMARY KEY, email VARCHAR(255) NOT NULL UNIQUE,
  password_hash VARCHAR(255), first_name VARCHAR(100) NOT NULL, is_admin BOOLEAN NOT NULL,
  created_at TIMESTAMP NOT NULL);
CREATE TABLE products (id SERIAL PRIMARY KEY, name VARCHAR(255) NOT NULL, description TEXT,
  price NUMERIC(10, 2) NOT NULL, category VARCHAR(50) NOT NULL, color VARCHAR(50),
  brand VARCHAR(50) NOT NULL, stock_quantity INTEGER NOT NULL, is_active BOOLEAN NOT NULL,
  created_at TIMESTAMP NOT NULL);
CREATE TABLE orders (id SERIAL PRIMARY KEY, order_number VARCHAR(50) NOT NULL UNIQUE,
  user_id INTEGER REFERENCES users (id), total NUMERIC(10, 2) NOT NULL,
  status VARCHAR(50) NOT NULL, created_at TIMESTAMP NOT NULL);
CREATE TABLE order_items (id SERIAL PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id),
  product_id INTEGER NOT NULL REFERENCES products (id), quantity INTEGER NOT NULL,
  price NUMERIC(10, 2) NOT NULL);
CREATE TABLE cart_items (id SERIAL PRIMARY KEY, user_id INTEGER NOT NULL,
  product_id INTEGER NOT NULL, quantity INTEGER NOT NULL);
CREATE TABLE payment_logs (id SERIAL PRIMARY KEY, user_id INTEGER,
  amount NUMERIC(10, 2) NOT NULL, created_at TIMESTAMP NOT NULL);
CREATE INDEX ix_orders_created_at ON orders (created_at);
"""
_BEGAN = datetime(2026, 1, 1)


def build_shop_on(
    url: str, *, products: int = 40, users: int = 12, orders: int = 60, seed: int = 7
) -> str:
    """Write the shop of `build_shop` into an empty PostgreSQL database; gives the URL back.

    The payment log that refers to nobody stands there as it does in real ones: its reference
    was declared later, NOT VALID.
    """
    import psycopg

    rng = random.Random(seed)
    with psycopg.connect(url.replace("postgresql+psycopg:", "postgresql:")) as db:
        db.execute(SERVER_SCHEMA)
        tables: dict[str, Iterator[tuple[Any, ...]]] = {
            "users": (
                (n, f"user{n}@example.org", None, f"User {n}", n == 1, _BEGAN)
                for n in range(1, users + 1)
            ),
            "products": (_product(n, rng) for n in range(1, products + 1)),
            "orders": (_order(n, rng, users) for n in range(1, orders + 1)),
            "order_items": (
                (n, (n + 1) // 2, rng.randint(1, products), rng.randint(1, 4), Decimal("19.99"))
                for n in range(1, 2 * orders + 1)
            ),
            "payment_logs": iter([(1, 99999, Decimal("12.5"), _BEGAN)]),
        }
        for name, rows in tables.items():
            with db.cursor().copy(f"COPY {name} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            db.execute(f"SELECT setval('{name}_id_seq', (SELECT max(id) FROM {name}))")
        db.execute(
            "ALTER TABLE payment_logs ADD CONSTRAINT payment_logs_user_id_fkey "
            "FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID"
        )
    return url


def add_order_on(db: Any, number: int, products: int = 40, users: int = 12) -> None:
    """One order with two items, as the shop writes it; `db` is a psycopg connection."""
    rng = random.Random(number)
    db.execute(
        "INSERT INTO orders (order_number, user_id, total, status, created_at) "
        "VALUES (%s, %s, %s, %s, %s)",
        _order(number, rng, users)[1:],
    )
    for _ in range(2):
        db.execute(
            "INSERT INTO order_items (order_id, product_id, quantity, price) "
            "VALUES (currval('orders_id_seq'), %s, %s, 19.99)",
            (rng.randint(1, products), rng.randint(1, 4)),
        )


def _product(number: int, rng: random.Random) -> tuple[Any, ...]:
    price = rng.choice([Decimal(20), Decimal("39.99"), Decimal("54.5")])
    return (
        *(number, f"Product {number}", "Soft → warm", price, "women", "navy", "own"),
        *(number, True, _BEGAN),
    )


def _order(number: int, rng: random.Random, users: int) -> tuple[Any, ...]:
    total = rng.choice([Decimal("45.49"), Decimal(80)])
    placed = _BEGAN + timedelta(days=60 + number % 28, hours=10)
    buyer = rng.randint(1, users)
    return (number, f"ORD-20260301-{number:08X}", buyer, total, "processing", placed)


def two_shops(tmp_path: Path) -> tuple[Path, Path]:
    """(live, snapshot): the live one has 3 orders more."""
    snapshot = build_shop(tmp_path / "snapshot.db")
    live = tmp_path / "live.db"
    shutil.copyfile(snapshot, live)
    rng = random.Random(1)
    with closing(sqlite3.connect(live)) as database, database:
        for number in range(61, 64):
            add_order(database, number, rng)
        database.execute(
            "UPDATE orders SET total = 10.5, created_at = '2026-11-23 10:00:00.000000'"
            " WHERE id > 60"
        )
    return live, snapshot
