"""What the browser does while one writes: it sends texts as they are typed, and asks before
it closes or reloads a page of which the server lacks something.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.components.v1 import declare_component

from ui.kb_drafts import Drafts

# Files of our own rather than a script in the page: the desk's content policy allows only those.
_typing = declare_component("kb_typing", path=str(Path(__file__).parent / "kb_typing"))


def watch_typing(held: Drafts) -> None:
    """Drawn at the end of every run; takes no room on the page."""
    held.server.runs += 1
    with st.container(height=1, border=False, key="kb_typing"):
        # Its key is no secret and its answer is never read: whatever a hand-made message
        # says in its name, nothing comes of it.
        _typing(unkept=held.unkept, run=held.server.runs, key="kb_typing_frame", default=None)
