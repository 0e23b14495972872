"""Restore, verify, undo on PostgreSQL: built beside the live database, then exchanged."""

from __future__ import annotations

import json

import pytest

from services import restore
from services.core import jobs
from services.knowledge import transfer
from services.protection.model import Part
from services.protection.rescue import live as live_file
from tests.faults.scene import DATABASE, KNOWLEDGE, back_up, do, furnish, leftovers
from tests.faults.scene_postgres import (
    beside,
    damage_on,
    desk_on,
    name_of,
    world_on,
)

PARTS = DATABASE | {Part.IMAGES}


@pytest.fixture(autouse=True)
def _no_long_watch(monkeypatch):
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.05)


@pytest.fixture
def desk(settings, postgres_server):
    """A desk beside a furnished shop on a server."""
    with desk_on(settings, postgres_server, postgres_server.make_shop()) as ctx:
        furnish(ctx)
        yield ctx


def undo(ctx, operator) -> jobs.Job:
    offer = restore.undo_offer(ctx, operator)
    assert offer is not None
    plan = restore._undo(ctx, operator, offer)
    return restore.run(ctx, operator, plan, plan.word, undo_of=offer.job_id)


def test_everything_comes_back_equal_and_undo_brings_the_damage_back(desk, operator):
    snapshot = back_up(desk, operator)
    good = world_on(desk)
    damage_on(desk)
    bad = world_on(desk)
    assert bad != good

    job = do(desk, operator, snapshot.id, PARTS)
    assert job.state is jobs.JobState.SUCCEEDED
    assert world_on(desk) == good
    assert json.loads(transfer.canonical_json(desk.shop)) == KNOWLEDGE
    assert beside(desk) == [f"_before_{job.id}"]
    assert f"kept on the server as {name_of(desk)}_before_{job.id}" in " ".join(job.result["notes"])

    again = undo(desk, operator)
    assert world_on(desk) == bad
    assert beside(desk) == [f"_before_{again.id}"]
    undo(desk, operator)
    assert world_on(desk) == good
    assert leftovers(desk) == []
