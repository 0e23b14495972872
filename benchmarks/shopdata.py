"""A database with the shop's tables and habits, of any size, the same on every machine."""

from __future__ import annotations

import base64
import random
import sqlite3
from contextlib import closing
from pathlib import Path

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(255) NOT NULL UNIQUE,
  password_hash VARCHAR(255), first_name VARCHAR(100) NOT NULL, last_name VARCHAR(100),
  is_verified BOOLEAN, is_admin BOOLEAN NOT NULL, google_id VARCHAR(100),
  created_at DATETIME NOT NULL, updated_at DATETIME);
CREATE TABLE products (id INTEGER PRIMARY KEY, name VARCHAR(255) NOT NULL, description TEXT,
  price NUMERIC(10, 2) NOT NULL, category VARCHAR(50) NOT NULL, color VARCHAR(50),
  size VARCHAR(20), available_colors TEXT, size_stock TEXT, images_by_color TEXT,
  fabric VARCHAR(50), occasion VARCHAR(50), brand VARCHAR(50) NOT NULL, image_url VARCHAR(500),
  stock_quantity INTEGER NOT NULL, is_active BOOLEAN NOT NULL, rating FLOAT,
  review_count INTEGER, slug VARCHAR(255) UNIQUE, created_at DATETIME NOT NULL,
  updated_at DATETIME);
CREATE TABLE orders (id INTEGER PRIMARY KEY, order_number VARCHAR(50) NOT NULL UNIQUE,
  user_id INTEGER REFERENCES users (id), guest_email VARCHAR(255), shipping_name VARCHAR(200),
  shipping_address TEXT, shipping_city VARCHAR(100), shipping_zip VARCHAR(20),
  subtotal NUMERIC(10, 2), tax NUMERIC(10, 2), shipping_cost NUMERIC(10, 2),
  total NUMERIC(10, 2) NOT NULL, currency VARCHAR(3), status VARCHAR(50) NOT NULL,
  created_at DATETIME NOT NULL, updated_at DATETIME);
CREATE TABLE order_items (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id),
  product_id INTEGER NOT NULL REFERENCES products (id), quantity INTEGER NOT NULL,
  price NUMERIC(10, 2) NOT NULL);
CREATE TABLE payments (id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders (id),
  provider VARCHAR(50), intent_id VARCHAR(100), amount NUMERIC(10, 2), currency VARCHAR(3),
  status VARCHAR(50), created_at DATETIME);
CREATE TABLE payment_logs (id INTEGER PRIMARY KEY, user_id INTEGER, payment_id INTEGER,
  amount NUMERIC(10, 2) NOT NULL, request TEXT, response TEXT, ip VARCHAR(45),
  created_at DATETIME NOT NULL);
CREATE TABLE reviews (id INTEGER PRIMARY KEY, product_id INTEGER, user_id INTEGER,
  rating INTEGER, comment TEXT, created_at DATETIME);
CREATE TABLE cart_items (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL,
  product_id INTEGER NOT NULL, quantity INTEGER NOT NULL);
CREATE INDEX ix_orders_created_at ON orders (created_at);
CREATE INDEX ix_orders_user_id ON orders (user_id);
CREATE INDEX ix_order_items_order_id ON order_items (order_id);
"""

_TEXT = (
    "soft cotton linen wool navy ivory blush relaxed tailored evening summer pleated neckline "
    "sleeve hem lining pocket button classic modern drape weight season layer pair wear light "
    "warm cool breathable structured fluid waist length fit shoulder collar cuff trim detail "
    "occasion office weekend holiday street garden party travel wash gentle iron low shade"
)
_WORDS = _TEXT.split()
_ROUND = 500  # orders written at once


def make_shop(path: Path, megabytes: int, seed: int = 11) -> Path:
    """Write a shop database of about that many megabytes (10^6 bytes)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous=OFF")
        db.execute("PRAGMA cache_size=-65536")
        db.executescript(SCHEMA)
        first = _ROUND * 8
        while first == _ROUND * 8 or path.stat().st_size < megabytes * 1_000_000:
            with db:
                for start in range(first, first + _ROUND * 8, _ROUND):
                    _round(db, rng, start)
            first += _ROUND * 8
    return path


def _round(db: sqlite3.Connection, rng: random.Random, start: int) -> None:
    numbers = range(start, start + _ROUND)
    users = range(_ROUND * 24 // 10, start * 3 // 10 + _ROUND // 10)
    products = range(_ROUND * 96 // 100, start * 12 // 100 + _ROUND // 25)
    db.executemany(
        f"INSERT INTO users VALUES ({_marks(10)})",
        [
            (
                n,
                f"{_words(rng, 2, '.')}{n}@example.org",
                f"$2b$12${_token(rng, 40)}",
                _words(rng, 1).title(),
                _words(rng, 1).title(),
                1,
                n == 1,
                None,
                _moment(rng),
                _moment(rng),
            )
            for n in range(start * 3 // 10, (start + _ROUND) * 3 // 10)
        ],
    )
    db.executemany(
        f"INSERT INTO products VALUES ({_marks(21)})",
        [
            (
                n,
                _words(rng, 4).title(),
                _words(rng, 60),
                rng.choice([20, 39.99, 54.5]),
                rng.choice(["men", "women", "kids"]),
                "navy",
                "M",
                '["navy", "ivory", "blush"]',
                f'{{"S": {rng.randint(0, 40)}, "M": {rng.randint(0, 40)}}}',
                None,
                rng.choice(["cotton", "linen", "wool"]),
                "office",
                "own",
                f"/generated_images/{_token(rng, 12)}.png",
                rng.randint(0, 90),
                True,
                round(rng.uniform(2, 5), 1),
                rng.randint(0, 300),
                f"{_words(rng, 3, '-')}-{n}",
                _moment(rng),
                _moment(rng),
            )
            for n in range(start * 12 // 100, (start + _ROUND) * 12 // 100)
        ],
    )
    orders, items, payments, logs, reviews = [], [], [], [], []
    for n in numbers:
        subtotal = rng.randint(2000, 40000) / 100
        moment = _moment(rng)
        orders.append(
            (
                n,
                f"ORD-{moment[:10].replace('-', '')}-{rng.getrandbits(32):08X}-{n}",
                rng.choice(users),
                None,
                _words(rng, 2).title(),
                f"{rng.randint(1, 400)} {_words(rng, 2).title()} Street",
                _words(rng, 1).title(),
                str(rng.randint(10000, 99999)),
                subtotal,
                subtotal * 0.0825,
                rng.choice([0, 5, 9.99]),
                subtotal * 1.0825,
                "USD",
                rng.choice(["pending", "processing", "shipped", "delivered"]),
                moment,
                _moment(rng),
            )
        )
        items += [
            (n, rng.choice(products), rng.randint(1, 4), rng.choice([20, 39.99, 54.5]))
            for _ in range(rng.randint(1, 3))
        ]
        payments.append(
            (n, n, "stripe", f"pi_{_token(rng, 20)}", subtotal, "USD", "succeeded", moment)
        )
        logs.append(
            (
                n,
                rng.choice(users),
                n,
                subtotal,
                f'{{"amount": {subtotal}, "note": "{_words(rng, 12)}"}}',
                f'{{"id": "ch_{_token(rng, 20)}", "text": "{_words(rng, 20)}"}}',
                f"10.{rng.randint(0, 255)}.{rng.randint(0, 255)}.7",
                moment,
            )
        )
        reviews.append(
            (n, rng.randint(1, 99), n, rng.randint(1, 5), _words(rng, rng.randint(5, 60)), moment)
        )
    db.executemany(f"INSERT INTO orders VALUES ({_marks(16)})", orders)
    db.executemany(
        "INSERT INTO order_items (order_id, product_id, quantity, price) VALUES (?,?,?,?)", items
    )
    db.executemany(f"INSERT INTO payments VALUES ({_marks(8)})", payments)
    db.executemany(f"INSERT INTO payment_logs VALUES ({_marks(8)})", logs)
    db.executemany(f"INSERT INTO reviews VALUES ({_marks(6)})", reviews)


def _marks(count: int) -> str:
    return ",".join("?" * count)


def _words(rng: random.Random, count: int, between: str = " ") -> str:
    return between.join(rng.choices(_WORDS, k=count))


def _token(rng: random.Random, size: int) -> str:
    return base64.urlsafe_b64encode(rng.randbytes(size)).decode()


def _moment(rng: random.Random) -> str:
    return (
        f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02} "
        f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"
        f".{rng.randint(0, 999999):06}"
    )
