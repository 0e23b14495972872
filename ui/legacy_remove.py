"""Removing a backup that was made of a legacy one: no policy ever does, a person may."""

from __future__ import annotations

import streamlit as st

from services import legacy
from services.core import jobs
from services.core.access import Actor, Permission
from services.core.context import Context
from services.protection.model import SnapshotRow
from services.protection.retention.model import LEGACY_REASON
from ui import dialogs
from ui import format as form
from ui.messages import say_after_rerun, shown_errors
from ui.session import guard

_DIALOG = "legacy_remove"


def show(ctx: Context, actor: Actor, row: SnapshotRow) -> None:
    """The button and its dialog, where the backup was made of a legacy one; else nothing."""
    if row.reason != LEGACY_REASON or not actor.may(Permission.RETENTION_RUN):
        return
    running = jobs.active(ctx, legacy.LOCK)
    st.button(
        "Remove…",
        key="legacy_remove",
        type="tertiary",
        icon=":material/delete_forever:",
        disabled=running is not None,
        help=f"A {running.kind} is running."
        if running is not None
        else "Retention keeps what was made of a legacy backup until somebody removes it.",
        on_click=dialogs.open_dialog,
        args=(_DIALOG, row.id),
    )
    if dialogs.is_open(_DIALOG, row.id):
        _remove(row)


@st.dialog("Remove this backup", icon=":material/delete_forever:", on_dismiss=dialogs.close)
def _remove(row: SnapshotRow) -> None:
    ctx, actor = guard(Permission.RETENTION_RUN)
    dialogs.leave_when_closed(_DIALOG, row.id)
    copied = (
        " Its copy in the second store follows after a week."
        if ctx.settings.copy_url is not None and row.copied_at is not None
        else ""
    )
    st.markdown(
        f"The backup of {form.when(row.created_at)} goes from the list and from the store "
        f"({form.size(row.stored_bytes)}, but for what others share with it), and so do the "
        f"results of its drills.{copied} This can't be undone."
    )
    st.caption(
        "The files that the old script left stay where they are. While they do, this backup can "
        "be made of them again."
    )
    typed = dialogs.typed_word(row.id, "legacy_remove_typed")
    with st.container(horizontal=True, gap="small"):
        clicked = st.button(
            "Remove",
            type="primary",
            key="legacy_remove_do",
            disabled=typed.strip() != row.id,
        )
        st.button("Cancel", key="legacy_remove_cancel", on_click=dialogs.close)
    if not clicked:
        return
    with shown_errors():
        with st.spinner("Removing the backup"):
            legacy.remove(ctx, actor, row.id, typed)
        dialogs.close()
        st.query_params.pop("snapshot", None)
        say_after_rerun("The backup is removed; what the old script left stays where it is.")
        st.rerun()
