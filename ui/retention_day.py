"""One day of the calendar: its backups, why each stays or goes, and the pin."""

from __future__ import annotations

import streamlit as st

from services import retention
from services.core.access import Actor, Permission
from services.core.context import Context
from services.protection.retention.calendar import CalendarDay
from services.protection.retention.model import Decision
from services.protection.retention.pins import LONGEST_NOTE
from ui import format as form
from ui import snapshot_panel
from ui.messages import say_after_rerun, shown_errors


def show(ctx: Context, actor: Actor, day: CalendarDay) -> None:
    """The day that was pressed."""
    with st.container(border=True, key="chosen_day"):
        with st.container(
            horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
        ):
            st.markdown(
                f"**{day.day:%A} {day.day.day} {day.day:%B %Y}**",
                width="stretch",
            )
            if st.button("Close", icon=":material/close:", type="tertiary", key="close_day"):
                st.query_params.pop("day", None)
                st.rerun()
        for error in day.errors:
            st.markdown(f":red[:material/cancel:] Backup failed: {form.plain(error)}")
        if not day.decisions and not day.errors:
            st.caption("No backup was made on this day.")
        for decision in reversed(day.decisions):
            _show_decision(ctx, actor, decision)


def _show_decision(ctx: Context, actor: Actor, decision: Decision) -> None:
    row = decision.row
    word = snapshot_panel.state_of(row)
    colour = snapshot_panel.STATE_COLOURS[word]
    why = snapshot_panel.REASONS.get(row.reason, row.reason)
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", key=f"backup_{row.id}"
    ):
        with st.container(width="stretch", gap=None):
            st.markdown(
                f"**{form.when(row.created_at)}** :{colour}-badge[{word}]  \n"
                f":small[:gray[{form.plain(why)} · {form.size(row.stored_bytes)} stored]]"
            )
            for reason in _told(decision):
                st.markdown(f":small[{reason}]")
        if st.button(
            "Open", icon=":material/arrow_forward:", type="tertiary", key=f"open_{row.id}"
        ):
            st.switch_page("pages/backups.py", query_params={"snapshot": row.id})
        if actor.may(Permission.BACKUP_PIN):
            _pin(ctx, actor, decision)


def _told(decision: Decision) -> list[str]:
    """Why it goes or stays, with a sign; a pin is somebody's word and stands apart."""
    if not decision.keep:
        cost = f" ({decision.warning})" if decision.warning else ""
        said = form.plain(f"{'; '.join(decision.reasons)}{cost}")
        return [f":orange[:material/do_not_disturb_on: goes]: {said}"]
    pinned = [reason for reason in decision.reasons if reason.startswith("pinned")]
    others = [reason for reason in decision.reasons if reason not in pinned]
    told = [f":blue[:material/keep: stays]: {form.plain(reason)}" for reason in pinned]
    if others:
        told.append(f":green[:material/check_circle: stays]: {form.plain('; '.join(others))}")
    return told


def _pin(ctx: Context, actor: Actor, decision: Decision) -> None:
    row = decision.row
    if row.pin is not None:
        if st.button(
            "Take the pin off",
            icon=":material/keep_off:",
            key=f"unpin_{row.id}",
            help="The policy then decides about it again.",
        ):
            with shown_errors():
                retention.unpin(ctx, actor, row.id)
                say_after_rerun("The pin is off: the policy decides about this backup again.")
                st.rerun()
        return
    with st.popover("Pin", icon=":material/keep:", key=f"pin_menu_{row.id}"):
        with st.form(f"pin_form_{row.id}", border=False):
            note = st.text_input(
                "Why must it be kept?",
                max_chars=LONGEST_NOTE,
                placeholder="Before the migration",
                key=f"note_{row.id}",
            )
            pressed = st.form_submit_button("Pin this backup", type="primary", key=f"pin_{row.id}")
        if pressed:
            with shown_errors():
                retention.pin(ctx, actor, row.id, note)
                say_after_rerun("Pinned: it stays until somebody takes the pin off.")
                st.rerun()
