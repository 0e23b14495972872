"""A running job as people see it: step, bar, time, and how it ended.

The job lives in a process of its own; this only looks. So a refresh, another tab or a new
web server shows the same thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import streamlit as st

from services import backup
from services.core import jobs
from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.doors import Watcher
from services.core.errors import Busy
from services.core.jobs import Job, JobState
from ui.format import age, duration, plain, with_times
from ui.messages import say_after_rerun, show_problem, shown_errors
from ui.session import guard

_TITLES = {
    "backup": "Backing up",
    "restore": "Restoring",
    "drill": "Restoring aside, as a test",
    "copy": "Copying to the second store",
    "retention": "Removing old backups",
    "legacy import": "Bringing in a legacy backup",
    "knowledge import": "Importing into the knowledge base",
}


def back_up_button(ctx: Context, actor: Actor, *, key: str, primary: bool = False) -> None:
    """The button that starts a backup; while one runs (or a restore) it can't be pressed.

    Two people pressing at once start one: the second is told that it runs already.
    """
    running = backup.current(ctx)
    pressed = st.button(
        "Back up now",
        icon=":material/backup:",
        type="primary" if primary else "secondary",
        key=key,
        disabled=running is not None,
        help=f"A {running.kind} is running." if running is not None else None,
    )
    if pressed:
        launch(lambda: backup.start(ctx, actor))


def launch(start: Callable[[], object]) -> None:
    """Start a job and run the page again, which then shows it; show why it was not started.

    Somebody else may have been faster: then theirs is what there is to see.
    """
    with shown_errors():
        try:
            start()
        except Busy:
            say_after_rerun("Something else is running already; see its progress.")
        st.rerun()


@contextmanager
def watched(text: str) -> Iterator[Callable[[str, float | None], None]]:
    """A bar for work that one waits for on the page; gives what tells it how far that is."""
    bar = st.progress(0.0, text=text)

    def watch(step: str, fraction: float | None) -> None:
        bar.progress(_share(fraction), text=plain(step or text))

    try:
        yield watch
    finally:
        bar.empty()


def to_the_end(text: str, work: Callable[[Watcher], None]) -> None:
    """Work that one waits for on the page, and that another click or a browser that goes away
    must not cut off half way: the run ends there only when all is done.

    Args:
        work: gets what tells each step; keeps what came of it before it returns.
    """
    bar = st.progress(0.0, text=text)
    stopped: list[BaseException] = []

    def watch(step: str, fraction: float | None) -> None:
        if stopped:
            return
        try:
            bar.progress(_share(fraction), text=f"{plain(text)}: {plain(_inside(step))}")
        except BaseException as stop:  # the page is to run again, or nobody looks any more
            stopped.append(stop)

    try:
        work(watch)
    finally:
        if not stopped:
            bar.empty()
    if stopped:
        raise stopped[0]


def _inside(step: str) -> str:
    return step[:1].lower() + step[1:]


def _share(fraction: float | None) -> float:
    return min(max(fraction or 0.0, 0.0), 1.0)


def job_progress(job_id: str, *, permission: Permission = Permission.BACKUP_VIEW) -> None:
    """Show a job until it ends; then the whole page runs again, once, to show what changed.

    Args:
        permission: what the viewer must hold; asked again at every tick.
    """
    _watch(job_id, permission)


@st.fragment(run_every=1)
def _watch(job_id: str, permission: Permission) -> None:
    ctx, _actor = guard(permission)
    jobs.reap(ctx)
    job = jobs.get(ctx, job_id)
    if job.state.ended:
        st.rerun(scope="app")
    show_running(job, job.seconds(ctx.now()))


def show_running(job: Job, seconds: float) -> None:
    """A job under way."""
    with st.container(border=True, key=f"job_{job.id}"):
        title = _TITLES.get(job.kind, job.kind.capitalize())
        if _is_undo(job):
            title = "Undoing the restore"
        st.markdown(f"**:material/progress_activity: {plain(title)}**")
        fraction = job.fraction
        share = f" · {fraction:.0%}" if fraction is not None else ""
        st.progress(_share(fraction), text=f"{plain(job.step or 'Starting')}{share}")
        st.caption(
            f"{duration(seconds)} so far · asked for by {plain(job.actor_name)} · goes on when "
            "you leave this page"
        )


def show_failure(job: Job, now: datetime) -> None:
    """How a job ended that did not succeed: when, what happened, what to do."""
    ended = "was cut off" if job.state is JobState.INTERRUPTED else "failed"
    error = with_times(job.error or "")
    if error.startswith((f"The {job.kind} ", "The test restore of ")):
        said = f"{error} ({age(job.ended_at, now)})"  # it says itself what failed
    else:
        what = "undo" if _is_undo(job) else job.kind
        said = f"The last {what} {ended} {age(job.ended_at, now)}. {error}".strip()
    show_problem(said, job.hint or "")


def _is_undo(job: Job) -> bool:
    return bool(job.params.get("undo_of"))
