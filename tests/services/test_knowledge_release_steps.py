"""Publishing tells its steps, in the order in which it takes them."""

from __future__ import annotations

import subprocess

import pytest

from services.core.errors import Conflict
from services.knowledge.releasing import activating, releases
from tests.conftest import desk_settings
from tests.knowledge_base import load
from tests.services.publishing import MODULE, publish, say

FILES = [
    "Writing the files beside those the shop reads",
    "Writing down that it is current",
    "Putting the files in their place",
    "Committing them",
]


@pytest.fixture
def settings(tmp_path):
    """A desk that publishes into a folder of the shop's checkout."""
    return desk_settings(tmp_path, kb_publish_dir="utils")


@pytest.fixture
def ready(ctx, shop, editor, settings, tmp_path, monkeypatch):
    """Release 1 is current, and something else is saved."""
    monkeypatch.setenv("HOME", str(tmp_path))
    settings.publish_dir.mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=settings.shop_dir, check=True)
    load(ctx)
    publish(ctx, editor)
    say(ctx, editor, "Navy likes red.")
    return ctx


class Steps:
    """Keeps what it is told."""

    def __init__(self):
        self.told, self.shares = [], []

    def __call__(self, step, fraction):
        self.told.append(step)
        self.shares.append(fraction)


def test_every_step_of_a_release_is_told_before_it_is_done(ready, editor):
    seen = Steps()
    publish(ready, editor, watcher=seen)
    assert seen.told == ["Freezing what is saved", *FILES]
    assert seen.shares == sorted(set(seen.shares)) and 0 <= min(seen.shares) < max(seen.shares) < 1


def test_so_is_making_an_older_one_current_and_writing_it_again(ready, editor, settings):
    again = Steps()
    publish(ready, editor)
    activating.make_current(ready, editor, 1, "It was better", watcher=again)
    assert again.told == ["Reading release 1", *FILES]
    (settings.publish_dir / MODULE).unlink()
    written = Steps()
    activating.write_again(ready, editor, watcher=written)
    assert written.told == [FILES[0], FILES[2], FILES[3]]


def test_what_is_refused_tells_no_step_that_was_not_begun(ready, editor):
    plan = releases.preview(ready, editor)
    say(ready, editor, "Navy likes green.")
    seen = Steps()
    with pytest.raises(Conflict):
        releases.publish(ready, editor, plan, "Too late", watcher=seen)
    assert seen.told == ["Freezing what is saved"]
