"""Why a file can't be read as a knowledge base, and the places in it that are to blame."""

from __future__ import annotations

from services.core.errors import Invalid
from services.knowledge.sections import pointer

Place = tuple[str, ...]

_MAX_SHOWN = 120


class NotImportable(Invalid):
    """The file can't be read as a knowledge base; nothing was changed.

    `places` lists every place found: (line or pointer, what is wrong there).
    """

    def __init__(
        self, message: str, hint: str = "", places: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(f"{message} Nothing was imported.", hint)
        self.places = places


def place(path: Place) -> str:
    """A path as a person reads it in a message: a pointer, shortened, printable."""
    where = "".join(c if c.isprintable() else "\ufffd" for c in pointer(path))
    if len(where) > _MAX_SHOWN:
        where = where[:_MAX_SHOWN] + "…"
    return where or "The knowledge base"
