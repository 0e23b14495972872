"""Which panel of the Releases view is open, and what the person looks at in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import streamlit as st

from services.core.errors import DeskError
from services.knowledge.history import EntryChange
from services.knowledge.releasing.model import Activation, Comparison, Folder, ReleasePlan
from ui import kb_release_diff

NOTES, REASON, OVER = "kb_release_notes", "kb_release_reason", "kb_release_over"
"""Widgets of the panels, which are forgotten when they close."""

_PANEL = "kb_release_panel"


@dataclass
class Panel:
    """What is open, with what the person looks at: it stays the same until they look again."""

    kind: str  # publish, compare, again
    before: int | None = None
    after: int | None = None
    plan: ReleasePlan | None = None
    seen: Comparison | None = None
    folder: Folder | None = None
    blocks: dict[int, tuple[EntryChange, ...]] = field(default_factory=dict)  # from `offset` on
    known: frozenset[EntryChange] | None = None  # what they saw before they looked again
    moved: DeskError | None = None  # why what they saw does not hold any more
    done: Activation | None = None  # a second click finds what the first one did


def opened() -> Panel | None:
    """What is open."""
    panel: Panel | None = st.session_state.get(_PANEL)
    return panel


def open_publish() -> None:
    """Look at what publishing would do; for `on_click`."""
    _open(Panel("publish"))


def open_compare(before: int | None, after: int | None) -> None:
    """Compare two states; for `on_click`."""
    _open(Panel("compare", before, after))


def open_again(current: int | None, number: int) -> None:
    """Look at what making a release current would do; for `on_click`."""
    _open(Panel("again", current, number))


def close() -> None:
    """Back to the list; for `on_click`."""
    st.session_state.pop(_PANEL, None)
    for name in (NOTES, REASON, OVER):
        st.session_state.pop(name, None)


def _open(panel: Panel) -> None:
    close()
    kb_release_diff.first_page()
    st.session_state[_PANEL] = panel
