"""The job that carries retention out: asked for by a person, or at the end of a backup."""

from __future__ import annotations

import logging
from typing import Any

from db.engine import write
from services.core import audit, doors, jobs
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import describe, exit_code
from services.protection.model import PROTECTION_LOCK
from services.protection.retention import facts as retention_facts
from services.protection.retention import pruning
from services.protection.retention.deleting import Pruned
from services.protection.retention.model import PrunePlan
from services.protection.stores import open_store

log = logging.getLogger("desk.retention")

KIND = "retention"
_NAMED = 500
"""Ids that one event of the audit log names at most."""


def queue(ctx: Context, plan: PrunePlan, actor: Actor, *, confirmed: bool) -> jobs.Job:
    """Write the row of a job that carries a plan out; permission is the caller's to check.

    Args:
        confirmed: a person looked at the holds that a person may pass.

    Raises:
        Conflict: something holds retention.
        Busy: something else holds the lock.
    """
    pruning.refuse_if_held(plan.holds, confirmed=confirmed)
    params = {"order": plan.order(), "confirmed": confirmed}
    return jobs.create(ctx, actor, KIND, lock=PROTECTION_LOCK, params=params)


def work_off(ctx: Context, job: jobs.Job, watcher: doors.Watcher) -> jobs.Job:
    """Do the work of a queued job; how it ended stands in its row and in the audit log.

    Raises:
        what `pruning.prune` raises.
    """
    actor = doors.who_asked(job)
    subject = ("job", job.id)

    def work(handle: jobs.JobHandle) -> dict[str, Any]:
        store = open_store(ctx.settings)
        done, plan = pruning.prune(
            ctx, store, handle, job.params["order"], confirmed=bool(job.params["confirmed"])
        )
        with write(ctx.control) as connection:
            retention_facts.remember(connection, ctx, plan.policy)
            audit.record(
                connection,
                ctx,
                actor,
                "retention.done",
                subject,
                _summary(done),
                details=_short(done),
            )
        return _short(done) | {"removed_in_all": len(done.removed)}

    def failed(message: str) -> None:
        said = f"Retention: {message}"
        audit.note(ctx, actor, "retention.failed", subject, said, outcome="failed")

    return doors.work_off(ctx, job, work, watcher, failed)


def after_backup(ctx: Context, watcher: doors.Watcher, actor: Actor) -> dict[str, Any]:
    """Remove what the policy lets go, after a backup that succeeded. Never raises: the backup
    counts whatever comes of this.

    Returns:
        What to say about it: `state`, and what was removed, or why nothing was.
    """
    try:
        plan = pruning.current_plan(ctx, open_store(ctx.settings))
        if plan.holds:
            return _held(ctx, actor, plan)
        ended = work_off(ctx, queue(ctx, plan, actor, confirmed=False), watcher)
    except Exception as error:
        message, hint, error_id = describe(error)
        return {
            "state": "failed",
            "error": f"The backup is made; removing old ones failed. {message}",
            "hint": hint,
            "error_id": error_id,
            "exit_code": exit_code(error),
        }
    return {"state": "succeeded", **(ended.result or {})}


def _held(ctx: Context, actor: Actor, plan: PrunePlan) -> dict[str, Any]:
    reasons = [hold.message for hold in plan.holds]
    if plan.going:
        audit.note(
            ctx,
            actor,
            "retention.held",
            ("retention", ctx.settings.instance_id),
            f"Retention removed nothing: {reasons[0]}",
            details={"reasons": reasons, "would_go": len(plan.going)},
            outcome="refused",
        )
    return {"state": "held", "reasons": reasons, "would_go": len(plan.going)}


def _summary(done: Pruned) -> str:
    told = [f"Removed {_count(len(done.removed), 'backup')} that the policy does not keep"]
    if done.orphans:
        told.append(f"what was left of {_count(done.orphans, 'unfinished one')}")
    if done.pictures:
        told.append(_count(done.pictures, "picture"))
    refused = f"; the store refused {_count(len(done.refused), 'object')}" if done.refused else ""
    return f"{', '.join(told)}: {max(done.bytes / 1e6, 0.0):,.1f} MB{refused}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _short(done: Pruned) -> dict[str, Any]:
    """What was done, with as many names as a row can bear."""
    values = done.to_dict()
    for name in ("removed", "skipped", "refused"):
        values[name] = values[name][:_NAMED]
    return values
