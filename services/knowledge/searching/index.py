"""The search index of the knowledge base: a file in the desk's own folder, made from the rows.

It is the same for every database: the shop's is never written to, and a shop on PostgreSQL is
searched through the same full text index of SQLite (FTS5). Everything in it is derived: it is
no part of a backup, may be deleted at any time, and goes with the desk's folder. It holds the
texts themselves, so only the desk's account may read it (0600).

It is built for one revision of the knowledge base and brought up to date by whoever searches
another: entry by entry where the history says what changed since, else by comparing versions
and digests. Much to do is left to a thread of its own; until it is done, and wherever the file
can't be used, the rows themselves are looked through: slower, and right.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, func, select

from db.knowledge import changes
from db.knowledge import entries as table
from services.core.context import Context
from services.core.databases import read_shop
from services.knowledge.document import Kind
from services.knowledge.entries import cells_of
from services.knowledge.searching.file import ThrownAway, Unusable, forget, opened, path_of_index
from services.knowledge.searching.folding import fold, words_of
from services.knowledge.state import revision

__all__ = ["Ranking", "forget", "like_keys", "matching", "occurs", "ranked", "refresh"]

log = logging.getLogger("desk.search")

MUCH = 5_000
"""Entries to read anew from which on nobody waits for it."""
_CHUNK = 500
_BUSY_SECONDS = 0.25
_PATIENT_SECONDS = 60.0
"""How long a page, and a thread of its own, wait for another process that writes the index."""
_TRIGRAM = 3
_LIKE_GROUPS = 40
_KEY_COUNTS = 10.0
"""A word in the key weighs as much as ten in the text."""

T = TypeVar("T")


@dataclass(frozen=True)
class Ranking:
    """A page of what was found, the best first."""

    ids: tuple[int, ...]
    total: int


class _MuchToDo(Unusable):
    """More is to be read than a page may wait for."""


@dataclass(frozen=True, order=True)
class _Scanned:
    """An entry that the rows themselves gave, in the order in which `ranked` has them."""

    not_it: bool  # the key is not what was typed
    words_elsewhere: int  # that are not in the key
    length: int
    id: int


def matching(ctx: Context, connection: Connection, words: str) -> frozenset[int]:
    """Ids of the entries that hold every word, anywhere in their key or texts.

    Args:
        connection: of a reading transaction on the shop's database; what it sees is searched.
        words: as a person typed them; case, accents and width do not count, and any part of
            a word is found. Without a word, every entry matches.

    Raises:
        Invalid: more was typed than anybody searches for.
    """
    wanted = words_of(words)
    where, values = _condition(wanted)

    def ask(index: sqlite3.Connection) -> frozenset[int]:
        return frozenset(row[0] for row in index.execute(f"SELECT t.id {where}", values))

    try:
        return _use(ctx, connection, ask)
    except Unusable as error:
        _say(error)
        return frozenset(found.id for found in _scan(connection, wanted))


def occurs(ctx: Context, connection: Connection, words: str) -> bool:
    """Whether any entry holds every word; cheaper than counting or ranking them.

    Args:
        words: without a word, nothing is found.

    Raises:
        Invalid: more was typed than anybody searches for.
    """
    wanted = words_of(words)
    if not wanted:
        return False
    where, values = _condition(wanted)

    def ask(index: sqlite3.Connection) -> bool:
        return index.execute(f"SELECT 1 {where} LIMIT 1", values).fetchone() is not None

    try:
        return _use(ctx, connection, ask)
    except Unusable as error:
        _say(error)
        return next(_scan(connection, wanted), None) is not None


def ranked(ctx: Context, connection: Connection, words: str, limit: int, offset: int) -> Ranking:
    """A page of the entries that `matching` gives, the best first.

    The entry whose key is what was typed, then those with the most words in their key; among
    equals, by how often the words stand in how short a text (bm25).

    Args:
        words: without a word, nothing is found.
        limit: how many.
        offset: how many of the best are left out.

    Raises:
        Invalid: more was typed than anybody searches for.
    """
    wanted = words_of(words)
    if not wanted:
        return Ranking((), 0)
    try:
        return _use(ctx, connection, lambda index: _rank(index, wanted, limit, offset))
    except Unusable as error:
        _say(error)
        found = sorted(_scan(connection, wanted))
        return Ranking(tuple(one.id for one in found[offset : offset + limit]), len(found))


def like_keys(ctx: Context, connection: Connection, words: Iterable[str]) -> tuple[int, ...]:
    """Entries whose keys share the most groups of three letters with folded words.

    For a typing error; where the index can't be used, none.
    """
    typed = "_".join(words)
    groups = dict.fromkeys(typed[at : at + _TRIGRAM] for at in range(len(typed) - _TRIGRAM + 1))
    if not groups:
        return ()
    any_of = " OR ".join(_quoted(group) for group in list(groups)[:_LIKE_GROUPS])
    query = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT 20"

    def ask(index: sqlite3.Connection) -> tuple[int, ...]:
        return tuple(row[0] for row in index.execute(query, [f"key : ({any_of})"]))

    try:
        return _use(ctx, connection, ask)
    except Unusable as error:
        _say(error)
        return ()


def refresh(ctx: Context) -> None:
    """Bring the index up to date, however long it takes; where it can't be used, nothing.

    Raises:
        DeskError: the shop's database can't be read.
    """
    try:
        try:
            _build(ctx)
        except ThrownAway:
            _build(ctx)
    except Unusable as error:
        _say(error)


def _build(ctx: Context) -> None:
    with opened(ctx, _PATIENT_SECONDS) as index:
        index.execute("BEGIN IMMEDIATE")
        before = _built_for(index)
        # A reader of an SQLite shop holds up its writers: it is left before the work begins.
        with read_shop(ctx) as connection:
            now = revision(connection)
            if before == now:
                return
            gone, changed = _changed(connection, index, before)
        # What is saved from here on is read as it is then, and again by the next who searches:
        # the history tells that it came after this revision.
        rows = list(_read_calmly(ctx, changed))
        _bring_up(index, gone, rows, now)
        index.execute("COMMIT")


def _condition(wanted: Sequence[str]) -> tuple[str, list[str]]:
    """FROM and WHERE of what holds every word; one too short for the index is looked for."""
    short = [word for word in wanted if len(word) < _TRIGRAM]
    long = [_quoted(word) for word in wanted if len(word) >= _TRIGRAM]
    tests = ["(instr(t.key, ?) OR instr(t.text, ?))"] * len(short)
    values = [word for word in short for _ in range(2)]
    if not long:
        return f"FROM texts t WHERE {' AND '.join(tests) or 'TRUE'}", values
    where = " AND ".join(["words MATCH ?", *tests])
    source = "FROM words JOIN texts t ON t.id = words.rowid"
    return f"{source} WHERE {where}", [" AND ".join(long), *values]


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _rank(index: sqlite3.Connection, wanted: Sequence[str], limit: int, offset: int) -> Ranking:
    where, values = _condition(wanted)
    total = index.execute(f"SELECT count(*) {where}", values).fetchone()[0]
    in_key = " + ".join(["(instr(t.key, ?) > 0)"] * len(wanted))
    score = f"bm25(words, {_KEY_COUNTS}, 1.0)" if "MATCH" in where else "length(t.text)"
    order = f"{_BARE_KEY} = ? DESC, {in_key} DESC, {score}, t.id"
    rows = index.execute(
        f"SELECT t.id {where} ORDER BY {order} LIMIT ? OFFSET ?",
        [*values, _bare("".join(wanted)), *wanted, limit, offset],
    )
    return Ranking(tuple(row[0] for row in rows), total)


_BARE_KEY = "replace(replace(replace(t.key, '_', ''), '-', ''), ' ', '')"


def _bare(key: str) -> str:
    return key.replace("_", "").replace("-", "").replace(" ", "")


def _use(ctx: Context, connection: Connection, ask: Callable[[sqlite3.Connection], T]) -> T:
    """What the index answers for exactly the state that the shop's connection sees.

    Raises:
        Unusable: it can't be had, or not soon.
    """
    path = path_of_index(ctx)
    if path in _being_built:
        raise Unusable("it is being built")
    now = revision(connection)
    try:
        try:
            return _ask(ctx, connection, now, ask)
        except ThrownAway:
            return _ask(ctx, connection, now, ask)
    except _MuchToDo:
        _leave_to_a_thread(ctx, path)
        raise


def _ask(
    ctx: Context, connection: Connection, now: str, ask: Callable[[sqlite3.Connection], T]
) -> T:
    with opened(ctx, _BUSY_SECONDS) as index:
        index.execute("BEGIN")
        if _built_for(index) == now:
            return ask(index)
        index.execute("ROLLBACK")
        index.execute("BEGIN IMMEDIATE")
        before = _built_for(index)
        if before != now:
            gone, rows = _to_do(connection, index, before, MUCH)
            _bring_up(index, gone, rows, now)
        found = ask(index)
        index.execute("COMMIT")
        return found


_being_built: set[Path] = set()
_guard = threading.Lock()


def _leave_to_a_thread(ctx: Context, path: Path) -> None:
    with _guard:
        if path in _being_built:
            return
        _being_built.add(path)

    def build() -> None:
        try:
            refresh(ctx)
        except Exception:
            log.warning("the search index could not be built", exc_info=True)
        finally:
            with _guard:
                _being_built.discard(path)

    threading.Thread(target=build, name="search-index", daemon=True).start()


def _built_for(index: sqlite3.Connection) -> str | None:
    row = index.execute("SELECT revision FROM built").fetchone()
    return row[0] if row else None


_Folded = tuple[int, int, str, str, str]


def _to_do(
    connection: Connection, index: sqlite3.Connection, before: str | None, at_most: int
) -> tuple[set[int], list[_Folded]]:
    """Ids to take out of the index, and rows to put in.

    Raises:
        _MuchToDo: they are more than that.
    """
    gone, changed = _changed(connection, index, before)
    if len(changed) > at_most:
        raise _MuchToDo(f"{len(changed)} entries are to be read")
    return gone, list(_read(connection, changed))


def _changed(
    connection: Connection, index: sqlite3.Connection, before: str | None
) -> tuple[set[int], set[int]]:
    """Ids to take out of the index, and of what is to be read for it."""
    changed = _changed_since(connection, before) if before else None
    if changed is not None:
        return changed, changed  # those that still stand are put in again
    return _differing(connection, index)


def _bring_up(index: sqlite3.Connection, gone: set[int], rows: list[_Folded], now: str) -> None:
    _take_out(index, gone)
    index.executemany("INSERT INTO texts VALUES (?, ?, ?, ?, ?)", rows)
    for some in _chunks(row[0] for row in rows):
        index.execute(f"{_INTO_WORDS} WHERE id IN ({_marks(some)})", some)
    index.execute("INSERT OR REPLACE INTO built VALUES (1, ?)", [now])


_INTO_WORDS = "INSERT INTO words (rowid, key, text) SELECT id, key, text FROM texts"


def _changed_since(connection: Connection, before: str) -> set[int] | None:
    """Entries that were touched since a revision; None where the history can't tell, or many.

    Change sets are written one after the other, so their rows are in the order of time. A
    database that was restored does not know the revision, or goes on from it.
    """
    mine = changes.c.change_set_id == before
    last = connection.scalar(select(func.max(changes.c.id)).where(mine))
    if last is None:
        return None
    since = select(changes.c.entry_id).where(changes.c.id > last).limit(MUCH + 1)
    found = list(connection.scalars(since))
    return None if len(found) > MUCH else set(found)


def _differing(connection: Connection, index: sqlite3.Connection) -> tuple[set[int], set[int]]:
    """Ids of what stands in the index and should not, and of what is to be read for it."""
    query = select(table.c.id, table.c.version, table.c.digest).where(table.c.kind != Kind.GROUP)
    wanted = {row[0]: (row[1], row[2]) for row in connection.execute(query)}
    there = {row[0]: row[1:] for row in index.execute("SELECT id, version, digest FROM texts")}
    gone = {number for number, facts in there.items() if wanted.get(number) != facts}
    return gone, {number for number, facts in wanted.items() if there.get(number) != facts}


def _take_out(index: sqlite3.Connection, gone: set[int]) -> None:
    for some in _chunks(gone):
        among = f"FROM texts WHERE id IN ({_marks(some)})"
        index.execute(
            f"INSERT INTO words (words, rowid, key, text) SELECT 'delete', id, key, text {among}",
            some,
        )
        index.execute(f"DELETE {among}", some)


def _read(connection: Connection, wanted: set[int]) -> Iterator[_Folded]:
    for some in _chunks(wanted):
        for row in connection.execute(_BODIES.where(table.c.id.in_(some))):
            yield row.id, row.version, row.digest, fold(row.key), _text(row)


def _read_calmly(ctx: Context, wanted: set[int]) -> Iterator[_Folded]:
    """The same, a few at a time: a reader of an SQLite shop holds up its writers."""
    for some in _chunks(wanted):
        with read_shop(ctx) as connection:
            rows = list(_read(connection, set(some)))
        yield from rows


_BODIES = select(
    table.c.id, table.c.version, table.c.digest, table.c.key, table.c.kind, table.c.body
).where(table.c.kind != Kind.GROUP)


def _text(row: Any) -> str:
    return fold("\n".join(cells_of(row.kind, row.body).values()))


def _chunks(numbers: Iterable[int]) -> Iterator[list[int]]:
    ordered = sorted(numbers)
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]


def _marks(some: Sequence[int]) -> str:
    return ",".join("?" * len(some))


def _scan(connection: Connection, wanted: Sequence[str]) -> Iterator[_Scanned]:
    """What the index would give, from the rows themselves."""
    typed = _bare("".join(wanted))
    for row in connection.execute(_BODIES):
        key, text = fold(row.key), _text(row)
        if all(word in key or word in text for word in wanted):
            elsewhere = sum(word not in key for word in wanted)
            yield _Scanned(_bare(key) != typed, elsewhere, len(text), row.id)


def _say(error: Unusable) -> None:
    log.info("the entries themselves are searched: %s", error)
