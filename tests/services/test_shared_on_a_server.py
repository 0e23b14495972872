"""An unchanged PostgreSQL database is recognised, whatever else happens on its server."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from services.protection.model import Part
from services.protection.sources import pg_mark, postgres
from tests.faults.scene import back_up
from tests.services.postgres_desk import desk_on


@pytest.fixture
def ctx(postgres_server, tmp_path):
    # The desk's own database is on the same server: its log moves with every job.
    context = desk_on(postgres_server, tmp_path)
    yield context
    context.close()


def run(ctx, *statements: str) -> None:
    url = ctx.settings.shop_database_url.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def shared(made) -> set[Part]:
    return {component.part for component in made.components if component.origin}


def test_a_database_that_nobody_wrote_to_is_not_dumped_again(ctx, operator):
    # The server counts writes with a delay: where it still did, one more dump is made.
    made = [back_up(ctx, operator) for _ in range(2)]
    while Part.DATABASE not in shared(made[-1]) and len(made) < 6:
        made.append(back_up(ctx, operator))
    first, second = made[-2:]
    assert Part.DATABASE in shared(second) and Part.CONTROL not in shared(second)
    assert second.tables == first.tables and second.revisions == first.revisions
    assert {c.origin for c in second.components if c.origin} == {first.id}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE products SET stock_quantity = stock_quantity + 1 WHERE id = 3",
        "UPDATE users SET first_name = 'Ada' WHERE id = 2",
        "CREATE INDEX later ON orders (total)",
        "COMMENT ON TABLE orders IS 'ours'",
        "CREATE VIEW cheap AS SELECT * FROM products WHERE price < 30",
        "CREATE SEQUENCE numbers START 7",
        "TRUNCATE payment_logs",
    ],
)
def test_whatever_a_dump_would_hold_differently_is_dumped(ctx, operator, statement):
    back_up(ctx, operator)
    run(ctx, statement)
    assert Part.DATABASE not in shared(back_up(ctx, operator))


def test_large_objects_are_in_no_digest_so_a_database_that_has_some_is_dumped(ctx, operator):
    run(ctx, "SELECT lo_from_bytea(0, 'first')")
    back_up(ctx, operator)
    assert Part.DATABASE not in shared(back_up(ctx, operator))


def test_counters_that_were_reset_or_lag_hide_nothing(ctx, operator, monkeypatch):
    monkeypatch.setattr(pg_mark, "writes", lambda _connection: "always the same")
    back_up(ctx, operator)
    run(ctx, "UPDATE products SET stock_quantity = stock_quantity + 1 WHERE id = 3")
    assert Part.DATABASE not in shared(back_up(ctx, operator))
    run(ctx, "CREATE INDEX later ON orders (total)")
    assert Part.DATABASE not in shared(back_up(ctx, operator))
    run(ctx, "CREATE SEQUENCE numbers", "SELECT nextval('numbers')")
    back_up(ctx, operator)
    run(ctx, "SELECT nextval('numbers')")
    assert Part.DATABASE not in shared(back_up(ctx, operator))


def test_a_server_at_rest_is_recognised_by_the_position_of_its_log(
    postgres_server, tmp_path, operator
):
    desk = desk_on(postgres_server, tmp_path)
    url = desk.settings.shop_database_url
    for _ in range(100):  # the server tidies up behind new tables for a moment
        run(desk, "VACUUM")
        with postgres.capture(url, folders=desk.settings.postgres_tools) as capture:
            mark, facts = capture.mark(), capture.measure().result()
        place = pg_mark.place(url)
        if place.items() <= mark.items():
            break
    assert place and place.items() <= mark.items()
    known = mark | {"writes": "0", "schema": "not looked at"}
    with postgres.capture(url, folders=desk.settings.postgres_tools) as capture:
        assert capture.recognised(known, facts) == known
    run(desk, "UPDATE products SET stock_quantity = 0 WHERE id = 1")
    with postgres.capture(url, folders=desk.settings.postgres_tools) as capture:
        assert capture.recognised(known, facts) is None
    desk.close()


def test_a_dump_of_another_database_is_never_taken_for_this_one(
    postgres_server, ctx, operator, tmp_path
):
    back_up(ctx, operator)
    other = desk_on(postgres_server, tmp_path / "other")
    moved = replace(
        ctx,
        shop=other.shop,
        settings=ctx.settings.model_copy(update={"database_url": other.settings.database_url}),
    )
    run(moved, "UPDATE products SET stock_quantity = 77 WHERE id = 1")
    assert Part.DATABASE not in shared(back_up(moved, operator))
    other.close()
