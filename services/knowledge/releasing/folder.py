"""The folder the shop reads: looked at, written aside, and replaced file by file.

The shop may import the module at any moment, and this process may be killed at any moment:
at each of them both files are whole. The JSON goes first, the module last.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.core.errors import Busy, Refused
from services.knowledge.splicing import splice
from services.knowledge.writing import to_module

MODULE = "fashion_kb.py"
JSON = "fashion_kb.json"
NAMES = (JSON, MODULE)
"""In the order in which they are replaced."""

MAX_BYTES = 200_000_000
LOCK_SECONDS = 30.0

_ASIDE = ".part"
_POLL_SECONDS = 0.1
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


class Unusable(Refused):
    """Nothing can be written to the folder as it is."""


@dataclass(frozen=True)
class Contents:
    """What lies in the folder now; None where a file is not there."""

    module: bytes | None
    json: bytes | None

    def items(self) -> tuple[tuple[str, bytes | None], ...]:
        """Names and bytes, the module first: it is what the shop reads."""
        return ((MODULE, self.module), (JSON, self.json))


@dataclass(frozen=True)
class Staged:
    """Both files, written aside where they say something new, and not yet in their place."""

    folder: Path
    aside: Mapping[str, Path]  # by the name it is to get
    files: Mapping[str, str]  # sha256 of its bytes


def read_contents(folder: Path) -> Contents:
    """What lies there.

    Raises:
        Unusable: the folder or one of the files is not what could be replaced; says why.
    """
    _require_folder(folder)
    found = {name: _read(folder / name) for name in NAMES}
    return Contents(found[MODULE], found[JSON])


def _require_folder(folder: Path) -> None:
    where = f"The folder {folder} (KB_PUBLISH_DIR)"
    try:
        found = folder.stat()
    except FileNotFoundError:
        raise Unusable(
            f"{where} is not there.",
            "Make it, or name the folder from which the shop reads fashion_kb.py.",
        ) from None
    except OSError as error:
        raise _unreadable(where, error) from error
    if not stat.S_ISDIR(found.st_mode):
        raise Unusable(f"{where} is no folder.", "Name the folder in which fashion_kb.py lies.")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise Unusable(
            f"{where} can't be written by the desk.",
            "Give the account that runs the desk write permission there; a file system that is "
            "mounted read-only has to be mounted otherwise.",
        )


def _read(path: Path) -> bytes | None:
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise Unusable(
                f"{path} is a link to another file; it would be replaced by a file, and that "
                "other one would stay as it is.",
                "Name the folder in which the file itself lies in KB_PUBLISH_DIR.",
            )
        if not stat.S_ISREG(found.st_mode):
            raise Unusable(f"{path} is no file.", "Move it away; the desk writes a file there.")
        if found.st_size > MAX_BYTES:
            raise Unusable(
                f"{path} is too large to be a knowledge base ({found.st_size / 1e6:,.0f} MB).",
                "Is it the right folder? Move the file away if so.",
            )
        if os.geteuid() not in (0, found.st_uid):
            raise Unusable(
                f"{path} belongs to another account; once replaced it would be the desk's, and "
                "the shop might not read it any more.",
                "Run the desk under the account that owns the shop's files, or give it the file.",
            )
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(str(path), error) from error


def _unreadable(what: str, error: OSError) -> Unusable:
    return Unusable(
        f"{what} can't be read ({error.strerror}).",
        "Give the account that runs the desk permission to read and write it.",
    )


@contextmanager
def held(folder: Path, own: Path) -> Iterator[None]:
    """Hold the folder against every other publisher, on this machine and beside it.

    Args:
        own: a folder of the desk's own, for file systems whose folders can't be locked.

    Raises:
        Unusable: the folder can't be opened.
        Busy: another publisher holds it for long.
    """
    _require_folder(folder)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            _lock(handle, folder)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            os.close(handle)
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(own / "publish.lock", os.O_RDWR | os.O_CREAT, 0o600)
            _lock(handle, folder)
        _remove(_leftovers(folder))
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    given_up = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > given_up:
                raise Busy(
                    f"Somebody else is writing to {folder} for {LOCK_SECONDS:.0f} seconds; "
                    "nothing was written.",
                    "Wait a moment, then try again.",
                ) from None
        time.sleep(_POLL_SECONDS)


def has_leftovers(folder: Path) -> bool:
    """Whether a publisher writes aside just now, or was killed at it."""
    return bool(_leftovers(folder))


def _leftovers(folder: Path) -> list[Path]:
    return [path for name in NAMES for path in folder.glob(f".{name}.*{_ASIDE}")]


def stage(folder: Path, there: Contents, data: bytes, document: Mapping[str, Any]) -> Staged:
    """Write both files aside, whole and on the disk.

    Args:
        there: what lies in the folder: where a module stands, all but its value is kept.
        data: the release as canonical JSON.
        document: the same as a document.

    Raises:
        Unusable: a file can't be written; what lies there is untouched.
        DeskError: the module that stands there can't take this document; says why.
    """
    module = to_module(document) if there.module is None else splice(there.module, document)
    aside: dict[str, Path] = {}
    try:
        for name, content, old in ((JSON, data, there.json), (MODULE, module, there.module)):
            if content == old:
                continue
            path = folder / f".{name}.{secrets.token_hex(6)}{_ASIDE}"
            aside[name] = path
            _write(path, content, folder / name)
    except OSError as error:
        _remove(aside.values())
        raise Unusable(
            f"{folder} can't be written ({error.strerror}); the files in it are as they were.",
            _hint(error),
        ) from error
    except BaseException:
        _remove(aside.values())
        raise
    sums = {JSON: hashlib.sha256(data).hexdigest(), MODULE: hashlib.sha256(module).hexdigest()}
    return Staged(folder, aside, sums)


def _hint(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free some space on that disk, then try again."
    return "Give the account that runs the desk write permission there."


def _write(path: Path, content: bytes, target: Path) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(content)
        with suppress(FileNotFoundError):
            _like(handle, path, target.stat())
        os.fsync(handle)
    finally:
        os.close(handle)


def _like(handle: int, path: Path, old: os.stat_result) -> None:
    new = os.fstat(handle)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(handle, old.st_uid, old.st_gid)
    os.fchmod(handle, stat.S_IMODE(old.st_mode))
    # Python reads compiled code again only when the second or the size of its source differs.
    if new.st_mtime < int(old.st_mtime) + 1:
        os.utime(path, (new.st_atime, int(old.st_mtime) + 1))


def replace(staged: Staged) -> None:
    """Put both files in their place.

    Raises:
        Unusable: a file can't be replaced; those there are whole, each old or new.
    """
    try:
        for name in [name for name in NAMES if name in staged.aside]:
            staged.aside[name].replace(staged.folder / name)
            _sync(staged.folder)
    except OSError as error:
        raise Unusable(
            f"{staged.folder} can't be written ({error.strerror}); the files in it are whole.",
            _hint(error),
        ) from error


def discard(staged: Staged) -> None:
    """Remove what was written aside, if it still is."""
    _remove(staged.aside.values())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()
