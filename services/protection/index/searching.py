"""What people type to find a snapshot: a day, a month, a year, or part of a word."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_

from db.control import snapshots
from services.core.errors import Invalid

_MONTHS = tuple(name.lower() for name in calendar.month_name[1:])
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"{_YEAR}",
        rf"{_YEAR}[-/.](?P<month>\d\d?)",
        rf"{_YEAR}[-/.](?P<month>\d\d?)[-/.](?P<day>\d\d?)",
        rf"{_YEAR}(?P<month>\d\d)(?P<day>\d\d)",
        rf"(?P<day>\d\d?)\.\s?(?P<month>\d\d?)\.\s?{_YEAR}",
        rf"(?P<name>[a-z]{{3,9}})\.?,?\s+{_YEAR}",
        rf"(?:[a-z]{{3,9}},?\s+)?(?P<day>\d\d?)\.?\s+(?P<name>[a-z]{{3,9}})\.?,?\s+{_YEAR}",
        rf"(?P<name>[a-z]{{3,9}})\.?\s+(?P<day>\d\d?),?\s+{_YEAR}",
    )
)


def period_of(text: str, zone: tzinfo = UTC) -> tuple[datetime, datetime] | None:
    """The year, month or day that a text names, as (from, until); None where it names none.

    `2026`, `2026-03`, `2026-03-14`, `20260314`, `14.3.2026`, `March 2026`, `14 March 2026`,
    `14 Mar 2026`, `Saturday 14 March 2026`, `March 14, 2026`.

    Args:
        zone: whose days are meant.
    """
    for form in _FORMS:
        found = form.fullmatch(text.strip())
        if found is None:
            continue
        named = found.groupdict()
        month = _month(named)
        if month is None:
            continue
        try:
            begin = datetime(
                int(named["year"]), month or 1, int(named.get("day") or 1), tzinfo=zone
            )
        except ValueError:
            continue
        if named.get("day"):
            end = begin + timedelta(days=1)
        elif month:
            end = (begin + timedelta(days=32)).replace(day=1)
        else:
            end = begin.replace(year=begin.year + 1)
        return begin.astimezone(UTC), end.astimezone(UTC)
    return None


def _month(named: dict[str, Any]) -> int | None:
    """1 to 12, 0 where a year alone is named, None for a word that is no month."""
    word = named.get("name")
    if word is None:
        return int(named.get("month") or 0)
    begins = [number for number, name in enumerate(_MONTHS, 1) if name.startswith(word.lower())]
    return begins[0] if len(begins) == 1 else None


def matches(text: str, zone: tzinfo = UTC) -> ColumnElement[bool]:
    """The condition of a search: made in the period that the text names, or it stands in the
    id, the reason or the name of whoever asked."""
    columns = (snapshots.c.id, snapshots.c.reason, snapshots.c.asked_by)
    found: list[ColumnElement[bool]] = [
        column.icontains(text, autoescape=True) for column in columns
    ]
    period = period_of(text, zone)
    if period is not None:
        made = snapshots.c.created_at
        found.append(and_(made >= period[0], made < period[1]))
    return or_(*found)


def filtered(query: Select[Any], search: str, state: str, zone: tzinfo) -> Select[Any]:
    """A query of snapshots, of which only some are wanted.

    Args:
        search: a day, a month or a year as people write it, or part of a word.
        state: what a snapshot has shown of itself; nothing for any.

    Raises:
        Invalid: there is no such state.
    """
    if search:
        query = query.where(matches(search, zone))
    if state:
        try:
            return query.where(*_STATES[state])
        except KeyError:
            raise Invalid(f"{state[:40]!r} is no state of a snapshot.") from None
    return query


_WHOLE = snapshots.c.verify_error.is_(None)
_PROVEN, _READ = snapshots.c.verified_at.is_not(None), snapshots.c.read_back_at.is_not(None)
_STATES = {
    "verified": (_WHOLE, _PROVEN),
    "read back": (_WHOLE, ~_PROVEN, _READ),
    "unchecked": (_WHOLE, ~_PROVEN, ~_READ),
    "damaged": (~_WHOLE,),
    "trusted": (_WHOLE, or_(_PROVEN, _READ)),
}
"""What a snapshot has shown of itself: of each word, the condition."""
