"""What the tests of the codec pack, unpack and read from."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pyrage

from services.protection.codec import PackingReader, unpack
from services.protection.model import Component, Part


class Dribble:
    """Gives what it has in pieces of its own liking, as a pipe does."""

    def __init__(self, data: bytes, seed: int = 0) -> None:
        self.left = data
        self.random = random.Random(seed)

    def read(self, size: int = -1, /) -> bytes:
        count = self.random.randint(1, 70_000)
        if size >= 0:
            count = min(count, size)
        piece, self.left = self.left[:count], self.left[count:]
        return piece


IDENTITY = pyrage.x25519.Identity.generate()


RECIPIENTS = (str(IDENTITY.to_public()), str(pyrage.x25519.Identity.generate().to_public()))


def component_of(reader: PackingReader, compression: str, encryption: str = "none") -> Component:
    return Component(
        name="database.sqlite3.zst",
        part=Part.DATABASE,
        key="data/default/x/database.sqlite3.zst",
        plain_bytes=reader.plain_bytes,
        plain_sha256=reader.plain_sha256,
        stored_bytes=reader.stored_bytes,
        stored_sha256=reader.stored_sha256,
        compression=compression,
        encryption=encryption,
        open_with="zstd -d",
    )


def pack(
    data: bytes, *, compress: bool = True, recipients: tuple[str, ...] = ()
) -> tuple[Component, bytes]:
    reader = PackingReader(io.BytesIO(data), compress=compress, recipients=recipients)
    stored = reader.read()
    encryption = "age" if recipients else "none"
    return component_of(reader, "zstd" if compress else "none", encryption), stored


def unpacked(component: Component, stored: bytes, identity_file: Path | None = None) -> bytes:
    target = io.BytesIO()
    unpack(component, io.BytesIO(stored), target, identity_file=identity_file)
    return target.getvalue()
