"""An import's preview that is not the first: what others changed since, each one click away."""

from __future__ import annotations

import streamlit as st

from services.knowledge.exchange.applying import Meanwhile
from ui import format as form
from ui.kb_history import KINDS
from ui.kb_plan import Pending
from ui.kb_where import go_to_change
from ui.messages import show_problem

_SHOWN = 5


def show_meanwhile(pending: Pending) -> None:
    """What others changed since the first preview, where this is not the first."""
    if not pending.rebased:
        return
    with st.container(gap="xxsmall"):
        count = len(pending.other)
        show_problem(
            "The knowledge base was changed since the first preview. This is a new one.",
            f"{form.plural(count, 'item says', 'items say')} something else now: look at "
            f"{'it' if count == 1 else 'them'} again. What you rejected stays rejected."
            if count
            else "Every item still says the same. What you rejected stays rejected.",
            calm=True,
            icon=":material/sync:",
        )
        for one in pending.meanwhile[:_SHOWN]:
            st.button(
                _said(one),
                icon=":material/history:",
                type="tertiary",
                key=f"kb_meanwhile_{one.id}",
                help="Opens this change in the history. The preview stays as it is.",
                on_click=go_to_change,
                args=(one.id,),
            )
        if len(pending.meanwhile) > _SHOWN:
            st.caption(f"and {len(pending.meanwhile) - _SHOWN} more changes.")


def _said(one: Meanwhile) -> str:
    kind = KINDS.get(one.kind, one.kind)
    reason = f" ({form.plain(one.reason)})" if one.reason else ""
    entries = form.plural(one.entries, "entry", "entries")
    return f"{form.plain(one.author)}: {kind}, {entries}{reason}"
