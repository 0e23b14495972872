"""Which dialog is open. Kept in the session, so that a rerun of the page does not close it."""

from __future__ import annotations

import streamlit as st

_OPEN = "desk_dialog"


def open_dialog(name: str, *details: object) -> None:
    """Have the page draw a dialog on this and the next runs; for `on_click`."""
    st.session_state[_OPEN] = (name, *details)


def close() -> None:
    """Draw no dialog any more; for `on_dismiss` and `on_click`."""
    st.session_state.pop(_OPEN, None)


def is_open(name: str, *details: object) -> bool:
    """Whether this dialog is to be drawn."""
    return bool(st.session_state.get(_OPEN) == (name, *details))


def leave_when_closed(name: str, *details: object) -> None:
    """Inside a dialog: a button there reruns the dialog alone, and the page must go on."""
    if not is_open(name, *details):
        st.rerun()


def close_unless_on(page: str) -> None:
    """Close what was open on another page: coming back must not open it again."""
    if st.session_state.get(f"{_OPEN}_page") != page:
        close()
        st.session_state[f"{_OPEN}_page"] = page
