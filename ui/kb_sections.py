"""The sections of the knowledge base: their list, one of them, its tables and texts."""

from __future__ import annotations

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.knowledge import entries
from services.knowledge.entries import Entry, EntryPage, PartSummary, SectionSummary
from services.knowledge.sections import Part, Shape, pointer
from ui import format as form
from ui import (
    kb_entry,
    kb_grid,
    kb_merge,
    kb_presence,
    kb_transfer,
    kb_unsaved,
    kb_where,
)
from ui.kb_drafts import Drafts

PAGE_SIZES = (50, 100)


def show_sections(ctx: Context, actor: Actor, held: Drafts) -> None:
    """The list of sections, or the chosen one."""
    found = entries.sections(ctx, actor)
    by_key = {summary.section.key: summary for summary in found}
    if st.session_state[kb_where.SECTION] in by_key:
        show_section(ctx, actor, held, found, by_key)
    else:
        show_list(ctx, actor, held, found)


def show_list(ctx: Context, actor: Actor, held: Drafts, found: tuple[SectionSummary, ...]) -> None:
    """Every section with what it holds and who last changed it."""
    if actor.may(Permission.KB_EDIT):
        if not any(summary.entries for summary in found):
            st.info(
                "Import the shop's fashion_kb.py or a JSON file, or open a section below and "
                "write its first entry.",
                title="The knowledge base is empty",
                icon=":material/menu_book:",
            )
            kb_transfer.offer_shop_module(ctx, actor)
    elif not any(summary.entries for summary in found):
        st.info("Nothing has been written yet.", icon=":material/menu_book:")
    with st.container(border=True, gap=None, key="kb_sections"):
        for summary in found:
            show_row(ctx, held, summary)


def show_row(ctx: Context, held: Drafts, summary: SectionSummary) -> None:
    """One line of the list of sections."""
    section = summary.section
    unsaved = held.count_in({one.part.pointer for one in summary.parts})
    count = form.plural(summary.entries, "entry", "entries") if summary.entries else "empty"
    facts = [count]
    if summary.updated_at:
        facts.append(
            f"{form.age(summary.updated_at, ctx.now())} by {form.plain(summary.updated_by)}"
        )
    if unsaved:
        facts.insert(0, f":orange[{unsaved} unsaved]")
    with st.container(horizontal=True, vertical_alignment="center", gap="xxsmall"):
        with st.container(width=220):
            st.button(
                form.plain(section.title),
                type="tertiary",
                icon=":material/chevron_right:",
                key=f"kb_section_{section.key}",
                on_click=kb_where.open_section,
                args=(section.key,),
            )
        st.caption(form.plain(section.about), width="stretch")
        st.caption(" · ".join(facts), width="content")


def show_section(
    ctx: Context,
    actor: Actor,
    held: Drafts,
    found: tuple[SectionSummary, ...],
    by_key: dict[str, SectionSummary],
) -> None:
    """A section: which part of it, and that part."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "All sections",
            icon=":material/arrow_back:",
            type="tertiary",
            key="kb_all",
            on_click=kb_where.open_section,
            args=("",),
        )
        key = st.selectbox(
            "Section",
            ["", *by_key],
            format_func=lambda k: f"{by_key[k].section.title} ({by_key[k].entries})" if k else "–",
            label_visibility="collapsed",
            key=kb_where.SECTION,
            on_change=kb_where.restart,
            width=260,
        )
        summary = by_key.get(key or "") or found[0]
        chosen = choose_part(summary)
    if chosen is None:
        return
    with st.container(horizontal=True, gap="small", key="kb_about"):
        st.caption(form.plain(chosen.part.about), width="stretch")
        if actor.may(Permission.KB_EDIT):
            kb_presence.show_others(chosen.part.pointer, kb_where.opened())
    if chosen.part.shape is Shape.TEXT:
        show_single(ctx, actor, held, chosen.part)
    else:
        show_table(ctx, actor, held, chosen.part)


def choose_part(summary: SectionSummary) -> PartSummary | None:
    """Which part of the section, where it has several; kept in the address."""
    parts = {one.part.pointer: one for one in summary.parts}
    if len(parts) < 2:
        return next(iter(parts.values()), None)
    if st.session_state[kb_where.PART] not in parts:
        st.session_state[kb_where.PART] = next(iter(parts))
    where = st.segmented_control(
        "Part",
        list(parts),
        required=True,
        format_func=lambda pointer_: _part_label(parts[pointer_]),
        label_visibility="collapsed",
        key=kb_where.PART,
        on_change=kb_where.restart_part,
    )
    return parts[where]


def _part_label(one: PartSummary) -> str:
    count = f" ({one.entries})" if one.part.shape is not Shape.TEXT else ""
    empty = " (empty)" if one.part.shape is Shape.TEXT and not one.entries else ""
    return form.plain(one.part.title) + count + empty


def show_single(ctx: Context, actor: Actor, held: Drafts, part: Part) -> None:
    """A part that is one text."""
    found = entries.page(ctx, actor, part.pointer).entries
    entry = found[0] if found else None
    if not actor.may(Permission.KB_EDIT):
        if entry is None:
            st.caption("Nothing has been written yet.")
        else:
            with st.container(border=True):
                kb_entry.show_entry(part, entry)
    elif entry is not None:
        kb_merge.show_moved_on(ctx, entry, held)
        kb_entry.edit_entry(part, entry, held)
    else:
        ref = next((n.ref for n in held.new.values() if n.where == part.pointer), None)
        if ref is None:
            ref = held.add(part.pointer, pointer(part.path[:-1]), ("text",), part.path[-1])
        kb_entry.edit_new(part, ref, held)
    if entry is not None:
        show_past(ctx, actor, part, entry)


def show_table(ctx: Context, actor: Actor, held: Drafts, part: Part) -> None:
    """A part that is a table: search, the table, pages, and a chosen entry beside it."""
    may_edit = actor.may(Permission.KB_EDIT)
    size = st.session_state.get("kb_page_size") or PAGE_SIZES[0]
    number = int(st.session_state.get(kb_where.PAGE, 1))
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="filters"):
        search = st.text_input(
            "Search",
            placeholder="Search keys and texts",
            icon=":material/search:",
            label_visibility="collapsed",
            key=kb_where.FIND,
            on_change=kb_where.first_page,
            width=240,
        ).strip()
        page = entries.page(ctx, actor, part.pointer, search=search, page=number, rows=size)
        if may_edit:
            st.button(
                "Add entry",
                icon=":material/add:",
                key="kb_add",
                on_click=add_entry,
                args=(held, part),
            )
        opened = choose_entry(held, part, page.entries)
    if opened is None:
        show_rows(ctx, held, part, page, may_edit=may_edit)
        show_pages(page.total, size, search)
        return
    left, right = st.columns([3, 2], gap="small")
    with left:
        show_rows(ctx, held, part, page, may_edit=may_edit)
        show_pages(page.total, size, search)
    with right, st.container(key="chosen_entry"), st.container(border=True, key="kb_panel"):
        show_opened(ctx, actor, held, part, opened)


def choose_entry(held: Drafts, part: Part, found: tuple[Entry, ...]) -> Entry | int | None:
    """The entry that is opened beside the table, or a new one's number."""
    by_id = {entry.id: entry for entry in found}
    options = [*(n.ref for n in held.new.values() if n.where == part.pointer), *by_id]
    if not options:
        return None
    if kb_where.opened() not in options:
        kb_where.close_entry()
    # The widget itself forgets its value when a label or an option changes.
    st.session_state[kb_where.CHOICE] = kb_where.opened()
    st.selectbox(
        "Open an entry",
        options,
        index=None,
        format_func=lambda n: by_id[n].key if n in by_id else "New entry",
        placeholder="Open an entry in full",
        label_visibility="collapsed",
        key=kb_where.CHOICE,
        on_change=kb_where.choose,
        width=240,
    )
    number = kb_where.opened()
    return None if number is None else by_id.get(number, number)


def show_rows(ctx: Context, held: Drafts, part: Part, page: EntryPage, *, may_edit: bool) -> None:
    """The entries of this page, to be edited by those who may."""
    if not page.entries and not any(n.where == part.pointer for n in held.new.values()):
        searched = st.session_state[kb_where.FIND].strip()
        st.caption("No entry fits this search." if searched else "No entry here yet.")
    elif may_edit:
        kb_grid.show_editor(part, page.entries, held, ctx.now())
        kb_unsaved.show_problems_of(part, held)
        kb_merge.show_moved_in(ctx, page.entries, held)
    else:
        kb_grid.show_table(part, page.entries, ctx.now())


def show_pages(total: int, size: int, search: str) -> None:
    """How many there are, and the pages."""
    pages = max(1, -(-total // size))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        found = "found" if search else "in all"
        st.caption(f"{form.plural(total, 'entry', 'entries')} {found}", width="content")
        if total > PAGE_SIZES[0]:
            if pages > 1:
                st.pagination(pages, key=kb_where.PAGE)
            st.segmented_control(
                "Rows a page",
                PAGE_SIZES,
                default=PAGE_SIZES[0],
                required=True,
                format_func=lambda rows: f"{rows} a page",
                label_visibility="collapsed",
                key="kb_page_size",
                on_change=kb_where.first_page,
            )


def add_entry(held: Drafts, part: Part) -> None:
    """Begin a new entry and open it."""
    kb_grid.fold(held)
    names = part.field_names if part.shape is Shape.RECORDS else ("text",)
    kb_where.open_entry(held.add(part.pointer, part.pointer, names))


def delete_entry(held: Drafts, opened: Entry | int) -> None:
    """Mark an entry as deleted (or take a new one back); Save makes it so."""
    kb_grid.fold(held)
    if isinstance(opened, int):
        kb_where.close_entry()
        held.drop(opened)
    else:
        deleted = not (opened.id in held.entries and held.entries[opened.id].deleted)
        base = held.entries[opened.id].base if opened.id in held.entries else opened
        held.mark(base, deleted=deleted)
        held.grid_generation += 1


def show_opened(ctx: Context, actor: Actor, held: Drafts, part: Part, opened: Entry | int) -> None:
    """One entry in full."""
    st.button(
        "Close",
        icon=":material/close:",
        type="tertiary",
        key="kb_close",
        on_click=kb_where.close_entry,
    )
    if isinstance(opened, int):
        kb_entry.edit_new(part, opened, held)
        _delete_button(held, opened, "Remove this new entry")
        return
    if not actor.may(Permission.KB_EDIT):
        st.markdown(f"**{form.plain(opened.key)}**")
        kb_entry.show_entry(part, opened)
    else:
        draft = held.entries.get(opened.id)
        if draft is not None and draft.deleted:
            st.caption("This entry is deleted when you save.")
            _delete_button(held, opened, "Keep it after all")
        else:
            kb_merge.show_moved_on(ctx, opened, held)
            kb_entry.edit_entry(part, opened, held)
            _delete_button(held, opened, "Delete this entry")
    show_past(ctx, actor, part, opened)


def _delete_button(held: Drafts, opened: Entry | int, label: str) -> None:
    number = opened if isinstance(opened, int) else opened.id
    st.button(
        label,
        key=f"kb_delete_{number}",
        type="tertiary",
        icon=":material/delete:" if "elete" in label or "emove" in label else ":material/undo:",
        on_click=delete_entry,
        args=(held, opened),
    )


def show_past(ctx: Context, actor: Actor, part: Part, entry: Entry) -> None:
    """The history of one entry."""
    with st.expander("History", icon=":material/history:", key=f"kb_past_{entry.id}"):
        kb_entry.show_history(ctx, actor, part, entry)
