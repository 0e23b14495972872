"""Now, or at a time: a moment in the zone of whoever looks, also where clocks are changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo

import streamlit as st

from services.core.context import Context
from ui import format as form

NOW, LATER = "Now", "At a time"

_FARTHEST = timedelta(days=366)
_MORNING = time(6, 0)


def moments(day: date, clock: time, zone: tzinfo) -> tuple[datetime, ...]:
    """The moments that a local time names: none where clocks skip it, two where it comes twice.

    Args:
        zone: whose time it is.
    """
    wanted = datetime.combine(day, clock)
    found: list[datetime] = []
    for fold in (0, 1):
        at = wanted.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if at.astimezone(zone).replace(tzinfo=None, fold=0) == wanted and at not in found:
            found.append(at)
    return tuple(found)


def choose_when(ctx: Context, key: str) -> tuple[bool, datetime | None]:
    """Let a person choose; gives whether it is to be later, and the moment if that is sound."""
    chosen = st.segmented_control("When", [NOW, LATER], default=NOW, required=True, key=key)
    if chosen != LATER:
        return False, None
    zone, now = form.viewer_zone(), ctx.now()
    today = now.astimezone(zone).date()
    day_column, time_column = st.columns(2, gap="small")
    with day_column:
        day = st.date_input(
            "Day",
            value=today + timedelta(days=1),
            min_value=today,
            max_value=today + _FARTHEST,
            format="YYYY-MM-DD",
            key=f"{key}_day",
        )
    with time_column:
        clock = st.time_input("Time", value=_MORNING, step=300, key=f"{key}_time")
    if not isinstance(day, date) or clock is None:
        return True, None
    return True, _moment(day, clock, zone, now, key)


def _moment(day: date, clock: time, zone: tzinfo, now: datetime, key: str) -> datetime | None:
    found = moments(day, clock, zone)
    if not found:
        st.warning(
            "Choose another time.",
            title=f"{clock:%H:%M} does not come on {day.day} {day:%b %Y}: clocks skip it",
            icon=":material/schedule:",
        )
        return None
    at = found[0]
    if len(found) > 1:
        at = st.radio(
            f"{clock:%H:%M} comes twice on that day",
            found,
            format_func=lambda one: form.when(one, zone),
            horizontal=True,
            key=f"{key}_which",
        )
    if at <= now:
        st.warning("Choose a later one.", title="That time has passed", icon=":material/schedule:")
        return None
    place = form.plain(form.zone_name(zone))
    st.caption(f"{form.when(at, zone)}, {form.age(at, now)}. Times are in {place}.")
    return at
