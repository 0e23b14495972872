"""The job that makes a snapshot of an old backup, and proves it."""

from __future__ import annotations

from typing import Any

from services.core import audit, doors, jobs
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Broken
from services.protection.legacy import listing
from services.protection.legacy.importing import Knowledge, bring_in
from services.protection.legacy.model import LegacyBackup
from services.protection.model import Manifest
from services.protection.proving import job as proving
from services.protection.proving import records
from services.protection.proving.prove import Borrowed, prove
from services.protection.remains import IMPORT
from services.protection.stores import open_store
from services.protection.workspace import workspace

KIND = IMPORT
_PROVEN_FROM = 0.6
"""How far the whole is when the test restore begins."""


def work_off(
    ctx: Context,
    job: jobs.Job,
    watcher: doors.Watcher,
    knowledge: Knowledge,
    borrowed: Borrowed,
) -> jobs.Job:
    """Do the work of a queued job; how it ended stands in its row and in the audit log.

    Args:
        knowledge: writes the knowledge base of a database as canonical JSON.

    Raises:
        what `importing.bring_in` raises.
        Broken: the snapshot that was made did not pass its test restore.
    """
    actor = doors.who_asked(job)
    key, drill = str(job.params["key"]), bool(job.params["drill"])

    def work(handle: jobs.JobHandle) -> dict[str, Any]:
        backup, place = listing.find(ctx, key)
        store = open_store(ctx.settings)
        span = (0.0, _PROVEN_FROM) if drill else (0.0, 1.0)
        made = bring_in(ctx, place, store, handle, actor, backup, knowledge, span)
        _note_made(ctx, actor, backup, made)
        proven = _prove(ctx, handle, actor, job, made, borrowed) if drill else {}
        return {"snapshot": made.id, "notes": list(made.notes), **proven}

    def failed(message: str) -> None:
        said = f"A legacy backup could not be brought in. {message}"
        audit.note(ctx, actor, "legacy.failed", ("legacy", key), said, outcome="failed")

    return doors.work_off(ctx, job, work, watcher, failed)


def _note_made(ctx: Context, actor: Actor, backup: LegacyBackup, made: Manifest) -> None:
    audit.note(
        ctx,
        actor,
        "legacy.adopted",
        ("snapshot", made.id),
        f"Made the snapshot {made.id} of the legacy backup {backup.main.key}",
        details={"sources": made.extra["legacy"]},
    )


def _prove(
    ctx: Context,
    handle: jobs.JobHandle,
    actor: Actor,
    job: jobs.Job,
    made: Manifest,
    borrowed: Borrowed,
) -> dict[str, Any]:
    """Restore it aside, from the store, and keep the evidence as any drill does."""
    store = open_store(ctx.settings)
    with workspace(ctx, handle.id) as folder:
        evidence = prove(ctx, store, handle, made, folder, borrowed, (_PROVEN_FROM, 1.0))
    drill = proving.conclude(ctx, job, handle, actor, made.id, records.STORE, evidence)
    if not drill.passed:
        raise Broken(
            f"The legacy backup is here as {made.id}, but its test restore failed. {drill.error}",
            "It counts as damaged. Choose another one.",
        )
    return {"passed": True, "recovery_seconds": drill.seconds}
