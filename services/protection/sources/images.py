"""The shop's generated pictures: which there are, and what is in each."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Picture:
    """One picture as it was when it was read."""

    name: str  # relative to the folder, with /
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class PictureFolder:
    """Every picture of a folder."""

    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]

    @property
    def by_content(self) -> dict[str, Picture]:
        """One picture for each content."""
        return {picture.sha256: picture for picture in self.pictures}


def capture(
    folder: Path, watch: Callable[[int], None] = lambda _count: None
) -> PictureFolder | None:
    """Read every picture once.

    Args:
        watch: called with the number of pictures read so far.

    Returns:
        None where there is no such folder.
    """
    if not folder.is_dir():
        return None
    notes: list[str] = []
    pictures = []
    for path in _files(folder, notes):
        picture = read(folder, path)
        if picture is None:
            notes.append(f"Images: {_shown(folder, path)} can't be read and was left out.")
            continue
        pictures.append(picture)
        watch(len(pictures))
    return PictureFolder(tuple(pictures), tuple(notes))


def read(folder: Path, path: Path) -> Picture | None:
    """One picture, or None where it is gone or can't be read."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError:
        return None
    return Picture(path.relative_to(folder).as_posix(), path, size, digest)


def to_json(pictures: tuple[Picture, ...]) -> bytes:
    """Path -> sha256, sorted; names that are no valid UTF-8 come back as they were."""
    names = {picture.name: picture.sha256 for picture in pictures}
    return f"{json.dumps(names, sort_keys=True, indent=0)}\n".encode()


def _files(folder: Path, notes: list[str]) -> Iterator[Path]:

    def unread(error: OSError) -> None:
        shown = _shown(folder, Path(error.filename))
        notes.append(f"Images: the folder {shown} can't be read and was left out.")

    for place, folders, names in os.walk(folder, onerror=unread):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            try:
                plain = stat.S_ISREG(path.lstat().st_mode)
            except FileNotFoundError:
                continue  # the shop removed it since the folder was listed
            if plain:
                yield path
            else:
                notes.append(
                    f"Images: {_shown(folder, path)} is not a plain file and was left out."
                )
        for name in folders:
            if Path(place, name).is_symlink():
                shown = _shown(folder, Path(place, name))
                notes.append(f"Images: {shown} is a link to a folder and was left out.")


def _shown(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix().encode(errors="replace").decode()
