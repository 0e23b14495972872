"""The job that proves a snapshot: restore it aside, keep the evidence, tell who must know."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from services.core import audit, doors, jobs
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Broken, Conflict
from services.protection.index import catalog
from services.protection.manifest import manifest_key
from services.protection.model import Manifest
from services.protection.proving import records
from services.protection.proving.evidence import Drill, Evidence, Step
from services.protection.proving.prove import MANIFEST, Borrowed, prove
from services.protection.remains import DRILL
from services.protection.stores import open_store
from services.protection.stores.base import Store
from services.protection.workspace import workspace

KIND = DRILL
_NEXT = {
    records.STORE: "It counts as damaged from now on. Make another backup, and find out what "
    "happened to this one.",
    records.COPY: "Its copy counts as damaged from now on; the backup itself is not concerned. "
    "Run `python services/replication.py` with its id: what differs is sent again.",
}


def work_off(
    ctx: Context,
    job: jobs.Job,
    watcher: doors.Watcher,
    borrowed: Borrowed,
    alarm: Callable[[Drill], None],
) -> jobs.Job:
    """Do the work of a queued job; what it found is kept here and in the store.

    Args:
        alarm: tells whoever must know of a proof that failed.

    Raises:
        Broken: the snapshot did not pass.
        Conflict: it was removed meanwhile, or has no copy; nothing was proven.
        Transient, Misconfigured: the store or this machine failed; nothing was proven.
    """
    actor = doors.who_asked(job)
    snapshot_id, place = str(job.params["snapshot"]), str(job.params["place"])

    def work(handle: jobs.JobHandle) -> dict[str, Any]:
        store = store_of(ctx, place)
        if place == records.COPY and not is_there(ctx, store, snapshot_id):
            raise Conflict(
                f"{snapshot_id} has no copy in the second store; nothing was proven.",
                f"`python services/replication.py {snapshot_id}` brings it there.",
            )
        evidence = _evidence(ctx, store, handle, snapshot_id, borrowed)
        if not evidence.passed and not is_there(ctx, store, snapshot_id):
            raise Conflict(
                f"Nothing was proven: {snapshot_id} was removed while it was restored as a test.",
                "Drill another one.",
            )
        drill = conclude(ctx, job, handle, actor, snapshot_id, place, evidence)
        if not drill.passed:
            alarm(drill)
            raise Broken(f"The test restore of {snapshot_id} failed. {drill.error}", _NEXT[place])
        return told(drill)

    def failed(message: str) -> None:
        if records.get(ctx, job.id) is not None:
            return  # it ended with a verdict, which has an event of its own
        audit.note(
            ctx,
            actor,
            "drill.inconclusive",
            ("snapshot", snapshot_id),
            f"The test restore of {snapshot_id} proved nothing. {message}",
            details={"job": job.id, "place": place},
            outcome="failed",
        )

    return doors.work_off(ctx, job, work, watcher, failed)


def conclude(
    ctx: Context,
    job: jobs.Job,
    handle: jobs.JobHandle,
    actor: Actor,
    snapshot_id: str,
    place: str,
    evidence: Evidence,
) -> Drill:
    """Make the drill of its evidence, and keep it here and in the store."""
    drill = Drill(
        id=job.id,
        snapshot_id=snapshot_id,
        instance=ctx.settings.instance_id,
        place=place,
        at=ctx.now(),
        seconds=round(evidence.seconds, 3),
        passed=evidence.passed,
        host=ctx.host,
        asked_by=job.actor_name,
        error=None if evidence.passed else evidence.error or "A step could not be done.",
        steps=evidence.steps,
    )
    records.keep(ctx, drill, actor)
    if not records.send(ctx, open_store(ctx.settings), drill):
        handle.say("The evidence could not be written to the store: it is kept here alone.")
    return drill


def told(drill: Drill) -> dict[str, Any]:
    """A drill as the result of its job, and as what `--json` prints."""
    return {
        "drill": drill.id,
        "snapshot": drill.snapshot_id,
        "place": drill.place,
        "passed": drill.passed,
        "recovery_seconds": drill.seconds,
        "steps": [step.to_dict() for step in drill.steps],
    }


def store_of(ctx: Context, place: str) -> Store:
    """The store that a drill reads."""
    if place == records.COPY:
        return open_store(ctx.settings, place=place)
    return open_store(ctx.settings)


def is_there(ctx: Context, store: Store, snapshot_id: str) -> bool:
    """Whether a store has a snapshot."""
    return store.stat(manifest_key(ctx.settings.instance_id, snapshot_id)) is not None


def _evidence(
    ctx: Context, store: Store, handle: jobs.JobHandle, snapshot_id: str, borrowed: Borrowed
) -> Evidence:
    began = time.monotonic()
    handle.step("Reading the manifest", 0.0)
    try:
        manifest: Manifest = catalog.load_manifest(ctx, store, snapshot_id)
    except Broken as error:
        # An altered manifest is the first thing that a drill has to find.
        took = time.monotonic() - began
        return Evidence((Step(MANIFEST, False, error.message, took),), took)
    with workspace(ctx, handle.id) as folder:
        return prove(ctx, store, handle, manifest, folder, borrowed)
