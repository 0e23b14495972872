"""The job that makes a snapshot of the live shop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine

from services.core import audit, doors, jobs
from services.core.context import Context
from services.core.errors import Conflict
from services.protection import snapshots
from services.protection.model import Manifest
from services.protection.stores import open_store
from services.protection.stores.base import Store

KIND = "backup"


def work_off(
    ctx: Context, job: jobs.Job, watcher: doors.Watcher, knowledge: Callable[[Engine], bytes]
) -> jobs.Job:
    """Do the work of a queued job; how it ended stands in its row and in the audit log.

    Args:
        knowledge: writes the knowledge base of a database as canonical JSON.

    Raises:
        what `snapshots.create` raises.
        Conflict: a killed restore left something that must be settled first.
    """
    actor = doors.who_asked(job)
    reason = str(job.params.get("reason", "manual"))

    def work(handle: jobs.JobHandle) -> dict[str, Any]:
        store = open_store(ctx.settings)
        _settle(ctx, store, handle)
        made = snapshots.create(ctx, store, handle, actor, reason=reason, knowledge=knowledge)
        return _result(made)

    def failed(message: str) -> None:
        said = f"The backup failed. {message}"
        audit.note(ctx, actor, "backup.failed", ("job", job.id), said, outcome="failed")

    ended = doors.work_off(ctx, job, work, watcher, failed)
    result = ended.result or {}
    audit.note(
        ctx,
        actor,
        "backup.done",
        ("snapshot", str(result.get("snapshot"))),
        f"Made a backup and read it back in full: {_megabytes(result.get('plain_bytes'))}, "
        f"stored in {_megabytes(result.get('stored_bytes'))}",
        details={key: result[key] for key in ("plain_bytes", "stored_bytes") if key in result},
    )
    return ended


def _settle(ctx: Context, store: Store, handle: jobs.JobHandle) -> None:
    """What a killed restore left half exchanged must not become a backup that looks whole."""
    from services.protection.rescue.recovery import recover_all

    for found in recover_all(ctx, lambda: store):
        if not found.side:
            raise Conflict(f"{found.message} Nothing was backed up.", found.hint)
        handle.say(found.message)


def _megabytes(count: int | None) -> str:
    return f"{max((count or 0) / 1e6, 0.1):,.1f} MB"


def _result(made: Manifest) -> dict[str, Any]:
    return {
        "snapshot": made.id,
        "plain_bytes": made.plain_bytes,
        "stored_bytes": made.stored_bytes,
        "images": made.image_count,
        "steps": made.step_seconds,
        "notes": list(made.notes),
        "components": {
            component.name: {
                "plain_bytes": component.plain_bytes,
                "stored_bytes": component.stored_bytes,
                "sha256": component.stored_sha256,
            }
            for component in made.components
        },
    }
