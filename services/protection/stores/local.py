"""A store in a folder: on another disk or a mounted share, or beside the desk for a start."""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from services.core.errors import Broken, DeskError, Invalid, Misconfigured, Transient
from services.protection.stores.base import (
    PIECE,
    STORE_SETTING,
    Access,
    ArchiveState,
    Readable,
    StoredObject,
    Tier,
    check_key,
    prove,
)

INCOMING = ".incoming"
"""Folder of uploads that are not finished; never listed."""
_STALE_SECONDS = 24 * 3600
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}
_PASSING = {errno.ETIMEDOUT, errno.ESTALE, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EBUSY}


class LocalStore:
    """Objects are files below `root`, readable by the desk's account only.

    Args:
        root: the folder; made at first use when `create` is set, otherwise it must exist,
            because an empty mount point is not the disk that should be mounted there.
    """

    def __init__(self, root: Path, *, create: bool = False, named: str = STORE_SETTING) -> None:
        self._root = root
        self._named = named
        self._create = create

    @property
    def url(self) -> str:
        """Where it is."""
        return f"file:{self._root}"

    def check(self) -> None:
        """See `Store.check`."""
        self._sweep()
        prove(self)

    def put(self, key: str, source: Readable) -> StoredObject:
        """See `Store.put`: a temporary file, length check, fsync, rename, fsync of the folder."""
        target = self._path(key)
        incoming = self._made(self._home() / INCOMING)
        aside = incoming / secrets.token_hex(12)
        try:
            size = self._write(aside, source)
            with self._errors("write to"):
                self._rename(aside, target)
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
        stored = self.stat(key)
        if stored is None or stored.size != size:
            raise Broken(
                f"{key} was written to {self.url} but is not there in full.",
                "Check the disk. The backup that wrote it does not count.",
            )
        return stored

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """See `Store.open`."""
        path = self._path(key)
        with self._errors("read"):
            try:
                file = _ObjectFile(self, path)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise KeyError(key) from None
        with io.BufferedReader(file, PIECE) as stream:
            yield stream

    def stat(self, key: str) -> StoredObject | None:
        """See `Store.stat`."""
        path = self._path(key)
        with self._errors("read"):
            try:
                found = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _object(key, found) if stat.S_ISREG(found.st_mode) else None

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `Store.list`."""
        with self._errors("list"):
            yield from self._below(self._home(), "", prefix)

    def delete(self, key: str) -> None:
        """See `Store.delete`; folders that become empty go too."""
        path = self._path(key)
        if self.stat(key) is None:
            return
        with self._errors("delete from"):
            path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty, or filled again meanwhile
                for folder in path.parents:
                    if folder == self._root:
                        break
                    folder.rmdir()

    def archive_state(self, key: str) -> ArchiveState:
        """See `Store.archive_state`; a folder has no archive."""
        if self.stat(key) is None:
            raise KeyError(key)
        return ArchiveState(Access.READABLE)

    def request_retrieval(self, key: str, tier: Tier, days: int, *, faster: bool = False) -> None:
        """See `Store.request_retrieval`; there is nothing to ask for."""
        self.archive_state(key)

    def _write(self, aside: Path, source: Readable) -> int:
        with self._errors("write to"):
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb", 0) as file:
            size = 0
            while piece := source.read(PIECE):
                with self._errors("write to"):
                    size += _write_all(file, piece)
            with self._errors("write to"):
                os.fsync(file.fileno())
                written = os.fstat(file.fileno()).st_size
        if written != size:
            raise Broken(
                f"{self.url} took {written} of {size} bytes; nothing was stored.",
                "Check the disk, then try again.",
            )
        return size

    def _rename(self, aside: Path, target: Path) -> None:
        while True:
            self._made(target.parent)
            try:
                aside.replace(target)
            except FileNotFoundError:
                if not aside.exists():
                    raise
                continue  # a delete beside us removed the folder because it was empty
            break
        _sync_folder(target.parent)

    def _path(self, key: str) -> Path:
        """The file of a key, with no symbolic link between it and the root."""
        check_key(key)
        if key.split("/", 1)[0] == INCOMING:
            raise Invalid(
                f"{key!r} lies in the folder of unfinished uploads.", "Nothing was changed."
            )
        path = self._root / key
        with self._errors("use"):
            real = Path(os.path.realpath(self._root)) / key
            if os.path.realpath(path.parent) != str(real.parent):
                raise Misconfigured(
                    f"{path.parent} is reached through a symbolic link; nothing was changed.",
                    "Replace the link in the backup folder by a real folder.",
                )
        return path

    def _home(self) -> Path:
        with self._errors("use"):
            if self._create and not self._root.exists():
                self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
                _sync_folder(self._root.parent)
            if not self._root.is_dir():
                raise Misconfigured(
                    f"There is no backup folder at {self._root}; nothing was changed.",
                    f"Make it, mount the disk that holds it, or correct {self._named}.",
                )
        return self._root

    def _made(self, folder: Path) -> Path:
        """Make a folder below the root, durably."""
        with self._errors("write to"):
            missing = []
            while not folder.is_dir():
                missing.append(folder)
                folder = folder.parent
            for folder in reversed(missing):
                folder.mkdir(mode=0o700, exist_ok=True)
                _sync_folder(folder.parent)
        return folder

    def _below(self, folder: Path, base: str, prefix: str) -> Iterator[StoredObject]:
        entries = []
        try:
            with os.scandir(folder) as scan:
                for entry in scan:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    name = f"{base}{entry.name}{'/' if is_folder else ''}"
                    # A folder sorts as its keys do: "a-b" before "a/b", as S3 lists them.
                    if name.startswith(prefix) or (is_folder and prefix.startswith(name)):
                        entries.append((name, is_folder, entry))
        except FileNotFoundError:
            return  # a folder that a delete removed since its parent was read
        for name, is_folder, entry in sorted(entries, key=lambda found: found[0]):
            if name == f"{INCOMING}/":
                continue
            if is_folder:
                yield from self._below(folder / entry.name, name, prefix)
                continue
            with suppress(FileNotFoundError, UnicodeEncodeError):
                name.encode()  # a name that is no UTF-8 is not ours
                if entry.is_file(follow_symlinks=False):
                    yield _object(name, entry.stat(follow_symlinks=False))

    def _sweep(self) -> None:
        """Remove what killed uploads left, once it is so old that none can be running."""
        with self._errors("use"), suppress(FileNotFoundError, NotADirectoryError):
            for path in (self._root / INCOMING).iterdir():
                if time.time() - path.lstat().st_mtime > _STALE_SECONDS:
                    path.unlink(missing_ok=True)

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.error(error, doing) from error

    def error(self, error: OSError, doing: str) -> DeskError:
        """What an error of the file system means to a person."""
        where = f"The desk can't {doing} the backup folder {self._root} ({error.strerror})"
        if error.errno in _FULL:
            return Broken(
                f"There is no room left in the backup folder {self._root} ({error.strerror}); "
                "what was being written there was removed.",
                "Free some space on that disk or choose a larger one, then try again.",
            )
        if error.errno in _FORBIDDEN:
            return Misconfigured(
                f"{where}; nothing was changed.",
                f"Give the account that runs the desk permission there, or correct {self._named}.",
            )
        if error.errno in _IN_THE_WAY:
            return Misconfigured(
                f"{where}: a file or a folder is in the way. Nothing was changed.",
                "The backup folder must hold nothing but backups; move what is in the way.",
            )
        if error.errno in _PASSING:
            return Transient(f"{where}; nothing was changed.", "Try again in a while.")
        return Broken(f"{where}.", "Check the disk and its file system.")


class _ObjectFile(io.FileIO):
    """A stored file whose read errors are the desk's."""

    def __init__(self, store: LocalStore, path: Path) -> None:
        self._store = store
        super().__init__(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", closefd=True)

    def readinto(self, buffer: Any, /) -> int:
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise self._store.error(error, "read") from error


def _write_all(file: io.FileIO, piece: bytes) -> int:
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]
    return len(piece)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _object(key: str, found: os.stat_result) -> StoredObject:
    return StoredObject(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
