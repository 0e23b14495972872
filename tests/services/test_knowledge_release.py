"""Publishing: what is saved becomes a release, the release what the shop reads."""

from __future__ import annotations

import json

import pytest

from services.core.errors import Conflict, Invalid
from services.knowledge.releasing import activating, comparing, releases, standing
from services.knowledge.releasing.model import FolderState
from services.knowledge.reading import read_module
from tests.conftest import desk_settings
from tests.knowledge_base import load, small_kb


@pytest.fixture
def settings(tmp_path):
    """A desk that publishes into the folder of the shop's module."""
    return desk_settings(tmp_path, kb_publish_dir="utils")


@pytest.fixture
def folder(settings):
    """The folder that the shop reads."""
    path = settings.publish_dir
    path.mkdir(parents=True)
    return path


def test_a_release_is_written_for_the_shop(ctx, shop, editor, folder):
    wanted = load(ctx)
    plan = releases.preview(ctx, editor)
    assert (plan.number, plan.comparison.added, plan.is_empty) == (1, 16, False)
    made = releases.publish(ctx, editor, plan, "The first one")
    assert made.problem is None and made.written_at is not None
    assert read_module((folder / "fashion_kb.py").read_bytes()) == wanted
    assert json.loads((folder / "fashion_kb.json").read_bytes()) == wanted
    assert standing.folder(ctx, editor).state is FolderState.CURRENT
    assert releases.preview(ctx, editor).is_empty
