"""Take a change set back: what it would change and what stays is seen before."""

from __future__ import annotations

from typing import TypeVar

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import DeskError
from services.knowledge import undoing
from services.knowledge.history import EntryChange
from services.knowledge.inverse import WHOLE, Kept
from services.knowledge.ledger import ChangeSet
from services.knowledge.sections import part_at, part_of_entry, title_of
from services.knowledge.undoing import UndoPlan
from ui import dialogs
from ui import format as form
from ui.kb_entry import field_title, show_change
from ui.messages import say_after_rerun, show_error
from ui.session import guard

_DIALOG, _SEEN = "kb_undo", "kb_seen_plan"
_SHOWN = 25

Plan = TypeVar("Plan")


def offer(actor: Actor, one: ChangeSet) -> None:
    """The button under a change set, and what it opens."""
    if not actor.may(Permission.KB_EDIT) or not one.total:
        return
    st.button(
        "Take it back",
        key=f"kb_undo_{one.id}",
        icon=":material/undo:",
        help="Shows first what would change. What others wrote since stays.",
        on_click=dialogs.open_dialog,
        args=(_DIALOG, one.id),
    )
    if dialogs.is_open(_DIALOG, one.id):
        _dialog(one.id)


def offer_entry(actor: Actor, one: EntryChange) -> None:
    """The button under one change of an entry: what else the change set did stays."""
    if not actor.may(Permission.KB_EDIT) or not one.change_set_id:
        return
    details = (one.change_set_id, one.entry_id)
    st.button(
        "Take this back",
        key=f"kb_undo_{one.change_set_id}_{one.entry_id}",
        icon=":material/undo:",
        type="tertiary",
        help="Shows first what would change. Later changes of the same cells stay.",
        on_click=dialogs.open_dialog,
        args=(_DIALOG, *details),
    )
    if dialogs.is_open(_DIALOG, *details):
        _dialog(*details)


@st.dialog("Take a change back", icon=":material/undo:", width="large", on_dismiss=dialogs.close)
def _dialog(change_set_id: str, *only: int) -> None:
    ctx, actor = guard(Permission.KB_EDIT)
    dialogs.leave_when_closed(_DIALOG, change_set_id, *only)
    try:
        plan = undoing.preview(ctx, actor, change_set_id, only)
    except DeskError as error:
        show_error(error)
        return
    seen = seen_plan(plan, (change_set_id, only))
    show_plan(ctx, plan)
    if plan.is_empty:
        st.button("Close", key="kb_undo_close", on_click=dialogs.close)
        return
    reason = st.text_input("Reason", placeholder="Reason (optional)", key="kb_undo_reason")
    with st.container(horizontal=True, gap="small"):
        clicked = st.button("Take it back", type="primary", key="kb_undo_do")
        st.button("Cancel", key="kb_undo_cancel", on_click=dialogs.close)
    if not clicked:
        return
    try:
        done = undoing.undo(ctx, actor, seen, reason)
    except DeskError as error:
        show_error(error)
        return
    dialogs.close()
    entries = form.plural(done.total, "entry", "entries")
    say_after_rerun(f"Taken back: {entries}. This can be taken back as well.")
    st.rerun()


def seen_plan(plan: Plan, of: object) -> Plan:
    """The plan that was on the screen when a button was pressed, which is what one agreed to.

    The run that answers the button has looked anew; that look counts from the next run on.

    Args:
        of: what the plan is for; a plan for something else was never on the screen.
    """
    before = st.session_state.get(_SEEN)
    st.session_state[_SEEN] = (of, plan)
    return before[1] if before and before[0] == of else plan


def show_plan(ctx: Context, plan: UndoPlan) -> None:
    """What would change, and what stays because somebody wrote on it since."""
    if plan.is_empty:
        st.info(
            "Nothing is left to take back: later changes replaced all of it.",
            icon=":material/check:",
        )
    else:
        st.caption(_summary(plan))
    for one in plan.kept[:_SHOWN]:
        st.caption(f":material/info: {_kept(one)}")
    if len(plan.kept) > _SHOWN:
        st.caption(f"and {form.number(len(plan.kept) - _SHOWN)} more that stay.")
    height = 420 if len(plan.changes) > 3 else "content"
    with st.container(height=height, border=False, gap="medium"):
        for change in plan.changes[:_SHOWN]:
            part = part_of_entry(change.section, change.key) or part_at(change.section)
            with st.container(gap=None):
                st.caption(form.plain(title_of(change.section)))
                show_change(part, change, ctx, with_place=True)
        if len(plan.changes) > _SHOWN:
            st.caption(f"and {form.number(len(plan.changes) - _SHOWN)} more.")


def _summary(plan: UndoPlan) -> str:
    words = (("add", "comes back", "come back"), ("delete", "goes", "go"))
    counts = {
        action: sum(1 for change in plan.changes if change.action == action)
        for action in ("add", "edit", "delete")
    }
    told = [
        f"{form.plural(counts[action], 'entry', 'entries')} {one if counts[action] == 1 else many}"
        for action, one, many in words
        if counts[action]
    ]
    if counts["edit"]:
        told.append(f"{form.plural(counts['edit'], 'entry', 'entries')} as before")
    return " · ".join(told)


def _kept(one: Kept) -> str:
    part = part_of_entry(one.section, one.key) or part_at(one.section)
    what = form.plain(one.key)
    if one.field != WHOLE:
        title = field_title(part, one.field) if part else one.field
        what = f"{what}, {form.plain(title.lower())}"
    return f"{what} stays as it is: {form.plain(one.why)}."
