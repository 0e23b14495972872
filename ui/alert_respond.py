"""Taking an alert up: who looks after it, and for how long nothing more is sent about it."""

from __future__ import annotations

from datetime import timedelta

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.watch import responses
from services.watch.alerting import Alert
from services.watch.responses import LONGEST_COMMENT
from ui import format as form
from ui.messages import say_after_rerun, shown_errors

SILENCES = {1: "1 hour", 8: "8 hours", 24: "1 day", 168: "1 week"}
"""For how many hours an alert can be muted here."""
_EXPLAINED = (
    "Acknowledged: others see that somebody looks after it. Muted: nothing is sent about it "
    "until then; if it is still so, it is told again."
)


def standing(ctx: Context, alert: Alert) -> str:
    """How far somebody is with an alert, as Markdown; empty where nobody took it up."""
    now, said = ctx.now(), []
    if alert.acknowledged_at is not None:
        comment = f": {form.plain(alert.comment)}" if alert.comment else ""
        said.append(
            f":material/how_to_reg: acknowledged by {form.plain(alert.acknowledged_by or '')}, "
            f"{form.when_short(alert.acknowledged_at, now)}{comment}"
        )
    if alert.muted_until is not None and alert.is_muted(now):
        who = f" by {form.plain(alert.muted_by)}" if alert.muted_by else ""
        until = form.when_short(alert.muted_until, now)
        said.append(f":material/notifications_off: muted until {until}{who}")
    return " · ".join(said)


def respond(ctx: Context, actor: Actor, alert: Alert) -> None:
    """The button that opens acknowledge and mute, for whoever may."""
    if not actor.may(Permission.ALERT_MANAGE):
        return
    with st.popover(
        "Respond",
        icon=":material/how_to_reg:",
        type="tertiary",
        help=_EXPLAINED,
        key=f"respond_{alert.id}",
    ):
        _acknowledge(ctx, actor, alert)
        if alert.is_muted(ctx.now()):
            _unmute(ctx, actor, alert)
        else:
            _mute(ctx, actor, alert)


def _acknowledge(ctx: Context, actor: Actor, alert: Alert) -> None:
    with st.form(f"acknowledge_form_{alert.id}", border=False):
        comment = st.text_input(
            "What do you know about it?",
            value=alert.comment or "",
            max_chars=LONGEST_COMMENT,
            placeholder="The disk is being replaced",
            key=f"comment_{alert.id}",
        )
        if st.form_submit_button("Acknowledge", type="primary", key=f"acknowledge_{alert.id}"):
            with shown_errors():
                responses.acknowledge(ctx, actor, alert.id, comment)
                say_after_rerun("Acknowledged: others see that you look after it.")
                st.rerun()


def _mute(ctx: Context, actor: Actor, alert: Alert) -> None:
    with st.form(f"mute_form_{alert.id}", border=False):
        hours = st.segmented_control(
            "Send nothing about it for",
            list(SILENCES),
            default=8,
            required=True,
            format_func=SILENCES.__getitem__,
            key=f"silence_{alert.id}",
        )
        if st.form_submit_button("Mute", key=f"mute_{alert.id}"):
            with shown_errors():
                responses.mute(ctx, actor, alert.id, ctx.now() + timedelta(hours=hours or 8))
                say_after_rerun("Muted: if it is still so then, it is told again.")
                st.rerun()


def _unmute(ctx: Context, actor: Actor, alert: Alert) -> None:
    if st.button("End the silence", key=f"unmute_{alert.id}"):
        with shown_errors():
            responses.unmute(ctx, actor, alert.id)
            say_after_rerun("Messages about it go out again.")
            st.rerun()
