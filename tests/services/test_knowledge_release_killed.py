"""A publisher that is killed at any moment: files stay whole, and the rest is done later."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from services.core import audit
from services.core.context import open_context
from services.core.settings import PROJECT_ROOT
from services.knowledge.json_reading import read_json
from services.knowledge.reading import read_module
from services.knowledge.relay import relay
from services.knowledge.releasing import activating, releases, standing
from services.knowledge.releasing.model import FolderState
from tests.conftest import desk_settings
from tests.knowledge_base import load, small_kb
from tests.services.publishing import JSON, MODULE, publish, say

NEW = "Navy likes red."
STEP = 1 if os.environ.get("DESK_FAULTS") == "long" else 3
"""Every boundary in the long run, every third in the usual one."""


@pytest.fixture
def settings(tmp_path):
    """A desk in a folder that is copied for every kill."""
    return desk_settings(tmp_path / "world", kb_publish_dir="utils")


@pytest.fixture
def killed():
    """Asks the child to publish and die."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.services.publish_child"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(home, kill_at):
        child.stdin.write(json.dumps({"home": str(home), "kill_at": kill_at}) + "\n")
        child.stdin.flush()
        return int(child.stdout.readline())

    yield ask
    child.stdin.close()
    child.wait(10)


def git(folder, *words):
    who = ("-c", "user.name=Owner", "-c", "user.email=owner@example.org")
    ran = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def documents():
    new = small_kb()
    new["color_matching"]["by_color"]["navy"] = NEW
    return small_kb(), new


def test_killed_at_any_boundary_the_folder_is_whole_and_the_rest_is_done_later(
    ctx, shop, editor, admin, settings, killed, tmp_path
):
    place = settings.publish_dir
    place.mkdir(parents=True)
    git(place, "init", "-q", "-b", "main", "--template=")  # without samples: all is copied often
    (place / ".gitignore").write_text("__pycache__/\n")
    load(ctx)
    assert publish(ctx, editor).problem is None
    say(ctx, editor, NEW)
    ctx.close()
    world = settings.desk_home.parent
    shutil.copytree(world, tmp_path / "before")
    old, new = documents()
    states = []
    for kill_at in range(1, 100, STEP):
        shutil.rmtree(world)
        shutil.copytree(tmp_path / "before", world)
        status = killed(world, kill_at)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        states.append(_look(settings, editor, admin, place, old, new))
    # Before the release was made, after it, and when nothing but the last word was missing.
    assert {state for state, _made in states} == {FolderState.BEHIND, FolderState.CURRENT}
    assert {made for _state, made in states} == {1, 2}
    assert len(states) * STEP > 20


def _look(settings, editor, admin, place, old, new):
    assert read_module((place / MODULE).read_bytes()) in (old, new)
    assert read_json((place / JSON).read_bytes()) in (old, new)
    desk = open_context(settings)
    try:
        seen = standing.folder(desk, editor)
        made = releases.recent(desk, editor).total
        relay(desk)
        done = activating.finish(desk)
        assert done is None or (done.release, done.problem) == (2, None)
        if made == 1:
            assert publish(desk, editor).problem is None
        assert standing.folder(desk, editor).state is FolderState.CURRENT
        assert read_module((place / MODULE).read_bytes()) == new
        assert read_json((place / JSON).read_bytes()) == new
        assert sorted(path.name for path in place.iterdir()) == [
            ".git",
            ".gitignore",
            JSON,
            MODULE,
        ]
        (last,) = releases.activations(desk, editor, rows=1).activations
        assert (last.release, last.tag, last.problem) == (2, "kb-release-2", None)
        assert last.commit == git(place, "rev-parse", "kb-release-2^{commit}", "--").split()[0]
        assert git(place, "log", "--format=%s").splitlines() == [
            "Publish release 2 of the knowledge base",
            "Publish release 1 of the knowledge base",
        ]
        wanted = audit.AuditFilter(actions=("release.publish",))
        assert audit.events(desk, admin, wanted).total == 2
    finally:
        desk.close()
    return seen.state, made
