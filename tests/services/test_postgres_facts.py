"""Digests of PostgreSQL tables: equal content gives equal digests, other content others."""

from __future__ import annotations

import psycopg
import pytest

from services.core.errors import Broken, Conflict, Misconfigured, Transient
from services.protection.sources import postgres
from tests.postgres import PASSWORD

ODD = """
CREATE TABLE plain (id SERIAL PRIMARY KEY, name TEXT, amount NUMERIC(10, 2), loose NUMERIC,
  made TIMESTAMP, seen TIMESTAMPTZ, flag BOOLEAN, big BIGINT, tiny SMALLINT, share DOUBLE PRECISION,
  body JSON, other JSONB, raw BYTEA, tags TEXT[], code UUID,
  day DATE, span INTERVAL, fixed CHAR(5));
INSERT INTO plain (name, amount, loose, made, seen, flag, big, tiny, share, body, other, raw, tags,
  code, day, span, fixed) VALUES
 ('→ ''quoted'' "x"', 12.50, 1.500, '2026-01-01 10:00:00.000001', '2026-01-01 10:00+02', true,
  9223372036854775807, -3, 0.1, '{"b": 1.0, "a": 9223372036854775808}', '{"b": 1.0}', '\\x00ff',
  '{a,"b c",NULL}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2026-02-28', '1 mon 2 days', 'ab'),
 (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL),
 ('', 0, 0, 'epoch', 'infinity', false, 0, 0, 'NaN', 'null', 'null', '', '{}',
  '00000000-0000-0000-0000-000000000000', 'infinity', '0', '');
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN price AS NUMERIC CHECK (VALUE >= 0);
CREATE TABLE no_key (mood mood, price price, twice INTEGER GENERATED ALWAYS AS (2 * 21) STORED);
INSERT INTO no_key VALUES ('glad', 3.50), ('glad', 3.50), ('sad', 3.5);
CREATE TABLE "Größe ""x"".y → 'z'" ("der Wert" TEXT, "select" INT, "100 %s" INT);
INSERT INTO "Größe ""x"".y → 'z'" VALUES ('ä', 1, 2);
CREATE TABLE empty_one (id INT);
CREATE TABLE no_column ();
INSERT INTO no_column DEFAULT VALUES;
CREATE SCHEMA "Other.schema";
CREATE TABLE "Other.schema".plain (id INT PRIMARY KEY, up INT REFERENCES "Other.schema".plain (id));
INSERT INTO "Other.schema".plain VALUES (1, NULL), (2, 1);
CREATE TABLE by_year (id BIGINT, year INT NOT NULL, PRIMARY KEY (id, year))
  PARTITION BY LIST (year);
CREATE TABLE by_year_2025 PARTITION OF by_year FOR VALUES IN (2025);
CREATE TABLE by_year_rest PARTITION OF by_year DEFAULT;
INSERT INTO by_year SELECT n, 2020 + n % 7 FROM generate_series(1, 100) n;
CREATE TABLE parent (id INT); CREATE TABLE child (more TEXT) INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 'x');
CREATE UNLOGGED TABLE unlogged (id INT); INSERT INTO unlogged VALUES (1);
CREATE TABLE gone (a INT, b TEXT, c INT); INSERT INTO gone VALUES (1, 'b', 3);
ALTER TABLE gone DROP COLUMN b; ALTER TABLE gone ADD COLUMN d TEXT DEFAULT 'd';
CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM plain;
CREATE SEQUENCE lonely START 41; SELECT nextval('lonely');
CREATE TABLE pairs (a INT, b INT, PRIMARY KEY (a, b)); INSERT INTO pairs VALUES (1, 1);
CREATE TABLE uses_pairs (a INT, b INT);
INSERT INTO uses_pairs VALUES (1, 1), (1, 2), (NULL, 7);
ALTER TABLE uses_pairs ADD FOREIGN KEY (a, b) REFERENCES pairs NOT VALID;
"""


@pytest.fixture(params=["postgres_server", "postgres18_server"])
def server(request):
    return request.getfixturevalue(request.param)


def test_every_odd_table_comes_back_from_a_dump_with_the_same_digest(server, tmp_path):
    url = server.make_shop()
    with psycopg.connect(url) as db:
        db.execute(ODD)
    folders = str(server.bin_dir)
    dump = tmp_path / "dump"
    with postgres.capture(url, folders=folders) as captured:
        measuring = captured.measure()
        with captured.dump() as stream, open(dump, "wb") as file:
            while piece := stream.read(1 << 16):
                file.write(piece)
        facts = measuring.result()
    assert {name: found.rows for name, found in facts.tables.items()} == {
        "users": 12,
        "products": 40,
        "orders": 60,
        "order_items": 120,
        "cart_items": 0,
        "payment_logs": 1,
        "plain": 3,
        "no_key": 3,
        "empty_one": 0,
        "no_column": 1,
        'public."Größe ""x"".y → \'z\'"': 1,
        '"Other.schema".plain': 2,
        "by_year_2025": 14,
        "by_year_rest": 86,
        "parent": 1,
        "child": 1,
        "unlogged": 1,
        "gone": 1,
        "pairs": 1,
        "uses_pairs": 2 + 1,
    }
    assert facts.foreign_key_violations == 1 + 1  # a payment log, and the pair (1, 2)
    assert facts.tables == postgres.table_facts(url)
    side = f"side_{server.version}"
    postgres.create_side(url, side)
    try:
        shares: list[float] = []
        notes = postgres.restore_into(url, side, dump, watch=shares.append, folders=folders)
        assert notes == () and shares == sorted(shares) and 0.9 < shares[-1] <= 1
        assert postgres.table_facts(server.url(side)) == facts.tables
        assert postgres.foreign_key_violations(server.url(side)) == 2
        with psycopg.connect(server.url(side)) as db:
            assert db.execute("SELECT nextval('lonely')").fetchone() == (42,)
            assert db.execute("SELECT nextval('orders_id_seq')").fetchone() == (61,)
    finally:
        postgres.drop_side(url, side)


CHANGES = (
    "UPDATE orders SET total = total + 0.01 WHERE id = 7",
    "UPDATE orders SET user_id = NULL WHERE id = 7",
    "UPDATE products SET description = '' WHERE id = 3",
    "UPDATE products SET description = NULL WHERE id = 3",
    "DELETE FROM orders WHERE id = 60",
    # The same values, in other rows: a sum over columns would not see it.
    "UPDATE users SET first_name = 'User ' || (3 - id) WHERE id IN (1, 2)",
    "ALTER TABLE products RENAME COLUMN color TO colour",
)


def test_each_change_changes_the_digest_of_its_table_alone(postgres_server):
    url = postgres_server.make_shop()
    before = postgres.table_facts(url)
    with psycopg.connect(url) as db:
        db.execute("ALTER TABLE order_items DROP CONSTRAINT order_items_order_id_fkey")
    for change in CHANGES:
        with psycopg.connect(url) as db:
            db.execute(change)
        after = postgres.table_facts(url)
        [changed] = [name for name in after if after[name] != before[name]]
        assert f" {changed} " in f" {change} ", change
        before = after


def test_the_order_of_rows_and_of_writing_makes_no_difference(postgres_server):
    url = postgres_server.make_shop()
    before = postgres.table_facts(url)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("UPDATE orders SET status = status WHERE id % 3 = 0")
        db.execute("CLUSTER orders USING ix_orders_created_at")
        db.execute("VACUUM FULL products")
        db.execute("SET timezone = 'Asia/Tokyo'")
    with psycopg.connect(url) as db:
        name = db.info.dbname
        db.execute(f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Tokyo'")
        db.execute(f"ALTER DATABASE \"{name}\" SET datestyle = 'German'")
    assert postgres.table_facts(url) == before


def test_a_null_where_none_may_be_any_more_is_part_of_the_digest(postgres18_server):
    url = postgres18_server.make_shop()
    with psycopg.connect(url) as db:
        db.execute("CREATE TABLE notes (id INT, said TEXT)")
        db.execute("INSERT INTO notes VALUES (1, NULL), (2, 'x')")
        db.execute("ALTER TABLE notes ADD CONSTRAINT said_it NOT NULL said NOT VALID")
    before = postgres.table_facts(url)["notes"]
    with psycopg.connect(url) as db:
        db.execute("ALTER TABLE notes DROP CONSTRAINT said_it")
        db.execute("UPDATE notes SET id = 3 WHERE id = 1")
    assert postgres.table_facts(url)["notes"].digest != before.digest


def test_what_a_role_may_not_read_is_refused_and_never_left_out(postgres_server):
    url = postgres_server.make_shop()
    name = url.rpartition("/")[2]
    with postgres_server.connect(name) as db:
        db.execute("CREATE TABLE hidden (id INT)")
    with pytest.raises(Misconfigured, match="does not let the desk's role do this"):
        postgres.table_facts(url)
    with (
        pytest.raises(Misconfigured, match="does not let the desk's role do this; nothing was"),
        postgres.capture(url, folders=str(postgres_server.bin_dir)),
    ):
        pass
    with postgres_server.connect(name) as db:
        db.execute("GRANT SELECT ON hidden TO shop")
        db.execute("INSERT INTO hidden VALUES (1)")
        db.execute("ALTER TABLE hidden ENABLE ROW LEVEL SECURITY")
    with pytest.raises(Misconfigured):
        postgres.table_facts(url)


def test_a_side_database_is_as_the_live_one_and_takes_its_place_in_one_step(
    postgres_server, tmp_path
):
    url = postgres_server.make_shop()
    live = url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f'ALTER DATABASE "{live}" SET search_path = "$user", public, extra')
        db.execute(f'ALTER DATABASE "{live}" CONNECTION LIMIT 17')
        db.execute(f'REVOKE CONNECT ON DATABASE "{live}" FROM PUBLIC')
    with pytest.raises(Conflict, match="already"):
        postgres.create_side(url, live)
    postgres.create_side(url, f"{live}_side")
    with psycopg.connect(postgres_server.url(f"{live}_side"), autocommit=True) as db:
        assert db.execute("SHOW search_path").fetchone() == ('"$user", public, extra',)
        db.execute("CREATE TABLE restored (id INT)")
    waiting = psycopg.connect(url)  # a session of the shop, in the middle of a transaction
    waiting.execute("SELECT 1")
    postgres.swap(url, f"{live}_side", f"{live}_old")
    with pytest.raises(psycopg.Error):
        waiting.execute("SELECT 1")
    with psycopg.connect(url) as db:
        assert db.execute("SELECT count(*) FROM restored").fetchone() == (0,)
    with psycopg.connect(postgres_server.url(f"{live}_old")) as db:
        assert db.execute("SELECT count(*) FROM orders").fetchone() == (60,)
    with postgres_server.connect() as db:
        rows = db.execute(
            "SELECT datname, datconnlimit, pg_get_userbyid(datdba), "
            "ARRAY(SELECT unnest(datacl)::text ORDER BY 1) FROM pg_database "
            "WHERE datname LIKE %s ORDER BY 1",
            (f"{live}%",),
        ).fetchall()
    assert [row[0] for row in rows] == [live, f"{live}_old"]
    assert rows[0][1:] == rows[1][1:]
    assert postgres.databases(url, f"{live}_") == (f"{live}_old",)
    with pytest.raises(ValueError, match="shop's own"):
        postgres.drop_side(url, live)
    postgres.drop_side(url, f"{live}_old")
    postgres.drop_side(url, f"{live}_old")


def test_a_session_that_may_not_be_ended_stops_the_exchange_and_is_named(postgres_server):
    url = postgres_server.make_shop()
    live = url.rpartition("/")[2]
    postgres.create_side(url, f"{live}_side")
    with postgres_server.connect(live) as stubborn:
        stubborn.execute("SET application_name = 'a superuser at work'")
        with pytest.raises(Transient, match="a superuser at work.*Nothing was changed"):
            postgres.swap(url, f"{live}_side", f"{live}_old", seconds=0)
    assert postgres.databases(url, live) == (live, f"{live}_side")
    postgres.swap(url, f"{live}_side", f"{live}_old")
    assert postgres.databases(url, live) == (live, f"{live}_old")


def test_a_lost_database_is_restored_from_nothing_but_its_dump(postgres_server, tmp_path):
    url = postgres_server.make_shop()
    live, folders = url.rpartition("/")[2], str(postgres_server.bin_dir)
    dump = tmp_path / "dump"
    with postgres.capture(url, folders=folders) as captured, captured.dump() as stream:
        with open(dump, "wb") as file:
            while piece := stream.read(1 << 16):
                file.write(piece)
        before = captured.measure().result().tables
    with postgres_server.connect() as db:
        db.execute(f'DROP DATABASE "{live}"')
    postgres.create_side(url, f"{live}_side")
    postgres.restore_into(url, f"{live}_side", dump, folders=folders)
    with pytest.raises(Misconfigured, match="has no database of that name"):
        postgres.table_facts(url)
    postgres.swap(url, f"{live}_side", f"{live}_old")
    assert postgres.databases(url, live) == (live,)
    assert postgres.table_facts(url) == before


def test_a_dump_that_names_roles_of_another_server_is_restored_without_them(
    postgres_server, tmp_path
):
    url = postgres_server.make_shop()
    name, dump = url.rpartition("/")[2], tmp_path / "dump"
    with postgres_server.connect(name) as db:
        db.execute('CREATE ROLE "Auditor of → books"')
        db.execute('GRANT SELECT ON orders TO "Auditor of → books"')
    folders = str(postgres_server.bin_dir)
    with postgres.capture(url, folders=folders) as captured, captured.dump() as stream:
        dump.write_bytes(b"".join(iter(lambda: stream.read(1 << 16), b"")))
        before = captured.measure().result().tables
    with postgres_server.connect(name) as db:
        db.execute('REVOKE ALL ON orders FROM "Auditor of → books"')
        db.execute('DROP ROLE "Auditor of → books"')
    postgres.create_side(url, f"{name}_side")
    [note] = postgres.restore_into(url, f"{name}_side", dump, folders=folders)
    assert "Auditor of → books" in note
    assert postgres.table_facts(postgres_server.url(f"{name}_side")) == before
    postgres.drop_side(url, f"{name}_side")


def test_a_dump_that_is_cut_short_or_is_none_is_said_and_the_shop_is_not_touched(
    postgres_server, tmp_path
):
    url = postgres_server.make_shop(orders=2000)
    name, dump, folders = url.rpartition("/")[2], tmp_path / "dump", str(postgres_server.bin_dir)
    with postgres.capture(url, folders=folders) as captured, captured.dump() as stream:
        whole = b"".join(iter(lambda: stream.read(1 << 16), b""))
    before = postgres.table_facts(url)
    for content in (b"", b"no dump at all", whole[: len(whole) // 2]):
        dump.write_bytes(content)
        postgres.create_side(url, f"{name}_side")
        with pytest.raises(Broken, match="can't be read as a dump|could not put the dump"):
            postgres.restore_into(url, f"{name}_side", dump, folders=folders)
        postgres.drop_side(url, f"{name}_side")
    assert postgres.table_facts(url) == before


def test_a_restore_that_takes_too_long_is_stopped_with_its_workers(postgres_server, tmp_path):
    url = postgres_server.make_shop()
    name, dump, folders = url.rpartition("/")[2], tmp_path / "dump", str(postgres_server.bin_dir)
    with postgres.capture(url, folders=folders) as captured, captured.dump() as stream:
        dump.write_bytes(b"".join(iter(lambda: stream.read(1 << 16), b"")))
    postgres.create_side(url, f"{name}_side")
    with psycopg.connect(postgres_server.url(f"{name}_side")) as db:
        # The first table that is to be made is in somebody's hands, uncommitted.
        db.execute("CREATE TABLE cart_items (id INT)")
        with pytest.raises(Transient, match="was stopped"):
            postgres.restore_into(url, f"{name}_side", dump, folders=folders, seconds=1)
    postgres.drop_side(url, f"{name}_side")


def test_a_role_that_may_not_create_databases_is_told_the_command(postgres_server):
    url = postgres_server.make_shop()
    with postgres_server.connect() as db:
        db.execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    guest = postgres_server.url(url.rpartition("/")[2], "guest")
    with pytest.raises(Misconfigured) as refused:
        postgres.create_side(guest, "never")
    assert 'ALTER ROLE "guest" CREATEDB' in refused.value.hint
    assert PASSWORD not in str(refused.value)
