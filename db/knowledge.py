"""The `kb_*` tables that the desk keeps in the shop's database, and nothing else there."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    cast,
    func,
)

from db.control import NAMING, UtcDateTime


class ExactJson(TypeDecorator[Any]):
    """Any JSON value, kept to the last digit.

    A column declared JSON has numeric affinity in SQLite: a bare 9223372036854775808 or 1.0
    would come back as another number. As TEXT it stays what was written.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """Write the value as JSON; None is JSON's null."""
        return json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Read it back."""
        return None if value is None else json.loads(value)


VERSION_TABLE = "kb_alembic_version"

metadata = MetaData(naming_convention=NAMING)

entries = Table(
    "kb_entries",
    metadata,
    Column("id", Integer, primary_key=True),
    # Path of the dict that holds the entry, as an RFC 6901 pointer: "" is the root,
    # "/color_matching/by_color" one below. Keys may hold any character.
    Column("section", String(400), nullable=False),
    Column("key", String(400), nullable=False),
    Column("kind", String(10), nullable=False),  # text, record, group (a dict of entries), value
    Column("body", ExactJson, nullable=False),  # a text; {field: text}; {} for a group; any JSON
    Column("position", Integer, nullable=False),  # order within the section
    Column("version", Integer, nullable=False, default=1),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("updated_by", String(120), nullable=False),
    UniqueConstraint("section", "key"),
    sqlite_autoincrement=True,  # an id is never given twice: history refers to it
)

change_sets = Table(
    "kb_change_sets",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("author_id", String(120), nullable=False),
    Column("author", String(120), nullable=False),
    Column("author_kind", String(20), nullable=False),
    Column("kind", String(20), nullable=False),  # edit, import, restore, undo
    Column("reason", Text, nullable=False),
    Column("relayed", Boolean, nullable=False, default=False),  # copied to the audit log
)

changes = Table(
    "kb_changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("change_set_id", ForeignKey(change_sets.c.id), nullable=False, index=True),
    Column("entry_id", Integer, nullable=False),
    Column("section", String(400), nullable=False),
    Column("key", String(400), nullable=False),
    Column("action", String(10), nullable=False),  # add, edit, delete
    Column("before", JSON),  # {"key", "kind", "body", "position"} or NULL
    Column("after", JSON),
    Index("ix_kb_changes_entry", "section", "key"),
)

restores = Table(
    "kb_restores",
    metadata,
    # Written into the staged copy before it replaces the live content, in the same atomic
    # step: its presence tells whether a killed restore had reached the live database.
    Column("job_id", String(32), primary_key=True),
    Column("snapshot_id", String(40), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)


def changes_group() -> ColumnElement[bool]:
    """Whether a row of `changes` is of a group: a dict of entries, which no person counts."""
    return _changes_of_kind("group")


def changes_purged() -> ColumnElement[bool]:
    """Whether the texts of a row of `changes` were removed for good."""
    return _changes_of_kind("purged")


def _changes_of_kind(kind: str) -> ColumnElement[bool]:
    """Read from the beginning of the text, as the desk writes it: asked for a field,
    PostgreSQL takes the whole document apart, and fails over a zero byte in any of its texts.
    """
    after, before = (cast(side, Text) for side in (changes.c.after, changes.c.before))
    newer = func.coalesce(func.nullif(after, "null"), before)
    return newer.regexp_match(rf'^\{{"key": "([^"\\]|\\.)*", "kind": "{kind}"')
