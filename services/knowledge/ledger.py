"""Writing the knowledge base: every write is a change set, in one transaction.

A grid edit, an import, a restore and an undo all end here, so each has the same history.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from db.knowledge import change_sets, changes, content_digest, kept_skeleton, slides, state
from db.knowledge import entries as table
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Conflict
from services.knowledge.document import Kind, Row
from services.knowledge.entries import Entry, by_id
from services.knowledge.sections import path_of, pointer, rank
from services.knowledge.sliding import Slide, slid, slides_of


@dataclass(frozen=True)
class ChangeSet:
    """One write to the knowledge base: who, when, why, and how much."""

    id: str
    at: datetime
    author: str
    author_kind: str
    kind: str  # edit, bulk, import, restore, undo, rollback, purge
    reason: str
    added: int
    edited: int
    deleted: int
    notes: tuple[str, ...] = ()  # what was merged, for a person; not stored

    @property
    def total(self) -> int:
        """Entries that it touched."""
        return self.added + self.edited + self.deleted


class Ledger:
    """Collects the operations of one change set and writes them at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._added: list[Row] = []
        self._returned: list[tuple[int, int, Row]] = []
        self._edited: list[tuple[Entry, Row]] = []
        self._deleted: list[Entry] = []
        self._shifted: dict[int, int] = {}
        self._slides: list[Slide] = []
        self._placed: set[int] = set()

    def add(self, row: Row) -> None:
        """A new row, at the position it names."""
        self._added.append(row)

    def bring_back(self, entry_id: int, version: int, row: Row) -> None:
        """A row that was deleted stands again under its own id, so that its history goes on.

        Args:
            version: higher than any it ever had.
        """
        self._returned.append((entry_id, version, row))

    def edit(self, entry: Entry, row: Row, *, placed: bool = False) -> None:
        """The row becomes this; it stays in its section.

        Args:
            placed: its place is meant, even where it is the one it had: it does not slide.
        """
        self._edited.append((entry, row))
        if placed or entry.position != row.position:
            self._placed.add(entry.id)

    def delete(self, entry: Entry) -> None:
        """The row goes."""
        self._deleted.append(entry)

    def shift(self, entry_id: int, position: int) -> None:
        """The row makes room for others; its place among them, and its history, stay."""
        self._shifted[entry_id] = position

    def slide(self, section: str, first: int, last: int, by: int) -> None:
        """Every row that stands at these places of a section makes room, now, in one statement.

        The history keeps it as that, not row by row. What the change set itself says a place
        of, with `edit`, stands there in the end.
        """
        self._slides.append(Slide(section, first, last, by))
        self._connection.execute(
            update(table)
            .where(table.c.section == section, table.c.position.between(first, last))
            .values(position=table.c.position + by)
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be written."""
        return not (self._added or self._returned or self._edited or self._deleted)

    @property
    def _new(self) -> list[Row]:
        return [*self._added, *(row for _id, _version, row in self._returned)]

    def ensure_holders(self, section: str) -> None:
        """Make the groups above a section that are not there yet."""
        path = path_of(section)
        for depth in range(len(path)):
            above, key = pointer(path[:depth]), path[depth]
            pending = any((row.section, row.key) == (above, key) for row in self._new)
            found = select(table.c.id).where(table.c.section == above, table.c.key == key)
            if not pending and self._connection.scalar(found) is None:
                self.add(Row(above, key, Kind.GROUP, {}, self.place_for(above, key)))

    def place_for(self, section: str, key: str) -> int:
        """The position of a new key: where the registry has it, else behind the others."""
        mine = rank(section, key)
        if mine is not None:
            query = select(table.c.key, table.c.position).where(table.c.section == section)
            places = [(row.key, row.position) for row in self._connection.execute(query)]
            places += [(row.key, row.position) for row in self._new if row.section == section]
            behind = [
                position
                for other, position in places
                if (theirs := rank(section, other)) is not None and theirs > mine
            ]
            if behind:
                self._make_room(section, min(behind))
                return int(min(behind))
        highest = select(func.max(table.c.position)).where(table.c.section == section)
        last = self._connection.scalar(highest)
        pending = [row.position for row in self._new if row.section == section]
        return max([-1 if last is None else int(last), *pending]) + 1

    def _make_room(self, section: str, position: int) -> None:
        highest = select(func.max(table.c.position)).where(table.c.section == section)
        last = self._connection.scalar(highest)
        if last is not None and last >= position:
            self.slide(section, position, int(last), 1)

        def pushed(row: Row) -> Row:
            behind = row.section == section and row.position >= position
            return replace(row, position=row.position + 1) if behind else row

        self._added = [pushed(row) for row in self._added]
        self._returned = [(one, version, pushed(row)) for one, version, row in self._returned]
        self._edited = [
            (entry, pushed(row) if entry.id in self._placed else row) for entry, row in self._edited
        ]

    def write(
        self, ctx: Context, actor: Actor, kind: str, reason: str, change_set_id: str = ""
    ) -> ChangeSet:
        """Write everything with its history into the caller's transaction.

        Args:
            change_set_id: its name, where the caller has noted it down before.

        Raises:
            Conflict: somebody else wrote the same rows in between.
        """
        self._make_way()
        change_set = ChangeSet(
            change_set_id or uuid.uuid4().hex,
            ctx.now(),
            actor.name,
            actor.kind.value,
            kind,
            reason,
            _count(self._new),
            _count(row for _entry, row in self._edited),
            _count(entry.row for entry in self._deleted),
        )
        self._connection.execute(
            insert(change_sets).values(
                id=change_set.id,
                at=change_set.at,
                author_id=actor.id,
                author=actor.name,
                author_kind=actor.kind.value,
                kind=kind,
                reason=reason,
                relayed=False,
                number=select(func.coalesce(func.max(change_sets.c.number), 0) + 1)
                .select_from(change_sets)
                .scalar_subquery(),
                added=change_set.added,
                edited=change_set.edited,
                deleted=change_set.deleted,
            )
        )
        self._connection.execute(update(state).values(revision=change_set.id))
        try:
            told = [
                *self._write_deletes(),
                *self._write_edits(change_set),
                *self._write_returns(change_set),
                *self._write_adds(change_set),
            ]
        except IntegrityError as error:
            raise _moved() from error
        if self._slides:
            made_room = [{"change_set_id": change_set.id, **asdict(one)} for one in self._slides]
            self._connection.execute(insert(slides), made_room)
        if told:
            rows = [{"change_set_id": change_set.id, **change} for change in told]
            self._connection.execute(insert(changes), rows)
        return change_set

    def _make_way(self) -> None:
        """Let every shifted row slide, and what is edited with it."""
        ids = list(self._shifted)
        sections = {
            section
            for start in range(0, len(ids), 500)
            for section in self._connection.scalars(
                select(table.c.section).where(table.c.id.in_(ids[start : start + 500])).distinct()
            )
        }
        for section in sorted(sections):
            self._slide_shifted(section)
        self._edited = [
            (entry, replace(row, position=slid(self._slides, row.section, row.position)))
            if entry.id not in self._placed
            else (entry, row)
            for entry, row in self._edited
        ]

    def _slide_shifted(self, section: str) -> None:
        placed = self._placed | {entry.id for entry in self._deleted}
        query = select(table.c.id, table.c.position).where(table.c.section == section)
        order = query.order_by(table.c.position, table.c.id)
        rows = [row for row in self._connection.execute(order) if row.id not in placed]
        steps = [(row.position, self._shifted.get(row.id, row.position)) for row in rows]
        found = slides_of(section, steps)
        if found is not None:
            for one in found:
                self.slide(one.section, one.first, one.last, one.by)
            return
        # Two at one place, of which one goes: no slide can say that.
        edited = {entry.id for entry, _row in self._edited}
        single = [row.id for row in rows if row.id in self._shifted and row.id not in edited]
        for entry in by_id(self._connection, single).values():
            self.edit(entry, entry.row)
        self._edited = [
            (entry, replace(row, position=self._shifted[entry.id]))
            if row.section == section and entry.id in self._shifted
            else (entry, row)
            for entry, row in self._edited
        ]
        self._placed |= {row.id for row in rows}

    def _write_deletes(self) -> list[dict[str, Any]]:
        for start in range(0, len(self._deleted), 500):
            ids = [entry.id for entry in self._deleted[start : start + 500]]
            self._connection.execute(delete(table).where(table.c.id.in_(ids)))
        return [_change(entry.id, "delete", entry.row, None) for entry in self._deleted]

    def _write_edits(self, change_set: ChangeSet) -> list[dict[str, Any]]:
        if not self._edited:
            return []
        renamed = [entry for entry, row in self._edited if entry.key != row.key]
        for entry in renamed:
            # Two entries may swap their keys, which are unique at every moment. (No zero
            # byte: PostgreSQL has none in a text.)
            self._connection.execute(
                update(table).where(table.c.id == entry.id).values(key=f"\x01{entry.id}\x01")
            )
        done = self._connection.execute(
            update(table)
            .where(table.c.id == bindparam("row_id"), table.c.version == bindparam("row_version"))
            .values(version=table.c.version + 1),
            [
                {
                    "row_id": entry.id,
                    "row_version": entry.version,
                    "key": row.key,
                    "kind": row.kind,
                    "body": row.body,
                    "position": row.position,
                    "digest": content_digest(row.section, row.key, row.kind, row.body),
                    "skeleton": kept_skeleton(row.key),
                    "updated_at": change_set.at,
                    "updated_by": change_set.author,
                }
                for entry, row in self._edited
            ],
        )
        if done.rowcount not in (-1, len(self._edited)):
            raise _moved()
        return [_change(entry.id, "edit", entry.row, row) for entry, row in self._edited]

    def _write_returns(self, change_set: ChangeSet) -> list[dict[str, Any]]:
        if self._returned:
            self._connection.execute(
                insert(table),
                [
                    {"id": entry_id, **_values(row, version, change_set)}
                    for entry_id, version, row in self._returned
                ],
            )
        return [_change(entry_id, "add", None, row) for entry_id, _version, row in self._returned]

    def _write_adds(self, change_set: ChangeSet) -> list[dict[str, Any]]:
        if not self._added:
            return []
        ids = self._connection.scalars(
            insert(table).returning(table.c.id, sort_by_parameter_order=True),
            [_values(row, 1, change_set) for row in self._added],
        ).all()
        return [
            _change(row_id, "add", None, row) for row_id, row in zip(ids, self._added, strict=True)
        ]


def _values(row: Row, version: int, change_set: ChangeSet) -> dict[str, Any]:
    return {
        "section": row.section,
        "key": row.key,
        "kind": row.kind,
        "body": row.body,
        "position": row.position,
        "version": version,
        "updated_at": change_set.at,
        "updated_by": change_set.author,
        "digest": content_digest(row.section, row.key, row.kind, row.body),
        "skeleton": kept_skeleton(row.key),
    }


def _change(entry_id: int, action: str, before: Row | None, after: Row | None) -> dict[str, Any]:
    place = [(row.section, row.key, row.kind) for row in (after, before) if row]
    return {
        "entry_id": entry_id,
        "section": place[0][0],
        "key": place[0][1],
        "action": action,
        "kind": place[0][2],
        "before": _facts(before),
        "after": _facts(after),
    }


def _facts(row: Row | None) -> Mapping[str, Any] | None:
    if row is None:
        return None
    return {"key": row.key, "kind": row.kind, "body": row.body, "position": row.position}


def _count(rows: Iterable[Row]) -> int:
    # A group is only the place of others; a person counts entries.
    return sum(1 for row in rows if row.kind is not Kind.GROUP)


def _moved() -> Conflict:
    return Conflict(
        "Somebody else saved the same entries at the same moment; nothing of yours was saved.",
        "Your changes are still here: look at theirs, then save again.",
    )
