"""Go back to a moment: what that would change is seen before, and a word confirms it."""

from __future__ import annotations

from datetime import UTC, datetime, time

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import DeskError
from services.knowledge import rollback
from services.knowledge.ledger import ChangeSet
from services.knowledge.rollback import Moment, RollbackPlan
from services.knowledge.sections import SECTIONS, part_at, part_of_entry, pointer, title_of
from ui import dialogs, kb_undo
from ui import format as form
from ui.kb_entry import show_change
from ui.messages import say_after_rerun, show_error
from ui.session import guard

_DIALOG, _TIMED, _RELEASED = "kb_rollback", "kb_rollback_time", "kb_rollback_release"
_SHOWN = 25


def offer(actor: Actor, one: ChangeSet) -> None:
    """The button under a change set, and what it opens."""
    if not actor.may(Permission.KB_EDIT):
        return
    st.button(
        "Go back to here",
        key=f"kb_rollback_{one.id}",
        icon=":material/settings_backup_restore:",
        type="tertiary",
        help="Everything, or a section, as it was right after this change. Shows first what "
        "would change.",
        on_click=dialogs.open_dialog,
        args=(_DIALOG, one.id),
    )
    if dialogs.is_open(_DIALOG, one.id):
        _dialog(one.id)


def offer_time(actor: Actor) -> None:
    """The button above the history: go back to a day and an hour."""
    if not actor.may(Permission.KB_EDIT):
        return
    st.button(
        "Go back to a time",
        key="kb_rollback_time",
        icon=":material/settings_backup_restore:",
        type="tertiary",
        on_click=dialogs.open_dialog,
        args=(_TIMED,),
    )
    if dialogs.is_open(_TIMED):
        _timed()


def offer_release(actor: Actor, number: int) -> None:
    """The button under a release: what is saved becomes what it says."""
    if not actor.may(Permission.KB_EDIT):
        return
    st.button(
        "Go back to it",
        key="kb_rollback_release",
        icon=":material/settings_backup_restore:",
        type="tertiary",
        help="What is saved, or a section of it, becomes what this release says. Shows first "
        "what would change; the shop reads it when it is published.",
        on_click=dialogs.open_dialog,
        args=(_RELEASED, number),
    )
    if dialogs.is_open(_RELEASED, number):
        _released(number)


@st.dialog(
    "Go back",
    icon=":material/settings_backup_restore:",
    width="large",
    on_dismiss=dialogs.close,
)
def _dialog(change_set_id: str) -> None:
    ctx, actor = guard(Permission.KB_EDIT)
    dialogs.leave_when_closed(_DIALOG, change_set_id)
    _choose(ctx, actor, Moment(change_set_id))


@st.dialog(
    "Go back to a time",
    icon=":material/settings_backup_restore:",
    width="large",
    on_dismiss=dialogs.close,
)
def _timed() -> None:
    ctx, actor = guard(Permission.KB_EDIT)
    dialogs.leave_when_closed(_TIMED)
    now = ctx.now().astimezone(form.viewer_zone())
    with st.container(horizontal=True, gap="small"):
        day = st.date_input(
            "Day", value=None, max_value=now.date(), format="YYYY-MM-DD", key="kb_rollback_day"
        )
        at = st.time_input(f"Time ({form.zone_name()})", value=time(0, 0), key="kb_rollback_at")
    if day is None or at is None:
        st.caption("Choose a day and a time to see what would change.")
        return
    local = datetime.combine(day, at, form.viewer_zone())
    _choose(ctx, actor, Moment(at=local.astimezone(UTC)))


@st.dialog(
    "Go back to a release",
    icon=":material/settings_backup_restore:",
    width="large",
    on_dismiss=dialogs.close,
)
def _released(number: int) -> None:
    ctx, actor = guard(Permission.KB_EDIT)
    dialogs.leave_when_closed(_RELEASED, number)
    _choose(ctx, actor, Moment(release=number))


def _choose(ctx: Context, actor: Actor, moment: Moment) -> None:
    tops = {pointer((one.key,)): one.title for one in SECTIONS}
    where = st.selectbox(
        "What goes back",
        ["", *tops],
        format_func=lambda value: tops.get(value, "The whole knowledge base"),
        key="kb_rollback_where",
        width=320,
    )
    try:
        plan = rollback.preview(ctx, actor, moment, where or "")
    except DeskError as error:
        show_error(error)
        return
    seen = kb_undo.seen_plan(plan, (moment, where))
    _show_plan(ctx, plan)
    if plan.is_empty:
        st.button("Close", key="kb_rollback_close", on_click=dialogs.close)
        return
    reason = st.text_input("Reason", placeholder="Reason (optional)", key="kb_rollback_reason")
    typed = "" if plan.where else dialogs.typed_word(rollback.WORD, "kb_rollback_typed")
    ready = bool(plan.where) or typed.strip() == rollback.WORD
    with st.container(horizontal=True, gap="small"):
        clicked = st.button("Go back", type="primary", key="kb_rollback_do", disabled=not ready)
        st.button("Cancel", key="kb_rollback_cancel", on_click=dialogs.close)
    if not clicked:
        return
    try:
        done = rollback.roll_back(ctx, actor, seen, reason, typed)
    except DeskError as error:
        show_error(error)
        return
    dialogs.close()
    entries = form.plural(done.total, "entry", "entries")
    say_after_rerun(f"Gone back: {entries} changed. This can be taken back as well.")
    st.rerun()


def _show_plan(ctx: Context, plan: RollbackPlan) -> None:
    place = form.plain(title_of(plan.where)) if plan.where else "The whole knowledge base"
    then = f"on {form.when(plan.then)}"
    if plan.moment.release is not None:
        then = f"in release {plan.moment.release}"
    elif plan.moment.at is None:
        then += ", right after that change"
    st.markdown(f"**{place} as it was {then}**")
    since = form.plural(plan.change_sets, "change has", "changes have")
    st.caption(f"{since} been made since. Going back is a change of its own; none of them is lost.")
    if plan.is_empty:
        st.info("Everything is as it was then.", icon=":material/check:")
    else:
        counts = (
            ("comes back", "come back", plan.added),
            ("as it was", "as they were", plan.edited),
            ("goes to the bin", "go to the bin", plan.deleted),
            ("to its old place", "to their old places", plan.moved),
        )
        st.caption(
            " · ".join(
                f"{form.plural(count, 'entry', 'entries')} {one if count == 1 else many}"
                for one, many, count in counts
                if count
            )
        )
    for kept in plan.kept[:_SHOWN]:
        st.caption(f":material/info: {form.plain(kept.key)} can't come back: {kept.why}.")
    if len(plan.kept) > _SHOWN:
        st.caption(f"and {form.number(len(plan.kept) - _SHOWN)} more that can't come back.")
    shown = plan.changes[:_SHOWN]
    with st.container(height=360 if len(shown) > 3 else "content", border=False, gap="medium"):
        for change in shown:
            part = part_of_entry(change.section, change.key) or part_at(change.section)
            with st.container(gap=None):
                st.caption(form.plain(title_of(change.section)))
                show_change(part, change, ctx, with_place=True)
        total = plan.added + plan.edited + plan.deleted + plan.moved
        if total > len(shown):
            st.caption(f"and {form.number(total - len(shown))} more.")
