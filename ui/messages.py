"""How the pages say that something went wrong, or went well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from services.core.errors import Denied, Refused, Transient, describe
from ui.format import plain

_SAID_LATER = "desk_said"


@contextmanager
def shown_errors() -> Iterator[None]:
    """Show whatever the block raises, in words for a person, and go on with the page.

    Streamlit's own stops and reruns pass through: they are no `Exception`.
    """
    try:
        yield
    except Exception as error:
        show_error(error)


def show_error(error: BaseException) -> None:
    """Show an error: what happened and what was not changed, then what to do next."""
    message, hint, _error_id = describe(error)
    show_problem(message, hint, calm=isinstance(error, (Refused, Transient)), icon=_icon(error))


def show_problem(message: str, hint: str = "", *, calm: bool = False, icon: str = "") -> None:
    """Show a problem that was stored earlier (a failed job, an unreachable store).

    Args:
        calm: amber rather than red, for what passes or was simply refused.
    """
    body = plain(hint) if hint else plain(message)
    title = plain(message) if hint else None
    if calm:
        st.warning(body, icon=icon or ":material/warning:", title=title)
    else:
        st.error(body, icon=icon or ":material/error:", title=title)


def _icon(error: BaseException) -> str:
    if isinstance(error, Denied):
        return ":material/lock:"
    if isinstance(error, Transient):
        return ":material/cloud_off:"
    return ":material/warning:" if isinstance(error, Refused) else ":material/error:"


def say_after_rerun(text: str, icon: str = ":material/check:") -> None:
    """Keep a short confirmation for the next run of the page: `st.rerun` would drop it."""
    st.session_state[_SAID_LATER] = (text, icon)


def say_what_was_kept() -> None:
    """Show the confirmation that `say_after_rerun` kept, once."""
    kept = st.session_state.pop(_SAID_LATER, None)
    if kept:
        st.toast(plain(kept[0]), icon=kept[1])
