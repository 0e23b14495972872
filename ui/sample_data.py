"""The way out of the sample shop: a button where the badge is, and its dialog."""

from __future__ import annotations

import streamlit as st

from services import sample
from services.core.access import Actor, Permission
from services.core.context import Context
from services.shop.sample_state import is_sample
from ui import dialogs
from ui.format import plain
from ui.messages import say_after_rerun, shown_errors
from ui.session import guard


def offer(ctx: Context, actor: Actor) -> None:
    """A button that removes the sample shop, or puts it back after that; nothing otherwise."""
    if not actor.may(Permission.SAMPLE_MANAGE):
        return
    if is_sample(ctx):
        if st.button(
            "Remove sample data",
            key="sample_remove",
            type="tertiary",
            icon=":material/move_item:",
        ):
            _remove()
    elif sample.may_be_put_back(ctx) and st.button(
        "Put sample data back", key="sample_put_back", type="tertiary", icon=":material/undo:"
    ):
        with shown_errors():
            sample.put_back(ctx, actor)
            say_after_rerun("The sample shop is back")
            st.rerun()


@st.dialog("Remove sample data", icon=":material/move_item:")
def _remove() -> None:
    ctx, actor = guard(Permission.SAMPLE_MANAGE)
    st.markdown(
        "The made-up shop is moved aside: its database with the knowledge base, its vectors and "
        "its pictures. Nothing is deleted, and this place then offers to put it back. Backups, "
        "accounts and the audit log stay as they are."
    )
    st.caption(plain(sample.ATTACH_HINT))
    with st.form("sample_form", border=False):
        typed = dialogs.typed_word(sample.REMOVE_WORD, "sample_typed")
        asked = st.form_submit_button("Move it aside", key="sample_remove_now", type="primary")
    if asked:
        with shown_errors():
            folder = sample.remove(ctx, actor, typed)
            say_after_rerun(f"The sample shop was moved to {folder.name}")
            st.rerun()
