"""Import and export of the knowledge base, side by side."""

from __future__ import annotations

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.knowledge import transfer
from services.knowledge.transfer import ShopModule
from ui import format as form
from ui import kb_export, kb_import
from ui.messages import show_problem


def show_transfer(ctx: Context, actor: Actor) -> None:
    """Both directions; import for those who may edit."""
    if actor.may(Permission.KB_EDIT):
        st.header("Import", anchor=False)
        if not kb_import.is_busy(ctx):
            offer_shop_module(ctx, actor)
        kb_import.show_import(ctx, actor)
        if kb_import.is_busy(ctx):
            return
    st.header("Export", anchor=False)
    kb_export.show_export(ctx, actor)


def offer_shop_module(ctx: Context, actor: Actor) -> None:
    """Offer the shop's own module where it says something else than the knowledge base."""
    found = transfer.find_shop_module(ctx)
    if found is None or not found.differs:
        return
    with st.container(border=True, key="kb_shop_module"):
        _show_module(ctx, actor, found)


def _show_module(ctx: Context, actor: Actor, found: ShopModule) -> None:
    if found.problem is not None:
        show_problem(found.problem.message, found.problem.hint, calm=True)
        st.caption(form.plain(found.path))
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width="stretch", gap=None):
            st.markdown("**The shop has a knowledge base of its own**")
            st.caption(
                f"{form.plural(found.entries, 'entry', 'entries')} in {form.plain(found.path)}. "
                "It is read, never run; you see what would change first."
            )
        if st.button(
            "Preview import", type="primary", icon=":material/upload:", key="kb_import_shop"
        ):
            kb_import.begin(ctx, actor, found.path, found.data)
