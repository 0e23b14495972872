"""The knowledge bases that a question can be put to: saved, unsaved, a release, the shop's own.

What is saved is read as it is asked, one key or one text at a time: at 100,000 entries nobody
waits for the whole of it. A release, and the shop's module, can only be read as a whole: the
last few are kept, of them only what answers are made of.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from db.knowledge import activations, releases
from db.knowledge import entries as table
from services.core.context import Context
from services.core.errors import DeskError, Invalid
from services.knowledge.asking import ASKED, asked_part, document_of, exact_keys
from services.knowledge.changes import Add, Change, Edit
from services.knowledge.document import Kind, Row, from_rows
from services.knowledge.entries import TEXT, Entry, by_id
from services.knowledge.reading import read_file
from services.knowledge.releasing.archive import document_of as document_of_release
from services.knowledge.sections import Shape, part_at, path_of, pointer

_KEPT = 3
_AT_ONCE = 500
_documents: OrderedDict[tuple[str, ...], Mapping[str, Any] | DeskError] = OrderedDict()
_lock = threading.Lock()


class _Saved(Mapping[str, Any]):
    """One section as the database has it, for as long as the transaction lasts."""

    def __init__(self, connection: Connection, where: str) -> None:
        self._connection = connection
        self._where = where
        self._rows: dict[str, tuple[str, Any] | None] = {}  # kind and body; None: no such key

    def fetch(self, keys: Iterable[str]) -> None:
        """Read these keys at once, for they will be asked for one by one."""
        wanted = sorted(set(keys) - set(self._rows))
        columns = (table.c.key, table.c.kind, table.c.body)
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            self._rows |= dict.fromkeys(some)
            mine = (table.c.section == self._where) & table.c.key.in_(some)
            for key, kind, body in self._connection.execute(select(*columns).where(mine)):
                self._rows[key] = (kind, body)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        self.fetch([key])
        return self._rows[key] is not None

    def __iter__(self) -> Iterator[str]:
        query = select(table.c.key).where(table.c.section == self._where)
        order = query.order_by(table.c.position, table.c.id)
        found = self._connection.scalars(order.execution_options(yield_per=2000))
        try:
            yield from found
        finally:
            found.close()  # whoever asks stops at the first key that fits

    def __len__(self) -> int:
        return sum(1 for _key in self)

    def __getitem__(self, key: str) -> Any:
        self.fetch([key])
        row = self._rows[key]
        if row is None:
            raise KeyError(key)
        kind, body = row
        return body if kind != Kind.GROUP else self._group(key)

    def _group(self, key: str) -> Any:
        # A dict where the shop has a text: kept as it is, and answered as it is.
        where = self._where + pointer((key,))
        inside = (table.c.section == where) | table.c.section.startswith(
            where + "/", autoescape=True
        )
        columns = (table.c.section, table.c.key, table.c.kind, table.c.body, table.c.position)
        held: Any = from_rows(
            Row(s, k, Kind(kind), body, at)
            for s, k, kind, body, at in self._connection.execute(select(*columns).where(inside))
        )
        for step in path_of(where):
            held = held.get(step, {})
        return held


class _Edited(Mapping[str, Any]):
    """A section with edits on top that nobody has saved."""

    def __init__(self, base: Mapping[str, Any]) -> None:
        self._base = base
        self._instead: dict[str, tuple[str, Any] | None] = {}
        self._added: dict[str, Any] = {}

    def put(self, edit: Change, entry: Entry | None) -> None:
        """Put one edit on top."""
        if isinstance(edit, Add):
            self._added[edit.key] = _body(edit)
        elif entry is not None:
            self._instead[entry.key] = _changed(edit, entry)

    @property
    def _others(self) -> dict[str, Any]:
        changed = {one[0]: one[1] for one in self._instead.values() if one is not None}
        return {**changed, **self._added}

    def __contains__(self, key: object) -> bool:
        return key in self._others or (key not in self._instead and key in self._base)

    def __iter__(self) -> Iterator[str]:
        for key in self._base:
            if key not in self._instead:
                yield key
            elif (other := self._instead[key]) is not None:
                yield other[0]
        yield from self._added

    def __len__(self) -> int:
        return sum(1 for _key in self)

    def __getitem__(self, key: str) -> Any:
        others = self._others
        if key in others:
            return others[key]
        if key in self._instead:
            raise KeyError(key)
        return self._base[key]


def _body(edit: Add) -> Any:
    part = part_at(edit.section)
    if part is not None and part.shape is Shape.RECORDS:
        return dict(edit.cells)
    return edit.cells.get(TEXT, "")


def _changed(edit: Change, entry: Entry) -> tuple[str, Any] | None:
    if not isinstance(edit, Edit):
        return None
    key = entry.key if edit.key_after is None else edit.key_after
    if entry.kind is Kind.RECORD:
        return key, {**entry.cells, **edit.after}
    if entry.kind is Kind.TEXT:
        return key, edit.after.get(TEXT, entry.body)
    return key, entry.body


def saved(connection: Connection, questions: Sequence[str] = ()) -> dict[str, Any]:
    """What is saved, to be asked for as long as this transaction lasts.

    Args:
        questions: that will be asked, where there are many.
    """
    sections = {where: _Saved(connection, where) for where in ASKED}
    for held in sections.values() if questions else ():
        held.fetch(exact_keys(questions))
    return document_of(sections)


def unsaved(connection: Connection, edits: Sequence[Change]) -> dict[str, Any]:
    """What would be saved if these edits were."""
    there = by_id(connection, [edit.entry_id for edit in edits if not isinstance(edit, Add)])
    sections = {where: _Edited(_Saved(connection, where)) for where in ASKED}
    for edit in edits:
        entry = None if isinstance(edit, Add) else there.get(edit.entry_id)
        where = edit.section if isinstance(edit, Add) else entry.section if entry else ""
        if where in sections:
            sections[where].put(edit, entry)
    return document_of(sections)


def first_keys(connection: Connection) -> list[str]:
    """One key of each section that answers, as far as it has any."""
    firsts = (next(iter(_Saved(connection, where)), None) for where in ASKED)
    return [key for key in firsts if key is not None]


def release(connection: Connection, number: int) -> Mapping[str, Any]:
    """What a release says, as far as it can be asked.

    Raises:
        Broken: it is not what it was when it was made.
    """
    digest = connection.scalar(select(releases.c.digest).where(releases.c.number == number))
    mark = ("release", str(number), str(digest))
    return _kept(mark, lambda: document_of_release(connection, number))


@dataclass(frozen=True)
class Module:
    """The shop's own module, as far as it can be asked."""

    path: Path
    mark: str  # another one with every change of the file
    is_published: bool  # it is what the current release wrote
    document: Mapping[str, Any]


def shop_module(ctx: Context, connection: Connection) -> Module | None:
    """What the shop says today; None where it has no module beside the desk.

    Raises:
        DeskError: there is one, and it can't be read.
    """
    path = ctx.settings.shop_kb_module
    try:
        facts = path.stat()
    except OSError:
        return None
    mark = (str(path), str(facts.st_ino), str(facts.st_mtime_ns), str(facts.st_size))
    newest = select(activations.c.files).order_by(activations.c.id.desc()).limit(1)
    written = connection.scalar(newest) or {}
    if _digest(path, mark) in written.values():
        return Module(path, " ".join(mark), True, {})
    document = _kept(("module", *mark), lambda: read_file(path.name, _read(path)))
    return Module(path, " ".join(mark), False, document)


_digests: dict[tuple[str, ...], str] = {}


def _digest(path: Path, mark: tuple[str, ...]) -> str:
    if mark not in _digests:
        found = hashlib.sha256(_read(path)).hexdigest()
        _digests.clear()
        _digests[mark] = found
    return _digests[mark]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(
            f"The shop's knowledge module at {path} can't be read ({error.strerror}).",
            "Give the account that runs the desk read permission on it.",
        ) from error


def _kept(mark: tuple[str, ...], read_it: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Read it once, or fail as it failed once: neither a release nor that file changes."""
    with _lock:
        if mark in _documents:
            _documents.move_to_end(mark)
            return _given(_documents[mark])
    try:
        found: Mapping[str, Any] | DeskError = asked_part(read_it())
    except DeskError as error:
        found = error
    with _lock:
        _documents[mark] = found
        while len(_documents) > _KEPT:
            _documents.popitem(last=False)
    return _given(found)


def _given(found: Mapping[str, Any] | DeskError) -> Mapping[str, Any]:
    if isinstance(found, DeskError):
        raise type(found)(found.message, found.hint)
    return found
