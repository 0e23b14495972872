"""The `kb_*` tables that the desk keeps in the shop's database, and nothing else there."""

from __future__ import annotations

import hashlib
import json
import unicodedata
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
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
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

SKELETON = 120
"""So many characters of a key's skeleton are kept; two keys that share them are looked at."""

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
    # Of what the entry says, not of its place: two equal ones say the same (`content_digest`).
    Column("digest", String(32), nullable=False, server_default=""),
    # Of the key (`skeleton`): a new one's twins are found without reading all others.
    Column("skeleton", String(SKELETON), nullable=False, server_default=""),
    UniqueConstraint("section", "key"),
    Index("ix_kb_entries_skeleton", "section", "skeleton"),
    Index("ix_kb_entries_order", "section", "position", "id"),
    # How many each section has, and who changed it last, without reading the texts.
    Index("ix_kb_entries_changed", "section", "updated_at", "updated_by", "kind"),
    sqlite_autoincrement=True,  # an id is never given twice: history refers to it
)

change_sets = Table(
    "kb_change_sets",
    metadata,
    Column("id", String(32), primary_key=True),
    # In the order in which they were written, whatever the clock said.
    Column("number", Integer, nullable=False, server_default="0", index=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("author_id", String(120), nullable=False),
    Column("author", String(120), nullable=False),
    Column("author_kind", String(20), nullable=False),
    Column("kind", String(20), nullable=False),  # edit, bulk, import, restore, undo, rollback
    Column("reason", Text, nullable=False),
    Column("relayed", Boolean, nullable=False, default=False),  # copied to the audit log
    # Entries it touched; groups, which no person counts, are left out.
    Column("added", Integer, nullable=False, server_default="0"),
    Column("edited", Integer, nullable=False, server_default="0"),
    Column("deleted", Integer, nullable=False, server_default="0"),
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
    Column("kind", String(10), nullable=False, server_default=""),  # of the entry, or purged
    Column("before", JSON),  # {"key", "kind", "body", "position"} or NULL
    Column("after", JSON),
    Index("ix_kb_changes_entry", "section", "key"),
    Index("ix_kb_changes_entry_id", "entry_id"),
    Index("ix_kb_changes_action", "action", "id", "kind", "entry_id"),
)

slides = Table(
    "kb_slides",
    metadata,
    # Entries that made room for others in a change set, which says nothing else of them:
    # those that stood at these places of a section before moved on by so many, one row of
    # this table after the other.
    Column("id", Integer, primary_key=True),
    Column("change_set_id", ForeignKey(change_sets.c.id), nullable=False, index=True),
    Column("section", String(400), nullable=False),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("by", Integer, nullable=False),
)

state = Table(
    "kb_state",
    metadata,
    Column("id", Integer, primary_key=True),  # one row, 1
    # Another one with every change set: what was worked out for a revision holds for it alone.
    Column("revision", String(32), nullable=False),
)

releases = Table(
    "kb_releases",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("author_id", String(120), nullable=False),
    Column("author", String(120), nullable=False),
    Column("notes", Text, nullable=False),
    Column("revision", String(32), nullable=False),  # of the knowledge base it was made from
    Column("digest", String(64), nullable=False),  # sha256 of the canonical JSON, hexadecimal
    Column("entries", Integer, nullable=False),
    Column("added", Integer, nullable=False),  # beside the release that was current
    Column("edited", Integer, nullable=False),
    Column("deleted", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),  # canonical JSON, zlib
    # JSON [[entry id, digest, pointer, whether it is a group], ...], zlib
    Column("members", LargeBinary, nullable=False),
)

activations = Table(
    "kb_activations",
    metadata,
    # Which release was made current when: the newest row says which one is.
    Column("id", Integer, primary_key=True),
    Column("release", ForeignKey(releases.c.number), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("author_id", String(120), nullable=False),
    Column("author", String(120), nullable=False),
    Column("author_kind", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("relayed", Boolean, nullable=False, default=False),  # copied to the audit log
    # What came of writing it to KB_PUBLISH_DIR.
    Column("written_at", UtcDateTime),
    Column("folder", Text),
    Column("files", JSON),  # {name: sha256 of its bytes}
    Column("commit_id", String(64)),
    Column("tag", String(120)),
    Column("problem", Text),
    sqlite_autoincrement=True,
)

published = Table(
    "kb_published",
    metadata,
    # The entries of the release that is current: what differs from them is not published.
    Column("entry_id", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(32), nullable=False),
)

schedules = Table(
    "kb_schedules",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("release", ForeignKey(releases.c.number), nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("author_id", String(120), nullable=False),
    Column("author", String(120), nullable=False),
    Column("author_kind", String(20), nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("state", String(20), nullable=False),  # waiting, done, cancelled, failed
    Column("ended_at", UtcDateTime),
    Column("problem", Text),
    sqlite_autoincrement=True,
)

dismissals = Table(
    "kb_dismissals",
    metadata,
    # Findings that somebody looked at and means to leave.
    Column("finding", String(64), primary_key=True),  # sha256 of the finding's id
    Column("check_name", String(40), nullable=False),
    Column("entry_id", Integer, nullable=False),
    Column("field", String(400), nullable=False),
    Column("digest", String(32), nullable=False),  # of the entry then: changed, it counts again
    Column("reason", Text, nullable=False),
    Column("author", String(120), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

questions = Table(
    "kb_questions",
    metadata,
    # Asked before every publish: what customers ask most, or what went wrong once.
    Column("id", Integer, primary_key=True),
    Column("question", String(200), nullable=False, unique=True),
    Column("note", Text, nullable=False),
    Column("author", String(120), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
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


def content_digest(section: str, key: str, kind: str, body: Any) -> str:
    """What an entry says, in 32 hexadecimal digits: the first half of a SHA-256.

    Args:
        body: as `kb_entries.body` holds it.
    """
    said = json.dumps([section, key, str(kind), body])
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def skeleton(key: str) -> str:
    """What is left of a key when case, width, accents and how words are joined do not count."""
    return "".join(c for c in plain_letters(key) if not c.isspace() and c not in "_-")


def kept_skeleton(key: str) -> str:
    """The skeleton of a key as `kb_entries.skeleton` holds it."""
    # No zero byte: PostgreSQL has none in a text.
    return skeleton(key).replace("\x00", "")[:SKELETON]


def plain_letters(text: str) -> str:
    """Lower case, half width, without accents."""
    if text.isascii():
        return text.lower()  # the same, and many times as fast
    spread = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in spread if not unicodedata.combining(c))


def changes_group() -> ColumnElement[bool]:
    """Whether a row of `changes` is of a group: a dict of entries, which no person counts."""
    return changes.c.kind == "group"


def changes_purged() -> ColumnElement[bool]:
    """Whether the texts of a row of `changes` were removed for good."""
    return changes.c.kind == "purged"
