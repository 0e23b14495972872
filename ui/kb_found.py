"""What a search over all sections found: each hit with its words marked, and the way to it."""

from __future__ import annotations

from html import escape

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.knowledge.searching import meaning
from services.knowledge.searching.find import PAGE_HITS, Hit, How, Results, find
from services.knowledge.sections import part_at, part_of_entry, title_of
from services.knowledge.validation import KEY
from ui import format as form
from ui import kb_where
from ui.kb_entry import field_title
from ui.kb_text import marked

_PAGE, _HOW, _FOR = "kb_found_page", "kb_found_how", "kb_found_for"
_KEY_STYLE = "font-weight:600;overflow-wrap:anywhere"
_PLACE_STYLE = "opacity:0.65;font-size:0.82rem;overflow-wrap:anywhere"
_TEXT_STYLE = (
    "margin-top:2px;white-space:pre-line;overflow-wrap:anywhere;unicode-bidi:plaintext;"
    "line-height:1.5;font-size:0.92rem"
)
_CLOSE = 0.5
"""By meaning: what is less alike than this is told to be far off."""


def show_found(ctx: Context, actor: Actor, words: str) -> None:
    """The entries of all sections that hold these words, a page at a time.

    Args:
        words: what was typed, not empty.
    """
    why_not = meaning.missing(ctx)
    how = _choose_how() if not why_not else How.WORDS
    if st.session_state.get(_FOR) != (words, how):
        st.session_state[_FOR] = (words, how)
        st.session_state[_PAGE] = 1
    results = find(ctx, actor, words, how=how, page=int(st.session_state.get(_PAGE, 1)))
    if results.why:
        st.caption(f"{form.plain(results.why)} These are found by their words.")
    if not results.total:
        _show_nothing(words, results)
    else:
        with st.container(border=True, gap="small", key="kb_found"):
            for number, hit in enumerate(results.hits):
                _show_hit(hit, number)
        _show_pages(results)
    if why_not:
        with st.expander("Search by meaning is off", key="kb_found_meaning"):
            st.caption(form.plain(why_not))


def _choose_how() -> How:
    chosen = st.segmented_control(
        "Find",
        list(How),
        default=How.WORDS,
        required=True,
        format_func=lambda how: "By words" if how == How.WORDS else "By meaning",
        label_visibility="collapsed",
        key=_HOW,
    )
    return How(chosen or How.WORDS)


def _show_hit(hit: Hit, number: int) -> None:
    part = part_of_entry(hit.section, hit.key) or part_at(hit.section)
    title = "Key" if hit.field == KEY else field_title(part, hit.field) if part else hit.field
    place = title_of(part.pointer if part else hit.section)
    facts = [place] if title == "Text" else [place, title]
    if hit.likeness is not None:
        facts.append("close" if hit.likeness >= _CLOSE else "far off")
    text = ("… " if hit.before else "") + marked(hit.snippet, hit.ranges)
    text += " …" if hit.after else ""
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", key=f"kb_hit_{number}"
    ):
        st.html(
            f'<div style="{_KEY_STYLE}">{marked(hit.key, hit.key_ranges)}</div>'
            f'<div style="{_PLACE_STYLE}">{escape(" · ".join(facts))}</div>'
            f'<div style="{_TEXT_STYLE}">{text.strip()}</div>',
            width="stretch",
        )
        st.button(
            "Open",
            key=f"kb_hit_open_{number}",
            type="tertiary",
            icon=":material/arrow_forward:",
            help=f"Open {form.plain(hit.key)}",
            on_click=kb_where.go_to_entry,
            args=(hit.section, hit.key, hit.entry_id),
        )


def _show_pages(results: Results) -> None:
    pages = -(-results.total // PAGE_HITS)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        far = " at most, the nearest first" if results.how is How.MEANING else " found"
        st.caption(form.plural(results.total, "entry", "entries") + far, width="content")
        if pages > 1:
            st.pagination(pages, key=_PAGE)


def _show_nothing(words: str, results: Results) -> None:
    with st.container(border=True, key="kb_found_nothing"):
        st.markdown(f"No entry holds “{form.plain(words)}”.")
        if not results.suggestions:
            st.caption("Every word must stand in the entry: try fewer, or a part of one.")
            return
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption("Did you mean", width="content")
            for number, suggestion in enumerate(results.suggestions):
                st.button(
                    form.plain(suggestion),
                    key=f"kb_found_try_{number}",
                    on_click=_look_for,
                    args=(suggestion,),
                )


def _look_for(words: str) -> None:
    st.session_state[kb_where.FIND] = words
