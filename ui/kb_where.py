"""Where one is in the knowledge base: view, section, part, what is looked for; in the address."""

from __future__ import annotations

from datetime import date
from typing import Any

import streamlit as st

from services.knowledge.sections import Shape, part_of_entry, path_of, pointer

VIEW, SECTION, PART, FIND = "view", "section", "part", "find"
AUTHOR, SINCE, UNTIL, ONLY = "by", "since", "until", "only"
CHANGE, CHANGE_FROM = "change", "kb_change_from"
"""The change set that is open in the history, and the table it was chosen in."""
UNPUBLISHED, FINDINGS = "unpublished", "findings"
"""What `ONLY` may hold."""
PAGE, CHOICE, LIST = "kb_page", "kb_open", "kb_list"
_OPEN = "kb_opened"

SECTIONS, HISTORY, BIN = "", "history", "bin"
QUALITY, TRY, RELEASES, TRANSFER = "quality", "try", "releases", "transfer"
"""The views of the page."""

_NEXT = "kb_next"
_WORDS = (VIEW, SECTION, PART, FIND, AUTHOR, CHANGE)
_DAYS = (SINCE, UNTIL)
_MAX_WORD = 400

FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2199, 12, 31)
"""Between these lie the days of a filter."""


def arrive() -> None:
    """Take the place from `go_to`, else from the address; called before widgets are drawn."""
    for name, value in st.session_state.pop(_NEXT, {}).items():
        st.session_state[name] = value
    told = st.query_params
    for name in _WORDS:
        if name not in st.session_state:
            st.session_state[name] = told.get(name, "")[:_MAX_WORD]
    for name in _DAYS:
        if name not in st.session_state:
            st.session_state[name] = _day(told.get(name, ""))
    if ONLY not in st.session_state:
        named = told.get(ONLY, "").split(",")
        st.session_state[ONLY] = [one for one in (UNPUBLISHED, FINDINGS) if one in named]


def _day(told: str) -> date | None:
    try:
        found = date.fromisoformat(told)
    except ValueError:
        return None
    return found if FIRST_DAY <= found <= LAST_DAY else None


def keep() -> None:
    """Write the place into the address, so that it can be sent to a colleague."""
    for name in (*_WORDS, *_DAYS, ONLY):
        value = _token(st.session_state.get(name))
        if value and (name != CHANGE or st.session_state[VIEW] == HISTORY):
            st.query_params[name] = value
        elif name in st.query_params:
            del st.query_params[name]


def _token(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return value.isoformat() if isinstance(value, date) else value or ""


def without_filters() -> dict[str, Any]:
    """Nothing is looked for: the values of the search and of every filter."""
    return {FIND: "", AUTHOR: "", SINCE: None, UNTIL: None, ONLY: []}


def go_to(view: str = SECTIONS, section: str = "") -> None:
    """Be somewhere else on the next run: a widget that is drawn can't be set any more."""
    st.session_state[_NEXT] = {VIEW: view, SECTION: section, PART: "", **without_filters()}


def go_to_change(change_set_id: str) -> None:
    """Be at one change set in the history on the next run."""
    go_to(view=HISTORY)
    st.session_state[_NEXT] |= {CHANGE: change_set_id, CHANGE_FROM: ""}


def go_to_entry(section: str, key: str, entry_id: int) -> None:
    """Be at one entry on the next run, opened in full where its part is a table."""
    part = part_of_entry(section, key)
    where = part.pointer if part else section or pointer((key,))
    found = "" if part is not None and part.shape is Shape.TEXT else key
    st.session_state[_NEXT] = {
        VIEW: SECTIONS,
        SECTION: path_of(where)[0],
        PART: where,
        **without_filters(),
        FIND: found,
        PAGE: 1,
        _OPEN: entry_id,
    }


def open_section(section: str) -> None:
    """A button's answer: show this section."""
    st.session_state[SECTION] = section
    restart()


def restart() -> None:
    """Another section begins at its first part, without a search."""
    st.session_state[PART] = ""
    restart_part()


def restart_part() -> None:
    """Another part begins at its first page, without a search and a chosen entry."""
    clear()
    close_entry()


def clear(name: str = "") -> None:
    """Look for nothing any more, or leave one of the filters out."""
    for one, value in without_filters().items():
        if name in ("", one):
            st.session_state[one] = value
    first_page()


def clear_mark(mark: str) -> None:
    """Leave one of the marks out that `ONLY` holds."""
    st.session_state[ONLY] = [one for one in st.session_state[ONLY] if one != mark]
    first_page()


def first_page() -> None:
    """Another search begins at its first page."""
    st.session_state[PAGE] = 1


def open_entry(number: int) -> None:
    """Show this entry in full beside the table."""
    st.session_state[_OPEN] = number


def close_entry() -> None:
    """Show no entry beside the table."""
    st.session_state[_OPEN] = None


def opened() -> int | None:
    """The entry that is shown in full; negative for a new one."""
    number: int | None = st.session_state.get(_OPEN)
    return number


def choose() -> None:
    """The person chose an entry from the list."""
    st.session_state[_OPEN] = st.session_state[CHOICE]


def choose_from_list() -> None:
    """The person tapped an entry on a narrow screen."""
    st.session_state[_OPEN] = st.session_state[LIST]
