"""What differs between two releases, or between one and what is saved."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.knowledge import asked
from services.knowledge.document import Kind
from services.knowledge.entries import by_id, cells_of
from services.knowledge.history import EntryChange, FieldChange
from services.knowledge.releasing import golden
from services.knowledge.releasing.archive import (
    Member,
    document_of,
    members_of,
    saved_members,
)
from services.knowledge.releasing.model import SHOWN, AnswerChange, Comparison
from services.knowledge.sections import path_of, pointer
from services.knowledge.validation import KEY

VALUE = "value"
"""Name of the only cell of what is neither a text nor a record."""

_NO_TIME = datetime.min.replace(tzinfo=UTC)

Pair = tuple[Member | None, Member | None]
"""An entry before and after; None where it is not there."""


@dataclass(frozen=True)
class Difference:
    """Which entries differ between two states, groups left out, in the order of sections."""

    pairs: tuple[Pair, ...]
    moved: int

    @property
    def added(self) -> int:
        """Entries that are there only afterwards."""
        return sum(1 for before, _after in self.pairs if before is None)

    @property
    def deleted(self) -> int:
        """Entries that are there only before."""
        return sum(1 for _before, after in self.pairs if after is None)

    @property
    def edited(self) -> int:
        """Entries that say something else."""
        return len(self.pairs) - self.added - self.deleted


def compare(ctx: Context, actor: Actor, before: int | None, after: int | None) -> Comparison:
    """What leads from one state to another.

    Args:
        before: a release; None for nothing at all.
        after: a release; None for what is saved now.

    Raises:
        Denied: without `kb.view`.
        Invalid: there is no such release.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        return comparison(connection, before, after)


def more(
    ctx: Context, actor: Actor, before: int | None, after: int | None, offset: int
) -> tuple[EntryChange, ...]:
    """The changes of a comparison from one of them on, `SHOWN` at most: all are in reach.

    Args:
        before: a release; None for nothing at all.
        after: a release; None for what is saved now, which may be more than was compared.
        offset: how many come before; 0 or more.

    Raises:
        Denied: without `kb.view`.
        Invalid: there is no such release.
    """
    require(actor, Permission.KB_VIEW)
    offset = max(offset, 0)
    with read_shop(ctx) as connection:
        pairs = _difference(connection, before, after).pairs[offset : offset + SHOWN]
        return _told(connection, _Documents(connection), pairs, before, after)


def comparison(connection: Connection, before: int | None, after: int | None) -> Comparison:
    """The same in the caller's transaction."""
    found = _difference(connection, before, after)
    documents = _Documents(connection)
    told = _told(connection, documents, found.pairs[:SHOWN], before, after)
    answers: tuple[AnswerChange, ...] = ()
    questions = [one.question for one in golden.asked(connection)]
    if questions and (found.pairs or found.moved):
        then = {} if before is None else documents.to_ask(before)
        now = asked.saved(connection, questions) if after is None else documents.to_ask(after)
        answers, _count = golden.changes(connection, then, now)
    return Comparison(
        before,
        after,
        told,
        found.added,
        found.edited,
        found.deleted,
        found.moved,
        answers,
        len(questions),
    )


def _difference(connection: Connection, before: int | None, after: int | None) -> Difference:
    old = () if before is None else members_of(connection, before)
    new = saved_members(connection) if after is None else members_of(connection, after)
    return difference(old, new)


def difference(before: Sequence[Member], after: Sequence[Member]) -> Difference:
    """Compare by id, and by place where an entry was deleted and made again. Pure."""
    matched, pairs = _matched(before, after)
    groups = sum(1 for one, other in pairs if _is_group(one, other))
    differing = tuple(pair for pair in pairs if not _is_group(*pair))
    moved = _moved(before, after, matched)
    if not differing and not moved:
        moved = groups  # a dict of entries that is empty, and came or went
    return Difference(differing, moved)


def _matched(
    before: Sequence[Member], after: Sequence[Member]
) -> tuple[dict[int, Member], list[Pair]]:
    """Who was who, by the later id; and whoever differs, came or went."""
    lost = {member.id: member for member in before}
    there: list[Pair] = []
    new: list[Member] = []
    matched: dict[int, Member] = {}
    for member in after:
        old = lost.pop(member.id, None)
        if old is None:
            new.append(member)
            continue
        matched[member.id] = old
        if old.digest != member.digest:
            there.append((old, member))
    places = {member.pointer: member for member in lost.values()}
    for member in new:
        old = places.pop(member.pointer, None)
        if old is None:
            there.append((None, member))
            continue
        matched[member.id] = old
        if old.digest != member.digest:
            there.append((old, member))
    there += [(member, None) for member in places.values()]
    return matched, sorted(there, key=_place)


def _place(pair: Pair) -> tuple[str, str]:
    member = pair[1] or pair[0]
    return _cut(member.pointer) if member else ("", "")


def _cut(where: str) -> tuple[str, str]:
    section, _slash, key = where.rpartition("/")
    return section, key


def _is_group(before: Member | None, after: Member | None) -> bool:
    return all(member is None or member.is_group for member in (before, after))


def _moved(before: Sequence[Member], after: Sequence[Member], matched: Mapping[int, Member]) -> int:
    places = {member.id: place for place, member in enumerate(before)}
    order: dict[str, list[int]] = defaultdict(list)
    for member in after:
        old = matched.get(member.id)
        if old is not None:
            order[_cut(member.pointer)[0]].append(places[old.id])
    return sum(len(held) - _longest_run(held) for held in order.values())


def _longest_run(places: Sequence[int]) -> int:
    """How many can stay where they are: the longest sequence that grows."""
    tails: list[int] = []
    for place in places:
        if not tails or place > tails[-1]:
            tails.append(place)
        else:
            tails[bisect_left(tails, place)] = place
    return len(tails)


class _Documents:
    """Whole releases, each read once and only when something asks for it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[int, Mapping[str, Any]] = {}

    def of(self, number: int) -> Mapping[str, Any]:
        """A release."""
        if number not in self._known:
            self._known[number] = document_of(self._connection, number)
        return self._known[number]

    def to_ask(self, number: int) -> Mapping[str, Any]:
        """As much of a release as answers are made of."""
        return self._known.get(number) or asked.release(self._connection, number)


def _told(
    connection: Connection,
    documents: _Documents,
    pairs: Sequence[Pair],
    before: int | None,
    after: int | None,
) -> tuple[EntryChange, ...]:
    was = [old for old, _new in pairs if old is not None]
    now = [new for _old, new in pairs if new is not None]
    olds = _cells(documents.of(before), was) if was and before is not None else {}
    if after is None:
        saved = by_id(connection, [new.id for new in now])
        news = {entry: _shown(one.key, one.kind, one.body) for entry, one in saved.items()}
    else:
        news = _cells(documents.of(after), now) if now else {}
    return tuple(
        _change(old, new, olds.get(old.id, {}) if old else {}, news.get(new.id, {}) if new else {})
        for old, new in pairs
    )


def _cells(document: Mapping[str, Any], members: Iterable[Member]) -> dict[int, dict[str, str]]:
    found = {}
    for member in members:
        body: Any = document
        path = path_of(member.pointer)
        for step in path:
            body = body[step]
        kind = Kind.TEXT if isinstance(body, str) else Kind.VALUE
        if isinstance(body, Mapping):
            kind = Kind.GROUP if member.is_group else Kind.RECORD
        found[member.id] = _shown(path[-1], kind, body)
    return found


def _shown(key: str, kind: Kind, body: Any) -> dict[str, str]:
    if kind is Kind.VALUE:
        return {KEY: key, VALUE: json.dumps(body, ensure_ascii=False)}
    return {KEY: key, **cells_of(kind, body)}


def _change(
    old: Member | None, new: Member | None, before: dict[str, str], after: dict[str, str]
) -> EntryChange:
    member = new or old
    path = path_of(member.pointer) if member else ("",)
    action = "add" if old is None else "delete" if new is None else "edit"
    fields = tuple(
        FieldChange(name, before.get(name), after.get(name))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    )
    return EntryChange(
        member.id if member else 0,
        pointer(path[:-1]),
        path[-1],
        action,
        fields,
        "",
        _NO_TIME,
        "",
        "release",
    )
