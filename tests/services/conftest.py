"""Fixtures of the service tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.core.context import Context
from services.people import passwords


@pytest.fixture
def cheap_bcrypt(monkeypatch):
    """Passwords that are hashed in no time."""
    monkeypatch.setattr(passwords, "COST", 4)


@pytest.fixture
def desk(ctx, clock) -> Context:
    """A desk whose clock the test moves."""
    return replace(ctx, clock=clock)
