"""What the snapshot before has that a new one may point to, read in full before it does."""

from __future__ import annotations

from services.core.context import Context
from services.core.errors import Broken
from services.protection.index import catalog
from services.protection.making.draft import Draft
from services.protection.model import Part
from services.protection.reading import read_back
from services.protection.stores.base import Store
from services.protection.unchanged import Earlier, earlier


class Sharing:
    """The earlier snapshot; none as soon as anything of it is found damaged."""

    def __init__(self, ctx: Context, store: Store, draft: Draft) -> None:
        self.earlier: Earlier | None = earlier(ctx, store)
        self._ctx, self._store, self._draft = ctx, store, draft

    def whole(self, *parts: Part) -> bool:
        """Read what is to be shared; where it is not as it was sent, nothing is shared."""
        if self.earlier is None:
            return False
        try:
            for component in (each for part in parts for each in self.earlier.all_of(part)):
                read_back(self._store, component)
        except Broken as error:
            catalog.record_verification(self._ctx, self.earlier.manifest.id, error.message)
            self._draft.notes.append(f"The backup before this one is damaged: {error.message}")
            self.earlier = None
        return self.earlier is not None
