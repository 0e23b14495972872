"""Which dialog is open, and the word one types before what can't be taken back lightly.

What is open is kept in the session, so that a rerun of the page does not close it.
"""

from __future__ import annotations

import re

import streamlit as st

from ui.format import plain

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


def typed_word(word: str, key: str, *, more: str = "", width: int | None = None) -> str:
    """The field for the word that confirms; gives what was typed.

    Its label is read aloud letter by letter, so the word stands in quotation marks and not in
    Markdown's stars.

    Args:
        more: what typing it says besides.
    """
    harmless = re.fullmatch(r"\w+(?:[ -]\w+)*", word)
    return st.text_input(
        f"Type “{word if harmless else plain(word)}” to confirm{more}",
        key=key,
        autocomplete="off",
        width=width or "stretch",
    )
