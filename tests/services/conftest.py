"""Fixtures of the service tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.core.context import Context, open_context
from services.core.loading import load_settings
from services.people import passwords
from services.shop.attach import attach
from tests.services.lost import NewMachine, lose
from tests.shops import build_shop


@pytest.fixture
def cheap_bcrypt(monkeypatch):
    """Passwords that are hashed in no time."""
    monkeypatch.setattr(passwords, "COST", 4)


@pytest.fixture
def desk(ctx, clock) -> Context:
    """A desk whose clock the test moves."""
    return replace(ctx, clock=clock)


@pytest.fixture
def old_desk(tmp_path):
    """A desk with a shop whose store lies elsewhere; `old_desk(**settings)`."""
    made = []

    def make(folder: str = "old", **overrides):
        home = tmp_path / folder
        overrides = {"backup_store_url": f"file:{tmp_path / 'store'}"} | overrides
        (tmp_path / "store").mkdir(exist_ok=True)
        settings = load_settings(
            env_file=tmp_path / "no.env",
            desk_home=home / "desk",
            shop_root=home / "shop",
            **overrides,
        )
        ctx = open_context(settings)
        build_shop(settings.shop_sqlite_path)
        attach(ctx)
        made.append(ctx)
        return ctx

    yield make
    for ctx in made:
        ctx.close()


@pytest.fixture
def lost(ctx, admin):
    """A shop that was backed up, and is gone."""
    return lose(ctx, admin)


@pytest.fixture
def machine(tmp_path, lost) -> NewMachine:
    (tmp_path / "new").mkdir()
    return NewMachine(tmp_path / "new", lost)
