"""A small shop for tests: real SQLite with the tables and habits of the real one."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

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
