"""Releases of a shop on PostgreSQL: the same as on SQLite, to the byte."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from services.core import audit
from services.core.errors import DeskError
from services.knowledge.reading import read_module
from services.knowledge.releasing import activating, comparing, releases, schedule, standing
from services.knowledge.releasing.model import FolderState
from tests.knowledge_base import load
from tests.services.postgres_desk import desk_on
from tests.services.publishing import MODULE, publish, say

KNOWLEDGE = {
    "color_matching": {"basics": "\nOne → colour.\n    ", "by_color": {"navy": "white \x00 zero"}},
    "numbers": {"large": 9223372036854775808, "one": 1.0, "small": 1e-7, "none": None, "on": True},
    "Zeta": "before the small letters in one collation, behind them in another",
    "fabric_guide": {"silk": {"description": "smooth", "care": "cold"}},
}


@pytest.fixture
def ctx(postgres_server, tmp_path):
    context = desk_on(postgres_server, tmp_path, kb_publish_dir=tmp_path / "utils")
    (tmp_path / "utils").mkdir()
    yield context
    context.close()


def test_releases_on_postgresql_are_made_compared_and_made_current_again(ctx, editor, admin):
    load(ctx, KNOWLEDGE)
    place = ctx.settings.publish_dir
    assert publish(ctx, editor, "One").problem is None
    assert repr(read_module((place / MODULE).read_bytes())) == repr(KNOWLEDGE)
    say(ctx, editor, "Navy likes red.")
    plan = releases.preview(ctx, editor)
    assert (plan.comparison.edited, plan.comparison.moved) == (1, 0)
    due = ctx.now() + timedelta(seconds=1)
    made = schedule.schedule(ctx, editor, plan, due, "Two")
    came = []

    def run():
        came.extend(schedule.run_due(later, lambda _author: ""))

    later = type(ctx)(ctx.settings, ctx.control, ctx.shop, lambda: due)
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (done,) = came
    assert (done.schedule.id, done.activation.release) == (made.id, 2)
    assert comparing.compare(ctx, editor, 1, 2).edited == 1
    problems = []

    def switch(number):
        try:
            problems.append(activating.make_current(ctx, editor, number, "mine").problem)
        except DeskError as error:
            problems.append(None if "current already" in error.message else str(error))

    threads = [threading.Thread(target=switch, args=(number,)) for number in (1, 2, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(problems) == {None}
    assert standing.folder(ctx, editor).state is FolderState.CURRENT
    told = audit.events(ctx, admin, audit.AuditFilter(actions=("release.publish",)))
    assert told.total == 2
