"""A table of entries in the knowledge base: its filters, rows and pages, and one entry in full."""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.knowledge import browsing, entries
from services.knowledge.document import Kind
from services.knowledge.entries import Entry, EntryPage
from services.knowledge.history import EntryChange
from services.knowledge.sections import Part, Shape
from ui import format as form
from ui import (
    kb_bulk,
    kb_editor,
    kb_entry,
    kb_filters,
    kb_grid,
    kb_merge,
    kb_place,
    kb_selected,
    kb_undo,
    kb_unsaved,
    kb_where,
)
from ui.kb_drafts import Drafts

PAGE_SIZES = (50, 100)

_BEGINNING = 110


def show_table(ctx: Context, actor: Actor, held: Drafts, part: Part) -> None:
    """A part that is a table: filters, the table, pages, and a chosen entry beside it."""
    may_edit = actor.may(Permission.KB_EDIT)
    size = st.session_state.get("kb_page_size") or PAGE_SIZES[0]
    number = int(st.session_state.get(kb_where.PAGE, 1))
    kb_filters.show_row(ctx, actor, part)
    search, only = kb_filters.search(), kb_filters.chosen()
    page = entries.page(ctx, actor, part.pointer, search=search, page=number, rows=size, only=only)
    last = max(1, -(-page.total // size))
    if number > last:  # somebody deleted what stood there
        st.session_state[kb_where.PAGE] = last
        page = entries.page(
            ctx, actor, part.pointer, search=search, page=last, rows=size, only=only
        )
    options = _options(ctx, actor, held, part, page.entries)
    # One row, whatever is in it: were it to grow with the first tick, the table would move
    # away under the pointer.
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="kb_tools"):
        if may_edit and kb_selected.ids(part.pointer):
            kb_bulk.show_bar(part, page.entries, search, only, page.total)
        else:
            show_tools(held, part, options, may_edit=may_edit)
            if may_edit and page.total > 1:
                kb_bulk.offer_all(part, page.entries, search, only, page.total)
    number = kb_where.opened()
    opened = None if number is None else options.get(number) or number
    if opened is None:
        show_rows(ctx, actor, held, part, page)
        show_pages(page.total, size)
        return
    left, right = st.columns([3, 2], gap="small")
    with left:
        show_rows(ctx, actor, held, part, page)
        show_pages(page.total, size)
    with right, st.container(key="chosen_entry"), st.container(border=True, key="kb_panel"):
        show_opened(ctx, actor, held, part, opened)


def _options(
    ctx: Context, actor: Actor, held: Drafts, part: Part, found: tuple[Entry, ...]
) -> dict[int, Entry | None]:
    """What can be opened in full, by number: new entries, then those of the page."""
    options: dict[int, Entry | None] = {
        one.ref: None for one in held.new.values() if one.where == part.pointer
    }
    options |= {entry.id: entry for entry in found}
    options |= _opened_elsewhere(ctx, actor, part, options)
    if kb_where.opened() not in options:
        kb_where.close_entry()
    return options


def show_tools(
    held: Drafts, part: Part, options: dict[int, Entry | None], *, may_edit: bool
) -> None:
    """Begin a new entry, or open one in full."""
    if may_edit:
        st.button(
            "Add entry",
            icon=":material/add:",
            key="kb_add",
            on_click=add_entry,
            args=(held, part),
        )
    if not options:
        return
    # The widget itself forgets its value when a label or an option changes.
    st.session_state[kb_where.CHOICE] = kb_where.opened()
    st.selectbox(
        "Open an entry",
        list(options),
        index=None,
        format_func=lambda number: one.key if (one := options[number]) else "New entry",
        placeholder="Open an entry in full",
        label_visibility="collapsed",
        key=kb_where.CHOICE,
        on_change=kb_where.choose,
        width=240,
    )


def _opened_elsewhere(
    ctx: Context, actor: Actor, part: Part, there: Collection[int]
) -> dict[int, Entry]:
    """The opened entry, where it stands on another page: it stays open."""
    number = kb_where.opened()
    if number is None or number < 0 or number in there:
        return {}
    found = entries.several(ctx, actor, [number])
    return {n: one for n, one in found.items() if one.section == part.pointer}


def show_rows(ctx: Context, actor: Actor, held: Drafts, part: Part, page: EntryPage) -> None:
    """The entries of this page, to be edited by those who may; on a phone as a list."""
    if not page.entries and not any(n.where == part.pointer for n in held.new.values()):
        kb_filters.show_nothing(ctx, actor, part)
        return
    unpublished = browsing.unpublished_ids(ctx, actor, [one.id for one in page.entries])
    with st.container(key="kb_wide"):
        if actor.may(Permission.KB_EDIT):
            kb_grid.show_editor(part, page.entries, held, ctx.now(), unpublished)
        else:
            kb_grid.show_table(part, page.entries, ctx.now(), unpublished)
    with st.container(key="kb_narrow"):
        if actor.may(Permission.KB_EDIT) and kb_selected.by_ticks(part.pointer):
            show_ticks(held, part, page.entries, unpublished)
        else:
            show_list(held, page.entries, unpublished)
    if actor.may(Permission.KB_EDIT):
        kb_unsaved.show_problems_of(part, held)
        kb_merge.show_moved_in(ctx, page.entries, held)


def show_list(held: Drafts, found: tuple[Entry, ...], unpublished: frozenset[int]) -> None:
    """The same entries for a narrow screen: key and beginning; a tap opens one in full."""
    shown = {entry.id: held.shown(entry) for entry in found}
    numbers = list(shown)
    opened = kb_where.opened()
    st.session_state[kb_where.LIST] = opened if opened in shown else None
    st.radio(
        "Entries",
        numbers,
        index=None,
        format_func=lambda n: form.plain(shown[n][0]) or "no key",
        captions=[_beginning(shown[n][1], n in unpublished, n in held.entries) for n in numbers],
        label_visibility="collapsed",
        key=kb_where.LIST,
        on_change=kb_where.choose_from_list,
        width="stretch",
    )


def show_ticks(
    held: Drafts, part: Part, found: tuple[Entry, ...], unpublished: frozenset[int]
) -> None:
    """The same list, to choose those that are changed together."""
    chosen = kb_selected.ids(part.pointer)
    for entry in found:
        key, cells = held.shown(entry)
        name = f"kb_tick_{entry.id}"
        st.session_state[name] = entry.id in chosen
        with st.container(gap=None, key=f"kb_ticked_{entry.id}"):
            st.checkbox(
                form.plain(key) or "no key",
                key=name,
                on_change=_tick,
                args=(held, part.pointer, entry.id),
                width="stretch",
            )
            st.caption(_beginning(cells, entry.id in unpublished, entry.id in held.entries))


def _tick(held: Drafts, where: str, number: int) -> None:
    kb_grid.fold(held)
    kb_selected.put(where, kb_selected.ids(where) ^ {number})


def _beginning(cells: dict[str, str], unpublished: bool, unsaved: bool) -> str:
    text = " ".join(" ".join(cells.values())[:400].split())
    marks = [":orange[unsaved]"] * unsaved + [":blue[unpublished]"] * unpublished
    return " · ".join(
        [*marks, form.plain(text[:_BEGINNING]) + ("…" if len(text) > _BEGINNING else "")]
    )


def show_pages(total: int, size: int) -> None:
    """How many there are, and the pages."""
    pages = max(1, -(-total // size))
    if not total:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        found = "found" if kb_filters.is_filtered() else "in all"
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


def duplicate_entry(ctx: Context, actor: Actor, held: Drafts, part: Part, entry: Entry) -> None:
    """Begin a new entry that says the same, under a key that is free."""
    kb_grid.fold(held)
    key, cells = held.shown(entry)
    taken = [one.key for one in held.new.values() if one.section == part.pointer]
    free = browsing.free_key(ctx, actor, part.pointer, key, taken)
    ref = held.add(part.pointer, part.pointer, tuple(cells), free)
    for name, text in cells.items():
        held.put_new(ref, name, text)
    held.generation += 1
    kb_where.open_entry(ref)


def show_opened(ctx: Context, actor: Actor, held: Drafts, part: Part, opened: Entry | int) -> None:
    """One entry in full."""
    may_edit = actor.may(Permission.KB_EDIT)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Close",
            icon=":material/close:",
            type="tertiary",
            key="kb_close",
            on_click=kb_where.close_entry,
        )
        if may_edit:
            kb_editor.offer(part, opened, held)
    if isinstance(opened, int):
        kb_entry.edit_new(part, opened, held)
        _delete_button(held, opened, "Remove this new entry")
        return
    if may_edit:
        _edit_opened(ctx, actor, held, part, opened)
    else:
        st.markdown(f"**{form.plain(opened.key)}**")
        kb_entry.show_entry(part, opened)
    show_past(ctx, actor, part, opened)


def _edit_opened(ctx: Context, actor: Actor, held: Drafts, part: Part, opened: Entry) -> None:
    draft = held.entries.get(opened.id)
    if draft is not None and draft.deleted:
        st.caption("This entry is deleted when you save.")
        _delete_button(held, opened, "Keep it after all")
        return
    kb_merge.show_moved_on(ctx, opened, held)
    kb_entry.edit_entry(part, opened, held)
    if opened.section == part.pointer:
        kb_place.show_buttons(ctx, actor, held, part, {opened.id: opened.version}, "kb_place")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if opened.kind in (Kind.TEXT, Kind.RECORD):
            st.button(
                "Duplicate",
                key=f"kb_duplicate_{opened.id}",
                type="tertiary",
                icon=":material/content_copy:",
                help="A new entry that says the same, under a key that is free.",
                on_click=duplicate_entry,
                args=(ctx, actor, held, part, opened),
            )
        _delete_button(held, opened, "Delete this entry")


def _delete_button(held: Drafts, opened: Entry | int, label: str) -> None:
    number = opened if isinstance(opened, int) else opened.id
    st.button(
        label,
        key=f"kb_delete_{number}",
        type="tertiary",
        icon=":material/undo:" if label.startswith("Keep") else ":material/delete:",
        on_click=delete_entry,
        args=(held, opened),
    )


def show_past(ctx: Context, actor: Actor, part: Part, entry: Entry) -> None:
    """The history of one entry."""
    with st.expander("History", icon=":material/history:", key=f"kb_past_{entry.id}"):
        kb_entry.show_history(
            ctx, actor, part, entry, beneath=lambda change: _offer_undo(actor, entry, change)
        )


def _offer_undo(actor: Actor, entry: Entry, change: EntryChange) -> None:
    if change.entry_id == entry.id:  # an earlier entry of this name is brought back in the bin
        kb_undo.offer_entry(actor, change)
