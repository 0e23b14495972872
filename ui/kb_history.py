"""The history of the whole knowledge base: change sets, and what each of them did."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Invalid
from services.knowledge import history
from services.knowledge.history import HistoryFilter
from services.knowledge.ledger import ChangeSet
from services.knowledge.sections import SECTIONS, part_at, part_of_entry, pointer, title_of
from ui import format as form
from ui import kb_rollback, kb_undo, kb_where
from ui.kb_entry import show_change
from ui.tables import on_phone

KINDS = {
    "edit": "Edit",
    "bulk": "Bulk edit",
    "import": "Import",
    "undo": "Undo",
    "rollback": "Roll back",
    "restore": "Restore",
    "purge": "Purge",
}
_PAGE, _TEXT, _AUTHOR = "kb_history_page", "kb_history_text", "kb_history_author"
_KIND, _SECTION = "kb_history_kind", "kb_history_section"
_SINCE, _UNTIL = "kb_history_since", "kb_history_until"
_FILTERS = (_TEXT, _AUTHOR, _KIND, _SECTION, _SINCE, _UNTIL)


def show_all(ctx: Context, actor: Actor) -> None:
    """Change sets, newest first; a chosen one opens beside the list."""
    wanted = _wanted()
    page = int(st.session_state.get(_PAGE, 1))
    found = history.recent(ctx, actor, page=page, wanted=wanted)
    if not found.total and wanted.is_empty:
        st.info(
            "Every save, import and restore of the knowledge base will be listed here, with "
            "who did it, why, and each text before and after.",
            title="Nothing has been changed yet",
            icon=":material/history:",
        )
        return
    _show_filters(ctx, actor, filtered=not wanted.is_empty)
    if not found.change_sets:
        st.caption("No change fits this search.")
        return
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(key="list_of_changes"):
        chosen = _list(ctx, actor, found.change_sets, page)
        pages = -(-found.total // history.PAGE_ROWS)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(form.plural(found.total, "change"), width="content")
            if pages > 1:
                st.pagination(pages, key=_PAGE)
        if chosen is None:
            st.caption("Choose a row to see each text before and after.")
    with right, st.container(key="chosen_change" if chosen else "nothing_chosen"):
        if chosen is None:
            st.empty()
        else:
            _show(ctx, actor, chosen)


def _wanted() -> HistoryFilter:
    state = st.session_state
    return HistoryFilter(
        author=state.get(_AUTHOR) or "",
        kind=state.get(_KIND) or "",
        section=state.get(_SECTION) or "",
        since=_midnight(state.get(_SINCE), 0),
        until=_midnight(state.get(_UNTIL), 1),
        text=str(state.get(_TEXT) or "").strip(),
    )


def _midnight(day: date | None, later: int) -> datetime | None:
    if day is None:
        return None
    local = datetime.combine(day + timedelta(days=later), time.min, form.viewer_zone())
    return local.astimezone(UTC)


def _show_filters(ctx: Context, actor: Actor, *, filtered: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="filters"):
        st.text_input(
            "Search the reasons",
            placeholder="Search the reasons",
            icon=":material/search:",
            label_visibility="collapsed",
            max_chars=200,
            key=_TEXT,
            on_change=_first_page,
            width=280,
        )
        # One row leaves the screen to the list; what is chosen is told on the button.
        chosen = sum(bool(st.session_state.get(name)) for name in _FILTERS if name != _TEXT)
        label = f"Filters ({chosen})" if chosen else "Filters"
        with st.popover(label, icon=":material/filter_alt:", key="kb_history_filters"):
            _show_choices(ctx, actor)
        if filtered:
            st.button(
                "Clear",
                icon=":material/filter_alt_off:",
                type="tertiary",
                key="kb_history_clear",
                help="Shows every change again.",
                on_click=_clear,
            )
        kb_rollback.offer_time(actor)


def _show_choices(ctx: Context, actor: Actor) -> None:
    authors = history.authors(ctx, actor)
    _choice(_AUTHOR, "By anybody", {name: name for name in authors}, "Who")
    _choice(_KIND, "Any kind", KINDS, "Kind")
    tops = {pointer((one.key,)): one.title for one in SECTIONS}
    _choice(_SECTION, "Any section", tops, "Section")
    for name, title in ((_SINCE, "From"), (_UNTIL, "To")):
        st.date_input(title, value=None, format="YYYY-MM-DD", key=name, on_change=_first_page)
    st.caption(f"Both days count. Days of {form.plain(form.zone_name())}.")


def _choice(key: str, everything: str, options: dict[str, str], label: str) -> None:
    st.selectbox(
        label,
        ["", *options],
        format_func=lambda value: options.get(value, everything),
        label_visibility="collapsed",
        key=key,
        on_change=_first_page,
        width="stretch",
    )


def _first_page() -> None:
    st.session_state[_PAGE] = 1
    _let_go()


def _clear() -> None:
    for name in _FILTERS:
        st.session_state[name] = None if name in (_SINCE, _UNTIL) else ""
    _first_page()


def _list(ctx: Context, actor: Actor, sets: tuple[ChangeSet, ...], page: int) -> ChangeSet | None:
    now, zone = ctx.now(), form.viewer_zone()
    columns = {
        "When": [form.when_short(one.at, now, zone) for one in sets],
        "Who": [one.author for one in sets],
        "What": [f"{KINDS.get(one.kind, one.kind)}: {_counts(one)}" for one in sets],
        "Why": [one.reason for one in sets],
    }
    if on_phone():
        del columns["Who"], columns["Why"]
    # Rows are chosen by position: a list with other rows is another table.
    name = f"kb_history_{page}_{sets[0].id}_{sets[-1].id}"
    table = st.dataframe(
        columns,
        key=name,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        width="stretch",
        height=min(len(sets), 20) * 33 + 37,
        alt="Changes of the knowledge base, newest first",
    )
    rows = table["selection"]["rows"]
    if rows and rows[0] < len(sets):
        chosen = sets[rows[0]]
        st.session_state[kb_where.CHANGE_FROM] = name
        st.session_state[kb_where.CHANGE] = chosen.id
        return chosen
    if st.session_state.get(kb_where.CHANGE_FROM) == name:  # chosen here, and let go
        _let_go()
    return _still_chosen(ctx, actor)


def _still_chosen(ctx: Context, actor: Actor) -> ChangeSet | None:
    """What the address names, or was chosen before somebody saved: the list moves on alone."""
    change_set_id = st.session_state.get(kb_where.CHANGE)
    if not change_set_id:
        return None
    try:
        return history.change_set(ctx, actor, change_set_id)
    except Invalid:
        _let_go()
        return None


def _let_go() -> None:
    st.session_state[kb_where.CHANGE] = st.session_state[kb_where.CHANGE_FROM] = ""


def _counts(one: ChangeSet) -> str:
    counts = (("added", one.added), ("changed", one.edited), ("deleted", one.deleted))
    told = [f"{form.number(count)} {what}" for what, count in counts if count]
    return ", ".join(told) or "nothing"


def _show(ctx: Context, actor: Actor, one: ChangeSet) -> None:
    with st.container(border=True, key="kb_change_set"):
        st.markdown(f"**{KINDS.get(one.kind, 'Change')} by {form.plain(one.author)}**")
        st.caption(f"{form.when(one.at)} · {_counts(one)}")
        if one.reason:
            st.text(one.reason)
        with st.container(horizontal=True, gap="small"):
            kb_undo.offer(actor, one)
            kb_rollback.offer(actor, one)
        key = f"kb_details_{one.id}"
        section = str(st.session_state.get(_SECTION) or "")
        page = int(st.session_state.get(key, 1))
        told = history.details(ctx, actor, one.id, page=page, section=section)
        for change in told.changes:
            st.divider()
            st.caption(form.plain(title_of(change.section)))
            part = part_of_entry(change.section, change.key) or part_at(change.section)
            show_change(part, change, ctx, with_place=True)
        pages = -(-told.total // history.DETAIL_ROWS)
        if pages > 1:
            st.divider()
            st.caption(
                f"{form.number(told.total)} entries, {history.DETAIL_ROWS} on a page"
                + (" (of the chosen section)" if section else "")
            )
            st.pagination(pages, key=key)
