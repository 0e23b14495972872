"""Programs beside the desk: one that writes to the shop's database, one that reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.core.context import Context
from services.core.settings import PROJECT_ROOT
from services.protection.sources import postgres

Start = Callable[..., "subprocess.Popen[bytes]"]

WRITER = """
import random, sqlite3, sys, time
sys.path.insert(0, sys.argv[2])
from tests.shops import add_order
database = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
rng = random.Random(9)
print("writing", flush=True)
while True:
    database.execute("BEGIN IMMEDIATE")
    number = database.execute("SELECT max(id) + 1 FROM orders").fetchone()[0]
    add_order(database, number, rng)
    database.execute("COMMIT")
    time.sleep(0.01)
"""

SERVER_WRITER = """
import sys, time
sys.path.insert(0, sys.argv[2])
import psycopg
from tests.shops import add_order_on
number, told = 5000, False
while True:
    try:
        with psycopg.connect(sys.argv[1], autocommit=True) as database:
            while True:
                number += 1
                with database.transaction():
                    add_order_on(database, number)
                if not told:
                    told = print("writing", flush=True) is None
                time.sleep(0.01)
    except psycopg.Error:
        time.sleep(0.01)
"""

READER = """
import json, sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
print("reading", flush=True)
while True:
    database.execute("BEGIN")
    counts = "SELECT (SELECT count(*) FROM products), (SELECT count(*) FROM users)"
    state = database.execute(counts).fetchone()
    empty = database.execute(
        "SELECT count(*) FROM orders o WHERE NOT EXISTS "
        "(SELECT 1 FROM order_items i WHERE i.order_id = o.id)"
    ).fetchone()[0]
    prices = database.execute("SELECT count(DISTINCT price) FROM products").fetchone()[0]
    database.execute("COMMIT")
    print(json.dumps([*state, empty, prices]), flush=True)
    time.sleep(0.002)
"""


@contextmanager
def writing_to(ctx: Context) -> Iterator[subprocess.Popen[bytes]]:
    """A shop that writes without pause, in a process of its own; comes back when it is cut off."""
    on_server = postgres.is_server(ctx.settings.shop_database_url)
    url = ctx.settings.shop_database_url.replace("postgresql+psycopg:", "postgresql:")
    place = url if on_server else str(ctx.settings.shop_sqlite_path)
    with subprocess.Popen(
        [sys.executable, "-c", SERVER_WRITER if on_server else WRITER, place, str(PROJECT_ROOT)],
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"writing\n"
            yield process
        finally:
            process.kill()


def seen_until(output: Path, products: int) -> set[tuple[int, ...]]:
    """Everything the reader saw, once it has seen so many products."""
    for _ in range(600):
        # The first line is its greeting, the last may not be whole yet.
        states = [tuple(json.loads(line)) for line in output.read_text().splitlines()[1:-1]]
        if any(state[0] == products for state in states[-5:]):
            return set(states)
        time.sleep(0.05)
    raise AssertionError(f"the reader never saw {products} products")


@pytest.fixture
def beside(shop: Path) -> Iterator[Start]:
    """Starts programs beside the restore and ends them after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(source: str, output: Path | None = None) -> subprocess.Popen[bytes]:
        with open(output or os.devnull, "wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", source, str(shop), str(PROJECT_ROOT)],
                stdout=file if output else subprocess.PIPE,
            )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
