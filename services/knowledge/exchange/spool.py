"""Files that wait for a job to import them, in `instance/imports/<id>/`.

Such a folder comes into being whole or not at all, lies there until its import is done, and
is swept away after two days. Nothing of the file's own name goes into a path.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from services.core.context import Context, prepare_folder
from services.core.errors import Broken, Invalid
from services.knowledge.comparing import Mode
from services.knowledge.exchange.choosing import Choice
from services.knowledge.exchange.planning import Options

KEPT = timedelta(days=2)

_DATA, _ORDER, _STOP = "file", "order.json", "stop"
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Order:
    """What was shown and accepted, for whoever does it."""

    id: str  # of the change set that it becomes, too
    name: str  # of the file, as its owner calls it
    part: str | None  # with which it was read
    digest: str  # sha256 of its bytes
    options: Options
    choice: Choice
    fingerprint: str  # of the plan that was shown
    reason: str


def lay_down(
    ctx: Context,
    name: str,
    part: str | None,
    data: bytes,
    options: Options,
    choice: Choice,
    fingerprint: str,
    reason: str,
) -> Order:
    """Write a file aside for a job, with what was accepted of it.

    Raises:
        Broken: the disk is full or failing; nothing is left behind.
        Misconfigured: the desk can't write to its folder.
    """
    digest = hashlib.sha256(data).hexdigest()
    order = Order(secrets.token_hex(16), name, part, digest, options, choice, fingerprint, reason)
    folder = prepare_folder(_root(ctx))
    aside = folder / f".{order.id}.part"
    try:
        aside.mkdir(mode=0o700)
        _write(aside / _DATA, data)
        _write(aside / _ORDER, json.dumps(_values(order)).encode())
        _settle(aside)
        aside.rename(folder / order.id)
        _settle(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise Broken(
            f"The file could not be put aside for the import ({error.strerror}); nothing was "
            "imported.",
            f"See that the disk of {folder} has room, then try again.",
        ) from error
    return order


def order_of(ctx: Context, order_id: str) -> Order:
    """What was accepted.

    Raises:
        Invalid: it is not there (any more).
    """
    try:
        values = json.loads((_place(ctx, order_id) / _ORDER).read_text("utf-8"))
        asked = values["options"]
        tables = None if asked["tables"] is None else frozenset(map(str, asked["tables"]))
        options = Options(Mode(asked["mode"]), tables, bool(asked["blanks_empty"]))
        choice = Choice.from_values(values["choice"])
        return Order(
            str(values["id"]),
            str(values["name"]),
            None if values["part"] is None else str(values["part"]),
            str(values["digest"]),
            options,
            choice,
            str(values["fingerprint"]),
            str(values["reason"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _lost() from error


def bytes_of(ctx: Context, order: Order) -> bytes:
    """The file, to the byte as it was laid down.

    Raises:
        Invalid: it is not there (any more), or it is another one.
    """
    try:
        data = (_place(ctx, order.id) / _DATA).read_bytes()
    except OSError as error:
        raise _lost() from error
    if hashlib.sha256(data).hexdigest() != order.digest:
        raise _lost()
    return data


def is_there(ctx: Context, order_id: str) -> bool:
    """Whether a file still waits."""
    return (_place(ctx, order_id) / _ORDER).is_file()


def ask_to_stop(ctx: Context, order_id: str) -> None:
    """Have the job that works on it end before it writes anything."""
    with suppress(OSError):
        (_place(ctx, order_id) / _STOP).touch(mode=0o600)


def is_stopped(ctx: Context, order_id: str) -> bool:
    """Whether somebody asked for that."""
    return (_place(ctx, order_id) / _STOP).exists()


def go_on(ctx: Context, order_id: str) -> None:
    """Forget that it was to stop."""
    with suppress(OSError):
        (_place(ctx, order_id) / _STOP).unlink()


def take_away(ctx: Context, order_id: str) -> None:
    """Remove what is done or not wanted any more."""
    shutil.rmtree(_place(ctx, order_id), ignore_errors=True)


def sweep(ctx: Context) -> int:
    """Remove what has waited for more than two days; gives how many."""
    swept = 0
    with suppress(OSError):
        for folder in list(_root(ctx).iterdir()):
            with suppress(OSError):
                laid = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
                if ctx.now() - laid > KEPT:
                    shutil.rmtree(folder)
                    swept += 1
    return swept


def _root(ctx: Context) -> Path:
    return ctx.settings.instance_dir / "imports"


def _place(ctx: Context, order_id: str) -> Path:
    if not _ID.fullmatch(order_id):
        raise _lost()
    return _root(ctx) / order_id


def _values(order: Order) -> dict[str, Any]:
    options = asdict(order.options)
    tables = order.options.tables
    options["tables"] = None if tables is None else sorted(tables)
    return {
        "id": order.id,
        "name": order.name,
        "part": order.part,
        "digest": order.digest,
        "options": options,
        "choice": order.choice.as_values(),
        "fingerprint": order.fingerprint,
        "reason": order.reason,
    }


def _write(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _settle(folder: Path) -> None:
    with _opened(folder) as handle:
        os.fsync(handle)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _lost() -> Invalid:
    return Invalid(
        "The file of this import is no longer here; nothing was imported.",
        "Files are kept for two days. Choose the file again.",
    )
