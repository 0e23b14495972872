"""Bringing unsaved edits to the server, after every run in which they changed."""

from __future__ import annotations

from datetime import datetime, timedelta

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import describe
from services.knowledge.drafting import keeping
from services.knowledge.drafting.model import Unsaved
from ui import session
from ui.kb_drafts import Drafts, Server, drafts

_PATIENCE = timedelta(seconds=30)
"""After a failure the page is not held up by another try for so long."""


def keep(ctx: Context, actor: Actor, held: Drafts) -> None:
    """Bring what changed to the server; the page goes on whatever comes of it."""
    _belong(held, actor, ctx.now())
    server = held.server
    changed = _changed(held)
    if not changed and not server.kept:
        server.not_kept, server.try_again = "", None
        return
    if server.try_again is not None and ctx.now() < server.try_again:
        return
    try:
        done = keeping.keep(ctx, actor, server.draft_id, changed)
    except Exception as error:
        server.not_kept, _hint, _id = describe(error)
        server.try_again = ctx.now() + _PATIENCE
        return
    server.try_again = None
    server.not_kept = done.why or (server.not_kept if server.refused else "")
    if done.elsewhere:
        _let_go(held, changed)
        keep(ctx, actor, held)
        return
    lost = done.begun and bool(server.kept)
    if lost:
        server.kept.clear()  # the desk's database is another one: all of it is written anew
    for number, one in changed.items():
        if one is None:
            server.kept.pop(number, None)
        elif number in done.left_out:
            server.refused[number] = one
        else:
            server.kept[number] = one
    if lost:
        keep(ctx, actor, held)


def named(ctx: Context, actor: Actor, held: Drafts) -> str:
    """The id that the change set of a save is to have; empty where it can't be noted down.

    Saving goes on without: a desk that is killed right then offers the draft once more, and
    its save finds nothing to do.
    """
    if not held.server.kept:
        return ""
    try:
        return keeping.begin_save(ctx, actor, held.server.draft_id)
    except Exception as error:
        describe(error)
        return ""


def keep_now() -> None:
    """The same from a widget's answer, where the run that follows may be of another page."""
    found = session.current(touch=False)
    if found is not None and found.actor.may(Permission.KB_EDIT):
        keep(session.context(), found.actor, drafts())


def _changed(held: Drafts) -> dict[int, Unsaved | None]:
    unsaved, kept = held.unsaved, held.server.kept
    gone = [number for number in kept if number not in unsaved]
    if gone:
        held.server.refused.clear()  # there is room again
    refused = held.server.refused
    changed: dict[int, Unsaved | None] = {
        number: one
        for number, one in unsaved.items()
        if kept.get(number) != one and refused.get(number) is not one
    }
    return changed | dict.fromkeys(gone)


def _belong(held: Drafts, actor: Actor, now: datetime) -> None:
    """Unsaved edits are of one account: whoever signs in next in this tab begins anew."""
    if held.server.account_id not in ("", actor.id):
        held.clear()
        held.server = Server()
    held.server.account_id = actor.id
    held.server.arrived_at = held.server.arrived_at or now


def _let_go(held: Drafts, changed: dict[int, Unsaved | None]) -> None:
    """Another tab went on with what the server had; what changed here since stays here."""
    for number in held.server.kept:
        if changed.get(number) is None:
            held.entries.pop(number, None)
            held.new.pop(number, None)
    held.problems, held.clashes = (), ()
    held.generation += 1
    held.server = Server(account_id=held.server.account_id, arrived_at=held.server.arrived_at)
    st.toast(
        "What was unsaved here went on in another tab, or was discarded there.",
        icon=":material/tab:",
    )
