"""What every door with long work does: begin a job elsewhere or here, and tell how it ended.

A job is queued by whoever asks, who holds the permission. It is then left to a process of its
own (`begin`; that process says `taken_up`), or worked off in this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.core import jobs, spawning
from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import DeskError, Invalid, describe

Watcher = Callable[[str, float | None], None]
"""Called with every (step, fraction)."""


def unwatched(_text: str, _fraction: float | None) -> None:
    """Nobody looks on."""


def begin(ctx: Context, job: jobs.Job, door: str) -> jobs.Job:
    """Leave a queued job to a process of its own, which outlives the browser and the server.

    Args:
        door: run as `python -m services.door --job ID`.

    Raises:
        Broken: no process could be started; the job is marked as failed.
    """
    spawning.spawn(ctx, job, f"services.{door}")
    return job


def taken_up(ctx: Context, job_id: str, *, politely: bool = True) -> jobs.Job:
    """The job that this process was started for.

    Args:
        politely: let everything else on this machine, the pages above all, go first.

    Raises:
        Invalid: there is none.
    """
    if politely:
        spawning.give_way()
    try:
        return jobs.get(ctx, job_id)
    except KeyError as error:
        raise Invalid(f"There is no job {job_id[:40]!r}.") from error


def who_asked(job: jobs.Job, *granted: Permission) -> Actor:
    """Who queued a job. What they may was checked then; the row says who they are.

    Args:
        granted: what the work itself asks for again.
    """
    return Actor(job.actor_id, job.actor_name, job.actor_kind, frozenset(granted))


def work_off(
    ctx: Context,
    job: jobs.Job,
    work: Callable[[jobs.JobHandle], dict[str, Any]],
    watcher: Watcher,
    failed: Callable[[str], None],
) -> jobs.Job:
    """Do the work of a queued job here.

    Args:
        failed: writes the failure down; called with it in words for a person.

    Raises:
        what `jobs.run` raises, after `failed` was called.
    """
    try:
        return jobs.run(ctx, job, work, watcher=watcher)
    except BaseException as error:
        failed(describe(error)[0] if isinstance(error, DeskError) else "It met a bug.")
        raise
