"""Which backups stay, which go and why; pin one; remove what the policy does not keep."""

from __future__ import annotations

from datetime import date, timedelta

import streamlit as st

from services import backup, retention
from services.core import jobs
from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.jobs import Job, JobState
from services.protection.retention.calendar import Calendar, CalendarDay
from services.protection.retention.model import Decision, PrunePlan
from ui import dialogs, retention_calendar, retention_day
from ui import format as form
from ui.messages import shown_errors
from ui.progress import job_progress, show_failure
from ui.session import open_page

NEWS_SHOWN = timedelta(days=2)
LISTED = 100
"""Backups that would go are named one by one up to this many; the calendar has them all."""


def show_head(ctx: Context) -> bool:
    """What runs now, and how the last run ended; whether something runs."""
    running = backup.current(ctx)
    if running is not None:
        job_progress(running.id)
        return True
    last = next((job for job in jobs.recent(ctx, (retention.KIND,), 5) if job.state.ended), None)
    if last is None or last.ended_at is None or ctx.now() - last.ended_at > NEWS_SHOWN:
        return False
    if last.state is not JobState.SUCCEEDED:
        show_failure(last, ctx.now())
    else:
        _show_done(ctx, last)
    return False


def _show_done(ctx: Context, last: Job) -> None:
    result = last.result or {}
    removed = int(result.get("removed_in_all", 0))
    told = f"{form.plural(removed, 'backup')} removed"
    if result.get("pictures"):
        told += f", {form.plural(result['pictures'], 'picture')} that no backup shows"
    st.caption(
        f":material/history: Last run {form.age(last.ended_at, ctx.now())}: {told}, "
        f"{form.size(result.get('bytes'))} freed, asked for by {form.plain(last.actor_name)}."
    )
    for note in result.get("notes", []):
        st.caption(f":material/info: {form.plain(note)}")
    if result.get("refused"):
        st.warning(
            f"The store would not delete {form.plural(len(result['refused']), 'object')}. "
            "Object Lock may keep them, or the desk has no right to delete there.",
            icon=":material/lock:",
        )


def show_figures(plan: PrunePlan) -> None:
    """What there is and what would go, in four figures."""
    oldest = plan.kept[-1].row if plan.kept else None
    pinned = sum(each.row.pin is not None for each in plan.decisions)
    verified = sum(each.row.verified_at is not None for each in plan.kept)
    with st.grid(4, min_column_width=150, gap="small"):
        _figure("Stay", form.number(len(plan.kept)), f"{form.number(verified)} of them verified")
        _figure(
            "Would go now",
            form.number(len(plan.going)),
            f"frees {form.size(plan.bytes_freed)}" if plan.going else "the policy keeps them all",
        )
        _figure(
            "Back to",
            form.day(oldest.created_at) if oldest else form.NONE,
            "the oldest that stays",
        )
        _figure("Pinned", form.number(pinned), "stay whatever the policy says")


def _figure(label: str, value: str, below: str) -> None:
    with st.container(border=True, height="stretch", gap="xxsmall"):
        st.metric(label, value)
        st.caption(below)


def show_holds(plan: PrunePlan) -> None:
    """What speaks against removing anything now."""
    for number, hold in enumerate(plan.holds):
        begins = "" if number else "Nothing is removed for now. "
        st.warning(
            form.plain(hold.hint),
            title=f"{begins}{form.plain(hold.message)}",
            icon=":material/front_hand:",
        )


def show_calendar(ctx: Context, actor: Actor, found: Calendar) -> None:
    """The twelve months, and below them the day that was pressed."""
    zone = form.viewer_zone()
    with st.container(border=True, key="calendar"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown("**The last 12 months**", width="content")
            st.caption(
                f"{retention_calendar.summary(found, zone)}. Press a day to open it; days are "
                f"those of {form.plain(form.zone_name(zone))}, the policy counts UTC's."
            )
        retention_calendar.show(found, zone)
    day = _chosen(found)
    if day is not None:
        retention_day.show(ctx, actor, day)


def _chosen(found: Calendar) -> CalendarDay | None:
    try:
        wanted = date.fromisoformat(st.query_params.get("day", ""))
    except ValueError:
        return None
    return next((day for day in found.days if day.day == wanted), None)


def show_going(ctx: Context, actor: Actor, plan: PrunePlan, *, busy: bool) -> None:
    """What would go now, and the button that lets it."""
    with st.container(border=True, key="going"):
        st.markdown("**What would go now**")
        if not plan.going:
            nothing = "Nothing: the policy keeps every backup there is."
            st.markdown(f":green[:material/check_circle:] {nothing}" if plan.decisions else nothing)
            return
        count = form.plural(len(plan.going), "backup")
        night = "" if plan.holds else " The next nightly backup removes them by itself."
        st.markdown(
            f"{count}, {form.size(plan.bytes_freed)}, and the pictures that only they show.{night}"
        )
        with st.expander(
            f"See {'all' if len(plan.going) <= LISTED else 'the newest'}", key="which"
        ):
            _table(plan.going[:LISTED])
            if len(plan.going) > LISTED:
                st.caption(f"and {form.number(len(plan.going) - LISTED)} older ones")
        if any(each.warning for each in plan.going):
            st.markdown(
                ":orange[:material/payments:] Some of them lie in an archive class or under "
                "Object Lock; the list says what removing them early costs."
            )
        _confirm(ctx, actor, plan, busy=busy)


def _table(going: tuple[Decision, ...]) -> None:
    st.dataframe(
        {
            "Made": [form.when(each.row.created_at) for each in going],
            "Why it goes": [each.words.removeprefix("goes: ").capitalize() for each in going],
            "Frees": [form.size(each.freed_bytes) for each in going],
        },
        hide_index=True,
        width="stretch",
        height="content" if len(going) <= 12 else 460,
        key="list_of_going",
        alt=f"{form.plural(len(going), 'backup')} that would go, newest first",
        column_config={
            "Made": st.column_config.TextColumn(width=160),
            "Frees": st.column_config.TextColumn(width=70),
        },
    )


def _confirm(ctx: Context, actor: Actor, plan: PrunePlan, *, busy: bool) -> None:
    if not actor.may(Permission.RETENTION_RUN):
        st.caption("An administrator can remove them here.")
        return
    if any(not hold.confirmable for hold in plan.holds):
        st.caption("They can be removed when nothing above speaks against it any more.")
        return
    st.markdown(
        ":red[:material/delete_forever:] This is final: what is removed can't be restored any "
        "more, and there is no undo."
    )
    with st.form("remove_form", border=False, enter_to_submit=False):
        looked = " that you have looked at the warning above" if plan.holds else ""
        typed = dialogs.typed_word(plan.word, "typed", more=looked, width=480)
        pressed = st.form_submit_button(
            f"Remove {form.plural(len(plan.going), 'backup')}",
            type="primary",
            icon=":material/delete_forever:",
            key="remove",
            disabled=busy,
        )
    if pressed:
        with shown_errors():
            retention.start(ctx, actor, plan, typed)
            st.rerun()


def main() -> None:
    """Show the page."""
    ctx, actor = open_page("Retention", Permission.BACKUP_VIEW)
    with shown_errors():
        found = retention.calendar(ctx, actor, zone=form.viewer_zone())
        st.caption(found.plan.policy.sentence)
        busy = show_head(ctx)
        show_holds(found.plan)
        if not found.plan.decisions:
            with st.container(border=True):
                st.markdown("**There is no backup yet.**")
                st.caption(
                    "When there are some, this page shows day by day which ones stay, which go "
                    "and why. Make the first one on the Backups page."
                )
                if st.button("Go to backups", icon=":material/backup:", key="to_backups"):
                    st.switch_page("pages/backups.py")
            return
        show_figures(found.plan)
        show_calendar(ctx, actor, found)
        show_going(ctx, actor, found.plan, busy=busy)


main()
