"""The sections of the knowledge base: their list, one of them, its tables and texts."""

from __future__ import annotations

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.knowledge import browsing, entries
from services.knowledge.entries import PartSummary, SectionSummary
from services.knowledge.sections import Part, Shape, pointer
from ui import format as form
from ui import (
    kb_editor,
    kb_entry,
    kb_filters,
    kb_found,
    kb_merge,
    kb_presence,
    kb_table,
    kb_transfer,
    kb_where,
)
from ui.kb_drafts import Drafts


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
    words = show_search() if any(summary.entries for summary in found) else ""
    if words:
        kb_found.show_found(ctx, actor, words)
        return
    unpublished = browsing.unpublished_sections(ctx, actor)
    with st.container(border=True, gap=None, key="kb_sections"):
        for summary in found:
            show_row(ctx, held, summary, unpublished.get(summary.section.key, 0))


def show_search() -> str:
    """The search over all sections; gives what is looked for."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="kb_search"):
        words: str = st.text_input(
            "Search all sections",
            placeholder="Search all sections",
            icon=":material/search:",
            label_visibility="collapsed",
            max_chars=kb_filters.MAX_SEARCH,
            key=kb_where.FIND,
            width=420,
        )
        if words.strip():
            st.button(
                "Clear",
                icon=":material/close:",
                type="tertiary",
                key="kb_search_clear",
                on_click=kb_where.clear,
            )
    return words.strip()


def show_row(ctx: Context, held: Drafts, summary: SectionSummary, unpublished: int) -> None:
    """One line of the list of sections.

    Args:
        unpublished: so many of its entries are not in the current release as they are.
    """
    section = summary.section
    unsaved = held.count_in({one.part.pointer for one in summary.parts})
    count = form.plural(summary.entries, "entry", "entries") if summary.entries else "empty"
    facts = [count]
    if summary.updated_at:
        facts.append(
            f"{form.age(summary.updated_at, ctx.now())} by {form.plain(summary.updated_by)}"
        )
    if unpublished:
        facts.insert(0, f":blue[{form.number(unpublished)} unpublished]")
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
            format_func=lambda k: _label(by_key[k]) if k else "–",
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
            with st.container(width="content"):
                kb_presence.show_others(chosen.part.pointer, kb_where.opened())
    if chosen.part.shape is Shape.TEXT:
        show_single(ctx, actor, held, chosen.part)
    else:
        kb_table.show_table(ctx, actor, held, chosen.part)


def _label(summary: SectionSummary) -> str:
    # The browser sends a label back: with a count in it, the choice would be lost as soon as
    # an entry is added or deleted.
    return summary.section.title if summary.known else f"{summary.section.title} (unknown)"


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
        format_func=lambda pointer_: form.plain(parts[pointer_].part.title),
        label_visibility="collapsed",
        key=kb_where.PART,
        on_change=kb_where.restart_part,
    )
    return parts[where]


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
        if browsing.unpublished_ids(ctx, actor, [entry.id]):
            st.badge("Unpublished", help="The current release does not say this yet.")
        kb_merge.show_moved_on(ctx, entry, held)
        kb_editor.edit_single(part, entry, held)
    else:
        ref = next((n.ref for n in held.new.values() if n.where == part.pointer), None)
        if ref is None:
            ref = held.add(part.pointer, pointer(part.path[:-1]), ("text",), part.path[-1])
        kb_editor.edit_single(part, ref, held)
    if entry is not None:
        kb_table.show_past(ctx, actor, part, entry)
