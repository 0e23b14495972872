"""Which databases of ours are on the server, and when they may go.

Before one is made, its name goes into a small file of the desk: a kill between making it and
writing on it leaves nothing that nobody knows. The files also say whether there is anything to
look for at all, so that a page does not ask the server each time.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from services.core.context import Context, prepare_folder
from services.core.errors import Busy, DeskError
from services.protection.rescue import journal as journals
from services.protection.rescue import staging
from services.protection.rescue.pg_beside import (
    Beside,
    Kind,
    due,
    exists,
    listed,
    mark_of,
)
from services.protection.sources.postgres import drop_side, maintenance

log = logging.getLogger("desk.restore")


def noted(ctx: Context, name: str, until: timedelta = timedelta(0)) -> None:
    """Remember on the disk that a database of this name is ours, or is about to be.

    Args:
        until: when it may go; at once, where nobody is at it any more, unless given.
    """
    path = _folder(ctx) / name.replace("/", "%")
    aside = path.with_name(f"{path.name}.new")
    values = {"name": name, "due": (ctx.now() + until).isoformat()}
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(values, file)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    journals.sync_folder(path.parent)


def forgotten(ctx: Context, name: str) -> None:
    """It is gone, or it is the shop's."""
    (_folder(ctx) / name.replace("/", "%")).unlink(missing_ok=True)


def drop(ctx: Context, url: str, name: str) -> None:
    """Remove a database that is ours, by its mark or because we noted its name first.

    Raises:
        DeskError: the server does not let us.
    """
    known = (_folder(ctx) / name.replace("/", "%")).is_file()
    with maintenance(url) as connection:
        ours = known or mark_of(connection, name) is not None
    if ours:
        drop_side(url, name)
        forgotten(ctx, name)


@contextmanager
def previewing(ctx: Context) -> Iterator[None]:
    """One preview at a time: a second one waits, a sweep passes by."""
    with open(prepare_folder(journals.home(ctx)) / "preview.lock", "ab") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def clear_previews(ctx: Context, url: str, live: str) -> None:
    """Remove what previews fetched and restored."""
    staging.clear_previews(ctx)
    with maintenance(url) as connection:
        names = [
            found.name for found in listed(connection, live) if found.mark.kind is Kind.PREVIEW
        ]
    for name in names:
        drop(ctx, url, name)


def sweep(ctx: Context, url: str, live: str) -> None:
    """Remove what is over and what was left behind; never fails, the next one tries again."""
    if not any(moment <= ctx.now() for moment in _moments(ctx)):
        return
    try:
        with _nobody_previews(ctx):
            _sweep(ctx, url, live)
    except Busy:
        pass
    except DeskError as error:
        log.warning("databases beside the shop's were not looked through: %s", error.message)


def _sweep(ctx: Context, url: str, live: str) -> None:
    staging.clear_previews(ctx)  # a dump whose preview was killed
    needed = {name for journal in journals.pending(ctx) for name in (journal.side, journal.old)}
    names = set(_names(ctx))
    with maintenance(url) as connection:
        found = {beside.name: beside for beside in listed(connection, live)}
        gone = {name for name in names if not exists(connection, name)}
    for name in gone - needed - {live}:
        forgotten(ctx, name)
    for name in sorted((names | found.keys()) - gone - needed - {live}):
        beside: Beside | None = found.get(name)
        # Noted, there, and without our mark: the process died between making and marking it.
        if beside is None or due(beside, ctx.now()):
            drop(ctx, url, name)


@contextmanager
def _nobody_previews(ctx: Context) -> Iterator[None]:
    with open(prepare_folder(journals.home(ctx)) / "preview.lock", "ab") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Busy("A preview is at work.") from error
        yield


def _folder(ctx: Context) -> Path:
    return prepare_folder(journals.home(ctx).with_name("beside"))


def _read(ctx: Context) -> Iterator[tuple[str, datetime]]:
    for path in _folder(ctx).iterdir():
        if path.suffix == ".new":
            continue
        values = json.loads(path.read_text(encoding="utf-8"))
        yield values["name"], datetime.fromisoformat(values["due"])


def _names(ctx: Context) -> list[str]:
    return [name for name, _due in _read(ctx)]


def _moments(ctx: Context) -> list[datetime]:
    return [moment for _name, moment in _read(ctx)]
