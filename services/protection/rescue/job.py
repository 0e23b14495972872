"""The job that restores or undoes: queued after its word was typed, worked off, written down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.core import audit, doors, jobs
from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import Conflict, Invalid
from services.protection.archive.objects import saying_the_way_back
from services.protection.index import catalog
from services.protection.model import PROTECTION_LOCK
from services.protection.replication.listing import index_copies
from services.protection.rescue.execute import SAFETY, Borrowed, restore
from services.protection.rescue.outcome import Outcome
from services.protection.rescue.plan import RestorePlan
from services.protection.rescue.recovery import recover_all
from services.protection.rescue.undo import KIND, newest_undoable
from services.protection.stores import as_the_only_store, open_store

_PART_WORDS = {
    "database": "the database",
    "knowledge": "the knowledge base",
    "vectors": "the vectors",
    "images": "the pictures",
}


def queue(ctx: Context, plan: RestorePlan, actor: Actor, typed: str, undo_of: str) -> jobs.Job:
    """Write the row of a job that carries a plan out; permission is the caller's to check.

    Args:
        typed: what the person typed to confirm.
        undo_of: the job that it undoes; empty for none.

    Raises:
        Invalid: the word is not the plan's.
        Conflict: an earlier restore could be neither finished nor taken back.
        Busy: something else holds the lock.
    """
    if typed.strip() != plan.word:
        raise Invalid(
            "What was typed is not the word that confirms; nothing was started.",
            f"Type {plan.word} exactly.",
        )
    for found in recover_all(ctx, lambda: open_store(ctx.settings)):
        if not found.side:
            # Never a second one on top of what could not be finished or taken back.
            raise Conflict(f"{found.message} No other restore was started.", found.hint)
    params = {"plan": plan.to_dict(), "undo_of": undo_of, "store": ctx.settings.store_url}
    job = jobs.create(ctx, actor, KIND, lock=PROTECTION_LOCK, params=params)
    parts = sorted(plan.parts)
    audit.note(
        ctx,
        actor,
        "restore.undo" if undo_of else "restore.start",
        ("snapshot", plan.snapshot_id),
        f"{'Undo of a restore' if undo_of else 'Restore'} started: {', '.join(parts)}",
        details={"job": job.id, "parts": parts, "undo_of": undo_of, "losses": plan.losses},
    )
    return job


def where_undone(ctx: Context) -> Context:
    """The desk as the newest restore saw it.

    One that came from the second store has put its safety snapshot there, and is undone from
    there without anybody having to say so.
    """
    copy = ctx.settings.copy_url
    ended = (job for job in jobs.recent(ctx, (KIND,)) if (job.result or {}).get("side") == "new")
    newest = next(ended, None)
    if newest is None or copy is None or newest.params.get("store") != copy:
        return ctx
    there = replace(ctx, settings=as_the_only_store(ctx.settings))
    if newest_undoable(there) is None:  # a look at the first store has dropped it from the index
        index_copies(there, open_store(there.settings))
    return there


def who_asked(job: jobs.Job) -> Actor:
    """Who queued a restore. It makes a safety snapshot, which asks for its own permission."""
    return doors.who_asked(job, Permission.RESTORE, Permission.BACKUP_CREATE)


def work_off(ctx: Context, job: jobs.Job, watcher: doors.Watcher, borrowed: Borrowed) -> jobs.Job:
    """Do the work of a queued job; how it ended stands in its row and in the audit log.

    Raises:
        DeskError: nothing was changed, or everything was put back; the message says which.
    """
    plan = RestorePlan.from_dict(job.params["plan"])
    actor = who_asked(job)

    def work(handle: jobs.JobHandle) -> dict[str, Any]:
        store = open_store(ctx.settings)
        with saying_the_way_back(plan.snapshot_id):
            done = restore(ctx, store, handle, actor, plan, borrowed, job.params["undo_of"])
        _note_end(ctx, actor, plan, job, done)
        return done.to_dict()

    def failed(message: str) -> None:
        audit.note(
            ctx,
            actor,
            "restore.failed",
            ("snapshot", plan.snapshot_id),
            f"The restore failed. {message}",
            details={"job": job.id, "parts": sorted(plan.parts)},
            outcome="failed",
        )

    return doors.work_off(ctx, job, work, watcher, failed)


def resolved(ctx: Context, snapshot_id: str) -> str:
    """`latest` is the newest backup somebody asked for, not what a restore set aside."""
    if snapshot_id != catalog.LATEST:
        return catalog.find(ctx, snapshot_id).id
    for row in catalog.page(ctx, rows=1000).rows:
        if row.reason != SAFETY:
            return row.id
    return catalog.find(ctx, snapshot_id).id


def _note_end(ctx: Context, actor: Actor, plan: RestorePlan, job: jobs.Job, done: Outcome) -> None:
    audit.note(
        ctx,
        actor,
        "restore.done",
        ("snapshot", plan.snapshot_id),
        f"{'Undid the restore: put back' if done.undo_of else 'Restored'} "
        f"{', '.join(_PART_WORDS.get(part, part) for part in done.parts)} from {plan.snapshot_id}",
        details=done.to_dict() | {"job": job.id},
    )
