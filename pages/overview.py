"""The first screen: is the data safe, what would come back, and what needs attention."""

from __future__ import annotations

import streamlit as st

from services import backup, drill, monitor
from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import DeskError
from services.knowledge.releasing import status
from services.protection.index import catalog
from services.protection.model import DayMark, DayState
from services.watch import alerts
from services.watch.alerting import Alert, AlertState
from services.watch.facts import since_last_visit
from services.watch.posture import Action, Facts, Finding, Posture, Snapshot, State
from services.watch.rules import rule_of
from ui import alert_respond, charts, drill_panel
from ui import format as form
from ui.messages import shown_errors
from ui.progress import back_up_button, job_progress
from ui.session import open_page
from ui.theme import MARK_COLOURS, MARK_WORDS, STATE_WORDS, TONE_ICONS, palette

STRIP_DAYS = 90
COVERAGE_DAYS = 30


def show_state(ctx: Context, actor: Actor, facts: Facts, posture: Posture) -> None:
    """The one sentence, and the button that makes it better."""
    word, icon, colour = STATE_WORDS[posture.state]
    with st.container(border=True, key="state"):
        said, pressed = st.columns([5, 1.15], vertical_alignment="center")
        with said, st.container(gap="xsmall"):
            st.markdown(f"## :{colour}[:material/{icon}: {word}]")
            st.markdown(_sentence(ctx, facts, posture))
        if actor.may(Permission.BACKUP_CREATE):
            with pressed, st.container(horizontal=True, horizontal_alignment="right"):
                back_up_button(ctx, actor, key="back_up", primary=True)
        running = backup.current(ctx)
        if running is not None:
            job_progress(running.id, permission=Permission.OVERVIEW_VIEW)
        drilling = drill.current(ctx)
        if drilling is not None:
            job_progress(drilling.id, permission=Permission.OVERVIEW_VIEW)


def _sentence(ctx: Context, facts: Facts, posture: Posture) -> str:
    lost = "the shop's data" if facts.store_is_local else "everything here"
    point = posture.recovery_point
    if point is None:
        return f"If {lost} vanished now, **nothing would come back**: there is no backup yet."
    now = ctx.now()
    text = (
        f"If {lost} vanished now, you would get back **all data up to "
        f"{form.when_short(point.at, now)}** ({form.age(point.at, now)})"
    )
    if facts.recovery is not None:
        text += f", in **about {form.duration(_round(facts.recovery.seconds))}**"
    text += f". {_proof(ctx, facts, point)}"
    if posture.state is State.AT_RISK:
        text = f"{form.plain(form.with_times(posture.risks[0].text))} {text}"
    return text


def _proof(ctx: Context, facts: Facts, point: Snapshot) -> str:
    """Why the sentence before may be believed."""
    now, proof = ctx.now(), facts.last_proof
    if proof is not None:
        return f"Proven by a full test restore {form.age(proof.at, now)}."
    if point.read_back_at is not None:
        return f"That backup was read back in full {form.age(point.read_back_at, now)}."
    return "That backup has not been read back in full yet."


def _round(seconds: float) -> float:
    """To what "about" can mean: whole minutes above three, tens of seconds above half a one."""
    if seconds > 180:
        return round(seconds / 60) * 60
    return round(seconds / 10) * 10 if seconds > 30 else max(round(seconds), 1)


def show_figures(
    ctx: Context, facts: Facts, days: tuple[DayState, ...], open_alerts: tuple[Alert, ...]
) -> None:
    """The figures behind the sentence, each with what it means below."""
    now = ctx.now()
    newest, proof, recovery = facts.newest, facts.last_proof, facts.recovery
    covered, window = _coverage(days)
    with st.grid(5, min_column_width=150, gap="small"):
        _figure(
            "Newest backup",
            form.age(newest.at, now) if newest else "none",
            f"{form.when_short(newest.at, now)}, {_standing(newest)}"
            if newest
            else "make the first one",
            form.when(newest.at) if newest else "",
        )
        _figure(
            "Last proof",
            form.age(proof.at, now) if proof else "none yet",
            "a full test restore" if proof else "no backup was drilled",
            drill_panel.EXPLAINED + (f" {form.when(proof.at)}" if proof else ""),
        )
        _figure(
            "Recovery time",
            form.duration(recovery.seconds) if recovery else "not measured",
            f"the last {_MEASURED[recovery.how]}" if recovery else "a drill measures it",
            "How long it took to have everything back: measured by the last test restore, or by "
            "the last restore where that is newer."
            + (f" {form.when(recovery.at)}" if recovery else ""),
        )
        _figure(
            "Coverage",
            f"{covered} of {form.plural(window, 'day')}" if window else form.NONE,
            "with a backup" if window else "counting starts today",
            f"Of the last {COVERAGE_DAYS} finished days in which the desk was in use.",
        )
        firing = [alert for alert in open_alerts if alert.state is AlertState.FIRING]
        _figure(
            "Open alerts",
            form.number(len(firing)),
            _alerts_below(ctx, firing),
            "What people were told of and is not over. The Monitoring page has those of the past.",
        )


def _alerts_below(ctx: Context, firing: list[Alert]) -> str:
    if not ctx.settings.alert_addresses:
        return "nobody is told of them"
    taken = sum(alert.acknowledged_at is not None for alert in firing)
    if not firing:
        return "all is quiet"
    return f"{form.number(taken)} acknowledged" if taken else "nobody took them up yet"


_MEASURED = {"drill": "test restore", "restore": "restore"}


def _standing(newest: Snapshot) -> str:
    if newest.problem:
        return "damaged"
    if newest.verified_at:
        return "verified"
    return "read back" if newest.read_back_at else "not checked"


def _figure(label: str, value: str, below: str, explanation: str) -> None:
    with st.container(border=True, height="stretch", gap="xxsmall"):
        st.metric(label, value, help=explanation or None)
        st.caption(below)


def _coverage(days: tuple[DayState, ...]) -> tuple[int, int]:
    """Days with a backup, of the last days in use."""
    used = [day for day in days[-COVERAGE_DAYS:] if day.mark is not DayMark.BEFORE]
    return sum(bool(day.snapshots) for day in used), len(used)


def show_strip(ctx: Context, actor: Actor, days: tuple[DayState, ...]) -> None:
    """Ninety days at a glance; a tick opens its day."""
    with st.container(border=True, key="strip"):
        counted = [
            f":{MARK_COLOURS[mark]}[:material/{icon}:] {sum(d.mark is mark for d in days)} {word}"
            for mark, icon, word in (
                (DayMark.VERIFIED, "check_circle", "verified"),
                (DayMark.MADE, "circle", MARK_WORDS[DayMark.MADE]),
                (DayMark.FAILED, "cancel", "failed"),
                (DayMark.MISSING, "radio_button_unchecked", "missing"),
            )
            if any(d.mark is mark for d in days)
        ]
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(
                f"**Last {STRIP_DAYS} days**",
                width="content",
                help=f"One tick per day, as days are in {form.plain(form.zone_name())}. "
                "Verified: a backup of that day was restored aside as a test and was equal to "
                "what was backed up.",
            )
            st.caption(" · ".join(counted) or "Nothing to show yet", width="stretch")
            told = [day for day in reversed(days) if day.snapshots or day.errors]
            picked = None
            if told:
                picked = st.selectbox(
                    "Open a day",
                    [day.day.isoformat() for day in told],
                    index=None,
                    placeholder="Open a day",
                    format_func=lambda value: _day_label(value, days),
                    label_visibility="collapsed",
                    key="picked_day",
                    width=190,
                )
        chosen = charts.draw(
            charts.strip(days, palette()),
            "strip_chart",
            charts.strip_words(days),
            on_select="rerun",
            selection_mode="points",
        )
        points = chosen.selection.points if chosen else []
        wanted = points[0]["customdata"][0] if points else picked
        day = next((day for day in days if day.day.isoformat() == wanted), None)
        if day is not None:
            _show_day(ctx, actor, day)


def _day_label(value: str, days: tuple[DayState, ...]) -> str:
    day = next(day for day in days if day.day.isoformat() == value)
    return f"{day.day.day} {day.day:%b %Y}, {MARK_WORDS[day.mark]}"


def _show_day(ctx: Context, actor: Actor, day: DayState) -> None:
    with st.container(key="day", gap="xsmall"):
        st.markdown(f"**{day.day:%A} {day.day.day} {day.day:%B %Y}**: {MARK_WORDS[day.mark]}")
        for error in day.errors:
            st.markdown(f":red[:material/cancel:] {form.plain(error)}")
        if not day.snapshots and not day.errors:
            st.caption("No backup was tried on this day.")
        if not actor.may(Permission.BACKUP_VIEW):
            return
        with st.container(horizontal=True, gap="small"):
            for snapshot_id in day.snapshots:
                made = form.made_at(snapshot_id)
                if st.button(
                    f"Open {form.when_short(made, ctx.now()) if made else snapshot_id}",
                    icon=":material/arrow_forward:",
                    key=f"open_{snapshot_id}",
                ):
                    st.switch_page("pages/backups.py", query_params={"snapshot": snapshot_id})


def show_attention(
    ctx: Context, actor: Actor, posture: Posture, open_alerts: tuple[Alert, ...]
) -> None:
    """What needs somebody, since when, and one button each."""
    known = {alert.key: alert for alert in open_alerts}
    with st.container(border=True, height="stretch", key="attention"):
        st.markdown("**Needs attention**")
        if not posture.findings:
            st.markdown(":green[:material/check_circle:] Nothing. Everything runs as it should.")
        for number, finding in enumerate(posture.findings):
            rule = rule_of(finding)
            alert = known.get((rule.name, finding.subject)) if rule else None
            _show_finding(ctx, actor, finding, number, alert)
        _show_unpublished(ctx, actor)


def _show_unpublished(ctx: Context, actor: Actor) -> None:
    """What editors saved and the shop does not have yet: no fault, and easily forgotten."""
    if not actor.may(Permission.KB_VIEW):
        return
    try:
        found = status.status(ctx, actor)
    except DeskError:
        return  # a shop that can't be read has its own line above
    if found.release is None or not found.changed:
        return
    entries = form.plural(found.changed, "entry", "entries")
    with st.container(horizontal=True, vertical_alignment="center", key="unpublished"):
        with st.container(width="stretch"):
            st.markdown(
                f":gray[:material/publish:] {entries} of the knowledge base "
                f"{'is' if found.changed == 1 else 'are'} saved and not published."
            )
        if st.button("See releases", icon=":material/arrow_forward:", key="see_releases"):
            st.switch_page("pages/knowledge.py", query_params={"view": "releases"})


def _show_finding(
    ctx: Context, actor: Actor, finding: Finding, number: int, alert: Alert | None
) -> None:
    icon, colour = TONE_ICONS[finding.tone]
    since = f" Since {form.when_short(finding.since, ctx.now())}." if finding.since else ""
    taken = alert_respond.standing(ctx, alert) if alert else ""
    with st.container(horizontal=True, vertical_alignment="center", key=f"finding_{number}"):
        with st.container(width="stretch"):
            st.markdown(
                f":{colour}[:material/{icon}:] {form.plain(form.with_times(finding.text))}  \n"
                f":small[:gray[{form.plain(finding.hint)}{since}]]"
                + (f"  \n:small[:gray[{taken}]]" if taken else "")
            )
        with st.container(
            width="content", horizontal_alignment="right", gap="xxsmall", key=f"buttons_{number}"
        ):
            _action(ctx, actor, finding, number)
            if alert is not None and alert.state is AlertState.FIRING:
                alert_respond.respond(ctx, actor, alert)


def _action(ctx: Context, actor: Actor, finding: Finding, number: int) -> None:
    key = f"act_{number}"
    if finding.action is Action.BACK_UP:
        return  # its button stands at the top of this very page
    if finding.action is Action.DRILL:
        drill_panel.drill_button(ctx, actor, catalog.LATEST, key=key, label="Run a drill")
        return
    label, icon, page, permission = _DOORS[finding.action] if finding.action else _NOWHERE
    if page and actor.may(permission) and st.button(label, icon=icon, key=key):
        st.switch_page(page, query_params=_PLACES.get(finding.action) if finding.action else None)


_PLACES = {
    Action.SEE_DAMAGED: {"state": "damaged"},
    Action.SEE_RELEASES: {"view": "releases"},
}
"""Where on a page something is, in its address."""
_NOWHERE = ("", "", "", Permission.OVERVIEW_VIEW)
_DOORS = {
    Action.SEE_BACKUPS: (
        "See backups",
        ":material/backup:",
        "pages/backups.py",
        Permission.BACKUP_VIEW,
    ),
    Action.SEE_DAMAGED: (
        "See it",
        ":material/error:",
        "pages/backups.py",
        Permission.BACKUP_VIEW,
    ),
    Action.SEE_STORE: (
        "See the store",
        ":material/database:",
        "pages/store.py",
        Permission.BACKUP_VIEW,
    ),
    Action.SEE_COPY: (
        "See the copy",
        ":material/content_copy:",
        "pages/store.py",
        Permission.BACKUP_VIEW,
    ),
    Action.SEE_RELEASES: (
        "See releases",
        ":material/publish:",
        "pages/knowledge.py",
        Permission.KB_VIEW,
    ),
    Action.IMPORT_KB: (
        "Import it",
        ":material/upload_file:",
        "pages/knowledge.py",
        Permission.KB_EDIT,
    ),
    Action.SEE_DISKS: (
        "See disks",
        ":material/hard_drive:",
        "pages/monitoring.py",
        Permission.MONITORING_VIEW,
    ),
}


def show_news(ctx: Context, actor: Actor) -> None:
    """Who did what since this person was here before."""
    news = since_last_visit(ctx, actor)
    now = ctx.now()
    with st.container(border=True, height="stretch", gap="xsmall", key="news"):
        since = f", {form.when_short(news.since, now)}" if news.since else ""
        st.markdown(f"**Since your last visit{since}**")
        if not news.items:
            st.caption("Nothing was done since then.")
            return
        for item in news.items:
            mark = ":red[:material/cancel:] " if item.failed else ""
            who = f"{form.plain(item.who)} · {form.when_short(item.at, now)}"
            st.markdown(f"{mark}{form.plain(form.with_times(item.what))}  \n:small[:gray[{who}]]")
        if news.total > len(news.items):
            rest = form.plural(news.total - len(news.items), "more event")
            if actor.may(Permission.AUDIT_VIEW):
                if st.button(f"{rest} in the audit log", key="more_news", type="tertiary"):
                    st.switch_page("pages/audit.py")
            else:
                st.caption(f"and {rest}")


def main() -> None:
    """Show the page."""
    ctx, actor = open_page("Overview", Permission.OVERVIEW_VIEW)
    with shown_errors():
        monitor.sample_if_old(ctx, actor)
        facts, posture = monitor.look(ctx, actor)
        open_alerts = alerts.standing(ctx, actor)
        days = backup.days(ctx, actor, STRIP_DAYS, form.viewer_zone())
        show_state(ctx, actor, facts, posture)
        show_figures(ctx, facts, days, open_alerts)
        show_strip(ctx, actor, days)
        left, right = st.columns(2)
        with left:
            show_attention(ctx, actor, posture, open_alerts)
        with right:
            show_news(ctx, actor)


main()
