"""Read a snapshot's objects back: to prove them, or to have them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from services.core.context import Context
from services.core.errors import Broken, Invalid, Misconfigured
from services.protection.codec import no_identity, unpack
from services.protection.manifest import image_key
from services.protection.model import Component, Manifest, Part
from services.protection.pictures import OBJECTS, PictureObject, forget, objects_from_json
from services.protection.sealing.keys import identities, keys_of, matches
from services.protection.stores.base import Store

OnBytes = Callable[[int], None]
_PIECE = 1 << 20
_MOST_LISTS = 2
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_NAME, _MOST_PATH = 255, 3000  # what file systems allow, with room for where it lies


def _nothing(_count: int) -> None:
    return None


def component_of(manifest: Manifest, wanted: str | Part) -> Component:
    """A component by its name, or the one that a part is put back from.

    Raises:
        Invalid: the snapshot has none.
    """
    for component in manifest.components:
        # The exact folder, not the portable tables, is what vectors are put back from.
        if component.name == wanted or (
            isinstance(wanted, Part)
            and component.part is wanted
            and not component.is_table
            and component.name != OBJECTS
        ):
            return component
    raise Invalid(
        f"The snapshot {manifest.id} holds no {wanted}.",
        "Its manifest lists what it holds; another snapshot may have it.",
    )


def can_open(ctx: Context, manifest: Manifest) -> bool:
    """Whether this machine has what it takes to unpack a snapshot: an identity, if need be."""
    return not manifest.encrypted or ctx.settings.backup_age_identity_file is not None


def require_openable(ctx: Context, manifest: Manifest) -> None:
    """Refuse before anything is begun that would have to unpack a snapshot.

    Raises:
        Misconfigured: it is encrypted, and there is no identity here, or one that can't be used.
    """
    if not manifest.encrypted:
        return
    file = keys_of(ctx.settings).identity_file
    if file is None:
        raise no_identity(f"The snapshot {manifest.id}")
    identities(file)


def require_way_back(ctx: Context) -> None:
    """Refuse a restore whose safety snapshot could not be opened here again.

    Raises:
        Misconfigured: backups are encrypted, and the identity here does not open them.
    """
    keys = keys_of(ctx.settings)
    if keys.recipients and not matches(keys):
        raise Misconfigured(
            "The backup that a restore makes first would be encrypted for keys that this machine "
            "has no identity for, so nothing could be undone. Nothing was changed.",
            "Set BACKUP_AGE_IDENTITY_FILE here to the file with the identity, or restore on the "
            "machine that has it (docs/keys.md).",
        )


def verify(ctx: Context, store: Store, manifest: Manifest, on_bytes: OnBytes = _nothing) -> None:
    """Read every object of a snapshot in full, pictures too, and unpack what can be.

    Without the identity of an encrypted snapshot this proves that every stored byte is as it
    was sent; what the bytes unpack to is for a machine that has it.

    Args:
        on_bytes: called with the stored bytes read so far.

    Raises:
        Broken: names the first object that is missing, short, altered or can't be unpacked.
        Transient, Misconfigured: the store can't be read, or the identity is another one.
    """
    identity_file = keys_of(ctx.settings).identity_file
    done = 0

    def prove(component: Component) -> None:
        nonlocal done
        if component.encryption != "none" and identity_file is None:
            read_back(store, component)
        else:
            with _opened(store, component.key, component.name) as stream:
                unpack(component, stream, None, identity_file=identity_file)
        done += component.stored_bytes
        on_bytes(done)

    for component in manifest.components:
        prove(component)
    objects = picture_objects(ctx, store, manifest)
    if objects is not None:
        for each in objects.values():
            with _damage_remembered(ctx, each.sha256):
                prove(each.component)
        return
    for digest in sorted(set(picture_list(ctx, store, manifest).values())):
        with _damage_remembered(ctx, digest):
            done += _copy_picture(store, manifest.instance, digest, None)
        on_bytes(done)


def read_back(store: Store, component: Component, on_bytes: OnBytes = _nothing) -> None:
    """Read one object in full and compare it with what was sent.

    Raises:
        Broken: it is not what was sent.
    """
    sha256, count = hashlib.sha256(), 0
    with _opened(store, component.key, component.name) as stream:
        while piece := stream.read(_PIECE):
            sha256.update(piece)
            count += len(piece)
            on_bytes(count)
    if (count, sha256.hexdigest()) != (component.stored_bytes, component.stored_sha256):
        raise Broken(
            f"The store gave back something else than {component.name} that was sent "
            f"({count:,} of {component.stored_bytes:,} bytes).",
            "Don't rely on this store before the cause is known.",
        )


def fetch(
    ctx: Context,
    store: Store,
    manifest: Manifest,
    wanted: str | Part,
    target: Path,
    on_bytes: OnBytes = _nothing,
) -> Path:
    """Download, unpack and check one component into a file of its own.

    The file appears under its name only when it is complete, checked and on the disk.

    Args:
        wanted: the name of a component, or a part.
        on_bytes: called with the plain bytes written so far.

    Raises:
        Invalid: the snapshot has no such component.
        Broken: it is missing or not what the manifest says; names it.
        Transient, Misconfigured: the store can't be read, or it is encrypted and there is no
            identity for it here.
    """
    component = component_of(manifest, wanted)
    aside = _aside(target)
    try:
        with (
            _opened(store, component.key, component.name) as stream,
            open(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file,
        ):
            unpack(component, stream, file, on_bytes, keys_of(ctx.settings).identity_file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    return target


def fetch_image(ctx: Context, store: Store, manifest: Manifest, sha256: str, target: Path) -> Path:
    """Download one picture, decrypt it if need be, and check it against its name.

    Raises:
        Broken: it is missing or altered.
        Misconfigured: it is encrypted, and there is no identity for it here.
    """
    aside = _aside(target)
    objects = picture_objects(ctx, store, manifest)
    try:
        with open(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644), "wb") as file:
            if objects is None:
                _copy_picture(store, manifest.instance, sha256, file)
            elif sha256 not in objects:
                raise Broken(
                    f"The snapshot {manifest.id} does not say where the picture {sha256} lies.",
                    "Use another snapshot, and find out who altered this one.",
                )
            else:
                component = objects[sha256].component
                with _opened(store, component.key, component.name) as stream:
                    file_of = keys_of(ctx.settings).identity_file
                    unpack(component, stream, file, identity_file=file_of)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    return target


def picture_objects(
    ctx: Context, store: Store, manifest: Manifest
) -> dict[str, PictureObject] | None:
    """Where the pictures of a snapshot lie, by their sha256; readable without an identity.

    Returns:
        None where each lies plain under its sha256 (`image_key`), as `picture_list` names them.

    Raises:
        Broken: the list is missing, altered or no such list.
    """
    for component in manifest.components:
        if component.name == OBJECTS:
            return _objects(store, manifest.instance, component)
    return None


def picture_keys(ctx: Context, store: Store, manifest: Manifest) -> frozenset[str]:
    """Key of every picture that a snapshot needs; known without an identity.

    Raises:
        Broken: the list is missing, altered or no such list.
    """
    objects = picture_objects(ctx, store, manifest)
    if objects is not None:
        return frozenset(each.key for each in objects.values())
    names = picture_list(ctx, store, manifest)
    return frozenset(image_key(manifest.instance, digest) for digest in names.values())


def picture_list(ctx: Context, store: Store, manifest: Manifest) -> dict[str, str]:
    """The pictures of a snapshot: relative path -> sha256; empty when it holds none.

    Raises:
        Broken: the list is missing, altered or no such list.
        Misconfigured: it is encrypted, and there is no identity for it here.
    """
    if Part.IMAGES not in manifest.parts:
        return {}
    component = component_of(manifest, Part.IMAGES)
    data = _content(store, component, keys_of(ctx.settings).identity_file)
    try:
        names = json.loads(data)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, dict) or not all(
        isinstance(digest, str) and _SHA256.fullmatch(digest) for digest in names.values()
    ):
        raise Broken(f"The stored object {component.name} is no list of pictures.")
    for name in names:
        _require_a_place(name, names, component.name)
    return names


def _require_a_place(name: str, names: dict[str, str], lists: str) -> None:
    """Nobody but a writer of its own to the store makes names that no folder can hold."""
    parts = name.split("/")
    try:
        fits = all(len(os.fsencode(part)) <= _MOST_NAME for part in parts)
    except UnicodeEncodeError:
        fits = False
    # Only what a walk of a folder gives: neither twice, nor a picture inside a picture.
    plain = not any(part in ("", ".", "..") for part in parts) and "\0" not in name
    inside = any("/".join(parts[:depth]) in names for depth in range(1, len(parts)))
    if not (fits and plain) or inside or len(name) > _MOST_PATH:
        raise Broken(
            f"The stored object {lists} names a picture that no folder can hold "
            f"({name[:60]!r}); nothing was changed.",
            "Use another snapshot, and find out who altered this one.",
        )


def open_stored(store: Store, component: Component) -> AbstractContextManager[BinaryIO]:
    """A component as it is stored.

    Raises:
        Broken: it is missing; names it.
    """
    return _opened(store, component.key, component.name)


@contextmanager
def _opened(store: Store, key: str, name: str) -> Iterator[BinaryIO]:
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(store.open(key))
        except KeyError as error:
            raise Broken(
                f"The stored object {name} is missing from {store.url} ({key}).",
                "Use another snapshot, and find out who removed it.",
            ) from error
        yield stream


def _content(store: Store, component: Component, identity_file: Path | None = None) -> bytes:
    """A small component in memory, checked."""
    target = io.BytesIO()
    with _opened(store, component.key, component.name) as stream:
        unpack(component, stream, target, identity_file=identity_file)
    return target.getvalue()


_lists: OrderedDict[tuple[str, str], dict[str, PictureObject]] = OrderedDict()
_lists_lock = Lock()


def _objects(store: Store, instance: str, component: Component) -> dict[str, PictureObject]:
    """Read once for all the pictures of a restore: its digest says what it holds."""
    name = (instance, component.plain_sha256)
    with _lists_lock:
        if name not in _lists:
            _lists[name] = objects_from_json(_content(store, component), instance)
            while len(_lists) > _MOST_LISTS:
                _lists.popitem(last=False)
        return _lists[name]


@contextmanager
def _damage_remembered(ctx: Context, sha256: str) -> Iterator[None]:
    try:
        yield
    except Broken:
        forget(ctx, sha256)
        raise


def _copy_picture(store: Store, instance: str, digest: str, target: BinaryIO | None) -> int:
    sha256, count = hashlib.sha256(), 0
    with _opened(store, image_key(instance, digest), f"picture {digest}") as stream:
        while piece := stream.read(_PIECE):
            sha256.update(piece)
            count += len(piece)
            if target is not None:
                target.write(piece)
    if sha256.hexdigest() != digest:
        raise _altered_picture(digest)
    return count


def _altered_picture(digest: str) -> Broken:
    return Broken(
        f"The stored picture {digest} was altered or cut short.",
        "The next backup sends it again if the shop still has it; other snapshots share it.",
    )


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
