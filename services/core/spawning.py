"""Run a queued job in a process of its own, and notice when that never comes to it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from db.engine import write
from services.core import audit
from services.core.access import system_actor
from services.core.context import Context, prepare_folder
from services.core.errors import Broken, DeskError
from services.core.jobs import Job, JobState, still_queued
from services.core.settings import PROJECT_ROOT

log = logging.getLogger("desk.jobs")

NICE = 10
"""A backup that the browser asked for gives way to the pages that people look at."""


def spawn(ctx: Context, job: Job, module: str) -> None:
    """Run a queued job in a process of its own, which outlives the web server.

    A process that ends before it began its job gives the job's lock back at once.

    Args:
        module: run as `python -m module --job ID`.

    Raises:
        Broken: no process could be started; the job is marked as failed.
    """
    try:
        with open(_output(ctx, job.id), "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "--job", job.id],
                cwd=PROJECT_ROOT,
                env={**os.environ, **ctx.settings.as_environment()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
    except OSError as error:
        why = f"The {job.kind} could not be started ({error.strerror}); nothing was changed."
        hint = "See that the disk has room and the machine has memory, then start it again."
        _give_up(ctx, job, why, hint)
        raise Broken(why, hint) from error
    # Should this server end now, the next one sees by the number whether the process lives.
    # A database that is locked just now is no reason to call a started job failed.
    with suppress(SQLAlchemyError), write(ctx.control) as connection:
        connection.execute(still_queued(job.id).values(pid=process.pid))
    # Collects the exit status, so that no zombie stays behind in the web server.
    threading.Thread(
        target=_await_end, args=(ctx, job, process), name=f"wait-{job.id}", daemon=True
    ).start()


def give_way() -> None:
    """Let everything else on this machine, the pages above all, go before this process."""
    with suppress(OSError):
        os.nice(NICE)


def _await_end(ctx: Context, job: Job, process: subprocess.Popen[bytes]) -> None:
    code = process.wait()
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    try:
        _give_up(
            ctx,
            job,
            f"The {job.kind} did not begin: its process ended at once ({ended}); nothing was "
            "changed.",
            f"{_output(ctx, job.id)} says why. Then start it again.",
        )
    except (SQLAlchemyError, DeskError) as error:
        log.warning("job %s: could not write that it never began: %s", job.id, error)


def _give_up(ctx: Context, job: Job, why: str, hint: str) -> None:
    """Mark a job that nobody began as failed; does nothing to one that was."""
    with write(ctx.control) as connection:
        marked = connection.execute(
            still_queued(job.id).values(
                state=JobState.FAILED.value, ended_at=ctx.now(), error=why, hint=hint
            )
        )
        if marked.rowcount:
            audit.record(
                connection,
                ctx,
                system_actor(),
                f"{job.kind}.failed",
                ("job", job.id),
                f"The {job.kind} that {job.actor_name} asked for did not begin",
                outcome="failed",
            )


def _output(ctx: Context, job_id: str) -> Path:
    return prepare_folder(ctx.settings.instance_dir / "jobs") / f"{job_id}.log"
