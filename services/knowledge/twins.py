"""Keys that are like each other: a new one must differ from its neighbours by more than looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from db.knowledge import entries as table
from db.knowledge import kept_skeleton
from services.knowledge.validation import key_problem, skeleton

_AT_ONCE = 500


class Twins:
    """Keys of some sections that are like one that a save brings, as the save goes on.

    By skeleton, so that v_neck is seen to be v-neck; only those, for a section may have a
    hundred thousand.
    """

    def __init__(self, connection: Connection, wanted: Mapping[str, Iterable[str]]) -> None:
        """Read those of the wanted keys of each section."""
        self._taken: dict[str, defaultdict[str, set[str]]] = {}
        for section, keys in wanted.items():
            self._taken[section] = defaultdict(set)
            sound = sorted({kept_skeleton(key) for key in keys if not key_problem(None, key)})
            inside = select(table.c.key).where(table.c.section == section)
            for start in range(0, len(sound), _AT_ONCE):
                alike = inside.where(table.c.skeleton.in_(sound[start : start + _AT_ONCE]))
                for key in connection.scalars(alike):
                    self.take(section, key)

    def take(self, section: str, key: str) -> None:
        """This key stands there from now on."""
        self._taken[section][skeleton(key)].add(key)

    def free(self, section: str, key: str) -> None:
        """This key is given up; a section of which nothing is wanted does not mind."""
        if section in self._taken:
            self._taken[section][skeleton(key)].discard(key)

    def has(self, section: str, key: str) -> bool:
        """Whether exactly this key stands there."""
        return key in self._taken[section][skeleton(key)]

    def problem(self, section: str, key: str) -> str:
        """Why another key of the section stands in the way of this one; empty if none does."""
        others = self._taken[section][skeleton(key)]
        if not others:
            return ""
        if key in others:
            return f"There is already an entry {key} in this section. Edit that one instead."
        return (
            f"{key} differs from {min(others)}, which is already there, only by case, accents or "
            "how words are joined. Edit that one, or choose another key."
        )
