"""The second copy as people see it: how far it is, what is wrong, and the button."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from services import replication
from services.core import jobs
from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.jobs import JobState
from services.protection.model import SnapshotRow
from services.protection.replication.model import CopyStatus
from ui import format as form
from ui.messages import show_problem
from ui.progress import job_progress, launch, show_failure

EXPLAINED = (
    "Every backup is copied to a second store once it was read back: the same bytes, compared on "
    "the way and read back there. A copy outlives its backup in the first store by a week, and "
    "stays for good where that vanished without retention's word."
)


def line(row: SnapshotRow, now: datetime) -> str:
    """Where a backup stands with its copy, in words; plain text."""
    if row.copy_error:
        return f"No good copy: {row.copy_error}"
    if row.copied_at is None:
        return "Not copied yet"
    return f"Complete there, compared {form.age(row.copied_at, now)}"


def show(ctx: Context, actor: Actor) -> None:
    """How far the second copy is, and the way to bring it on."""
    found = replication.status(ctx, actor)
    if found.url is None:
        st.markdown(
            ":gray-badge[:material/content_copy: none] One store can be lost, locked or deleted "
            "with its account. `BACKUP_COPY_URL` names a second one."
        )
        st.caption(EXPLAINED)
        return
    st.code(found.url, language=None, wrap_lines=True)
    if found.problem is not None:
        show_problem(*found.problem)
        return
    running = jobs.active(ctx, replication.LOCK)
    if running is not None and running.kind == replication.KIND:
        job_progress(running.id)
    else:
        _last(ctx)
    st.markdown(_told(found, ctx.now()))
    if found.remark:
        st.caption(f":material/info: {form.plain(found.remark)}")
    if found.error:
        show_problem(f"The newest backup without a good copy: {found.error}", calm=True)
    _buttons(ctx, actor, found, busy=running is not None)
    st.caption(EXPLAINED)


def _told(found: CopyStatus, now: datetime) -> str:
    if not found.snapshots:
        return ":gray-badge[:material/content_copy: nothing to copy yet]"
    done = found.waiting == 0
    mark = "green-badge[:material/check:" if done else "orange-badge[:material/hourglass_top:"
    told = (
        f":{mark} {form.number(found.copied)} of {form.plural(found.snapshots, 'backup')} copied]"
    )
    if found.newest_copied_at is not None:
        told += (
            f" The newest copy holds the data of {form.when_short(found.newest_copied_at, now)}."
        )
    return told


def _last(ctx: Context) -> None:
    """How the last run ended, where it did not end well and none has since."""
    last = next((job for job in jobs.recent(ctx, (replication.KIND,), 3) if job.state.ended), None)
    if last is not None and last.state is not JobState.SUCCEEDED:
        show_failure(last, ctx.now())


def _buttons(ctx: Context, actor: Actor, found: CopyStatus, *, busy: bool) -> None:
    if not actor.may(Permission.BACKUP_CREATE):
        return
    with st.container(horizontal=True, gap="small"):
        copy = bool(found.waiting) and st.button(
            "Copy what is missing",
            icon=":material/content_copy:",
            key="copy_missing",
            disabled=busy,
            help="Something else is running." if busy else "Sends only what is not there yet.",
        )
        prove = st.button(
            "Compare all copies",
            icon=":material/fact_check:",
            key="copy_prove",
            type="tertiary",
            disabled=busy or not found.copied,
            help="Reads every object in the second store, and sends again what is not as it "
            "was. With an S3 store, reading costs its fees.",
        )
    if copy or prove:
        which = replication.MISSING if copy else replication.ALL
        launch(lambda: replication.start(ctx, actor, which))
