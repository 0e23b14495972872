"""What a place for a database can do in a recovery, whatever engine it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sqlalchemy import Engine


class Plane(Protocol):
    """A place for a database, and the database that is built beside it."""

    @property
    def where(self) -> str:
        """For a person; never a secret."""

    def require_free(self) -> str:
        """See that nothing is there that anybody could miss.

        Returns:
            What is there all the same and will be set aside, for a person; mostly empty.

        Raises:
            Conflict: something is there; names it and says what to do.
        """

    def wants(self) -> list[tuple[Path, int]]:
        """Bytes that it needs on disks of this machine, by folder."""

    def stage(self) -> str:
        """Fetch, build and check it beside its place; what an earlier attempt left counts.

        Returns:
            What was proven, for a person.

        Raises:
            Broken: it is not what was backed up.
        """

    def staged_engine(self) -> Engine:
        """The staged database, to be read; the caller disposes of it."""

    def clear(self) -> None:
        """Remove what was staged."""

    def place(self) -> None:
        """Make what was staged live. May be repeated after a kill."""

    def check(self) -> str:
        """Open what stands in its place now, as its users will.

        Returns:
            What was found, for a person.

        Raises:
            Broken: something is missing.
        """
