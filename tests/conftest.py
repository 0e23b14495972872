"""Fixtures that every test may use: a desk of its own, people, a clock, a shop."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from db.engine import sqlite_file
from services.core.access import ROLES, Actor, ActorKind
from services.core.context import Context, open_context
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT, Settings
from services.shop.attach import attach
from tests.shops import build_shop

pytest_plugins = ["tests.servers", "tests.postgres", "tests.faults.beside", "tests.faults.matrix"]

SHARED = PROJECT_ROOT.parent / "shared" / "insightshop"

# How fast a busy machine is proves nothing about the code.
hypothesis_settings.register_profile(
    "desk", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("desk")

_DESK_VARIABLES = {name.upper() for name in Settings.model_fields} | {
    name for name in os.environ if name.startswith("AWS_")
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine reaches a test."""
    _clean(monkeypatch)


def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _DESK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: datetime) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **step: float) -> datetime:
        """Move on by a timedelta's keywords."""
        self.now += timedelta(**step)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 22, 9, 0, tzinfo=UTC))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A desk and a shop below the test's own folder; the store is a local folder."""
    return desk_settings(tmp_path)


def desk_settings(folder: Path, **more: Any) -> Settings:
    """Of a desk and a shop below a folder."""
    return load_settings(
        env_file=folder / "none.env", desk_home=folder / "desk", shop_root=folder / "shop", **more
    )


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A desk and a small shop, both migrated once: their databases are copied by every test."""
    folder = tmp_path_factory.mktemp("migrated")
    with pytest.MonkeyPatch.context() as monkeypatch:
        _clean(monkeypatch)
        made = desk_settings(folder)
        context = open_context(made)
        build_shop(database_file(made.shop_database_url))
        attach(context)
        context.close()
    return made


def database_file(url: str) -> Path:
    """The file of an SQLite database."""
    path = sqlite_file(url)
    assert path is not None
    return path


def copy_database(source: str, target: str) -> Path:
    """Put a closed SQLite database where another address points; gives the new file."""
    path = database_file(target)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copy(database_file(source), path)
    return path


@pytest.fixture
def ctx(settings: Settings, migrated: Settings) -> Iterator[Context]:
    """A desk whose shop does not exist yet; real clock."""
    control = sqlite_file(settings.control_url)
    if control is not None and not control.exists():
        copy_database(migrated.control_url, settings.control_url)
    context = open_context(settings)
    yield context
    context.close()


@pytest.fixture
def shop(ctx: Context, migrated: Settings) -> Path:
    """A small real shop database, attached (kb tables added). Gives its path."""
    return copy_database(migrated.shop_database_url, ctx.settings.shop_database_url)


def person(role: str) -> Actor:
    """Somebody with a built-in role."""
    return Actor(f"id-{role}", role.title(), ActorKind.ACCOUNT, ROLES[role], role)


@pytest.fixture
def admin() -> Actor:
    return person("admin")


@pytest.fixture
def editor() -> Actor:
    return person("editor")


@pytest.fixture
def operator() -> Actor:
    return person("operator")


@pytest.fixture
def manager() -> Actor:
    return person("manager")


@pytest.fixture
def nobody() -> Actor:
    return Actor("", "", ActorKind.ACCOUNT)


@pytest.fixture
def shared_shop() -> Path:
    """The real shop's sample files; a test that needs them is left out, by name, without them."""
    if not SHARED.is_dir():
        pytest.skip("left out: the shop's real sample files are not beside the project")
    return SHARED


@pytest.fixture
def real_shop(ctx: Context, shared_shop: Path) -> Path:
    """The real shop's database, writable, attached. Gives its path."""
    path = ctx.settings.shop_sqlite_path
    assert path is not None
    path.parent.mkdir(parents=True)
    shutil.copyfile(shared_shop / "insightshop.db", path)
    attach(ctx)
    return path
