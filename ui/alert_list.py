"""The alerts on the Monitoring page: open ones, past ones, what happened, who was told."""

from __future__ import annotations

import math
from datetime import datetime

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.watch import alerts, notify
from services.watch.alerting import Alert, AlertState, Change
from services.watch.alerts import DELIVERED, DUE, GIVEN_UP, SENDING, AlertChange
from services.watch.notify import Beat
from ui import alert_respond
from ui import format as form
from ui.messages import shown_errors
from ui.theme import TONE_ICONS

PAST_ROWS = 20
_PAGE = "past_alerts"
_WORDS = {
    Change.PENDING: ("hourglass_empty", "Seen; it may pass by itself"),
    Change.FIRING: ("notifications_active", "Fired"),
    Change.RESOLVED: ("check_circle", "Over"),
    Change.ACKNOWLEDGED: ("how_to_reg", "Acknowledged"),
    Change.MUTED: ("notifications_off", "Muted"),
    Change.UNMUTED: ("notifications", "No longer muted"),
}
_BEATS = {Beat.START: "the start", Beat.SUCCESS: "the success", Beat.FAILURE: "the failure"}
_TOLD = "told"


def show(ctx: Context, actor: Actor) -> None:
    """The card with everything about alerts."""
    found = alerts.standing(ctx, actor)
    firing = [alert for alert in found if alert.state is AlertState.FIRING]
    with st.container(border=True, gap="small", key="alerts"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown("**Alerts**", width="content")
            st.caption(_summary(ctx, found), width="stretch")
            _test(ctx, actor)
        _outcomes()
        if not firing:
            st.markdown(":green[:material/check_circle:] No alert is open.")
        history = alerts.changes(ctx, actor, [alert.id for alert in found])
        for alert in found:
            _open(ctx, actor, alert, history.get(alert.id, ()))
        _way_out(ctx, actor)
        _past(ctx, actor)


def _summary(ctx: Context, found: tuple[Alert, ...]) -> str:
    now = ctx.now()
    counts = {
        "open": sum(alert.state is AlertState.FIRING for alert in found),
        "pending": sum(alert.state is AlertState.PENDING for alert in found),
        "acknowledged": sum(alert.acknowledged_at is not None for alert in found),
        "muted": sum(alert.is_muted(now) for alert in found),
    }
    return " · ".join(f"{count} {word}" for word, count in counts.items() if count)


def _open(ctx: Context, actor: Actor, alert: Alert, history: tuple[AlertChange, ...]) -> None:
    now = ctx.now()
    icon, colour = TONE_ICONS[alert.severity]
    if alert.state is AlertState.PENDING:
        icon, colour = "hourglass_empty", "gray"
    with st.container(gap="xsmall", key=f"alert_{alert.id}"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            with st.container(width="stretch"):
                st.markdown(
                    f":{colour}[:material/{icon}:] **{form.plain(alert.title)}.** "
                    f"{form.plain(form.with_times(alert.message))}  \n"
                    f":small[:gray[{form.plain(alert.hint)} "
                    f"Since {form.when_short(alert.since, now)}.]]"
                )
                taken = alert_respond.standing(ctx, alert)
                if taken:
                    st.markdown(f":small[:gray[{taken}]]")
            alert_respond.respond(ctx, actor, alert)
        with st.expander(_last_told(ctx, history), key=f"history_{alert.id}"):
            _history(ctx, history)


def _last_told(ctx: Context, history: tuple[AlertChange, ...]) -> str:
    """Whether people know, in a line."""
    tried = [change for change in history if change.delivery != alerts.NONE]
    if not tried:
        return "What happened; nobody was told"
    return f"What happened; {_delivery(ctx, tried[-1])}"


def _delivery(ctx: Context, change: AlertChange) -> str:
    now, error = ctx.now(), change.delivery_error or ""
    partly = "not told everywhere" if change.reached else "not told"
    if change.delivery == DELIVERED and change.delivered_at is not None:
        return f"told {form.when_short(change.delivered_at, now)}"
    if change.delivery == GIVEN_UP:
        return f"{partly}. {error}".strip()
    if change.delivery == SENDING:
        return "being told"
    if change.delivery == DUE and error and change.next_try_at is not None:
        return f"{partly} yet. {error} Tried again {form.when_short(change.next_try_at, now)}."
    return "to be told" if change.delivery == DUE else ""


def _history(ctx: Context, history: tuple[AlertChange, ...]) -> None:
    now = ctx.now()
    lines = []
    for change in history:
        icon, word = _WORDS[change.what]
        who = f" by {form.plain(change.who)}" if change.who else ""
        note = f": {form.plain(_note(ctx, change))}" if change.note else ""
        told = form.plain(_delivery(ctx, change))
        lines.append(
            f":material/{icon}: {form.when_short(change.at, now)} {word}{who}{note}"
            + (f" :gray[· {told}]" if told else "")
        )
    st.markdown("  \n".join(lines))


def _note(ctx: Context, change: AlertChange) -> str:
    if change.what is not Change.MUTED:
        return change.note
    return f"until {form.when_short(datetime.fromisoformat(change.note), ctx.now())}"


def _way_out(ctx: Context, actor: Actor) -> None:
    """Who is told, and what the dead man's switch heard last."""
    count = len(ctx.settings.alert_addresses)
    if count:
        said = [f":material/outgoing_mail: Sent to {form.plural(count, 'target')}"]
    else:
        said = [
            ":orange[:material/warning:] Nobody is told: `ALERT_URLS` is not set (docs/alerts.md)"
        ]
    if ctx.settings.heartbeat_url is None:
        said.append("no dead man's switch (`HEARTBEAT_URL`)")
    else:
        last = notify.last_beat(ctx, actor)
        if last is None:
            said.append("the dead man's switch has not been told anything yet")
        elif last.error:
            said.append(
                f":orange[:material/warning:] the dead man's switch did not hear of "
                f"{_BEATS[last.beat]} of a backup {form.when_short(last.at, ctx.now())}: "
                f"{form.plain(last.error)}"
            )
        else:
            said.append(
                f"the dead man's switch heard of {_BEATS[last.beat]} of a backup "
                f"{form.when_short(last.at, ctx.now())}"
            )
    st.caption(" · ".join(said))


def _test(ctx: Context, actor: Actor) -> None:
    if not actor.may(Permission.ALERT_MANAGE):
        return
    none = not ctx.settings.alert_addresses
    pressed = st.button(
        "Send a test message",
        icon=":material/send:",
        type="tertiary",
        key="test_message",
        disabled=none,
        help="ALERT_URLS is not set." if none else "To every target; says what came back.",
    )
    st.session_state.pop(_TOLD, None)
    if pressed:
        with shown_errors(), st.spinner("Sending"):
            st.session_state[_TOLD] = notify.send_test(ctx, actor)


def _outcomes() -> None:
    for outcome in st.session_state.get(_TOLD, ()):
        if outcome.error:
            text = f":red[:material/error:] {form.plain(outcome.name)}: {form.plain(outcome.error)}"
        else:
            text = f":green[:material/check_circle:] {form.plain(outcome.name)} took it."
        st.markdown(text)


def _past(ctx: Context, actor: Actor) -> None:
    page = int(st.session_state.get(_PAGE) or 1)
    found, total = alerts.past(ctx, actor, page=page, rows=PAST_ROWS)
    if not total:
        return
    with st.expander(f"Past alerts ({form.number(total)})", key="past"):
        history = alerts.changes(ctx, actor, [alert.id for alert in found])
        chosen = _table(ctx, found, page)
        if chosen is not None:
            with st.container(border=True, gap="xsmall", key="past_chosen"):
                st.markdown(
                    f"**{form.plain(chosen.title)}.** {form.plain(form.with_times(chosen.message))}"
                )
                _history(ctx, history.get(chosen.id, ()))
        if total > PAST_ROWS:
            st.pagination(math.ceil(total / PAST_ROWS), key=_PAGE, max_visible_pages=5)


def _table(ctx: Context, found: list[Alert], page: int) -> Alert | None:
    now = ctx.now()
    ended = [alert.resolved_at or alert.seen_at for alert in found]
    fired = [alert.fired_at or alert.opened_at for alert in found]
    chosen = st.dataframe(
        {
            "Alert": [alert.title for alert in found],
            "About": [alert.subject or form.NONE for alert in found],
            "Fired": [form.when_short(at, now) for at in fired],
            "Lasted": [
                form.duration((end - begin).total_seconds())
                for end, begin in zip(ended, fired, strict=True)
            ],
            "Acknowledged by": [alert.acknowledged_by or form.NONE for alert in found],
        },
        hide_index=True,
        width="stretch",
        height="content",
        on_select="rerun",
        selection_mode="single-row",
        alt=f"{form.plural(len(found), 'alert')} that ended, the last first; choose one for more",
        key=f"list_of_past_{page}_{found[0].id}_{len(found)}",
    )
    rows = chosen["selection"]["rows"]
    return found[rows[0]] if rows and rows[0] < len(found) else None
