"""Put the rows of a section into an order while as few as possible are moved. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Placed:
    """A row and the place it has now; None where it has none that it could keep."""

    entry_id: int
    now: int | None = None
    wish: int | None = None  # the place it gets, where that is free


@dataclass(frozen=True)
class NewPlaces:
    """What it takes to have that order."""

    placed: dict[int, int]  # rows that are moved, or come
    shifted: list[tuple[int, int]]  # rows that only make room


def placed_like(wanted: Sequence[Placed]) -> NewPlaces:
    """New places for rows that shall stand in this order, all rows of the section.

    The most of them that stand in this order already stay, or make room.
    """
    staying = _longest_rising([(index, one.now) for index, one in enumerate(wanted)])
    following: list[int | None] = []  # where the next one stands that stays
    ahead: int | None = None
    for index in reversed(range(len(wanted))):
        following.append(ahead)
        if index in staying:
            ahead = wanted[index].now
    following.reverse()
    placed: dict[int, int] = {}
    shifted: list[tuple[int, int]] = []
    last = -1
    for index, one in enumerate(wanted):
        after = following[index]
        if index not in staying:
            free = one.wish is not None and (after is None or one.wish < after)
            last = max(last + 1, one.wish) if free and one.wish is not None else last + 1
            placed[one.entry_id] = last
            continue
        now = one.now or 0
        last = max(now, last + 1)
        if last != now:
            shifted.append((one.entry_id, last))
    return NewPlaces(placed, shifted)


def _longest_rising(rows: Sequence[tuple[int, int | None]]) -> set[int]:
    """Indices of a longest subsequence whose places rise."""
    tails: list[int] = []  # smallest last place of a rising subsequence of each length
    ends: list[int] = []  # and the index it belongs to
    before: dict[int, int | None] = {}
    for index, place in rows:
        if place is None:
            continue
        length = bisect_left(tails, place)
        before[index] = ends[length - 1] if length else None
        tails[length : length + 1] = [place]
        ends[length : length + 1] = [index]
    found: set[int] = set()
    at: int | None = ends[-1] if ends else None
    while at is not None:
        found.add(at)
        at = before[at]
    return found
