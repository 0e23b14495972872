"""Where one is in the knowledge base: view, section, part, search, page; kept in the address."""

from __future__ import annotations

import streamlit as st

from services.knowledge.sections import Shape, part_of_entry, path_of, pointer

VIEW, SECTION, PART, FIND = "view", "section", "part", "find"
PAGE, CHOICE = "kb_page", "kb_open"
_OPEN = "kb_opened"

SECTIONS, HISTORY, BIN = "", "history", "bin"
QUALITY, TRY, TRANSFER = "quality", "try", "transfer"
"""The views of the page."""

_NEXT = "kb_next"
_IN_ADDRESS = (VIEW, SECTION, PART, FIND)


def arrive() -> None:
    """Take the place from `go_to`, else from the address; called before widgets are drawn."""
    for name, value in st.session_state.pop(_NEXT, {}).items():
        st.session_state[name] = value
    for name in _IN_ADDRESS:
        if name not in st.session_state:
            st.session_state[name] = st.query_params.get(name, "")


def keep() -> None:
    """Write the place into the address, so that it can be sent to a colleague."""
    for name in _IN_ADDRESS:
        value = st.session_state.get(name) or ""
        if value:
            st.query_params[name] = value
        elif name in st.query_params:
            del st.query_params[name]


def go_to(view: str = SECTIONS, section: str = "") -> None:
    """Be somewhere else on the next run: a widget that is drawn can't be set any more."""
    st.session_state[_NEXT] = {VIEW: view, SECTION: section, PART: "", FIND: ""}


def go_to_entry(section: str, key: str, entry_id: int) -> None:
    """Be at one entry on the next run, opened in full where its part is a table."""
    part = part_of_entry(section, key)
    where = part.pointer if part else section or pointer((key,))
    found = "" if part is not None and part.shape is Shape.TEXT else key
    st.session_state[_NEXT] = {
        VIEW: SECTIONS,
        SECTION: path_of(where)[0],
        PART: where,
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
    st.session_state[FIND] = ""
    first_page()
    close_entry()


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
