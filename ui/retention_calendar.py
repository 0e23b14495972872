"""Twelve months of backups as a calendar: one square a day, which opens that day.

A square says what it means by its shape and its words, not by its colour alone. The arrow
keys walk from day to day; a screen reader hears each day's sentence.
"""

from __future__ import annotations

import calendar as months_of
import enum
from collections.abc import Iterable
from datetime import UTC, date, timedelta, tzinfo
from itertools import groupby
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v1 import declare_component

from services.protection.model import DayMark
from services.protection.retention.calendar import Calendar, CalendarDay
from ui import format as form
from ui.theme import ACCENT_DARK, ACCENT_LIGHT, BLUE, DARK, ORANGE, SKY, VERMILION, palette

# Files of our own rather than a script in the page: the desk's content policy allows only those.
_days = declare_component("retention_days", path=str(Path(__file__).parent / "retention_days"))


class Look(enum.StrEnum):
    """What a square shows."""

    VERIFIED = "verified"
    KEPT = "kept"
    PINNED = "pinned"
    GOES = "goes"
    DAMAGED = "damaged"
    FAILED = "failed"
    MISSING = "missing"
    NOTHING = "nothing"


LEGEND: dict[Look, str] = {
    Look.VERIFIED: "verified by a drill",
    Look.KEPT: "not verified yet",
    Look.PINNED: "pinned",
    Look.GOES: "will go",
    Look.DAMAGED: "damaged",
    Look.FAILED: "failed",
    Look.MISSING: "no backup",
    Look.NOTHING: "nothing kept",
}
"""What each square means; only those that occur are told."""

_MOST_TOLD = 4


def look_of(day: CalendarDay, promised: date) -> Look:
    """The one thing that a day's square shows; what is there after the next run counts.

    Args:
        promised: since when the policy wants a backup of every day. Before it, an empty day
            is what retention leaves, and nothing to worry about.
    """
    if not day.decisions:
        if day.day < promised:
            return Look.NOTHING
        empty = {DayMark.FAILED: Look.FAILED, DayMark.MISSING: Look.MISSING}
        return empty.get(day.mark, Look.NOTHING)
    stays = [each.row for each in day.decisions if each.keep]
    if not stays:
        return Look.GOES
    if any(row.pin for row in stays):
        return Look.PINNED
    good = [row for row in stays if not row.verify_error]
    if not good:
        return Look.DAMAGED
    return Look.VERIFIED if any(row.verified_at for row in good) else Look.KEPT


def words_of(day: CalendarDay, zone: tzinfo = UTC) -> str:
    """A day in a sentence, for the tool tip and for a screen reader.

    Args:
        zone: whose clock tells the times.
    """
    named = f"{day.day:%A} {day.day.day} {day.day:%B %Y}"
    if not day.decisions:
        told = {
            DayMark.FAILED: f"backup failed: {'; '.join(day.errors)[:160]}",
            DayMark.MISSING: "no backup",
            DayMark.BEFORE: "not counted",
        }
        return f"{named}: {told.get(day.mark, 'no backup')}"
    facts = [form.plural(len(day.decisions), "backup")]
    for count, word in ((day.verified, "verified"), (day.damaged, "damaged")):
        if count:
            facts.append(word if count == len(day.decisions) == 1 else f"{count} {word}")
    lines = [
        f"{each.row.created_at.astimezone(zone):%H:%M} {'stays: ' if each.keep else ''}{each.words}"
        for each in reversed(day.decisions)
    ]
    more = len(lines) - _MOST_TOLD
    if more > 0:
        lines = [*lines[:_MOST_TOLD], f"and {more} more"]
    return "\n".join([f"{named}: {', '.join(facts)}", *lines])


def summary(calendar: Calendar, zone: tzinfo = UTC) -> str:
    """The calendar in a sentence.

    Args:
        zone: whose days they are.
    """
    decisions = calendar.plan.decisions
    days = {each.row.created_at.astimezone(zone).date() for each in decisions}
    return f"{form.plural(len(decisions), 'backup')} on {form.plural(len(days), 'day')}"


def show(calendar: Calendar, zone: tzinfo = UTC) -> None:
    """Draw it; the pressed day goes into the address as `day`.

    Args:
        zone: in which its days were counted.
    """
    today = calendar.plan.made_at.astimezone(zone).date()
    promised = today - timedelta(days=max(calendar.plan.policy.days - 1, 0))
    found = [(day, look_of(day, promised)) for day in calendar.days]
    shown = {look for _day, look in found}
    legend: list[dict[str, Any]] = [
        {"look": look, "words": words} for look, words in LEGEND.items() if look in shown
    ]
    if any(day.going and look is not Look.GOES for day, look in found):
        legend.append({"look": Look.KEPT, "words": "some of the day go", "some": True})
    dark = palette() is DARK
    _days(
        months=list(_months(found, zone)),
        looks=_looks(dark=dark),
        legend=legend,
        colours=_colours(dark=dark),
        dark=dark,
        chosen=st.query_params.get("day", ""),
        key="retention_days",
        default=None,
        on_change=_chosen,
    )


def _chosen() -> None:
    picked = st.session_state.get("retention_days")
    if isinstance(picked, dict) and isinstance(picked.get("day"), str):
        same = st.query_params.get("day") == picked["day"]
        if same:
            st.query_params.pop("day")
        else:
            st.query_params["day"] = picked["day"][:10]


def _months(found: Iterable[tuple[CalendarDay, Look]], zone: tzinfo) -> Iterable[dict[str, Any]]:
    def month(item: tuple[CalendarDay, Look]) -> tuple[int, int]:
        return item[0].day.year, item[0].day.month

    before = True
    for (year, number), group in groupby(found, month):
        days = list(group)
        before = before and all(look is Look.NOTHING for _day, look in days)
        yield {
            "before": before,
            "name": f"{months_of.month_abbr[number]} {year}",
            "column": date(year, number, 1).weekday() + 1,
            "days": [
                {
                    "day": day.day.isoformat(),
                    "look": look,
                    "words": words_of(day, zone),
                    "some": bool(day.going) and look is not Look.GOES,
                }
                for day, look in days
            ],
        }


def _colours(*, dark: bool) -> dict[str, str]:
    colours = palette()
    return {
        "text": colours.text,
        "muted": colours.muted,
        "line": colours.none,
        "surface": colours.surface,
        "accent": ACCENT_DARK if dark else ACCENT_LIGHT,
        "go": ORANGE,
    }


def _looks(*, dark: bool) -> dict[str, dict[str, Any]]:
    """Fill, ink and shape of each square."""
    colours = palette()
    faint = colours.none

    def look(fill: str, ink: str = "", shape: str = "", border: str = "", edge: str = "") -> Any:
        return {"fill": fill, "ink": ink, "shape": shape, "border": border, "edge": edge}

    white, night = "#FFFFFF", "#0F1417"
    pinned, warm = (SKY, "#3A2C0B") if dark else (BLUE, "#FDF3DC")
    return {
        Look.VERIFIED: look(ACCENT_DARK, night, "check")
        if dark
        else look(ACCENT_LIGHT, white, "check"),
        Look.KEPT: look("#2F6F69" if dark else "#9CD0CA"),
        Look.PINNED: look(pinned, night if dark else white, "pin"),
        Look.GOES: look(warm, ORANGE if dark else "#8A5A00", "minus", "outlined", ORANGE),
        Look.DAMAGED: look(VERMILION, white, "alert"),
        Look.FAILED: look("transparent", colours.bad, "cross", "outlined", colours.bad),
        Look.MISSING: look("transparent", "", "", "dashed", colours.muted),
        Look.NOTHING: look(faint) | {"quiet": True, "fill": f"{faint}66"},
    }
