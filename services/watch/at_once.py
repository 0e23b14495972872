"""What a job tells as soon as it knows it: nobody waits for the next measurement to hear of it.

Nothing here raises: a message that can't be sent is no reason to call a backup failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from services.core import jobs
from services.core.context import Context
from services.core.jobs import JobState
from services.watch import alerts, notify, rules
from services.watch.alerting import Condition, condition
from services.watch.facts import failed_test_restore
from services.watch.judging import failed_backup, failed_drill
from services.watch.notify import Beat
from services.watch.posture import Trouble

log = logging.getLogger("desk.alerts")


def backup_started(ctx: Context) -> None:
    """A backup begins: the dead man's switch expects its end."""
    _quietly(lambda: notify.beat(ctx, Beat.START))


def backup_ended(ctx: Context, job_id: str) -> None:
    """A backup ended, as its row says: a failure fires, a success ends what it mends."""
    _quietly(lambda: _backup_ended(ctx, job_id))


def drill_failed(ctx: Context, place: str, snapshot_id: str, at: datetime, error: str) -> None:
    """A test restore did not pass."""
    found = failed_drill(failed_test_restore(place, snapshot_id, at, error))
    # Only this one was looked at: what else is wrong stays as it is.
    _quietly(lambda: _tell(ctx, [condition(found)], (rules.DRILL_FAILED.name,), ends=False))


def _backup_ended(ctx: Context, job_id: str) -> None:
    job = jobs.get(ctx, job_id)
    if job.state is JobState.SUCCEEDED:
        mended = (rules.BACKUP_FAILED, rules.BACKUP_NONE, rules.BACKUP_STALE)
        notify.beat(ctx, Beat.SUCCESS)
        _tell(ctx, [], [rule.name for rule in mended])
    elif job.state.ended:
        trouble = Trouble(job.ended_at, job.error or "", job.hint or "")
        notify.beat(ctx, Beat.FAILURE)
        _tell(ctx, [condition(failed_backup(trouble))], (rules.BACKUP_FAILED.name,))


def _tell(
    ctx: Context, standing: Iterable[Condition], looked_at: Collection[str], *, ends: bool = True
) -> None:
    alerts.observe(ctx, standing, looked_at, ends=ends)
    notify.deliver(ctx)


def _quietly(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:
        log.exception("an alert was not told; the next look at the desk tries again")
