"""Entries that make room for others: what the history keeps of it, and how it is taken back.

A place in a section is a number. Where an entry is put between two others, or one is moved,
many others get other numbers while their order stays. The history says that in one line, a
slide: "what stood at 3 to 89 moved on by one". Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Slide:
    """Everything that stood at some places of a section moved on; a row of `kb_slides`."""

    section: str
    first: int
    last: int
    by: int

    def back(self) -> Slide:
        """The slide that takes this one back."""
        return Slide(self.section, self.first + self.by, self.last + self.by, -self.by)

    def after(self, position: int) -> int:
        """Where what stood there stands then.

        A place that was free, or whose entry went at the same time, stays between the same
        two neighbours; where none is left between them, it is the upper one's.
        """
        if self.first <= position <= self.last:
            return position + self.by
        if self.last < position <= self.last + self.by:
            return self.last + self.by + 1
        if self.first + self.by <= position < self.first:
            return self.first + self.by
        return position


def slid(slides: Iterable[Slide], section: str, position: int) -> int:
    """Where what stood there stands after all of these, one after the other."""
    for one in slides:
        if one.section == section:
            position = one.after(position)
    return position


def taken_back(slides: Sequence[Slide]) -> list[Slide]:
    """What takes these back, in the order in which it must happen."""
    return [one.back() for one in reversed(slides)]


def without_detours(slides: Iterable[Slide]) -> list[Slide]:
    """The same without those that were taken back again, one after the other."""
    left: dict[str, list[Slide]] = {}
    for one in slides:
        mine = left.setdefault(one.section, [])
        if mine and mine[-1] == one.back():
            mine.pop()
        else:
            mine.append(one)
    return [one for mine in left.values() for one in mine]


def slides_of(section: str, steps: Sequence[tuple[int, int]]) -> list[Slide] | None:
    """The slides that do exactly these steps, and can be taken back without a doubt.

    Args:
        steps: old and new place of every row of the section that keeps its place among the
            others, in their order; rows that stay where they are among them.

    Returns:
        None where their order would not stay: two have the same place, or one overtakes.
    """
    for (old, new), (next_old, next_new) in pairwise(steps):
        if old >= next_old or new >= next_new:
            return None
    found: list[Slide] = []
    last_by = 0
    for old, new in steps:
        by = new - old
        if by and by == last_by:
            found[-1] = Slide(section, found[-1].first, old, by)
        elif by:
            found.append(Slide(section, old, old, by))
        last_by = by
    # In this order none ever lands where another still stands.
    down = [one for one in found if one.by < 0]
    return down + [one for one in reversed(found) if one.by > 0]
