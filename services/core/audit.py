"""The audit log: who did what, when, to what, and whether it worked.

A row is written in the same transaction as the change it records, where both live in
the control database; what happens elsewhere is relayed once, by a key.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, insert, or_, select

from db.control import audit_log
from db.engine import read, write
from services.core.access import Actor, Permission, require
from services.core.context import Context

PAGE_ROWS = 100
"""Rows of one page; more are paged through."""

_MAX_SUMMARY = 500


@dataclass(frozen=True)
class AuditEvent:
    """One row of the audit log."""

    id: int
    at: datetime
    actor_id: str
    actor_name: str
    actor_kind: str
    action: str
    subject_kind: str
    subject_id: str
    summary: str
    details: dict[str, Any]
    outcome: str
    host: str


@dataclass(frozen=True)
class AuditPage:
    """One page of events, newest first, and how many the filter matches in all."""

    events: tuple[AuditEvent, ...]
    total: int


@dataclass(frozen=True)
class AuditFilter:
    """What to look for; an empty field does not restrict."""

    text: str = ""
    actions: tuple[str, ...] = ()
    actor: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None


def record(
    connection: Connection,
    ctx: Context,
    actor: Actor,
    action: str,
    subject: tuple[str, str],
    summary: str,
    *,
    details: dict[str, Any] | None = None,
    outcome: str = "done",
    at: datetime | None = None,
    relay_key: str | None = None,
) -> None:
    """Write one event into the caller's transaction.

    Args:
        connection: a write transaction on the control database.
        action: `noun.verb`, for example `account.disable`.
        subject: (kind, id) of what was acted on.
        summary: one sentence for a person; never a secret.
        details: JSON-serialisable facts; never a secret.
        outcome: `done`, `refused` or `failed`.
        at: when it happened, if not now.
        relay_key: names an event that was recorded elsewhere first; unique.
    """
    connection.execute(
        insert(audit_log).values(
            at=at or ctx.now(),
            actor_id=actor.id,
            actor_name=actor.name,
            actor_kind=actor.kind.value,
            action=action,
            subject_kind=subject[0],
            subject_id=_text(subject[1])[:200],
            summary=_text(summary)[:_MAX_SUMMARY],
            details=details or {},
            outcome=outcome,
            host=ctx.host,
            relay_key=relay_key,
        )
    )


def _text(said: str) -> str:
    # What somebody typed may hold a zero byte, which PostgreSQL has in no text.
    return said.replace("\x00", "\ufffd")


def note(
    ctx: Context,
    actor: Actor,
    action: str,
    subject: tuple[str, str],
    summary: str,
    *,
    details: dict[str, Any] | None = None,
    outcome: str = "done",
) -> None:
    """Write one event in a transaction of its own (a refusal, a download, an export)."""
    with write(ctx.control) as connection:
        record(connection, ctx, actor, action, subject, summary, details=details, outcome=outcome)


def events(
    ctx: Context, actor: Actor, wanted: AuditFilter, *, page: int = 1, rows: int = PAGE_ROWS
) -> AuditPage:
    """One page of the log, newest first.

    Args:
        page: from 1.
        rows: rows a page, at most 1,000.

    Raises:
        Denied: without `audit.view`.
    """
    require(actor, Permission.AUDIT_VIEW)
    rows = max(1, min(rows, 1000))
    with read(ctx.control) as connection:
        matching = _filtered(select(audit_log), wanted)
        total = connection.scalar(select(func.count()).select_from(matching.subquery())) or 0
        found = connection.execute(
            matching.order_by(audit_log.c.id.desc()).limit(rows).offset((max(page, 1) - 1) * rows)
        )
        return AuditPage(tuple(_event(row) for row in found), total)


def actions(ctx: Context, actor: Actor) -> list[str]:
    """Every action that occurs in the log, for a filter."""
    require(actor, Permission.AUDIT_VIEW)
    with read(ctx.control) as connection:
        found = connection.scalars(select(audit_log.c.action).distinct())
        return sorted(found)


def actor_names(ctx: Context, actor: Actor) -> list[str]:
    """Everybody who occurs in the log, for a filter."""
    require(actor, Permission.AUDIT_VIEW)
    with read(ctx.control) as connection:
        found = connection.scalars(select(audit_log.c.actor_name).distinct())
        return sorted(found)


def export_csv(ctx: Context, actor: Actor, wanted: AuditFilter) -> str:
    """The filtered log as CSV, oldest first; the export is itself recorded.

    Cells that a spreadsheet would run as a formula get a leading apostrophe (OWASP,
    "CSV injection").
    """
    require(actor, Permission.AUDIT_VIEW)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["at_utc", "actor", "kind", "action", "subject", "outcome", "summary", "details", "host"]
    )
    count = 0
    for event in _all(ctx, wanted):
        count += 1
        cells = (
            event.at.isoformat(),
            event.actor_name,
            event.actor_kind,
            event.action,
            f"{event.subject_kind} {event.subject_id}",
            event.outcome,
            event.summary,
            json.dumps(event.details, ensure_ascii=False, sort_keys=True),
            event.host,
        )
        writer.writerow(_neutral(cells))
    note(ctx, actor, "audit.export", ("audit log", ""), f"Exported {count} audit rows as CSV")
    return out.getvalue()


def _neutral(cells: Sequence[str]) -> list[str]:
    return [f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell for cell in cells]


def _all(ctx: Context, wanted: AuditFilter) -> Iterator[AuditEvent]:
    with read(ctx.control) as connection:
        query = _filtered(select(audit_log), wanted).order_by(audit_log.c.id)
        for row in connection.execute(query):
            yield _event(row)


def _filtered(query: Select[Any], wanted: AuditFilter) -> Select[Any]:
    if wanted.text:
        columns = (audit_log.c.summary, audit_log.c.subject_id, audit_log.c.actor_name)
        query = query.where(
            or_(*(column.icontains(wanted.text, autoescape=True) for column in columns))
        )
    if wanted.actions:
        query = query.where(audit_log.c.action.in_(wanted.actions))
    if wanted.actor:
        query = query.where(audit_log.c.actor_name == wanted.actor)
    if wanted.outcome:
        query = query.where(audit_log.c.outcome == wanted.outcome)
    if wanted.since:
        query = query.where(audit_log.c.at >= wanted.since)
    if wanted.until:
        query = query.where(audit_log.c.at < wanted.until)
    return query


def _event(row: Any) -> AuditEvent:
    values = dict(row._mapping)
    values.pop("relay_key")
    return AuditEvent(**values)
