"""Entries that are chosen to be changed together: kept by id, over pages and searches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import streamlit as st

_STATE, _TICKS = "kb_selected", "kb_several"


@dataclass
class Selection:
    """What is chosen, of one part; another part begins anew."""

    where: str = ""
    ids: set[int] = field(default_factory=set)
    generation: int = 0  # moves when it was changed beside the table, which is drawn anew then


def _of(where: str) -> Selection:
    held: Selection = st.session_state.setdefault(_STATE, Selection())
    if held.where != where:
        held.where = where
        held.ids.clear()
    return held


def ids(where: str) -> frozenset[int]:
    """The chosen entries of a part."""
    return frozenset(_of(where).ids)


def generation() -> int:
    """Another number than the table was drawn with: it shows an old choice."""
    held: Selection = st.session_state.setdefault(_STATE, Selection())
    return held.generation


def by_ticks(where: str) -> bool:
    """Whether a phone's list chooses entries, as its switch says; drawn above the list."""
    # What was chosen elsewhere is seen, and can be taken back, at once.
    st.session_state.setdefault(_TICKS, bool(ids(where)))
    return st.toggle("Choose several", key=_TICKS)


def choose(where: str, number: int, *, chosen: bool) -> None:
    """The person ticked a row of the table, or took that back."""
    held = _of(where)
    if chosen:
        held.ids.add(number)
    else:
        held.ids.discard(number)


def put(where: str, numbers: Iterable[int] = ()) -> None:
    """Exactly these are chosen."""
    held = _of(where)
    held.ids = set(numbers)
    held.generation += 1
