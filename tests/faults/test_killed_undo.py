"""Kill an undo anywhere: the shop has all of what was restored or all of what was there before,
and what could still be undone can be."""

from __future__ import annotations

from services.core import jobs
from tests.faults import matrix
from tests.faults.scene_broken import STEPS, ServerScene, kill_everywhere


def test_a_killed_undo_is_wholly_done_or_not_at_all_and_can_be_undone_again(scene):
    first = scene.restored()
    passed, length = scene.measured(scene.queue_undo())
    assert scene.world() == scene.bad
    steps = [name for name in STEPS if name in passed]
    written = steps.index("database written")

    def begin() -> jobs.Job:
        nonlocal first
        first = scene.restored()
        return scene.queue_undo()

    def settled(job: jobs.Job, name: str) -> None:
        side = scene.settled(job, "an undo", kept=(first.id,))
        if isinstance(scene, ServerScene):
            # What the next Undo exchanges in a moment is there, whichever side it is.
            assert scene.beside() == [f"_before_{job.id if side == 'new' else first.id}"]
        if name:
            assert side == ("new" if steps.index(name) >= written else "old"), name
            scene.undo()
            assert scene.world() == (scene.good if side == "new" else scene.bad)

    at_random = matrix.times(1, 30 if scene.column == matrix.SQLITE else 20)
    kill_everywhere(matrix.some(steps, 1), at_random, length, begin, scene, settled)
