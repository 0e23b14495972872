"""What is looked for in a part of the knowledge base: one calm row, kept in the address."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.knowledge import browsing, entries
from services.knowledge.entries import Filter
from services.knowledge.sections import Part
from ui import format as form
from ui import kb_where

_MARKS = {kb_where.UNPUBLISHED: "Unpublished", kb_where.FINDINGS: "With findings"}
MAX_SEARCH = 200


def search() -> str:
    """What is searched for."""
    return str(st.session_state.get(kb_where.FIND) or "").strip()


def chosen() -> Filter:
    """The filters that are set; days are the viewer's."""
    state = st.session_state
    marks = state.get(kb_where.ONLY) or []
    return Filter(
        author=state.get(kb_where.AUTHOR) or "",
        since=_midnight(state.get(kb_where.SINCE), 0),
        until=_midnight(state.get(kb_where.UNTIL), 1),
        unpublished=kb_where.UNPUBLISHED in marks,
        with_findings=kb_where.FINDINGS in marks,
    )


def _midnight(day: date | None, later: int) -> datetime | None:
    if day is None:
        return None
    local = datetime.combine(day + timedelta(days=later), time.min, form.viewer_zone())
    return local.astimezone(UTC)


def is_filtered() -> bool:
    """Whether anything is looked for."""
    return bool(search()) or chosen() != Filter()


def show_row(ctx: Context, actor: Actor, part: Part) -> None:
    """The row of filters above a table."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="filters"):
        st.text_input(
            "Search",
            placeholder="Search keys and texts",
            icon=":material/search:",
            label_visibility="collapsed",
            max_chars=MAX_SEARCH,
            key=kb_where.FIND,
            on_change=kb_where.first_page,
            width=240,
        )
        _show_authors(ctx, actor, part)
        _show_days()
        st.pills(
            "Only",
            list(_MARKS),
            selection_mode="multi",
            format_func=_MARKS.__getitem__,
            label_visibility="collapsed",
            key=kb_where.ONLY,
            on_change=kb_where.first_page,
        )
        if is_filtered():
            st.button(
                "Clear",
                icon=":material/filter_alt_off:",
                type="tertiary",
                key="kb_clear",
                help="Shows every entry again.",
                on_click=kb_where.clear,
            )


def _show_authors(ctx: Context, actor: Actor, part: Part) -> None:
    known = browsing.authors(ctx, actor, part.pointer)
    now = st.session_state.get(kb_where.AUTHOR) or ""
    # An address may name somebody who is not there any more: the empty table says so.
    options = ["", *known] if not now or now in known else ["", now, *known]
    st.selectbox(
        "Changed by",
        options,
        format_func=lambda name: name or "Changed by anybody",
        label_visibility="collapsed",
        key=kb_where.AUTHOR,
        on_change=kb_where.first_page,
        width=190,
    )


def _show_days() -> None:
    with st.popover(_days_label(), icon=":material/calendar_month:", key="kb_days"):
        for name, label in ((kb_where.SINCE, "Changed since"), (kb_where.UNTIL, "Changed until")):
            st.date_input(
                label,
                value=None,
                min_value=kb_where.FIRST_DAY,
                max_value=kb_where.LAST_DAY,
                format="YYYY-MM-DD",
                key=name,
                on_change=kb_where.first_page,
            )
        st.caption(f"Both days count. Days of {form.plain(form.zone_name())}.")


def _days_label() -> str:
    since, until = (st.session_state.get(name) for name in (kb_where.SINCE, kb_where.UNTIL))
    if since and until:
        return f"{_told(since)} – {_told(until)}"
    if since or until:
        return f"since {_told(since)}" if since else f"until {_told(until)}"
    return "Any time"


def _told(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def show_nothing(ctx: Context, actor: Actor, part: Part) -> None:
    """Nothing fits: what hides everything, and what there would be without it."""
    if not is_filtered():
        st.caption("No entry here yet.")
        return
    active = _active()
    with st.container(border=True, key="kb_nothing"):
        told = ", ".join(words for words, _search, _only, _clear in active)
        st.markdown(f"**No entry here fits:** {told}.")
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            if len(active) > 1:
                for index, (words, without, only, clear) in enumerate(active):
                    found = entries.page(ctx, actor, part.pointer, search=without, only=only).total
                    if found:
                        st.button(
                            f"Without {words}: {form.plural(found, 'entry', 'entries')}",
                            key=f"kb_without_{index}",
                            on_click=clear[0],
                            args=clear[1:],
                        )
            st.button(
                "Clear all" if len(active) > 1 else "Clear it",
                icon=":material/filter_alt_off:",
                key="kb_clear_all",
                on_click=kb_where.clear,
            )


def _active() -> list[tuple[str, str, Filter, tuple[Any, ...]]]:
    """Each filter that is set: in words, what is left without it, and what clears it."""
    only, words = chosen(), search()
    found: list[tuple[str, str, Filter, tuple[Any, ...]]] = []
    if words:
        told = f"“{form.plain(words[:60])}”"
        found.append((told, "", only, (kb_where.clear, kb_where.FIND)))
    if only.author:
        told = f"changed last by {form.plain(only.author[:60])}"
        found.append((told, words, replace(only, author=""), (kb_where.clear, kb_where.AUTHOR)))
    if only.since:
        told = f"changed since {_told(st.session_state[kb_where.SINCE])}"
        found.append((told, words, replace(only, since=None), (kb_where.clear, kb_where.SINCE)))
    if only.until:
        told = f"changed last until {_told(st.session_state[kb_where.UNTIL])}"
        found.append((told, words, replace(only, until=None), (kb_where.clear, kb_where.UNTIL)))
    if only.unpublished:
        without = replace(only, unpublished=False)
        clear = (kb_where.clear_mark, kb_where.UNPUBLISHED)
        found.append(("unpublished", words, without, clear))
    if only.with_findings:
        without = replace(only, with_findings=False)
        clear = (kb_where.clear_mark, kb_where.FINDINGS)
        found.append(("with findings", words, without, clear))
    return found
