"""A drill of a shop on PostgreSQL restores its dump into a side database, and drops it again."""

from __future__ import annotations

import pytest

from services.core.context import Context, open_context
from services.core.errors import Misconfigured
from services.core.settings import Settings
from services.protection.proving import aside_server
from services.protection.sources import postgres
from tests.drills import desk_settings, failed, proven, put_manifest, said
from tests.faults.scene import back_up, furnish


@pytest.fixture
def settings(postgres_server, tmp_path) -> Settings:
    return desk_settings(
        tmp_path,
        database_url=postgres_server.make_shop(attached=True),
        **postgres_server.tools_setting(),
    )


@pytest.fixture
def made(ctx, admin):
    """A backup of a shop on the server."""
    furnish(ctx)
    return back_up(ctx, admin)


def sides(ctx: Context) -> tuple[str, ...]:
    return postgres.databases(ctx.settings.shop_database_url, aside_server.PREFIX)


def test_a_dump_is_restored_aside_compared_and_dropped(ctx, made, admin):
    evidence = proven(ctx, admin, made)
    assert evidence.passed, evidence.error
    assert "Restored into a database of its own" in said(evidence, "Database")
    assert "every count and digest as recorded" in said(evidence, "Database")
    assert sides(ctx) == ()


def test_a_dump_that_is_not_what_was_recorded_is_found_and_dropped_all_the_same(ctx, made, admin):
    from dataclasses import replace

    orders = made.tables["orders"]
    wrong = made.tables | {"orders": replace(orders, digest="0" * 64)}
    put_manifest(ctx, forged := replace(made, tables=wrong))
    evidence = proven(ctx, admin, forged)
    assert failed(evidence) == ["Database"] and "(orders)" in said(evidence, "Database")
    assert sides(ctx) == ()


def test_what_a_killed_drill_left_is_dropped_by_the_next_and_anothers_is_not(ctx, made, admin):
    from services.core import jobs

    url = ctx.settings.shop_database_url
    job = jobs.create(ctx, admin, "drill", lock="drill")
    jobs.run(ctx, job, lambda _handle: {})
    postgres.create_side(url, f"{aside_server.PREFIX}{job.id}")
    postgres.create_side(url, f"{aside_server.PREFIX}0000000000000000")
    try:
        assert proven(ctx, admin, made).passed
        assert sides(ctx) == (f"{aside_server.PREFIX}0000000000000000",)
    finally:
        postgres.drop_side(url, f"{aside_server.PREFIX}0000000000000000")


def test_a_machine_without_a_server_is_told_where_to_name_one(ctx, made, admin, tmp_path):
    other = open_context(desk_settings(tmp_path / "other", backup_store_url=ctx.settings.store_url))
    try:
        with pytest.raises(Misconfigured, match="knows no server") as refused:
            proven(other, admin, made)
        assert "DRILL_DATABASE_URL" in refused.value.hint
    finally:
        other.close()


def test_another_server_than_the_shops_can_be_named_for_drills(
    ctx, made, admin, tmp_path, postgres_server
):
    other = open_context(
        desk_settings(
            tmp_path / "other",
            backup_store_url=ctx.settings.store_url,
            drill_database_url=postgres_server.make_database(),
            **postgres_server.tools_setting(),
        )
    )
    try:
        assert proven(other, admin, made).passed
    finally:
        other.close()
