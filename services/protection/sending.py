"""Send what was captured: the components of one snapshot."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Sequence

from services.core.errors import Broken, DeskError
from services.protection.codec import PackingReader
from services.protection.manifest import data_key, manifest_key
from services.protection.model import Component, Part
from services.protection.reading import read_back
from services.protection.stores.base import Readable, Store

log = logging.getLogger("desk.snapshots")

ENCRYPTED = ".age"
"""What the name of an encrypted component ends with."""


class Sender:
    """Stores the objects of one snapshot, and can take them back.

    Args:
        recipients: age keys for which every component is encrypted; none: it is not.
    """

    def __init__(
        self,
        store: Store,
        instance: str,
        snapshot_id: str,
        say: Callable[[str], None],
        recipients: Sequence[str] = (),
    ) -> None:
        self.store = store
        self.instance = instance
        self.snapshot_id = snapshot_id
        self.components: list[Component] = []
        self._say = say
        self._recipients = recipients
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
        readable: bool = False,
    ) -> Component:
        """Pack and store one component.

        Args:
            open_with: how to open it without this program: a command, or words.
            on_plain: called with the plain bytes read so far.
            readable: never encrypted, because machines without an identity have to read it.
        """
        recipients = () if readable else self._recipients
        if recipients:
            open_with = _decrypt_first(name, open_with, command=compress)
            name += ENCRYPTED
        key = data_key(self.instance, self.snapshot_id, name)
        self._sent.append(key)
        with PackingReader(
            source, compress=compress, recipients=recipients, on_plain=on_plain
        ) as reader:
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
            encryption="age" if recipients else "none",
            open_with=open_with,
        )
        self.components.append(component)
        self._say(f"{name}: {component.plain_bytes:,} bytes, {component.stored_bytes:,} stored")
        return component

    def share(self, components: Iterable[Component]) -> None:
        """Point to objects of an earlier snapshot, which the caller has read back."""
        self.components += components

    def send_manifest(self, data: bytes) -> None:
        """Store the manifest, which makes the snapshot exist, and read it back."""
        key = manifest_key(self.instance, self.snapshot_id)
        self._sent.append(key)
        self.store.put(key, io.BytesIO(data))
        with self.store.open(key) as stream:
            if stream.read(len(data) + 1) != data:
                raise Broken("The store did not give back the manifest that was sent.")

    def read_back(self, moved: Callable[[float], None]) -> None:
        """Read every component that was sent in full and compare it.

        Args:
            moved: called with the share that is done, 0 to 1.

        Raises:
            Broken: names the object that came back different.
        """
        sent = [component for component in self.components if not component.origin]
        total = sum(component.stored_bytes for component in sent) or 1
        before = 0
        for component in sent:

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


def _decrypt_first(name: str, open_with: str, *, command: bool) -> str:
    """A line for a shell; `identity.txt` is the file with the identity."""
    decrypt = f"age -d -i identity.txt -o {name} {name}{ENCRYPTED}"
    return f"{decrypt} && {open_with}" if command else f"{decrypt}  # then: {open_with}"
