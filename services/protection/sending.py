"""Send what was captured: components of one snapshot, and the pictures that all share."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from services.core.errors import Broken, DeskError
from services.protection.codec import PackingReader
from services.protection.manifest import data_key, image_key, manifest_key
from services.protection.model import Component, Part
from services.protection.reading import read_back
from services.protection.sources import images
from services.protection.stores.base import Readable, Store

log = logging.getLogger("desk.snapshots")

_PICTURES_AT_ONCE = 4
_PICTURE_TRIES = 3


class Sender:
    """Stores the objects of one snapshot, and can take them back."""

    def __init__(
        self, store: Store, instance: str, snapshot_id: str, say: Callable[[str], None]
    ) -> None:
        self.store = store
        self.instance = instance
        self.snapshot_id = snapshot_id
        self.components: list[Component] = []
        self._say = say
        self._sent: list[str] = []

    def send(
        self,
        name: str,
        part: Part,
        source: Readable,
        open_with: str,
        *,
        compress: bool,
        on_plain: Callable[[int], None] = lambda _count: None,
    ) -> Component:
        """Pack and store one component.

        Args:
            open_with: how to open it without this program.
            on_plain: called with the plain bytes read so far.
        """
        key = data_key(self.instance, self.snapshot_id, name)
        reader = PackingReader(source, compress=compress, on_plain=on_plain)
        self._sent.append(key)
        self.store.put(key, reader)
        component = Component(
            name=name,
            part=part,
            key=key,
            plain_bytes=reader.plain_bytes,
            plain_sha256=reader.plain_sha256,
            stored_bytes=reader.stored_bytes,
            stored_sha256=reader.stored_sha256,
            compression="zstd" if compress else "none",
            encryption="none",
            open_with=open_with,
        )
        self.components.append(component)
        self._say(f"{name}: {component.plain_bytes:,} bytes, {component.stored_bytes:,} stored")
        return component

    def send_manifest(self, data: bytes) -> None:
        """Store the manifest, which makes the snapshot exist, and read it back."""
        key = manifest_key(self.instance, self.snapshot_id)
        self._sent.append(key)
        self.store.put(key, io.BytesIO(data))
        with self.store.open(key) as stream:
            if stream.read(len(data) + 1) != data:
                raise Broken("The store did not give back the manifest that was sent.")

    def read_back(self, moved: Callable[[float], None]) -> None:
        """Read every component in full and compare it with what was sent.

        Args:
            moved: called with the share that is done, 0 to 1.

        Raises:
            Broken: names the object that came back different.
        """
        total = sum(component.stored_bytes for component in self.components) or 1
        before = 0
        for component in self.components:

            def seen(count: int, before: int = before) -> None:
                moved((before + count) / total)

            read_back(self.store, component, seen)
            before += component.stored_bytes

    def take_back(self) -> bool:
        """Remove what was sent, the manifest first.

        Returns:
            Whether nothing is left.
        """
        left = len(self._sent)
        for key in reversed(self._sent):
            try:
                self.store.delete(key)
                left -= 1
            except (DeskError, OSError) as error:
                log.warning("could not remove %s after a failed backup: %s", key, error)
                if key == manifest_key(self.instance, self.snapshot_id):
                    break  # what it lists must not go while it stays
        return not left


@dataclass(frozen=True)
class SentPictures:
    """The pictures of a snapshot, all of them in the store."""

    pictures: tuple[images.Picture, ...]
    new: int
    notes: tuple[str, ...]


def send_pictures(
    sender: Sender, folder: Path, found: images.PictureFolder, moved: Callable[[float], None]
) -> SentPictures:
    """Send the pictures that are not in the store, and read those back.

    Args:
        moved: called with the share that is done, 0 to 1.
    """
    store, prefix = sender.store, image_key(sender.instance, "")
    there = {item.key.removeprefix(prefix): item.size for item in store.list(prefix)}
    missing = [
        picture for digest, picture in found.by_content.items() if there.get(digest) != picture.size
    ]
    sent: dict[str, images.Picture | None] = {}
    if missing:
        with ThreadPoolExecutor(_PICTURES_AT_ONCE) as pool:
            results = pool.map(
                lambda picture: _send_picture(store, sender.instance, folder, picture), missing
            )
            try:
                for picture, now in zip(missing, results, strict=True):
                    sent[picture.name] = now
                    moved(len(sent) / len(missing))
            finally:
                pool.shutdown(cancel_futures=True)
    pictures = (sent.get(picture.name, picture) for picture in found.pictures)
    return SentPictures(
        tuple(picture for picture in pictures if picture is not None),
        len(missing),
        tuple(
            f"Images: {name!r} was removed while it was read."
            for name, now in sent.items()
            if now is None
        ),
    )


def _send_picture(
    store: Store, instance: str, folder: Path, picture: images.Picture
) -> images.Picture | None:
    now: images.Picture | None = picture
    for _ in range(_PICTURE_TRIES):
        if now is None:
            return None
        key = image_key(instance, now.sha256)
        try:
            with open(now.path, "rb", buffering=0) as file:
                reader = PackingReader(file, compress=False)
                store.put(key, reader)
        except FileNotFoundError:
            return None
        if reader.plain_sha256 == now.sha256:
            read_back(store, _as_component(key, now))
            return now
        # It changed between the two readings: what lies there does not fit its name.
        store.delete(key)
        now = images.read(folder, now.path)
    raise Broken(
        f"The picture {picture.name!r} kept changing while it was read.",
        "Try again when the shop has finished writing it.",
    )


def _as_component(key: str, picture: images.Picture) -> Component:
    return Component(
        name=f"picture {picture.sha256}",
        part=Part.IMAGES,
        key=key,
        plain_bytes=picture.size,
        plain_sha256=picture.sha256,
        stored_bytes=picture.size,
        stored_sha256=picture.sha256,
        compression="none",
        encryption="none",
        open_with="any picture viewer",
    )
