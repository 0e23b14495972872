"""Kill a restore anywhere: the shop has all of the old data or all of the new, and the next
start says which."""

from __future__ import annotations

import json
import signal

from services import restore
from services.core import jobs
from services.knowledge import transfer
from services.protection.model import Part
from tests.faults import matrix
from tests.faults.scene import DATABASE, KNOWLEDGE, leftovers
from tests.faults.scene_broken import STEPS, Scene, kill_everywhere

WRITTEN = STEPS.index("database written")


def test_a_killed_restore_is_wholly_old_or_wholly_new(scene):
    passed, length = scene.measured(scene.queue())
    assert [name for name in passed if name in STEPS] == STEPS
    assert scene.world() == scene.good

    def begin() -> jobs.Job:
        scene.again()
        return scene.queue()

    def settled(job: jobs.Job, name: str) -> None:
        side = scene.settled(job)
        if name:
            assert side == ("new" if STEPS.index(name) >= WRITTEN else "old"), name

    at_random = matrix.times(1, 100 if scene.column == matrix.SQLITE else 40)
    kill_everywhere(matrix.some(STEPS, 1), at_random, length, begin, scene, settled)


PUTTING_BACK = {
    matrix.SQLITE: [
        ("putting back", "old"),
        # The first one is the restore itself: killed there, it is done.
        ("database written", "new"),
        ("database back", "old"),
        ("images taken out", "old"),
    ],
    matrix.POSTGRESQL: [("putting back", "old"), ("database back", "old"), ("applied", "new")],
}


def test_a_restore_that_is_being_put_back_may_be_killed_too(scene):
    """Verification fails, and the process dies while the safety snapshot goes back."""
    for name, side in matrix.some(PUTTING_BACK[scene.column], 1):
        scene.again()
        job = scene.queue()
        scene.killed(job, name, FAIL_VERIFY="1")
        assert scene.settled(job) == side


def test_the_recovery_itself_may_be_killed_anywhere(scene):
    for killed, recovery in matrix.some(
        [("images moved in", ["database back", "images taken out"]), ("applied", ["finished"])], 1
    ):
        scene.again()
        job = scene.queue()
        scene.killed(job, killed)
        for name in recovery:
            with scene.child("recover", KILL_AT=name) as process:
                process.communicate()
            assert process.returncode == -signal.SIGKILL
        assert scene.settled(job) == ("new" if killed == "applied" else "old")
        assert jobs.get(scene.ctx, job.id).state is jobs.JobState.INTERRUPTED


def test_killed_while_a_missing_database_is_put_in_place(file_scene: Scene):
    scene = file_scene
    for name in matrix.some(["file aside", "companions removed", "applied"], 1):
        scene.again()
        scene.shop.unlink()
        job = scene.queue(DATABASE)
        scene.killed(job, name)
        with matrix.cell(matrix.KILLED, "a restore", scene.column):
            (found,) = restore.recover(scene.ctx)
            assert found.side == ("new" if name == "applied" else "old")
            assert scene.shop.exists() == (name == "applied")
            assert leftovers(scene.ctx) == []


def test_killed_while_the_knowledge_base_alone_comes_back(file_scene: Scene):
    scene = file_scene
    for name, side in matrix.some([("applying", "old"), ("applied", "new")], 1):
        scene.again()
        job = scene.queue(frozenset({Part.KNOWLEDGE}))
        scene.killed(job, name)
        with matrix.cell(matrix.KILLED, "a restore", scene.column):
            (found,) = restore.recover(scene.ctx)
            assert found.side == side
            document = json.loads(transfer.canonical_json(scene.ctx.shop))
            assert (document == KNOWLEDGE) == (side == "new")
            assert leftovers(scene.ctx) == []


def test_an_interrupted_restore_that_had_replaced_the_data_can_be_undone(file_scene: Scene):
    scene = file_scene
    job = scene.queue()
    scene.killed(job, "database written")
    assert scene.settled(job) == "new"
    offer = restore.undo_offer(scene.ctx, scene.operator)
    assert offer is not None and offer.job_id == job.id
    scene.undo()
    assert scene.world()["pictures"] == scene.bad["pictures"]
