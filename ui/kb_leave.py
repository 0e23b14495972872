"""Have the browser ask before a tab with unsaved changes is closed or reloaded."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.components.v1 import declare_component

# Files of our own rather than a script in the page: the desk's content policy allows only those.
_guard = declare_component("kb_leaving", path=str(Path(__file__).parent / "kb_leaving"))


def warn_before_leaving(unsaved: int) -> None:
    """Ask while something is unsaved; takes no room on the page."""
    with st.container(height=1, border=False, key="kb_leaving"):
        _guard(unsaved=unsaved, key="kb_leaving_guard", default=None)
