"""Desks and shops to break: on SQLite and on PostgreSQL, with a folder or a bucket as store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from services.core.access import Actor
from services.core.context import Context, open_context
from services.core.loading import load_settings
from services.core.settings import Settings
from services.protection.rescue import live as live_file
from services.shop.attach import attach
from tests.faults import matrix
from tests.faults.scene_broken import Scene, ServerScene
from tests.faults.scene_postgres import desk_on
from tests.postgres import PostgresServer
from tests.shops import build_shop

DeskAt = Callable[..., Context]


@pytest.fixture
def desk_at(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DeskAt]:
    """`desk_at(column, **settings)`: a desk with a small shop, at one of `matrix.PLACES`."""
    with ExitStack() as opened:

        def make(column: str, **more: Any) -> Context:
            overrides: dict[str, Any] = {}
            if column in (matrix.SQLITE_S3, matrix.POSTGRESQL_S3):
                bucket_server = request.getfixturevalue("rclone_server")
                overrides |= bucket_server.settings(bucket_server.make_bucket(), "desk")
            if column in (matrix.POSTGRESQL, matrix.POSTGRESQL_S3):
                server = request.getfixturevalue("postgres_server")
                overrides |= {"database_url": server.make_shop(), **server.tools_setting()}
            settings = load_settings(
                env_file=tmp_path / "no.env",
                desk_home=tmp_path / "old" / "desk",
                shop_root=tmp_path / "old" / "shop",
                **overrides | more,
            )
            if settings.shop_sqlite_path is not None:
                build_shop(settings.shop_sqlite_path)
            ctx = opened.enter_context(closing(open_context(settings)))
            attach(ctx)
            return ctx

        yield make


@pytest.fixture
def file_scene(
    settings: Settings, operator: Actor, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    """A damaged shop on SQLite."""
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.02)
    with closing(open_context(settings)) as ctx:
        assert settings.shop_sqlite_path is not None
        build_shop(settings.shop_sqlite_path)
        attach(ctx)
        yield Scene(ctx, operator)


@pytest.fixture
def server_scene(
    settings: Settings,
    operator: Actor,
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ServerScene]:
    """A damaged shop on PostgreSQL."""
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.02)
    with desk_on(settings, postgres_server, postgres_server.make_shop()) as ctx:
        yield ServerScene(ctx, operator, postgres_server)


@pytest.fixture(params=["file_scene", "server_scene"], ids=["sqlite", "postgresql"])
def scene(request: pytest.FixtureRequest) -> Scene:
    """A damaged shop, on either."""
    found: Scene = request.getfixturevalue(request.param)
    return found
