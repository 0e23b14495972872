"""References to rows that are not there: counted as SQLite counts them, in less time."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from services.protection import references

PARENTS = {
    "dense": "INSERT INTO parent SELECT value, 'x' FROM generate LIMIT 3000",
    "gaps": "INSERT INTO parent SELECT value, 'x' FROM generate WHERE value % 41 LIMIT 2950",
    "sparse": "INSERT INTO parent SELECT value * 7, 'x' FROM generate LIMIT 3000",
    "none": "SELECT 1",
    "negative": "INSERT INTO parent SELECT value - 1500, 'x' FROM generate LIMIT 3000",
}
CHILDREN = {
    "INTEGER": lambda rng: rng.choice([None, rng.randint(-5, 3100)]),
    "TEXT": lambda rng: rng.choice([None, str(rng.randint(1, 3100)), "no number"]),
    "": lambda rng: rng.choice([None, rng.randint(1, 3100), "12", 2.0, 2.5, b"x"]),
}


@pytest.mark.parametrize("ids", PARENTS)
@pytest.mark.parametrize("kind", CHILDREN)
@pytest.mark.parametrize("named", ["(id)", "", "(ID)"])
def test_the_number_is_the_one_that_sqlite_gives(ids: str, kind: str, named: str):
    rng = random.Random(5)
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute('CREATE TABLE parent (id INTEGER PRIMARY KEY, "odd ""name" TEXT UNIQUE)')
        database.execute(
            f'CREATE TABLE "the child" (id INTEGER PRIMARY KEY, "a ""b" {kind} '
            f"REFERENCES parent{named}, other INTEGER REFERENCES parent)"
        )
        database.execute("CREATE TABLE generate (value INTEGER PRIMARY KEY)")
        database.executemany("INSERT INTO generate VALUES (?)", [(n,) for n in range(1, 3200)])
        database.execute("CREATE TEMP TABLE rows AS SELECT 1")
        sql = PARENTS[ids].replace("'x'", "'x' || value")
        database.execute(sql)
        database.executemany(
            'INSERT INTO "the child" ("a ""b", other) VALUES (?, ?)',
            [(CHILDREN[kind](rng), rng.randint(1, 50)) for _ in range(400)],
        )
        expected = len(database.execute("PRAGMA foreign_key_check").fetchall())
        assert references.violations(database) == expected


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TABLE child (a REFERENCES nowhere (id)); INSERT INTO child VALUES (1), (NULL)",
        "CREATE TABLE p (k TEXT PRIMARY KEY); CREATE TABLE child (a REFERENCES p (k));"
        "INSERT INTO p VALUES ('x'); INSERT INTO child VALUES ('x'), ('y')",
        "CREATE TABLE p (a, b, PRIMARY KEY (a, b)); INSERT INTO p VALUES (1, 2);"
        "CREATE TABLE child (a, b, FOREIGN KEY (a, b) REFERENCES p (a, b));"
        "INSERT INTO child VALUES (1, 2), (1, 3), (NULL, 9)",
        "CREATE TABLE p (id INTEGER PRIMARY KEY, n UNIQUE); INSERT INTO p VALUES (1, 10);"
        "CREATE TABLE child (a REFERENCES p (n)); INSERT INTO child VALUES (10), (1)",
        "CREATE TABLE tree (id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree);"
        "INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 9)",
    ],
)
def test_what_ranges_cant_tell_is_asked_of_sqlite(schema: str):
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(schema)
        expected = len(database.execute("PRAGMA foreign_key_check").fetchall())
        assert references.violations(database) == expected
