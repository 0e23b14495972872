"""How the shop's folder stands to the release that is current."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from db.knowledge import activations, releases
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import DeskError
from services.knowledge.document import canonical
from services.knowledge.json_reading import read_json
from services.knowledge.reading import read_module
from services.knowledge.releasing import git
from services.knowledge.releasing.folder import JSON, MODULE, Contents, Unusable, read_contents
from services.knowledge.releasing.holding import holds
from services.knowledge.releasing.model import Folder, FolderState
from services.knowledge.shapes import NotImportable
from services.knowledge.state import once_a_revision

_KEPT = 16
_digests: OrderedDict[tuple[str, str], str | NotImportable] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class Record:
    """What the desk knows of a folder: what is to be there, and what it wrote last."""

    current: str | None  # digest of the release that is current
    is_settled: bool  # that release was written here, and nothing is left to do
    problem: str | None
    written: Mapping[str, str]  # sha256 of the bytes it wrote here last
    written_digest: str | None  # and the digest of that release
    ours: frozenset[str]  # digests of releases that may lie here
    last: int | None = None  # the activation that wrote it last, its release, and when
    written_release: int | None = None
    written_at: datetime | None = None


def folder(ctx: Context, actor: Actor) -> Folder:
    """How the folder stands.

    Raises:
        Denied: without `kb.view`.
    """
    require(actor, Permission.KB_VIEW)
    return standing(ctx)


def standing(ctx: Context) -> Folder:
    """The same for a caller that asked already."""
    path = ctx.settings.publish_dir
    if path is None:
        return Folder(FolderState.NOT_SET)
    is_git = False
    try:
        contents = read_contents(path)
        checkout = git.find(path)
        is_git = checkout is not None
        if checkout is not None:
            git.require_ready(checkout, wait=0.5)
        with read_shop(ctx) as connection:
            return judge(connection, path, contents, is_git=is_git)
    except DeskError as error:
        return Folder(FolderState.UNUSABLE, path, error.message, error.hint, is_git)


def judge(connection: Connection, path: Path, contents: Contents, *, is_git: bool) -> Folder:
    """How files stand to what the desk knows of their folder.

    Raises:
        Unusable: the module that lies there can't be read; says where.
    """
    known = record_of(connection, path)
    found: dict[str, str | None] = {}
    for name, data in contents.items():
        if data is None:
            found[name] = None
            continue
        try:
            found[name] = _digest(name, data, known)
        except NotImportable as error:
            said = error.message.removesuffix(_NOT_IMPORTED)
            if name == MODULE:
                raise Unusable(
                    f"{path / MODULE}, into which releases are written, can't be read: {said}",
                    error.hint or "Put that file right, or move it away.",
                ) from error
            return _edited(path, name, data, f"It can't be read: {said}", is_git)
        if found[name] not in known.ours and not _holds(connection, name, data, known):
            why = (
                "It says something else than the release that the desk wrote."
                if known.written
                else "The desk did not write it, and has never held what it says."
            )
            return _edited(path, name, data, why, is_git)
    missing = "" if not git.is_missing(path) else _NO_GIT
    if known.current is not None and set(found.values()) == {known.current} and known.is_settled:
        return Folder(FolderState.CURRENT, path, missing, is_git=is_git)
    hint = "Publish the first release." if known.current is None else "Write it again."
    return Folder(FolderState.BEHIND, path, known.problem or missing, hint, is_git)


_NO_GIT = (
    "The folder lies in a git checkout, but git is not installed here: releases are written "
    "without commits."
)


def _edited(path: Path, name: str, data: bytes, why: str, is_git: bool) -> Folder:
    return Folder(
        FolderState.EDITED,
        path,
        f"{name} in {path} was changed by hand. {why}",
        "Import it, so that nothing is lost; then publish. Or publish over it.",
        is_git,
        (name, data),
    )


def _digest(name: str, data: bytes, known: Record) -> str:
    """Of the document that a file holds, as releases have it.

    Raises:
        NotImportable: it can't be read; says where.
    """
    key = (name, hashlib.sha256(data).hexdigest())
    if known.written.get(name) == key[1] and known.written_digest is not None:
        return known.written_digest
    with _lock:
        found = _digests.get(key)
    if found is None:
        found = _worked_out(name, data)
        with _lock:
            _digests[key] = found
            while len(_digests) > _KEPT:
                _digests.popitem(last=False)
    if isinstance(found, NotImportable):
        raise _afresh(found)
    return found


def _worked_out(name: str, data: bytes) -> str | NotImportable:
    """Its digest, or why it has none: that takes as long to find out, and holds as long."""
    try:
        return hashlib.sha256(canonical(_document(name, data))).hexdigest()
    except NotImportable as error:
        return _afresh(error)
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        return NotImportable(
            f"It holds half a character ({half!r}), which no file can.",
            "Put the whole character there, or remove it.",
        )


def _afresh(error: NotImportable) -> NotImportable:
    # One that was raised holds on to the file's bytes.
    return NotImportable(error.message.removesuffix(_NOT_IMPORTED), error.hint)


_NOT_IMPORTED = " Nothing was imported."


def _holds(connection: Connection, name: str, data: bytes, known: Record) -> bool:
    said = f"held {name} {hashlib.sha256(data).hexdigest()} {known.last} {known.written_release}"
    return once_a_revision(
        connection,
        said,
        lambda: holds(connection, _document(name, data), known.written_release, known.written_at),
    )


def _document(name: str, data: bytes) -> dict[str, Any]:
    return read_json(data) if name == JSON else read_module(data)


def record_of(connection: Connection, path: Path) -> Record:
    """What the desk knows of a folder, in the caller's transaction."""
    both = select(activations, releases.c.digest).join(releases)
    newest = connection.execute(both.order_by(activations.c.id.desc()).limit(1)).first()
    here = (activations.c.folder == str(path)) & activations.c.files.is_not(None)
    last = connection.execute(both.where(here).order_by(activations.c.id.desc()).limit(1)).first()
    if newest is None:
        return Record(None, False, None, {}, None, frozenset())
    since = select(releases.c.digest).join(activations)
    if last is not None:
        # A killed publisher may have left each file at any release since.
        since = since.where(activations.c.id >= last.id)
    ours = frozenset(connection.scalars(since))
    settled = last is not None and last.id == newest.id and newest.written_at is not None
    return Record(
        newest.digest,
        settled and newest.problem is None,
        newest.problem,
        last.files if last is not None else {},
        last.digest if last is not None else None,
        ours,
        *((last.id, last.release, last.at) if last is not None else ()),
    )
