"""A desk whose backups lie in a bucket with an archive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services import backup
from services.core.context import open_context
from services.core.loading import load_settings
from services.protection.archive import index as archive_index
from services.protection.stores import open_store
from services.shop.attach import attach
from tests.glacier import freeze, slow_archive
from tests.shops import build_shop


@pytest.fixture
def server(moto_server) -> Iterator[object]:
    slow_archive(moto_server, 8)  # each HEAD and GET of an object is a look
    yield moto_server
    slow_archive(moto_server, None)


@pytest.fixture
def bucket(server) -> str:
    return server.make_bucket()


@pytest.fixture
def s3(tmp_path, server, bucket):
    """A desk with a shop whose store is a bucket with an archive."""
    settings = load_settings(
        env_file=tmp_path / "none.env",
        desk_home=tmp_path / "s3-desk",
        shop_root=tmp_path / "s3-shop",
        archive_after_days=30,
        **server.settings(bucket, "desk"),
    )
    context = open_context(settings)
    build_shop(context.settings.shop_sqlite_path)
    attach(context)
    yield context
    context.close()


@pytest.fixture
def snapshot(s3, operator) -> str:
    """A backup in the bucket, readable."""
    return backup.run(s3, operator, "manual").result["snapshot"]


@pytest.fixture
def archived(s3, server, bucket, snapshot) -> str:
    """The same after a lifecycle rule moved its data."""
    assert freeze(server, bucket, "desk/data/")
    archive_index.look(s3, open_store(s3.settings))
    return snapshot
