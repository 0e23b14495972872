"""Long work: a row written before it starts, a process of its own, a heartbeat.

A refresh, a closed tab or a restarted web server loses nothing, because the work does
not live there. The unique index over held locks makes "one at a time" a fact of the
database; a lock whose owner is dead is taken over and the job becomes `interrupted`.
"""

from __future__ import annotations

import enum
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Update, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from db.control import jobs
from db.engine import read, write
from services.core import audit, liveness, stopping
from services.core.access import Actor, ActorKind, system_actor
from services.core.context import Context
from services.core.errors import Busy, DeskError, describe

log = logging.getLogger("desk.jobs")

BEAT_SECONDS = 1.0
"""How often a running job writes its row."""
_LOG_LINES = 300
_SECOND_LOOK_SECONDS = 3 * BEAT_SECONDS


class JobState(enum.StrEnum):
    """Where a job stands; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True)
class Job:
    """A job as its row stands."""

    id: str
    kind: str
    state: JobState
    actor_id: str
    actor_name: str
    actor_kind: ActorKind
    host: str
    pid: int | None
    lock: str | None
    params: dict[str, Any]
    step: str
    fraction: float | None
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime
    ended_at: datetime | None
    result: dict[str, Any] | None
    error: str | None
    hint: str | None
    log: list[tuple[str, str]]

    def seconds(self, now: datetime) -> float:
        """How long it ran, or has run so far."""
        begin = self.started_at or self.created_at
        return ((self.ended_at or now) - begin).total_seconds()


class Stopped(DeskError):
    """The job was asked to stop (SIGTERM or SIGINT) and cleaned up."""


class JobHandle:
    """What the work uses to say where it is. Safe to call from any thread."""

    def __init__(self, ctx: Context, job_id: str, watcher: Callable[[str, float | None], None]):
        self.id = job_id
        self._ctx = ctx
        self._watcher = watcher
        self._guard = threading.Lock()
        self._step = ""
        self._fraction: float | None = None
        self._lines: list[list[str]] = []
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._beats, name="heartbeat", daemon=True)

    def step(self, text: str, fraction: float | None = None) -> None:
        """Begin a step: shown to whoever watches, kept in the job's log, written at once.

        Args:
            text: what happens now, in words for a person.
            fraction: of the whole job, 0 to 1, or None where it can't be known.

        Raises:
            stopping.Stop: the process was asked to stop.
        """
        stopping.check()
        with self._guard:
            self._step, self._fraction = text, fraction
        self.say(text)
        self._watcher(text, fraction)
        self._write()

    def progress(self, fraction: float) -> None:
        """Move within a step; written with the next heartbeat.

        Args:
            fraction: of the whole job, 0 to 1.

        Raises:
            stopping.Stop: the process was asked to stop.
        """
        stopping.check()
        with self._guard:
            self._fraction = min(max(fraction, 0.0), 1.0)
            text = self._step
        self._watcher(text, fraction)

    def say(self, text: str) -> None:
        """Add a line to the job's log."""
        with self._guard:
            self._lines.append([self._ctx.now().isoformat(), text])
            del self._lines[:-_LOG_LINES]

    def _beats(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            self._write()

    def _write(self) -> None:
        with self._guard:
            values = {
                "step": self._step[:120],
                "fraction": self._fraction,
                "log": [list(line) for line in self._lines],
                "heartbeat_at": self._ctx.now(),
            }
        # A control database that can't be written must not stop a restore half way.
        try:
            with write(self._ctx.control) as connection:
                connection.execute(update(jobs).where(jobs.c.id == self.id).values(**values))
        except SQLAlchemyError as error:
            log.warning("job %s: could not write its progress: %s", self.id, error)


def create(
    ctx: Context,
    actor: Actor,
    kind: str,
    *,
    lock: str | None = None,
    params: dict[str, Any] | None = None,
) -> Job:
    """Write the row of a job that is about to run.

    Args:
        kind: `backup`, `restore` ...
        lock: what only one job may hold at a time; None for none.
        params: JSON-serialisable; never a secret.

    Raises:
        Busy: a living job holds the lock; names it.
    """
    reap(ctx)
    now = ctx.now()
    job_id = secrets.token_hex(8)
    try:
        with write(ctx.control) as connection:
            connection.execute(
                insert(jobs).values(
                    id=job_id,
                    kind=kind,
                    state=JobState.QUEUED.value,
                    actor_id=actor.id,
                    actor_name=actor.name,
                    actor_kind=actor.kind.value,
                    host=ctx.host,
                    pid=os.getpid(),
                    lock=lock,
                    params=params or {},
                    step="Starting",
                    created_at=now,
                    heartbeat_at=now,
                    log=[],
                )
            )
    except IntegrityError as error:
        holder = _holder(ctx, lock)
        if holder is None:
            raise
        raise Busy(
            f"A {holder.kind} is running since {holder.created_at:%H:%M} UTC "
            f"(asked for by {holder.actor_name}); nothing was started.",
            "Wait until it has ended, then try again.",
        ) from error
    return get(ctx, job_id)


def run(
    ctx: Context,
    job: Job,
    work: Callable[[JobHandle], dict[str, Any]],
    *,
    watcher: Callable[[str, float | None], None] = lambda _text, _fraction: None,
) -> Job:
    """Do the work of a job in this process and write how it ended.

    SIGTERM and SIGINT end the work at its next step or progress (`stopping`); it cleans up as
    for any error.

    Args:
        work: gets a handle, returns a JSON-serialisable result.
        watcher: called with every (step, fraction), for a progress bar.

    Returns:
        The ended job. The error of a failed one is in its row, for a person.

    Raises:
        Stopped: it was asked to stop.
        whatever `work` raised, after the row was written.
    """
    # A signal is heard from the first row written to the last: none leaves a job half told.
    with stopping.heard(), liveness.owned(ctx, job.id):
        _begin(ctx, job)
        handle = JobHandle(ctx, job.id, watcher)
        handle._beat.start()
        try:
            result = work(handle)
        except stopping.Stop as stop:
            stopped = Stopped(
                f"The job was asked to stop ({stop}) and cleaned up.",
                "Start it again when you are ready.",
            )
            _end(ctx, handle, job, error=stopped)
            raise stopped from stop
        except BaseException as error:
            _end(ctx, handle, job, error=error)
            raise
        _end(ctx, handle, job, result=result)
    return get(ctx, job.id)


def get(ctx: Context, job_id: str) -> Job:
    """One job.

    Raises:
        KeyError: there is no such job.
    """
    with read(ctx.control) as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
    if row is None:
        raise KeyError(job_id)
    return _job(row)


def recent(ctx: Context, kinds: tuple[str, ...], limit: int = 50) -> list[Job]:
    """The newest jobs of some kinds, newest first."""
    with read(ctx.control) as connection:
        rows = connection.execute(
            select(jobs)
            .where(jobs.c.kind.in_(kinds))
            .order_by(jobs.c.created_at.desc())
            .limit(limit)
        )
        return [_job(row) for row in rows]


def active(ctx: Context, lock: str) -> Job | None:
    """The living job that holds a lock; the dead are cleared away first."""
    reap(ctx)
    return _holder(ctx, lock)


def reap(ctx: Context) -> list[Job]:
    """Mark jobs whose process is gone as `interrupted`; frees what they held.

    Returns:
        The jobs that were marked now.
    """
    with read(ctx.control) as connection:
        open_states = [JobState.QUEUED.value, JobState.RUNNING.value]
        rows = connection.execute(select(jobs).where(jobs.c.state.in_(open_states)))
        open_jobs = [_job(row) for row in rows]
    reaped = []
    for job in open_jobs:
        if _alive(ctx, job):
            continue
        with write(ctx.control) as connection:
            marked = connection.execute(
                update(jobs)
                .where(jobs.c.id == job.id, jobs.c.state == job.state.value)
                .values(
                    state=JobState.INTERRUPTED.value,
                    ended_at=ctx.now(),
                    error=f"The {job.kind} stopped at “{job.step}”: its process is gone.",
                    hint="The machine or the process was stopped. Start it again.",
                )
            )
            if marked.rowcount:
                audit.record(
                    connection,
                    ctx,
                    system_actor(),
                    f"{job.kind}.interrupted",
                    ("job", job.id),
                    f"The {job.kind} that {job.actor_name} asked for was interrupted",
                    outcome="failed",
                )
                reaped.append(get_in(connection, job.id))
    return reaped


def get_in(connection: Any, job_id: str) -> Job:
    """One job, read inside the caller's transaction."""
    return _job(connection.execute(select(jobs).where(jobs.c.id == job_id)).one())


def _alive(ctx: Context, job: Job) -> bool:
    if job.state is JobState.QUEUED:
        return liveness.will_begin(ctx, job.host, job.pid, job.heartbeat_at)
    if liveness.runs(ctx, job.id, job.host, job.pid, job.heartbeat_at):
        return True
    if job.host == ctx.host:
        return False
    # A clock that was set forward makes every heartbeat look old: a living one moves.
    time.sleep(_SECOND_LOOK_SECONDS)
    return get(ctx, job.id).heartbeat_at != job.heartbeat_at


def still_queued(job_id: str) -> Update:
    """An update of a job that nobody has begun or given up."""
    return update(jobs).where(jobs.c.id == job_id, jobs.c.state == JobState.QUEUED.value)


def _holder(ctx: Context, lock: str | None) -> Job | None:
    open_states = [JobState.QUEUED.value, JobState.RUNNING.value]
    with read(ctx.control) as connection:
        row = connection.execute(
            select(jobs).where(jobs.c.lock == lock, jobs.c.state.in_(open_states))
        ).first()
    return _job(row) if row else None


def _begin(ctx: Context, job: Job) -> None:
    now = ctx.now()
    with write(ctx.control) as connection:
        begun = connection.execute(
            still_queued(job.id).values(
                state=JobState.RUNNING.value,
                host=ctx.host,
                pid=os.getpid(),
                started_at=now,
                heartbeat_at=now,
            )
        )
    if not begun.rowcount:
        raise Busy(f"The {job.kind} was begun or given up before this process got to it.")


def _end(
    ctx: Context,
    handle: JobHandle,
    job: Job,
    *,
    result: dict[str, Any] | None = None,
    error: BaseException | None = None,
) -> None:
    handle._stop.set()
    handle._beat.join()
    values: dict[str, Any] = {"state": JobState.SUCCEEDED.value, "fraction": 1.0, "result": result}
    if error is not None:
        message, hint, _error_id = describe(error)
        handle.say(message)
        values = {"state": JobState.FAILED.value, "error": message, "hint": hint}
    handle._write()
    values["ended_at"] = ctx.now()
    with write(ctx.control) as connection:
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(**values))


def _job(row: Any) -> Job:
    values = dict(row._mapping)
    values["state"] = JobState(values["state"])
    values["actor_kind"] = ActorKind(values["actor_kind"])
    values["log"] = [(line[0], line[1]) for line in values["log"]]
    return Job(**values)
