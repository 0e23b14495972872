"""What the shop's old scripts left, beside the backups: looked at, brought in, gone back to."""

from __future__ import annotations

from datetime import timedelta

import streamlit as st

from services import legacy
from services.core import jobs
from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.jobs import Job, JobState
from services.protection.legacy.model import Kind, LegacyBackup, LegacyPage
from ui import format as form
from ui.messages import show_problem
from ui.progress import launch, show_failure
from ui.tables import on_phone

_OPEN = "legacy_open"
_LISTED_FOR = 300
_ROW_PIXELS, _HEAD_PIXELS, _MOST_ROWS = 38, 37, 8
_FAILURE_SHOWN = timedelta(days=2)
_EXPLAINED = (
    "The shop's old script made these. It left no digests, and nobody ever read one back: they "
    "may be torn. **Adopt** fetches one, checks it, restores it aside as a test and lists it "
    "among the backups. **Restore** brings it in and opens it there, with the usual preview, "
    "safety backup and undo. What lies in the old place is only read."
)
_FORMS = {Kind.SQLITE: "SQLite file", Kind.SQL: "PostgreSQL dump", Kind.VECTORS: "Archive"}
_WHAT = {
    (True, True): "Database, vectors",
    (True, False): "Database",
    (False, True): "Vectors",
}


def show(ctx: Context, actor: Actor) -> None:
    """The old backups, where there are any; nothing otherwise."""
    last = next(iter(jobs.recent(ctx, (legacy.KIND,), 1)), None)
    _open_when_done(last)
    found = _listed(ctx, actor)
    if not found.backups:
        return  # that a store does not answer, the list of backups says
    waiting = sum(1 for each in found.backups if not each.snapshot_id)
    title = f"Legacy backups: {form.number(waiting)} not verified"
    with st.expander(title, icon=":material/history:", key="legacy"):
        st.caption(_EXPLAINED)
        if last is not None and _is_bad_news(ctx, last):
            show_failure(last, ctx.now())
        chosen = _table(ctx, found)
        if chosen is not None:
            _one(ctx, actor, chosen)
        _remarks(found)


def _open_when_done(last: Job | None) -> None:
    """Whoever pressed Restore wants to see it once it is a backup."""
    if last is None or st.session_state.get(_OPEN) != last.id or not last.state.ended:
        return
    del st.session_state[_OPEN]
    if last.state is JobState.SUCCEEDED and last.result:
        st.query_params["snapshot"] = str(last.result["snapshot"])
        st.rerun()


def _is_bad_news(ctx: Context, job: Job) -> bool:
    ended = job.ended_at
    failed = job.state in (JobState.FAILED, JobState.INTERRUPTED)
    return failed and ended is not None and ctx.now() - ended < _FAILURE_SHOWN


def _listed(ctx: Context, actor: Actor) -> LegacyPage:
    # Which of them are among the backups changes by both.
    last = next(iter(jobs.recent(ctx, (legacy.KIND, legacy.REMOVAL), 1)), None)
    mark = f"{last.id} {last.state}" if last else ""
    return _cached(ctx, actor, ctx.settings.store_url, ctx.settings.instance_id, mark)


@st.cache_data(ttl=_LISTED_FOR, show_spinner=False, max_entries=8)
def _cached(_ctx: Context, _actor: Actor, _url: str, instance: str, mark: str) -> LegacyPage:
    """Listing a bucket takes a moment, and a page runs again at every click."""
    return legacy.legacy(_ctx, _actor)


def _table(ctx: Context, found: LegacyPage) -> LegacyBackup | None:
    now, rows = ctx.now(), found.backups
    columns = {
        "When": [form.when_short(each.at, now) for each in rows],
        "State": [_state(each) for each in rows],
        "What": [_WHAT[each.database is not None, each.vectors is not None] for each in rows],
        "Form": [_FORMS[each.main.kind] for each in rows],
        "Size": [form.size(each.size) for each in rows],
    }
    if on_phone():
        del columns["What"], columns["Form"]
    event = st.dataframe(
        columns,
        hide_index=True,
        width="stretch",
        height=_HEAD_PIXELS + _ROW_PIXELS * min(len(rows), _MOST_ROWS),
        row_height=_ROW_PIXELS,
        key=f"legacy_{len(rows)}_{rows[0].key}",
        on_select="rerun",
        selection_mode="single-row",
        alt=f"{form.plural(len(rows), 'legacy backup')}, newest first",
        column_config={
            "When": st.column_config.TextColumn(
                help=f"As its name says, read as {found.zone} (LEGACY_TIME_ZONE)"
            ),
            "State": st.column_config.TextColumn(
                help="Not verified: nobody ever restored it as a test, or read it at all"
            ),
            "What": st.column_config.TextColumn(
                help="Vectors belong to the database that was stored within ten minutes"
            ),
        },
    )
    picked = event["selection"]["rows"]
    return rows[picked[0]] if picked and picked[0] < len(rows) else None


def _state(each: LegacyBackup) -> str:
    if each.snapshot_id:
        return "brought in"
    return "unusable here" if each.unusable else "not verified"


def _one(ctx: Context, actor: Actor, chosen: LegacyBackup) -> None:
    with st.container(border=True, key="legacy_one", gap="xsmall"):
        st.markdown(f"**Legacy backup of {form.when_short(chosen.at, ctx.now())}**")
        for each in (chosen.database, chosen.vectors):
            if each is not None:
                st.caption(f":material/draft: {form.plain(each.key)}, {form.size(each.size)}")
        for remark in chosen.remarks:
            st.caption(f":material/info: {form.plain(remark)}")
        if chosen.unusable:
            st.markdown(f":orange[:material/block:] {form.plain(chosen.unusable)}")
            return
        if chosen.snapshot_id:
            st.caption("It is among the backups now, under its own time.")
            if st.button("Open it", icon=":material/open_in_new:", key="legacy_opened"):
                st.query_params["snapshot"] = chosen.snapshot_id
                st.rerun()
        elif actor.may(Permission.BACKUP_CREATE):
            _buttons(ctx, actor, chosen)


def _buttons(ctx: Context, actor: Actor, chosen: LegacyBackup) -> None:
    running = jobs.active(ctx, legacy.LOCK)
    why = f"A {running.kind} is running." if running is not None else None
    with st.container(horizontal=True, gap="small"):
        adopt = actor.may(Permission.DRILL_RUN) and st.button(
            "Adopt",
            icon=":material/verified:",
            key="legacy_adopt",
            disabled=running is not None,
            help=why or "Fetches and checks it, restores it aside as a test, and lists it.",
        )
        back = actor.may(Permission.RESTORE) and st.button(
            "Restore…",
            icon=":material/settings_backup_restore:",
            key="legacy_restore",
            disabled=running is not None,
            help=why or "Brings it in and opens it; nothing live changes before you confirm.",
        )
    if not (adopt or back):
        return

    def start() -> None:
        job = legacy.start_adopt(ctx, actor, chosen.key, drill=bool(adopt))
        if back:
            st.session_state[_OPEN] = job.id

    launch(start)


def _remarks(found: LegacyPage) -> None:
    if found.remarks:
        st.caption("  \n".join(f":material/info: {form.plain(each)}" for each in found.remarks))
    if found.problem is not None:
        show_problem(*found.problem, calm=True)
