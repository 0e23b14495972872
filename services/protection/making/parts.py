"""The parts of a snapshot that have the same form wherever they come from."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from services.protection.model import Part
from services.protection.sending import Sender
from services.protection.tar import TarReader

KB_TABLES = frozenset({"kb_entries", "kb_change_sets"})
"""A database with these holds a knowledge base."""
_FOLDER = "vectors.tar.zst"


def send_knowledge(sender: Sender, document: bytes) -> None:
    """The knowledge base, readable and small, so that it can be put back alone."""
    sender.send(
        "knowledge.json", Part.KNOWLEDGE, io.BytesIO(document), "any JSON reader", compress=False
    )


def send_vector_folder(sender: Sender, members: Sequence[tuple[str, Path]]) -> None:
    """The exact folder of the vectors, which is what a restore puts back."""
    sender.send(
        _FOLDER, Part.VECTORS, TarReader(members), f"zstd -dc {_FOLDER} | tar -x", compress=True
    )


def send_vector_tables(sender: Sender, files: Iterable[Path]) -> None:
    """The same vectors as tables that any Parquet reader opens."""
    for path in files:
        with open(path, "rb", buffering=0) as file:
            sender.send(path.name, Part.VECTORS, file, "any Parquet reader", compress=False)
