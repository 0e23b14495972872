"""Exchange a folder of the shop for a staged one, so that a kill at any instant can be
finished or taken back.

Beside the live folder lies a hidden one: `new` waits in it, `old` goes there. What exists
where tells how far an exchange got, so both directions may be repeated. A folder that can't
be renamed (a mount point, a parent that is not ours) has its entries moved one by one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from services.protection.model import Part
from services.protection.rescue.boundary import reached
from services.protection.rescue.journal import FolderMove, sync_folder

_MOVED_OUT = "moved-out"
_OURS = ("restore", "before", "trash")


def plan_move(part: Part, live: Path, job_id: str) -> FolderMove:
    """Decide where the staged folder is built: always on the disk of the live one.

    Args:
        live: as configured; a symbolic link is followed, the link itself stays.
    """
    live = live.resolve()
    renames = not live.exists() or (
        not live.is_mount() and os.access(live.parent, os.W_OK | os.X_OK)
    )
    name = f".{live.name}.restore-{job_id}"
    side = live.parent / name if renames else live / name
    return FolderMove(part, str(live), str(side), live.is_dir())


def staging(move: FolderMove) -> Path:
    """An empty folder to build the new content in."""
    folder = Path(move.side) / "part"
    folder.mkdir(parents=True)
    return folder


def keep_links(move: FolderMove) -> None:
    """Take symbolic links over as they are: backups leave them out, so no restore may take
    them away. They are never followed."""
    live, new = Path(move.live), Path(move.side) / "part"
    for place, folders, names in os.walk(live):
        folders[:] = [name for name in folders if Path(place, name) != Path(move.side)]
        for link in (Path(place, name) for name in (*folders, *names)):
            if link.is_symlink():
                target = new / link.relative_to(live)
                # What came back under that name, or in the way to it, counts more.
                with suppress(FileExistsError, NotADirectoryError):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.symlink_to(link.readlink())


def staged(move: FolderMove) -> None:
    """The new content is complete."""
    side, live = Path(move.side), Path(move.live)
    if live.is_dir():
        shutil.copymode(live, side / "part")
    same_owner(side / "part", live if live.is_dir() else live.parent)
    (side / "part").rename(side / "new")
    sync_folder(side)


def same_owner(tree: Path, like: Path) -> None:
    """Give a new file or folder to whoever owns its neighbour: a desk that runs as root must
    not leave files that the shop can't write."""
    if os.geteuid() != 0:
        return
    owner = like.stat()
    for path in (tree, *tree.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def exchanged(move: FolderMove) -> bool:
    """Whether the new content is live, all of it. Asked only after everything was staged."""
    return not any((Path(move.side) / name).exists() for name in ("part", "new"))


def exchange(move: FolderMove) -> None:
    """Make the new content live; does nothing where that is done."""
    new, old = Path(move.side) / "new", Path(move.side) / "old"
    live = Path(move.live)
    if exchanged(move):
        return
    if _by_entries(move):
        _move_entries_in(live, Path(move.side), new, old)
    else:
        if live.exists():
            # Whoever made it anew between two renames keeps it, out of the way.
            live.rename(_stray(move) if old.exists() else old)
            reached(f"{move.part} moved out")
        new.rename(live)
        sync_folder(live.parent)
    reached(f"{move.part} moved in")


def take_back(move: FolderMove) -> None:
    """Make the content of before live again; does nothing where that is done."""
    side, live = Path(move.side), Path(move.live)
    new, old = side / "new", side / "old"
    if not side.is_dir() or (side / "part").exists():
        return  # nothing was exchanged yet, or it was taken back and cleared away
    if _by_entries(move):
        _move_entries_back(live, side, new, old)
        return
    if not new.exists() and live.exists():
        live.rename(new)
        reached(f"{move.part} taken out")
    if old.exists():
        if live.exists():
            live.rename(_stray(move))
        old.rename(live)
    sync_folder(live.parent)


def clear(move: FolderMove, *, keep_old: bool = False) -> Path | None:
    """Remove what is left beside the live folder.

    Args:
        keep_old: what was live before is in no snapshot: keep it and say where.

    Returns:
        Where the old content was kept, if it was.
    """
    side = Path(move.side)
    kept = None
    if keep_old and (side / "old").is_dir():
        kept = _renamed(side, "before")
        (side / "old").rename(kept)
    for stray in side.glob("stray-*"):
        stray.rename(side.with_name(f"{side.name}-{stray.name}"))
    trash = _renamed(side, "trash")
    # Away in one step: a half-emptied folder must never look like a half-done exchange.
    if side.is_dir():
        side.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)
    return kept


def _renamed(side: Path, word: str) -> Path:
    return side.with_name(side.name.replace(".restore-", f".{word}-"))


def _by_entries(move: FolderMove) -> bool:
    return Path(move.side).parent == Path(move.live)


def _move_entries_in(live: Path, side: Path, new: Path, old: Path) -> None:
    if not (side / _MOVED_OUT).exists():
        old.mkdir(exist_ok=True)
        for entry in _entries(live, side):
            entry.rename(old / entry.name)
        (side / _MOVED_OUT).touch()
        sync_folder(side)
    for entry in _entries(new, side):
        entry.rename(live / entry.name)
    new.rmdir()
    sync_folder(live)


def _move_entries_back(live: Path, side: Path, new: Path, old: Path) -> None:
    if (side / _MOVED_OUT).exists():
        new.mkdir(exist_ok=True)
        for entry in _entries(live, side):
            entry.rename(new / entry.name)
        (side / _MOVED_OUT).unlink()
        sync_folder(side)
    if old.is_dir():
        for entry in _entries(old, side):
            entry.rename(live / entry.name)
        old.rmdir()
    sync_folder(live)


def _entries(folder: Path, side: Path) -> Iterator[Path]:
    # Kept before-images of earlier restores (hidden, ours) stay where they are.
    own = side.name.split(".restore-")[0]
    for entry in sorted(folder.iterdir()):
        if not entry.name.startswith(tuple(f"{own}.{word}-" for word in _OURS)):
            yield entry


def _stray(move: FolderMove) -> Path:
    side = Path(move.side)
    number = sum(1 for entry in side.iterdir() if entry.name.startswith("stray"))
    return side / f"stray-{number}"
