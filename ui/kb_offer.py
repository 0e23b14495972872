"""What this person left unsaved elsewhere: another tab, another machine, an earlier visit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Refused, describe
from services.knowledge.drafting import offering
from services.knowledge.drafting.model import DraftSummary
from ui import format as form
from ui import kb_keeping
from ui.kb_drafts import Drafts
from ui.kb_listing import show_list
from ui.messages import say_after_rerun, show_error, shown_errors

_FRESH = timedelta(seconds=20)
_SHOWN = 3


def show_offer(ctx: Context, actor: Actor, held: Drafts) -> None:
    """A calm line for each draft that waits, to go on with, look at or throw away."""
    # Always there, so that nothing below it is drawn anew when it comes or goes.
    place = st.container(key="kb_offers", gap="small")
    found = [one for one in _offered(ctx, actor, held) if one.id not in held.server.put_off]
    with place:
        for one in found[:_SHOWN]:
            _show(ctx, actor, held, one)
        if len(found) > _SHOWN:
            more = form.plural(len(found) - _SHOWN, "older draft")
            st.caption(f"{more} of yours will be offered after these.")


def _offered(ctx: Context, actor: Actor, held: Drafts) -> tuple[DraftSummary, ...]:
    server = held.server
    if server.offered_at is None or ctx.now() - server.offered_at >= _FRESH:
        server.offered_at = ctx.now()
        try:
            server.offered = offering.mine(ctx, actor, server.draft_id, server.arrived_at)
        except Exception as error:
            describe(error)  # logged; the page is for more than this
    return server.offered


def _show(ctx: Context, actor: Actor, held: Drafts, one: DraftSummary) -> None:
    count = form.plural(one.entries, "unsaved change")
    when = _said(one.touched_at, ctx.now())
    with (
        st.container(border=True, key=f"kb_offer_{one.id}", gap="xsmall"),
        st.container(horizontal=True, vertical_alignment="center", gap="small"),
    ):
        with st.container(width="stretch", gap=None):
            st.markdown(f":material/history_edu: **You have {count} from {when}**")
            st.caption(
                "Open in another tab right now; when you go on here, it lets go of them."
                if one.alive
                else "Kept on the server when a tab was closed, signed out or lost."
            )
        st.button(
            "Continue",
            type="primary",
            icon=":material/edit:",
            key=f"kb_offer_take_{one.id}",
            on_click=_answer,
            args=(held, lambda: _take(ctx, actor, held, one)),
        )
        with st.popover("Look", icon=":material/visibility:", key=f"kb_offer_look_{one.id}"):
            _look(ctx, actor, held, one)
        with st.popover("Discard", key=f"kb_offer_drop_{one.id}"):
            st.markdown(f"Throw {count} away? What is stored stays as it is.")
            st.button(
                "Discard them",
                icon=":material/delete:",
                key=f"kb_offer_drop_do_{one.id}",
                on_click=_answer,
                args=(held, lambda: _discard(ctx, actor, one)),
            )
        st.button(
            "Not now",
            icon=":material/close:",
            type="tertiary",
            key=f"kb_offer_later_{one.id}",
            help="Offered again at your next visit.",
            on_click=held.server.put_off.add,
            args=(one.id,),
        )


def _said(at: datetime, now: datetime) -> str:
    """A time within the last week by its day: `Monday 14:02`."""
    days = now - at
    if timedelta(days=1) < days < timedelta(days=6):
        local = at.astimezone(form.viewer_zone())
        return f"{local:%A %H:%M}"
    return form.when_short(at, now)


def _look(ctx: Context, actor: Actor, held: Drafts, one: DraftSummary) -> None:
    shown = f"kb_offer_shown_{one.id}"
    if not st.session_state.get(shown):
        st.button("Show what they say", key=f"{shown}_do", on_click=_set, args=(shown,))
        return
    with shown_errors():
        found = Drafts()
        found.fill(offering.look(ctx, actor, one.id))
        show_list(found)


def _set(name: str) -> None:
    st.session_state[name] = True


def _answer(held: Drafts, do: Callable[[], None]) -> None:
    held.server.offered_at = None  # whatever comes of it: ask anew
    try:
        do()
    except Exception as error:
        show_error(error)


def _take(ctx: Context, actor: Actor, held: Drafts, one: DraftSummary) -> None:
    kb_keeping.keep(ctx, actor, held)
    server = held.server
    if held.unkept:
        raise Refused(
            "Both drafts can't be put together: what is unsaved in this tab is not on the "
            f"server. Nothing was changed. {server.not_kept}",
            "Save or discard what is unsaved here first.",
        )
    taken = offering.take_over(ctx, actor, one.id, server.draft_id)
    server.kept.update(taken.stored)
    # What stands at another entry now is written anew under its number by the next keeping.
    held.fill(taken.placed)
    count = form.plural(len(taken.placed), "unsaved change")
    left = (
        f" {form.plural(taken.left, 'entry', 'entries')} stayed there: this tab has unsaved "
        "changes in the same."
        if taken.left
        else ""
    )
    say_after_rerun(f"You go on with {count}.{left}", ":material/edit:")


def _discard(ctx: Context, actor: Actor, one: DraftSummary) -> None:
    count = offering.discard(ctx, actor, one.id)
    say_after_rerun(
        f"{form.plural(count, 'unsaved change')} discarded; nothing that was stored has changed.",
        ":material/undo:",
    )
