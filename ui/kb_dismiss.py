"""Dismiss a finding, or all that are looked at: with a reason, in a dialog."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from services.core.access import Permission
from services.core.errors import DeskError
from services.knowledge import dismissing
from services.knowledge.quality import Finding
from services.knowledge.validation import MAX_REASON
from ui import dialogs
from ui import format as form
from ui.messages import say_after_rerun, show_error
from ui.session import guard

_DIALOG = "kb_dismiss"
_ALL = "all"
_NAMED = 5


def offer(one: Finding, number: int) -> None:
    """The button beside a finding."""
    st.button(
        "Dismiss",
        key=f"kb_dismiss_{number}",
        type="tertiary",
        help="Leave it as it is, and say why.",
        on_click=dialogs.open_dialog,
        args=(_DIALOG, one.digest),
    )


def offer_all(count: int) -> None:
    """The button under the findings that the filter leaves."""
    st.button(
        f"Dismiss all {form.number(count)}",
        key="kb_dismiss_all",
        type="tertiary",
        icon=":material/done_all:",
        help="All that are counted here, on every page, for one reason.",
        on_click=dialogs.open_dialog,
        args=(_DIALOG, _ALL),
    )


def show_dialog(chosen: Sequence[Finding], shown: Sequence[Finding]) -> None:
    """Draw the dialog that was opened, if one was.

    Args:
        chosen: the findings that the filter leaves.
        shown: those of this page.
    """
    if dialogs.is_open(_DIALOG, _ALL):
        _dialog(_ALL, chosen)
        return
    one = next((one for one in shown if dialogs.is_open(_DIALOG, one.digest)), None)
    if one is not None:
        _dialog(one.digest, [one])


@st.dialog("Dismiss", icon=":material/done_all:", on_dismiss=dialogs.close)
def _dialog(which: str, chosen: Sequence[Finding]) -> None:
    ctx, actor = guard(Permission.KB_EDIT)
    dialogs.leave_when_closed(_DIALOG, which)
    for one in chosen[:_NAMED]:
        st.markdown(f"**{form.plain(one.key)}** {form.plain(one.message)}")
    if len(chosen) > _NAMED:
        st.caption(f"and {form.number(len(chosen) - _NAMED)} more")
    reason = st.text_input(
        "Reason",
        placeholder="Why it may stay as it is",
        max_chars=MAX_REASON,
        key="kb_dismiss_reason",
    )
    st.caption(
        "It stays in the list of dismissed findings and can be brought back. Where the text "
        "decides, it counts again when the entry says something else."
    )
    with st.container(horizontal=True, gap="small"):
        clicked = st.button("Dismiss", type="primary", key="kb_dismiss_do")
        st.button("Cancel", key="kb_dismiss_cancel", on_click=dialogs.close)
    if not clicked:
        return
    try:
        count = dismissing.dismiss(ctx, actor, chosen, reason)
    except DeskError as error:
        show_error(error)
        return
    dialogs.close()
    say_after_rerun(f"Dismissed: {form.plural(count, 'finding', 'findings')}.")
    st.rerun()
