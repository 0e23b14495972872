"""Tables of the control plane: who may sign in, what was done, what is being done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}
"""Names of constraints, so that migrations can alter them on any database."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time; stored as UTC, read back aware. SQLite would drop the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time: its zone would be a guess."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the stored time its zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(naming_convention=NAMING)

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("username", String(64), nullable=False, unique=True),  # always lower case
    Column("display_name", String(120), nullable=False),
    Column("password_hash", String(100)),  # bcrypt; NULL until the one-time secret is used
    Column("invite_hash", String(64)),  # sha256 of the one-time secret
    Column("invite_expires_at", UtcDateTime),
    Column("role", String(64), nullable=False),
    Column("enabled", Boolean, nullable=False, default=True),
    Column("valid_after", UtcDateTime, nullable=False),  # older sign-ins no longer count
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", String(120), nullable=False),
    Column("last_sign_in_at", UtcDateTime),
    Column("seen_audit_id", Integer),  # newest audit row at the visit before this one
    Column("version", Integer, nullable=False, default=1),
)

auth_sessions = Table(
    "auth_sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # sha256; the token itself is never kept
    Column("account_id", ForeignKey(accounts.c.id), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    Column("revoked_why", String(40)),
)

sign_in_attempts = Table(
    "sign_in_attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("username", String(64), nullable=False, index=True),  # as typed, lower case
    Column("address", String(64), nullable=False),
    Column("succeeded", Boolean, nullable=False),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("actor_id", String(120), nullable=False, index=True),
    Column("actor_name", String(120), nullable=False),
    Column("actor_kind", String(20), nullable=False),
    Column("action", String(60), nullable=False, index=True),
    Column("subject_kind", String(40), nullable=False),
    Column("subject_id", String(200), nullable=False),
    Column("summary", Text, nullable=False),
    Column("details", JSON, nullable=False),
    Column("outcome", String(20), nullable=False),  # done, refused, failed
    Column("host", String(120), nullable=False),
    Column("relay_key", String(120), unique=True),  # set when copied from another database
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("state", String(20), nullable=False),
    Column("actor_id", String(120), nullable=False),
    Column("actor_name", String(120), nullable=False),
    Column("actor_kind", String(20), nullable=False),
    Column("host", String(120), nullable=False),
    Column("pid", BigInteger),
    Column("lock", String(80)),  # what it holds while it is not ended
    Column("params", JSON, nullable=False),
    Column("step", String(120), nullable=False, default=""),
    Column("fraction", Float),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("result", JSON),
    Column("error", Text),
    Column("hint", Text),
    Column("log", JSON, nullable=False),  # [[iso time, text], ...]: the steps as they happened
    Index("ix_jobs_kind_created", "kind", "created_at"),
    # The migration gives PostgreSQL the same condition; saying so here would import that
    # dialect, a tenth of all that `import services.backup` loads, at every start.
    Index(
        "uq_jobs_lock_held",
        "lock",
        unique=True,
        sqlite_where=text("state IN ('queued', 'running')"),
    ),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("instance", String(64), primary_key=True),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    Column("reason", String(60), nullable=False),
    Column("asked_by", String(120), nullable=False),
    Column("plain_bytes", BigInteger, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    # One object for each: name, part, plain_bytes, stored_bytes, origin.
    Column("components", JSON, nullable=False),
    Column("headline", JSON, nullable=False),  # {"orders": 300, ...}: what people look for
    Column("manifest_sha256", String(64), nullable=False),
    Column("read_back_at", UtcDateTime),  # every stored byte was read and is as it was sent
    Column("verified_at", UtcDateTime),  # a drill restored it aside and found it equal
    Column("verify_error", Text),  # what the last look (of either kind) found wrong
    Column("drill_seconds", Float),  # how long that restore took, measured
    Column("signed", Boolean, nullable=False, default=False),
    Column("encrypted", Boolean, nullable=False, default=False),
    Column("pin", JSON),  # {"note", "by", "at"}: retention keeps it
    Column("storage", String(20), nullable=False, default="standard"),  # standard, archived, ready
    Column("copied_at", UtcDateTime),  # complete in the second store, every object compared
    Column("copy_error", Text),
    Column("unmatched", JSON),  # {"missing", "stray"}: products and vectors, when it was made
    Column("indexed_at", UtcDateTime, nullable=False),
    # The newest fifty of ten thousand, without sorting them all.
    Index("ix_snapshots_instance_newest", "instance", "created_at", "id"),
)

drills = Table(
    "drills",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("snapshot_id", String(40), nullable=False, index=True),
    Column("instance", String(64), nullable=False),
    Column("place", String(20), nullable=False),  # "store" or "copy"
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("seconds", Float, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("host", String(120), nullable=False),
    Column("asked_by", String(120), nullable=False),
    Column("error", Text),
    Column("evidence", JSON, nullable=False),  # [{"name", "passed", "found", "seconds"}, ...]
)

stored_pictures = Table(
    "stored_pictures",
    metadata,
    Column("instance", String(64), primary_key=True),
    Column("sha256", String(64), primary_key=True),  # of the picture itself
    Column("key", String(200), nullable=False),
    Column("plain_bytes", BigInteger, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("stored_sha256", String(64), nullable=False),
    Column("encryption", String(20), nullable=False),
)

retrievals = Table(
    "retrievals",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("snapshot_id", String(40), nullable=False, index=True),
    Column("instance", String(64), nullable=False),
    Column("state", String(20), nullable=False),  # waiting, ready, expired, failed, dropped
    Column("tier", String(20), nullable=False),
    Column("days", Integer, nullable=False),  # how long the copies stay readable
    Column("asked_by", String(120), nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("looked_at", UtcDateTime),
    Column("ready_at", UtcDateTime),
    Column("ready_until", UtcDateTime),
    Column("objects", Integer, nullable=False),
    Column("objects_ready", Integer, nullable=False),
    Column("error", Text),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance", String(64), nullable=False),
    Column("rule", String(60), nullable=False),
    Column("subject", String(200), nullable=False),  # what of several: a disk, a snapshot
    Column("state", String(20), nullable=False),  # pending, firing, resolved
    Column("severity", String(20), nullable=False),  # bad, warning
    Column("message", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("since", UtcDateTime, nullable=False),  # of the trouble, as far as it is known
    Column("opened_at", UtcDateTime, nullable=False),  # first seen
    Column("seen_at", UtcDateTime, nullable=False),  # last seen
    Column("fired_at", UtcDateTime),
    Column("resolved_at", UtcDateTime),
    Column("acknowledged_at", UtcDateTime),
    Column("acknowledged_by", String(120)),
    Column("comment", Text),
    Column("muted_until", UtcDateTime),
    Column("muted_by", String(120)),
    # One open alert of each kind and subject; the migration says the same to PostgreSQL.
    Index(
        "uq_alerts_open",
        "instance",
        "rule",
        "subject",
        unique=True,
        sqlite_where=text("state IN ('pending', 'firing')"),
    ),
    Index("ix_alerts_instance_opened", "instance", "opened_at"),
)

alert_changes = Table(
    "alert_changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("alert_id", ForeignKey(alerts.c.id), nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("what", String(20), nullable=False),  # pending, firing, resolved, acknowledged, muted
    Column("who", String(120), nullable=False, default=""),
    Column("note", Text, nullable=False, default=""),
    # Whether somebody is to be told: none, due, sending, delivered, given up.
    Column("delivery", String(20), nullable=False, index=True),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_try_at", UtcDateTime),  # while it is being sent: when the claim ends
    Column("reached", JSON, nullable=False),  # targets that took it, never their addresses
    Column("delivered_at", UtcDateTime),
    Column("delivery_error", Text),
)

kb_drafts = Table(
    "kb_drafts",
    metadata,
    # What a person typed into the knowledge base and did not save; one for each open tab.
    Column("id", String(32), primary_key=True),
    Column("instance", String(64), nullable=False),
    Column("account_id", String(120), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("touched_at", UtcDateTime, nullable=False),
    # The change set that is to hold it, named before it is written: where that stands in the
    # shop's database the draft was saved, even if nobody lived to clear it away.
    Column("saving", String(32)),
    Column("moved_to", String(32)),  # the draft that went on with it; empty: thrown away
    Index("ix_kb_drafts_account", "instance", "account_id"),
)

kb_draft_entries = Table(
    "kb_draft_entries",
    metadata,
    Column("draft_id", ForeignKey(kb_drafts.c.id, ondelete="CASCADE"), primary_key=True),
    # Id of the entry; negative for one that is being added.
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("size", Integer, nullable=False),  # characters of the body
    Column("body", Text, nullable=False),  # JSON, see services/knowledge/drafting
)

kb_presence = Table(
    "kb_presence",
    metadata,
    # Who has which part of the knowledge base open to edit; one row for each tab.
    Column("tab", String(32), primary_key=True),
    Column("instance", String(64), nullable=False),
    Column("account_id", String(120), nullable=False),
    Column("name", String(120), nullable=False),
    Column("part", String(400), nullable=False),  # pointer
    Column("entry_id", Integer),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_kb_presence_part", "instance", "part"),
)

samples = Table(
    "samples",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("metric", String(60), nullable=False),
    Column("subject", String(120), nullable=False),
    Column("value", Float, nullable=False),
    Index("ix_samples_metric_subject_at", "metric", "subject", "at"),
)

desk_state = Table(
    "desk_state",
    metadata,
    Column("key", String(60), primary_key=True),
    Column("value", JSON, nullable=False),
)


def row_dict(row: Any) -> dict[str, Any]:
    """A result row as a plain dict."""
    return dict(row._mapping)
