"""The vectors of the live shop: copied, sent as the exact folder, then read out as tables."""

from __future__ import annotations

import subprocess
from pathlib import Path

from services.protection import matching
from services.protection.making.draft import Draft
from services.protection.making.parts import send_vector_folder, send_vector_tables
from services.protection.making.sharing import Sharing
from services.protection.model import Part
from services.protection.sources import chroma
from services.protection.tar import TarReader
from services.protection.unchanged import is_stored


class Vectors:
    """The vectors of one snapshot while it is made.

    Args:
        live: the shop's Chroma folder; only read.
        folder: for copies.
    """

    def __init__(self, draft: Draft, sharing: Sharing, live: Path, folder: Path) -> None:
        self.ids: tuple[str, ...] | None = None  # of the shop's products
        self._draft, self._sharing = draft, sharing
        self._live, self._folder = live, folder
        self._export: tuple[subprocess.Popen[bytes], Path] | None = None

    def capture(self) -> None:
        """Copy and send them, unless the snapshot before has just these; begin to read them out."""
        copy = chroma.capture(self._live, self._folder / "vectors")
        if copy is None:
            self._draft.notes.append(f"Vectors: there is no Chroma folder at {self._live}.")
            return
        self._draft.notes += copy.notes
        self.ids = matching.vector_ids(copy.folder)
        if self._share(copy):
            return
        send_vector_folder(self._draft.sender, copy.members)
        # The exact copy is in the store; only now may our chromadb open (and change) it.
        into = self._folder / "tables"
        self._export = chroma.start_export(copy.folder, into), into

    def send_tables(self) -> None:
        """Wait for what was read out, and send it."""
        if self._export is None:
            return
        exported = chroma.end_export(*self._export)
        if exported is None:
            self._draft.notes.append(
                "Vectors: the portable table could not be made; the exact folder is complete."
            )
            return
        self._draft.read_out(exported)
        send_vector_tables(self._draft.sender, exported.files.values())

    def stop(self) -> None:
        """Leave no process behind."""
        if self._export is None:
            return
        child, _into = self._export
        if child.poll() is None:
            child.kill()
        child.wait()

    def _share(self, copy: chroma.VectorCopy) -> bool:
        """Point to the vectors of the earlier snapshot, where these are the same."""
        earlier = self._sharing.earlier
        stored = earlier.of(Part.VECTORS) if earlier else None
        if earlier is None or stored is None or not is_stored(TarReader(copy.members), stored):
            return False
        if not self._sharing.whole(Part.VECTORS):
            return False
        self._draft.sender.share(earlier.all_of(Part.VECTORS))
        found = earlier.manifest
        self._draft.collections, self._draft.neighbours = found.collections, found.neighbours
        self._draft.tools |= {key: found.tools[key] for key in ("chromadb",) if key in found.tools}
        return True
