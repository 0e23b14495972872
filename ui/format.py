"""How the pages write times, sizes and numbers. Pure, apart from asking for the viewer's zone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

NONE = "–"
"""Stands where there is no value."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|$:~^=&@])")
_ADDRESS = re.compile(r"https?(?=://)|www(?=\.)|\w(?=@)", re.IGNORECASE)
_SNAPSHOT_ID = re.compile(r"\b(\d{8}T\d{6})Z-[0-9a-z]+\b")
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def viewer_zone() -> tzinfo:
    """The zone of whoever looks, as their browser says; UTC where it does not say."""
    name = st.context.timezone
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def when(at: datetime, zone: tzinfo | None = None) -> str:
    """An exact local time with its zone: `22 Nov 2026, 02:00 CET`.

    Args:
        at: an aware time.
        zone: the viewer's when not given.
    """
    local = at.astimezone(zone or viewer_zone())
    return f"{local.day} {local:%b %Y, %H:%M %Z}"


def day(at: datetime, zone: tzinfo | None = None) -> str:
    """The viewer's day of a time: `22 Nov 2026`."""
    local = at.astimezone(zone or viewer_zone())
    return f"{local.day} {local:%b %Y}"


def when_short(at: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """A local time as people say it: `today 02:00`, `yesterday 18:10`, `20 Nov 02:00`.

    The year is told where it is another one.
    """
    zone = zone or viewer_zone()
    local, today = at.astimezone(zone), now.astimezone(zone).date()
    if local.date() == today:
        day = "today"
    elif local.date() == today - timedelta(days=1):
        day = "yesterday"
    elif local.year == today.year:
        day = f"{local.day} {local:%b}"
    else:
        day = f"{local.day} {local:%b %Y}"
    return f"{day} {local:%H:%M}"


def age(at: datetime | None, now: datetime) -> str:
    """How long ago: `just now`, `9 h ago`, `3 days ago`; `never` for None."""
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    if seconds < 0:
        return "just now" if seconds > -60 else f"in {_span(-seconds)}"
    return "just now" if seconds < 60 else f"{_span(seconds)} ago"


def zone_name(zone: tzinfo | None = None) -> str:
    """What a zone is called: `Europe/Berlin`.

    Args:
        zone: the viewer's when not given.
    """
    return str(zone or viewer_zone())


def _span(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h"
    days = minutes // (24 * 60)
    if days < 60:
        return f"{days} days"
    if days < 730:
        return f"{days // 30} months"
    return f"{days // 365} years"


def size(count: float | None) -> str:
    """Bytes in the unit that reads best: `512 MB`, `1.4 GB`; decimal units, as disks are sold."""
    if count is None:
        return NONE
    value = float(count)
    if abs(value) < 1000:
        return plural(round(value), "byte")
    power = 0
    while abs(value) >= 1000 and power < len(_UNITS) - 1:
        value /= 1000
        power += 1
    # 999.7 kB would round to 1000 kB
    if round(abs(value)) >= 1000 and power < len(_UNITS) - 1:
        value, power = value / 1000, power + 1
    text = f"{value:.1f}".removesuffix(".0") if abs(value) < 10 else f"{value:.0f}"
    return f"{text} {_UNITS[power]}"


def duration(seconds: float | None) -> str:
    """A time span: `0.4 s`, `48 s`, `3 min 48 s`, `2 h 5 min`."""
    if seconds is None:
        return NONE
    if seconds < 10:
        return f"{max(seconds, 0):.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def number(value: float | None) -> str:
    """A count as English writes it: `18,204`."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def plural(count: int, noun: str, many: str = "") -> str:
    """A count with its noun: `1 order`, `1,204 orders`.

    Args:
        noun: for one.
        many: for any other count; `noun` with an s when not given.
    """
    return f"{number(count)} {noun if count == 1 else many or noun + 's'}"


def listing(words: Sequence[str]) -> str:
    """Several things in a sentence: `encrypted, signed and in two copies`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def with_times(text: str, zone: tzinfo | None = None) -> str:
    """A sentence with each backup's id told as its time, which is what people know it by.

    `from 20261122T010010Z-mi8k` becomes `from the backup of 22 Nov 2026, 02:00 CET`.
    """

    def told(found: re.Match[str]) -> str:
        at = made_at(found[0])
        return found[0] if at is None else f"the backup of {when(at, zone)}"

    return _SNAPSHOT_ID.sub(told, text)


def made_at(snapshot_id: str) -> datetime | None:
    """The time in a backup's id; None where it holds none."""
    try:
        return datetime.strptime(snapshot_id.partition("Z-")[0], "%Y%m%dT%H%M%S").replace(
            tzinfo=UTC
        )
    except ValueError:
        return None


def plain(text: str) -> str:
    """Text from data, made safe to stand in Markdown: shown as it is, nothing is fetched.

    Streamlit renders labels, captions and messages as Markdown, where an image in a product
    name would call a foreign server from the administrator's browser. It also makes links of
    addresses, escaped or not; an invisible word joiner keeps them text.
    """
    told = _ADDRESS.sub("\\g<0>\u2060", " ".join(text.split()))
    return _MARKDOWN.sub(r"\\\1", told)
