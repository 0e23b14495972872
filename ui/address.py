"""Choices that stand in the address, so that a view can be sent to a colleague.

Streamlit's own binding writes what a choice is *called*. A name that is worded better one day
would break every address that was sent before; here a token stands for it.
"""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st


def arrive(name: str, tokens: Collection[str], default: str | None = None) -> None:
    """Take a choice from the address; called before its widget is drawn.

    Args:
        name: of the parameter, and the widget's key.
        tokens: those that are known; any other one is passed over.
        default: when the address names none.
    """
    if name not in st.session_state:
        named = st.query_params.get(name)
        st.session_state[name] = named if named in tokens else default


def keep(name: str, default: str | None = None) -> None:
    """Write the choice into the address; called after its widget was drawn.

    Args:
        default: is not written.
    """
    value = st.session_state.get(name)
    if value and value != default:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)
