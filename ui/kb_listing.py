"""What is unsaved, entry by entry, with what changed word by word."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from services.knowledge.sections import part_at, part_of_entry, title_of
from services.knowledge.validation import KEY
from ui import format as form
from ui.kb_drafts import WHOLE, Drafts
from ui.kb_entry import field_title
from ui.kb_text import show_difference

_SHOWN = 50
"""Entries; a page of two thousand would be no help to anybody."""

TakeBack = Callable[[int], None]


def place_of(section: str, key: str) -> str:
    """Section and key of an entry, as Markdown."""
    place = title_of(section) if section else "Knowledge base"
    return f"{form.plain(place)} / **{form.plain(key) or 'no key'}**"


def title_of_cell(section: str, key: str, name: str) -> str:
    """How a person calls a cell, or what else of an entry two people changed."""
    part = part_of_entry(section, key) or part_at(section)
    if name in (WHOLE, "position"):
        return {WHOLE: "the whole entry", "position": "its place among the others"}[name]
    if part is not None:
        return field_title(part, name)
    return {KEY: "Key"}.get(name, name.capitalize())


def show_list(held: Drafts, take_back: TakeBack | None = None) -> None:
    """Every entry with unsaved changes.

    Args:
        take_back: what the button beside each does; none for a list to look at.
    """
    left = _SHOWN
    with st.container(gap="xsmall"):
        for number, draft in list(held.entries.items())[:left]:
            base = draft.base
            mark = "deleted" if draft.deleted else ""
            _head(number, place_of(base.section, base.key), mark, take_back)
            if draft.deleted:
                continue
            if draft.key != base.key:
                show_difference(base.key, str(draft.key))
            for name, value in draft.cells.items():
                if len(base.cells) > 1:
                    st.caption(form.plain(title_of_cell(base.section, base.key, name)))
                show_difference(base.cells.get(name, ""), str(value))
        left = max(left - len(held.entries), 0)
        for number, one in [(n, o) for n, o in held.new.items() if not o.is_blank][:left]:
            _head(number, place_of(one.section, one.key), "new", take_back)
            for text in one.cells.values():
                if text:
                    show_difference(None, str(text))
        if held.count > _SHOWN:
            st.caption(f"and {form.plural(held.count - _SHOWN, 'more entry', 'more entries')}")


def _head(number: int, place: str, mark: str, take_back: TakeBack | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"{place} {mark}", width="stretch")
        if take_back is not None:
            st.button(
                "Take back",
                key=f"kb_back_{number}",
                type="tertiary",
                icon=":material/undo:",
                on_click=take_back,
                args=(number,),
            )
