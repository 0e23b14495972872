"""What a restore on PostgreSQL is made of: the comparison of two databases, names, marks."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy import make_url

from services.protection.rescue import pg_beside, pg_compare
from services.protection.rescue.compare import TableDiff, losses
from services.protection.rescue.pg_beside import Kind, Mark, name_beside
from services.protection.rescue.words import table_lines
from services.protection.sources import postgres
from tests.postgres import PostgresServer
from tests.shops import add_order_on

TAKEN = datetime(2026, 1, 22, 9, 0, tzinfo=UTC)


class Two:
    """Two databases that are equal until a test changes one."""

    def __init__(self, server: PostgresServer, live: str) -> None:
        self.server, self.url = server, live.replace("postgresql:", "postgresql+psycopg:")
        self.live = str(make_url(live).database)
        self.side = f"{self.live}_side"

    def on(self, name: str, statements: str) -> None:
        with psycopg.connect(self.server.url(name), autocommit=True) as db:
            db.execute(statements)

    def fork(self) -> None:
        """From here on there are two."""
        with self.server.connect() as server:
            server.execute(f'CREATE DATABASE "{self.side}" TEMPLATE "{self.live}" OWNER shop')

    def compared(self, **options: float) -> dict[str, TableDiff]:
        facts = postgres.table_facts(
            make_url(self.url).set(database=self.side).render_as_string(hide_password=False)
        )
        found = pg_compare.compare_on_server(self.url, self.live, self.side, facts, **options)
        return {diff.table: diff for diff in found}


@pytest.fixture
def two(postgres_server):
    return Two(postgres_server, postgres_server.make_shop())


def test_orders_products_and_prices_are_counted_by_their_keys(two):
    two.fork()
    with psycopg.connect(two.server.url(two.live), autocommit=True) as db:
        for number in range(61, 64):
            add_order_on(db, number)
        db.execute("UPDATE orders SET total = 10.5 WHERE id > 60")
        db.execute("UPDATE products SET price = price + 1 WHERE id > 20")
        db.execute("UPDATE products SET name = 'x' WHERE id = 5")
        db.execute(
            "DELETE FROM order_items WHERE product_id = 3; DELETE FROM products WHERE id = 3"
        )
    found = two.compared()
    said = [line.text for line in table_lines(found.values(), TAKEN)]
    assert said[0] == "3 orders placed since then would be lost (total 31.50)"
    assert "20 prices go back to their earlier value" in said
    assert "1 other product goes back to its earlier content" in said
    assert (found["products"].back, found["products"].changed) == (1, 21)
    assert found["users"].same


def test_keys_of_every_kind_and_tables_without_one(two):
    two.on(
        two.live,
        """
        CREATE TABLE texts (k text PRIMARY KEY, v json);
        INSERT INTO texts VALUES ('ä', '{"a": 1}'), ('Z', 'null'), ('b c', NULL), ('_', '[]');
        CREATE TABLE pairs (b int, a int, v numeric, PRIMARY KEY (a, b));
        INSERT INTO pairs SELECT n % 7, n, n / 3.0 FROM generate_series(1, 100) n;
        CREATE TABLE mixed (day date, code uuid, v bytea, PRIMARY KEY (day, code));
        INSERT INTO mixed SELECT date '2026-01-01' + n, gen_random_uuid(), '\\x00ff'
          FROM generate_series(1, 50) n;
        CREATE TABLE loose (a int, b text);
        INSERT INTO loose VALUES (1, 'x'), (1, 'x'), (2, NULL), (NULL, NULL);
        CREATE TABLE only_keys (a int PRIMARY KEY);
        INSERT INTO only_keys VALUES (1), (2);
        CREATE SCHEMA "Depot ""2"; CREATE TABLE "Depot ""2"."odd.name" ("a key" int PRIMARY KEY);
        INSERT INTO "Depot ""2"."odd.name" VALUES (1);
        """,
    )
    two.fork()
    assert all(diff.same for diff in two.compared().values())
    two.on(
        two.live,
        """
        UPDATE texts SET v = '{"a": 2}' WHERE k = 'ä'; DELETE FROM texts WHERE k = '_';
        INSERT INTO texts VALUES ('ß', NULL);
        DELETE FROM pairs WHERE a = 50; UPDATE pairs SET v = 1 WHERE a = 51;
        UPDATE mixed SET v = NULL WHERE day < '2026-01-11';
        DELETE FROM loose WHERE ctid = (SELECT min(ctid) FROM loose); INSERT INTO loose VALUES (3);
        DELETE FROM only_keys WHERE a = 2; INSERT INTO only_keys VALUES (3), (4);
        INSERT INTO "Depot ""2"."odd.name" VALUES (2);
        """,
    )
    found = two.compared()

    def numbers(name: str) -> tuple[int, int, int]:
        return found[name].lost, found[name].back, found[name].changed

    assert numbers("texts") == (1, 1, 1)
    assert numbers("pairs") == (0, 1, 1)
    assert numbers("mixed") == (0, 0, 9)
    assert numbers("loose") == (1, 1, 0)
    assert numbers("only_keys") == (2, 1, 0)
    assert [diff.lost for name, diff in found.items() if "odd.name" in name] == [1]


def test_a_table_or_column_that_only_one_side_has_is_no_obstacle(two):
    two.fork()
    two.on(
        two.live,
        "CREATE TABLE coupons (id int); INSERT INTO coupons VALUES (1), (2);"
        "ALTER TABLE products ADD COLUMN sale_price numeric; DROP TABLE cart_items;",
    )
    found = two.compared()
    assert losses(tuple(found.values())) == {"coupons": 2}
    assert found["products"].same


def test_what_does_not_fit_into_the_time_is_counted_and_said(two):
    two.fork()
    two.on(two.live, "UPDATE products SET price = 1; DELETE FROM order_items WHERE id < 11")
    found = two.compared(seconds=0.0)
    assert all(diff.counted for diff in found.values())
    assert (found["order_items"].back, found["products"].changed) == (10, 0)
    said = [line.text for line in table_lines(found.values(), TAKEN)]
    assert "10 order lines come back" in said
    assert said[-1].startswith("Too many to be compared one by one") and "products" in said[-1]


def test_a_table_that_is_locked_while_it_is_compared_is_an_error_in_words(two, monkeypatch):
    from services.core.errors import Transient

    monkeypatch.setattr(pg_compare, "_COUNT_MILLISECONDS", 200)
    two.fork()
    with psycopg.connect(two.server.url(two.live)) as other:
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Transient, match="longer than it may; nothing was changed"):
            two.compared(seconds=0.5)


def test_names_fit_and_differ_whatever_the_shops_is(two):
    job = "4f1c2b3a4f1c2b3a"
    assert name_beside("shop", Kind.BEFORE, job) == f"shop_before_{job}"
    long = [name_beside(name, Kind.PREVIEW, job) for name in ("ß" * 31, "ß" * 30 + "xy")]
    assert len(set(long)) == 2
    assert all(len(name.encode()) <= 63 for name in long)
    with two.server.connect() as server:
        mark = Mark(Kind.BEFORE, two.live, "s", job, TAKEN.isoformat(), was='it\'s "mine" → ok')
        pg_beside.write_mark(server, two.live, mark)
        assert pg_beside.mark_of(server, two.live) == mark
        assert list(pg_beside.listed(server, two.live)) == []
        pg_beside.unmark(server, two.live)
        assert pg_beside.own_comment(server, two.live) == mark.was
        pg_beside.unmark(server, two.live)
        assert pg_beside.own_comment(server, two.live) == mark.was
