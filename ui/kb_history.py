"""The history of the whole knowledge base: change sets, and what each of them did."""

from __future__ import annotations

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.knowledge import history
from services.knowledge.ledger import ChangeSet
from services.knowledge.sections import part_at, part_of_entry, title_of
from ui import format as form
from ui import kb_undo
from ui.kb_entry import show_change
from ui.tables import on_phone

_KINDS = {
    "bulk": "Bulk edit",
    "edit": "Edit",
    "import": "Import",
    "restore": "Restore",
    "undo": "Undo",
    "purge": "Purge",
}
_DETAILS = 25


def show_all(ctx: Context, actor: Actor) -> None:
    """Change sets, newest first; a chosen one opens beside the list."""
    page = int(st.session_state.get("kb_history_page", 1))
    found = history.recent(ctx, actor, page=page)
    if not found.total:
        st.info(
            "Every save, import and restore of the knowledge base will be listed here, with "
            "who did it, why, and each text before and after.",
            title="Nothing has been changed yet",
            icon=":material/history:",
        )
        return
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(key="list_of_changes"):
        chosen = _list(ctx, found.change_sets, page)
        pages = -(-found.total // history.PAGE_ROWS)
        if pages > 1:
            st.pagination(pages, key="kb_history_page")
        if chosen is None:
            st.caption("Choose a row to see each text before and after.")
    with right, st.container(key="chosen_change" if chosen else "nothing_chosen"):
        if chosen is None:
            st.empty()
        else:
            _show(ctx, actor, chosen)


def _list(ctx: Context, sets: tuple[ChangeSet, ...], page: int) -> ChangeSet | None:
    now, zone = ctx.now(), form.viewer_zone()
    columns = {
        "When": [form.when_short(one.at, now, zone) for one in sets],
        "Who": [one.author for one in sets],
        "What": [f"{_KINDS.get(one.kind, one.kind)}: {_counts(one)}" for one in sets],
        "Why": [one.reason for one in sets],
    }
    if on_phone():
        del columns["Who"], columns["Why"]
    table = st.dataframe(
        columns,
        # Rows are chosen by position: a list with a newer row is another table.
        key=f"kb_history_{page}_{sets[0].id}",
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        width="stretch",
        height=min(len(sets), 20) * 33 + 37,
        alt="Changes of the knowledge base, newest first",
    )
    rows = table["selection"]["rows"]
    return sets[rows[0]] if rows and rows[0] < len(sets) else None


def _counts(one: ChangeSet) -> str:
    counts = (("added", one.added), ("changed", one.edited), ("deleted", one.deleted))
    return ", ".join(f"{count} {what}" for what, count in counts if count) or "nothing"


def _show(ctx: Context, actor: Actor, one: ChangeSet) -> None:
    with st.container(border=True, key="kb_change_set"):
        st.markdown(f"**{_KINDS.get(one.kind, 'Change')} by {form.plain(one.author)}**")
        st.caption(f"{form.when(one.at)} · {_counts(one)}")
        if one.reason:
            st.text(one.reason)
        kb_undo.offer(actor, one)
        told = history.details(ctx, actor, one.id).changes
        for change in told[:_DETAILS]:
            st.divider()
            st.caption(form.plain(title_of(change.section)))
            part = part_of_entry(change.section, change.key) or part_at(change.section)
            show_change(part, change, ctx, with_place=True)
        if one.total > _DETAILS:
            st.divider()
            st.caption(f"and {form.number(one.total - _DETAILS)} more.")
