"""Pictures in the store: each content once, shared by every snapshot that shows it.

A plain picture lies under its sha256. An encrypted one gets a key of its own each time it is
sent, so that nothing that an older snapshot counts on is ever replaced; the component
`images.objects.json`, which is readable without an identity and names no picture, says
which objects a snapshot uses and what their stored bytes are.

What was sent is remembered in the control database. A name in the store alone is not
believed: without that memory, everything is sent again.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select

from db.control import stored_pictures
from db.engine import read, write
from services.core.context import Context
from services.core.errors import Broken
from services.protection.codec import PackingReader
from services.protection.manifest import image_key
from services.protection.model import Component, Part
from services.protection.sealing.keys import Keys, keys_of
from services.protection.sources import images
from services.protection.stores.base import Store

OBJECTS = "images.objects.json"
"""Name of the component that says where the encrypted pictures of a snapshot lie."""

_AT_ONCE = 4
_TRIES = 3
_MOST = 2**63 - 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ENCRYPTED = re.compile(r"([0-9a-f]{64})-[0-9a-f]{16}\.age")


@dataclass(frozen=True)
class PictureObject:
    """One picture as it is stored."""

    sha256: str  # of the picture itself
    key: str
    plain_bytes: int
    stored_bytes: int
    stored_sha256: str
    encryption: str  # "none" or "age"

    @property
    def component(self) -> Component:
        """It as the codec takes it."""
        return Component(
            name=f"picture {self.sha256}",
            part=Part.IMAGES,
            key=self.key,
            plain_bytes=self.plain_bytes,
            plain_sha256=self.sha256,
            stored_bytes=self.stored_bytes,
            stored_sha256=self.stored_sha256,
            compression="none",
            encryption=self.encryption,
            open_with="any picture viewer",
        )


@dataclass(frozen=True)
class SentPictures:
    """The pictures of a snapshot, all of them in the store."""

    pictures: tuple[images.Picture, ...]
    objects: tuple[PictureObject, ...]  # of each content one
    new: int
    notes: tuple[str, ...]


def send_pictures(
    ctx: Context,
    store: Store,
    folder: Path,
    found: images.PictureFolder,
    moved: Callable[[float], None],
) -> SentPictures:
    """Send the pictures that are not known to be in the store, and read those back.

    Args:
        moved: called with the share that is done, 0 to 1.
    """
    from services.protection.reading import read_back

    keys = keys_of(ctx.settings)
    objects = _known(ctx, store, keys)
    pictures = {picture.name: picture for picture in found.pictures}
    new, gone = 0, []

    def send(picture: images.Picture) -> tuple[images.Picture, PictureObject] | None:
        sent = _send(store, ctx.settings.instance_id, keys, folder, picture)
        if sent is not None:
            read_back(store, sent[1].component)
        return sent

    # One of each content; another of the same is looked at again should that one be gone.
    while missing := _missing(pictures, objects):
        sent: list[PictureObject] = []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for picture, now in zip(missing, pool.map(send, missing), strict=True):
                    if now is None:
                        gone.append(picture.name)
                        del pictures[picture.name]
                        continue
                    pictures[picture.name] = now[0]
                    sent.append(now[1])
                    moved(len(sent) / len(missing))
            finally:
                pool.shutdown(cancel_futures=True)
                # Of a run that fails, too: what was read back is there for the next.
                _remember(ctx, keys, sent)
        objects |= {each.sha256: each for each in sent}
        new += len(sent)
    used = sorted({picture.sha256 for picture in pictures.values()})
    return SentPictures(
        tuple(pictures.values()),
        tuple(objects[digest] for digest in used),
        new,
        tuple(f"Images: {name!r} was removed while it was read." for name in gone),
    )


def _missing(
    pictures: dict[str, images.Picture], objects: dict[str, PictureObject]
) -> list[images.Picture]:
    by_content = {picture.sha256: picture for picture in pictures.values()}
    return [picture for digest, picture in by_content.items() if digest not in objects]


def objects_json(objects: Iterable[PictureObject]) -> bytes:
    """The component `images.objects.json`: sha256 of a picture -> its object."""
    listed = {each.sha256: asdict(each) for each in objects}
    for values in listed.values():
        del values["sha256"]
    return f"{json.dumps(listed, sort_keys=True, indent=0)}\n".encode()


def objects_from_json(data: bytes, instance: str) -> dict[str, PictureObject]:
    """Read what `objects_json` wrote, or somebody else.

    Raises:
        Broken: it is no such list, or names an object outside the pictures of this instance.
    """
    try:
        values = json.loads(data)
        found = {
            digest: _object(digest, each, image_key(instance, ""))
            for digest, each in values.items()
        }
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise Broken(
            f"The stored object {OBJECTS} is no list of stored pictures.",
            "Use another snapshot, and find out what happened to this one in the store.",
        ) from error
    return found


def forget(ctx: Context, sha256: str) -> None:
    """What was found damaged is sent again by the next backup."""
    with write(ctx.control) as connection:
        connection.execute(delete(stored_pictures).where(*_of(ctx, sha256)))


def _object(digest: str, values: dict[str, Any], prefix: str) -> PictureObject:
    made = PictureObject(sha256=digest, **values)
    name = made.key.removeprefix(prefix)
    of = _ENCRYPTED.fullmatch(name)
    counts = (made.plain_bytes, made.stored_bytes)
    fits = (
        _SHA256.fullmatch(digest)
        and made.key.startswith(prefix)
        and ((of and of[1] == digest) if made.encryption == "age" else name == digest)
        and made.encryption in ("age", "none")
        and _SHA256.fullmatch(made.stored_sha256)
        and all(type(count) is int and 0 <= count <= _MOST for count in counts)
    )
    if not fits:
        raise ValueError(digest)
    return made


def _known(ctx: Context, store: Store, keys: Keys) -> dict[str, PictureObject]:
    """What this desk itself sent for the same recipients, and still lies there in full."""
    prefix = image_key(ctx.settings.instance_id, "")
    there = {item.key: item.size for item in store.list(prefix)}
    mine = stored_pictures.c.instance == ctx.settings.instance_id
    with read(ctx.control) as connection:
        rows = connection.execute(
            select(stored_pictures).where(mine, stored_pictures.c.encryption == keys.mark)
        ).all()
    return {
        row.sha256: PictureObject(
            row.sha256,
            row.key,
            row.plain_bytes,
            row.stored_bytes,
            row.stored_sha256,
            "age" if keys.recipients else "none",
        )
        for row in rows
        if there.get(row.key) == row.stored_bytes
    }


def _remember(ctx: Context, keys: Keys, objects: list[PictureObject]) -> None:
    if not objects:
        return
    rows = [
        asdict(each) | {"instance": ctx.settings.instance_id, "encryption": keys.mark}
        for each in objects
    ]
    with write(ctx.control) as connection:
        for each in objects:
            connection.execute(delete(stored_pictures).where(*_of(ctx, each.sha256)))
        connection.execute(insert(stored_pictures), rows)


def _of(ctx: Context, sha256: str) -> tuple[Any, ...]:
    return (
        stored_pictures.c.instance == ctx.settings.instance_id,
        stored_pictures.c.sha256 == sha256,
    )


class _Unchanged:
    """A picture while it is sent: ends with an error, so that nothing is stored, when it is no
    longer the one that its name says. What lay under that name stays as it was."""

    def __init__(self, reader: PackingReader, sha256: str) -> None:
        self._reader, self._sha256 = reader, sha256

    def read(self, size: int = -1, /) -> bytes:
        piece = self._reader.read(size)
        if not piece and size and self._reader.plain_sha256 != self._sha256:
            raise _Changed
        return piece


class _Changed(Exception):
    """The shop wrote the picture meanwhile."""


def _send(
    store: Store, instance: str, keys: Keys, folder: Path, picture: images.Picture
) -> tuple[images.Picture, PictureObject] | None:
    now: images.Picture | None = picture
    for _ in range(_TRIES):
        if now is None:
            return None
        tail = f"-{secrets.token_hex(8)}.age" if keys.recipients else ""
        key = image_key(instance, f"{now.sha256}{tail}")
        try:
            with (
                open(now.path, "rb", buffering=0) as file,
                PackingReader(file, compress=False, recipients=keys.recipients) as reader,
            ):
                store.put(key, _Unchanged(reader, now.sha256))
                return now, PictureObject(
                    sha256=now.sha256,
                    key=key,
                    plain_bytes=reader.plain_bytes,
                    stored_bytes=reader.stored_bytes,
                    stored_sha256=reader.stored_sha256,
                    encryption="age" if keys.recipients else "none",
                )
        except FileNotFoundError:
            return None
        except _Changed:
            now = images.read(folder, now.path)
    raise Broken(
        f"The picture {picture.name!r} kept changing while it was read.",
        "Try again when the shop has finished writing it.",
    )
