"""Who else has this part of the knowledge base open. It warns and never blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import describe
from services.knowledge import entries
from services.knowledge.drafting import presence
from services.knowledge.drafting.presence import Someone
from ui import format as form
from ui.kb_drafts import drafts
from ui.session import guard

_EVERY = 20
_SELDOM = timedelta(seconds=15)
"""A tab says at most so often that it is here, however often its page runs."""
_STATE = "kb_presence"
_NAMED = 3


@dataclass
class _Told:
    """When this tab last said where it is."""

    at: datetime
    tab: str


@st.fragment(run_every=_EVERY)
def show_others(part: str, entry_id: int | None) -> None:
    """Say that this tab is here, and show who else is.

    It runs by itself as long as the tab is open, which is not to say that somebody is there.

    Args:
        part: pointer of what is open.
        entry_id: the entry that is open in full; negative for a new one.
    """
    ctx, actor = guard(Permission.KB_EDIT, touch=False)
    server = drafts().server
    tab = server.draft_id
    try:
        _tell(ctx, actor, tab, part, entry_id)
        others = presence.others(ctx, actor, tab, part, server.arrived_at)
    except Exception as error:
        describe(error)  # logged; nobody is kept from their work by it
        return
    if others:
        st.caption(_said(ctx, actor, others), width="content")


def _tell(ctx: Context, actor: Actor, tab: str, part: str, entry_id: int | None) -> None:
    told: _Told | None = st.session_state.get(_STATE)
    if told is not None and told.tab == tab and ctx.now() - told.at < _SELDOM:
        return
    # Noted before it is tried: a database that is locked is not asked at every run.
    st.session_state[_STATE] = _Told(ctx.now(), tab)
    presence.here(ctx, actor, tab, part, entry_id)


def _said(ctx: Context, actor: Actor, others: Sequence[Someone]) -> str:
    opened = {one.entry_id for one in others if one.entry_id is not None}
    keys = {
        number: entry.key
        for number, entry in (entries.several(ctx, actor, opened) if opened else {}).items()
    }
    told: dict[str, str] = {}
    for one in others:
        who = "You, in another tab" if one.is_me else f"**{form.plain(one.name)}**"
        key = keys.get(one.entry_id or 0, "")
        told.setdefault(who, form.plain(key))
    named = [f"{who} ({key})" if key else who for who, key in list(told.items())[:_NAMED]]
    more = len(told) - len(named)
    if more:
        named.append(form.plural(more, "other", "others"))
    alone = list(told) == ["You, in another tab"]
    who = " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else named[0]
    does = "are" if alone or len(told) > 1 else "is"
    return f":orange[:material/group: {who}{',' if alone else ''} {does} editing this section too]"
