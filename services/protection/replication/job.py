"""The job that copies: on its own, or at the end of a backup."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from services.core import audit, doors, jobs
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import DeskError, Misconfigured, describe, exit_code
from services.protection.index import catalog
from services.protection.model import PROTECTION_LOCK
from services.protection.replication.copying import replicate, waiting
from services.protection.replication.listing import ids_in
from services.protection.replication.status import forget_copy
from services.protection.stores import open_store
from services.protection.stores.places import COPY

log = logging.getLogger("desk.copy")

KIND = "copy"
MISSING, ALL = "missing", "all"


def queue(ctx: Context, what: str, actor: Actor) -> jobs.Job:
    """Write the row of a job that copies; permission is the caller's to check.

    Args:
        what: `missing`, `all`, an id, or `latest`.

    Raises:
        Invalid: there is no such snapshot.
        Misconfigured: there is no second store, or it is the first one.
        Busy: something else holds the lock.
    """
    open_store(ctx.settings, place=COPY)
    if what not in (MISSING, ALL):
        what = catalog.find(ctx, what).id
    return jobs.create(ctx, actor, KIND, lock=PROTECTION_LOCK, params={"what": what})


def work_off(ctx: Context, job: jobs.Job, watcher: doors.Watcher) -> jobs.Job:
    """Do the work of a queued job; how it ended stands in its row and in the audit log.

    Raises:
        what `copying.replicate` raises.
    """
    actor = doors.who_asked(job)
    what = str(job.params["what"])

    def work(handle: jobs.JobHandle) -> dict[str, Any]:
        first, second = open_store(ctx.settings), open_store(ctx.settings, place=COPY)
        if what == MISSING:
            ids = waiting(ctx, first, second)
        elif what == ALL:
            ids = sorted(ids_in(ctx, first), reverse=True)
        else:
            ids = [what]
        return asdict(replicate(ctx, first, second, handle, ids, prove=what != MISSING))

    def failed(message: str) -> None:
        said = f"The copy failed. {message}"
        audit.note(ctx, actor, "backup.copy", ("job", job.id), said, outcome="failed")

    ended = doors.work_off(ctx, job, work, watcher, failed)
    done = ended.result or {}
    audit.note(
        ctx,
        actor,
        "backup.copy",
        ("job", job.id),
        f"Copied {len(done['copied'])} backups to the second store",
        details={name: done[name] for name in ("copied", "removed", "notes", "sent_bytes")},
    )
    return ended


def after_backup(ctx: Context, watcher: doors.Watcher, actor: Actor) -> dict[str, Any] | None:
    """Copy what has no copy yet, after a backup that succeeded; never raises for a copy that
    failed, because the backup counts all the same.

    Returns:
        What to say about it: `state`, and what was copied, or `error`, `hint` and `exit_code`.
        None where there is no second store.
    """
    if ctx.settings.copy_url is None:
        return None
    try:
        ended = work_off(ctx, queue(ctx, MISSING, actor), watcher)
    except Exception as error:
        message, hint, error_id = describe(error)
        _remember(ctx, error, message)
        return {
            "state": "failed",
            "error": f"The backup is made; its copy failed. {message}",
            "hint": hint,
            "error_id": error_id,
            "exit_code": exit_code(error),
        }
    done = ended.result or {}
    return {"state": "succeeded", "copied": done["copied"], "sent_bytes": done["sent_bytes"]}


def first_ids_or_none(ctx: Context) -> tuple[str, ...]:
    """What the first store lists; nothing where it can't: then nothing can be said of it."""
    try:
        return tuple(ids_in(ctx, open_store(ctx.settings)))
    except DeskError as error:
        log.warning("the first store can't be listed: %s", error)
        return ()


def _remember(ctx: Context, error: Exception, message: str) -> None:
    """A copy that never began is a fault of the newest snapshot's copy too."""
    if isinstance(error, Misconfigured):
        newest = catalog.find(ctx, catalog.LATEST)
        if newest.copied_at is None:
            forget_copy(ctx, newest.id, message)
