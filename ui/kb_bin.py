"""The recycle bin of the knowledge base: bring entries back, or purge them for good."""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import DeskError
from services.knowledge import recycling
from services.knowledge.recycling import DeletedEntry
from services.knowledge.sections import part_of_entry, title_of
from ui import dialogs
from ui import format as form
from ui.kb_entry import field_title
from ui.kb_text import show_text
from ui.messages import say_after_rerun, show_error
from ui.session import guard
from ui.tables import on_phone

_DIALOG, _ALL = "kb_purge", "kb_bin_all"
_PAGE, _FIND = "kb_bin_page", "kb_bin_find"
_TOLD = 5


def show_bin(ctx: Context, actor: Actor) -> None:
    """Deleted entries, the newest first; the chosen ones can come back."""
    search = str(st.session_state.get(_FIND) or "").strip()
    page = int(st.session_state.get(_PAGE, 1))
    found = recycling.deleted(ctx, actor, search=search, page=page)
    if not found.total and not search:
        st.info(
            "An entry that is deleted waits here, with all its texts, until somebody brings it "
            "back or an administrator purges it.",
            title="The bin is empty",
            icon=":material/delete:",
        )
        return
    st.text_input(
        "Search the bin",
        key=_FIND,
        placeholder="Search keys and texts",
        icon=":material/search:",
        label_visibility="collapsed",
        on_change=_first_page,
        width=360,
    )
    if not found.total:
        st.caption("Nothing in the bin says that.")
        return
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(key="list_of_deleted"):
        chosen = _list(ctx, found.entries, page)
        pages = -(-found.total // recycling.BIN_ROWS)
        if pages > 1:
            st.pagination(pages, key=_PAGE)
        more = "more than " if found.more else ""
        st.caption(f"{more}{form.plural(found.total, 'entry', 'entries')}".capitalize())
        if pages > 1 and actor.may(Permission.KB_EDIT):
            st.button(
                f"Bring all {form.number(found.total)} back",
                key="kb_bin_all",
                icon=":material/undo:",
                type="tertiary",
                on_click=dialogs.open_dialog,
                args=(_ALL, search),
            )
            if dialogs.is_open(_ALL, search):
                _bring_all(search)
    with right, st.container(key="chosen_deleted" if chosen else "nothing_deleted"):
        if not chosen:
            st.caption("Choose rows to read them or bring them back.")
        else:
            _show(ctx, actor, chosen)


def _first_page() -> None:
    st.session_state[_PAGE] = 1


def _list(ctx: Context, entries: tuple[DeletedEntry, ...], page: int) -> list[DeletedEntry]:
    now, zone = ctx.now(), form.viewer_zone()
    columns = {
        "Section": [title_of(one.section) for one in entries],
        "Key": [one.key for one in entries],
        "Deleted": [form.when_short(one.at, now, zone) for one in entries],
        "By": [one.by for one in entries],
    }
    if on_phone():
        del columns["Section"], columns["By"]
    table = st.dataframe(
        columns,
        # Rows are chosen by position: a list of other rows is another table.
        key=f"kb_bin_{page}_{hash(tuple(one.entry_id for one in entries))}",
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        width="stretch",
        height=min(len(entries), 20) * 33 + 37,
        alt="Deleted entries of the knowledge base, newest first",
    )
    rows = table["selection"]["rows"]
    return [entries[row] for row in rows if row < len(entries)]


def _show(ctx: Context, actor: Actor, chosen: list[DeletedEntry]) -> None:
    with st.container(horizontal=True, gap="small"):
        if actor.may(Permission.KB_EDIT):
            label = "Bring it back" if len(chosen) == 1 else f"Bring {len(chosen)} back"
            if st.button(label, type="primary", icon=":material/undo:", key="kb_bin_back"):
                _bring_back(ctx, actor, [one.entry_id for one in chosen])
        if actor.may(Permission.KB_PURGE):
            ids = tuple(one.entry_id for one in chosen)
            st.button(
                "Purge",
                key="kb_bin_purge",
                type="tertiary",
                icon=":material/delete_forever:",
                on_click=dialogs.open_dialog,
                args=(_DIALOG, ids),
            )
            if dialogs.is_open(_DIALOG, ids):
                _purge(ids)
    for one in chosen:
        with st.container(border=True, key=f"kb_bin_one_{one.entry_id}"):
            st.markdown(f"**{form.plain(one.key)}**")
            st.caption(
                f"{form.plain(title_of(one.section))} · deleted {form.age(one.at, ctx.now())} "
                f"by {form.plain(one.by)}"
            )
            if one.reason:
                st.caption(form.plain(one.reason))
            part = part_of_entry(one.section, one.key)
            for name, text in one.cells.items():
                if len(one.cells) > 1:
                    st.caption(form.plain(field_title(part, name) if part else name))
                show_text(text)


def _bring_back(ctx: Context, actor: Actor, entry_ids: Collection[int]) -> None:
    try:
        found = recycling.bring_back(ctx, actor, entry_ids)
    except DeskError as error:
        show_error(error)
        return
    told = [f"{form.plain(one.key)} stays in the bin: {form.plain(one.why)}." for one in found.kept]
    if len(told) > _TOLD:
        told[_TOLD:] = [f"And {form.number(len(told) - _TOLD)} more stay."]
    back = found.change_set.added if found.change_set else 0
    brought = f"{form.plural(back, 'entry is', 'entries are')} back." if back else ""
    say_after_rerun(" ".join(filter(None, [brought, *told])))
    st.rerun()


@st.dialog("Bring them back", icon=":material/undo:", on_dismiss=dialogs.close)
def _bring_all(search: str) -> None:
    ctx, actor = guard(Permission.KB_EDIT)
    dialogs.leave_when_closed(_ALL, search)
    ids = recycling.found_ids(ctx, actor, search)
    st.markdown(
        f"{form.plural(len(ids), 'deleted entry comes', 'deleted entries come')} back as one "
        "change, which can be taken back."
    )
    with st.container(horizontal=True, gap="small"):
        clicked = st.button("Bring them back", type="primary", key="kb_bin_all_do")
        st.button("Cancel", key="kb_bin_all_cancel", on_click=dialogs.close)
    if clicked:
        dialogs.close()
        _bring_back(ctx, actor, ids)


@st.dialog("Purge for good", icon=":material/delete_forever:", on_dismiss=dialogs.close)
def _purge(ids: tuple[int, ...]) -> None:
    ctx, actor = guard(Permission.KB_PURGE)
    dialogs.leave_when_closed(_DIALOG, ids)
    st.markdown(
        f"The texts of {form.plural(len(ids), 'entry', 'entries')} go from the bin and from the "
        "whole history. This can't be undone; backups made before still hold them."
    )
    holding = recycling.releases_that_hold(ctx, actor, ids)
    if holding:
        holds = "holds" if holding == 1 else "hold"
        st.caption(
            f":material/info: {form.plural(holding, 'release')} {holds} texts of them as well. "
            "Releases are frozen and were given to the shop, so they keep what they say."
        )
    typed = dialogs.typed_word(recycling.PURGE_WORD, "kb_purge_typed")
    with st.container(horizontal=True, gap="small"):
        clicked = st.button(
            "Purge",
            type="primary",
            key="kb_purge_do",
            disabled=typed.strip() != recycling.PURGE_WORD,
        )
        st.button("Cancel", key="kb_purge_cancel", on_click=dialogs.close)
    if not clicked:
        return
    try:
        count = recycling.purge(ctx, actor, ids, typed)
    except DeskError as error:
        show_error(error)
        return
    dialogs.close()
    say_after_rerun(f"Purged {form.plural(count, 'entry', 'entries')} for good.")
    st.rerun()
