"""The fashion knowledge base: read it, edit it, see its history, take it in and out."""

from __future__ import annotations

import streamlit as st

from services.core.access import Permission
from ui import (
    kb_bin,
    kb_grid,
    kb_history,
    kb_leave,
    kb_quality,
    kb_releases,
    kb_sections,
    kb_transfer,
    kb_try,
    kb_unsaved,
    kb_where,
)
from ui.kb_drafts import drafts
from ui.messages import shown_errors
from ui.session import open_page

VIEWS = {
    kb_where.SECTIONS: "Sections",
    kb_where.HISTORY: "History",
    kb_where.BIN: "Bin",
    kb_where.QUALITY: "Quality",
    kb_where.TRY: "Try it",
    kb_where.RELEASES: "Releases",
    kb_where.TRANSFER: "Import and export",
}


def show_views() -> str:
    """Which view of the page."""
    if st.session_state[kb_where.VIEW] not in VIEWS:
        st.session_state[kb_where.VIEW] = kb_where.SECTIONS
    chosen = st.segmented_control(
        "View",
        list(VIEWS),
        required=True,
        format_func=VIEWS.__getitem__,
        label_visibility="collapsed",
        key=kb_where.VIEW,
    )
    return chosen or kb_where.SECTIONS


def main() -> None:
    """The page."""
    ctx, actor = open_page(
        "Knowledge base",
        Permission.KB_VIEW,
        lead="What the shop's assistant knows about fashion. Every save is kept with its author, "
        "its reason, and each text before and after.",
    )
    held = drafts()
    kb_where.arrive()
    if actor.may(Permission.KB_EDIT):
        kb_grid.fold(held)
        kb_unsaved.show_bar(ctx, actor, held)
    view = show_views()
    with shown_errors():
        if view == kb_where.HISTORY:
            kb_history.show_all(ctx, actor)
        elif view == kb_where.BIN:
            kb_bin.show_bin(ctx, actor)
        elif view == kb_where.QUALITY:
            kb_quality.show_quality(ctx, actor)
        elif view == kb_where.TRY:
            kb_try.show_try(ctx, actor, held)
        elif view == kb_where.RELEASES:
            kb_releases.show_releases(ctx, actor)
        elif view == kb_where.TRANSFER:
            kb_transfer.show_transfer(ctx, actor)
        else:
            kb_sections.show_sections(ctx, actor, held)
    kb_where.keep()
    if actor.may(Permission.KB_EDIT):
        kb_leave.watch_typing(held)


main()
