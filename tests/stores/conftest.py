"""The stores that the contract suite runs against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.core.context import Context, open_context
from services.core.loading import load_settings
from services.core.settings import Settings
from services.protection.stores import open_store
from services.protection.stores.base import Store
from services.protection.stores.s3 import S3Store
from services.protection.stores.s3_client import Patience
from tests.servers import S3Server

QUICK = Patience(connect_seconds=5, read_seconds=10, attempts=2)
NO_PATIENCE = Patience(connect_seconds=1, read_seconds=0.2, attempts=2)
"""So that a server that never answers is given up within a test."""


@pytest.fixture
def s3_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a desk whose store is a bucket: `s3_settings(server, bucket, prefix, ...)`."""

    def make(server: S3Server, bucket: str, prefix: str = "", **overrides: object) -> Settings:
        values = {"desk_home": tmp_path, **server.settings(bucket, prefix), **overrides}
        return load_settings(env_file=tmp_path / "none.env", **values)

    return make


@pytest.fixture(params=["local", "rclone", "moto"])
def store(request: pytest.FixtureRequest, settings: Settings) -> Store:
    """An empty store, opened as the desk opens it. One for each kind there is."""
    if request.param == "local":
        return open_store(settings)
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    make = request.getfixturevalue("s3_settings")
    return open_store(make(server, server.make_bucket(), "desk/backups"))


@pytest.fixture(params=["rclone", "moto"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each of the S3 servers."""
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
def quick_store(s3_settings: Callable[..., Settings]) -> Callable[..., S3Store]:
    """A store that tries twice only: `quick_store(server, bucket, patience, ...)`."""

    def make(
        server: S3Server,
        bucket: str = "some-bucket",
        patience: Patience = QUICK,
        **overrides: object,
    ) -> S3Store:
        return S3Store.from_settings(s3_settings(server, bucket, **overrides), patience)

    return make


@pytest.fixture
def desk(s3_settings: Callable[..., Settings]) -> Iterator[Callable[..., Context]]:
    """`desk(server, bucket, prefix, ...)`: a desk whose store is that bucket."""
    opened: list[Context] = []

    def make(server, bucket: str, prefix: str = "desk", **overrides: Any) -> Context:
        context = open_context(s3_settings(server, bucket, prefix, **overrides))
        opened.append(context)
        return context

    yield make
    for context in opened:
        context.close()
