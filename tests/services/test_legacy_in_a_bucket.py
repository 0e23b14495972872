"""Backups of the old scripts in a bucket: beside the store's prefix, or in the shop's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services import legacy
from services.core.context import Context
from services.core.loading import load_settings
from tests.legacy_bucket import furnished_over


@pytest.fixture
def desk(ctx: Context, shop: Path) -> Context:
    return furnished_over(ctx)


@pytest.mark.parametrize("prefix", ["", "desk/backups"])
def test_in_a_bucket_they_are_found_beside_the_prefix_however_many(
    desk, operator, moto_server, prefix
):
    bucket = moto_server.make_bucket()
    values = moto_server.settings(bucket, prefix)
    client = moto_server.client()
    for day in range(1, 29):
        for hour in range(5):
            key = f"backups/database/insightshop_202611{day:02}_{hour:02}0000.db"
            client.put_object(Bucket=bucket, Key=key, Body=b"%d" % (day * 100 + hour))
    client.copy_object(
        Bucket=bucket,
        Key="backups/database/insightshop_latest.db",
        CopySource={"Bucket": bucket, "Key": "backups/database/insightshop_20261128_040000.db"},
    )
    settings = load_settings(
        env_file=desk.settings.desk_home / "none",
        desk_home=desk.settings.desk_home,
        shop_root=desk.settings.shop_root,
        **values,
    )
    there = replace(desk, settings=settings)
    found = legacy.legacy(there, operator)
    assert len(found.backups) == 140 and found.problem is None
    assert found.remarks == (
        "backups/database/insightshop_latest.db is the copy of insightshop_20261128_040000.db.",
    )


def test_the_shops_own_bucket_is_looked_at_where_the_store_is_elsewhere(
    desk, operator, rclone_server
):
    bucket = rclone_server.make_bucket()
    rclone_server.client().put_object(
        Bucket=bucket, Key="backups/database/insightshop_20261101_020000.db", Body=b""
    )
    values = rclone_server.settings(bucket) | {"backup_store_url": desk.settings.store_url}
    settings = load_settings(
        env_file=desk.settings.desk_home / "none",
        desk_home=desk.settings.desk_home,
        shop_root=desk.settings.shop_root,
        s3_backup_bucket=bucket,
        **values,
    )
    (found,) = legacy.legacy(replace(desk, settings=settings), operator).backups
    assert found.main.place == f"s3://{bucket}" and "empty file" in found.unusable
