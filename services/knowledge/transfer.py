"""The whole knowledge base in and out: import with a preview, export, backup, restore."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine

from services.core import audit
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop, write_shop
from services.core.errors import Conflict, DeskError, Invalid
from services.knowledge.changes import sound_reason
from services.knowledge.comparing import Difference, Mode, difference
from services.knowledge.document import Kind, Row, canonical, from_rows, to_rows
from services.knowledge.entries import Entry, cells_of, document, everything, fingerprint
from services.knowledge.ledger import ChangeSet, Ledger
from services.knowledge.reading import MAX_BYTES, read_file
from services.knowledge.relay import relay
from services.knowledge.sections import KEY_PATTERN, part_at, title_of
from services.knowledge.validation import suggest_key
from services.knowledge.writing import to_module

REPLACE_WORD = "replace"
"""What is typed to confirm that an import replaces everything."""

_MAX_NOTES = 50


@dataclass(frozen=True)
class PlannedChange:
    """What an import would do to one entry; None where there is none."""

    section: str
    key: str
    before: Mapping[str, str] | None
    after: Mapping[str, str] | None


@dataclass(frozen=True)
class PlannedMode:
    """What an import would do in one mode."""

    new: tuple[PlannedChange, ...]
    changed: tuple[PlannedChange, ...]
    removed: tuple[PlannedChange, ...]
    moved: int  # entries whose place alone changes
    unchanged: int
    is_empty: bool


@dataclass(frozen=True)
class ImportPlan:
    """An import, looked at and not yet done. It holds for exactly one state of the KB."""

    source: str
    rows: tuple[Row, ...]
    fingerprint: str
    merge: PlannedMode
    replace: PlannedMode
    notes: tuple[str, ...]

    def of(self, mode: Mode) -> PlannedMode:
        """What it would do in this mode."""
        return self.merge if mode is Mode.MERGE else self.replace


@dataclass(frozen=True)
class ShopModule:
    """The shop's own knowledge module, beside the desk."""

    path: str
    data: bytes
    entries: int
    differs: bool
    problem: DeskError | None = None


@dataclass(frozen=True)
class Export:
    """A file to hand out."""

    name: str
    mime: str
    data: bytes


# --- import ---


def preview(ctx: Context, actor: Actor, name: str, data: bytes) -> ImportPlan:
    """Read a file and say what importing it would change; nothing is written.

    Args:
        name: the file's name; its ending says what it is.
        data: the file's bytes.

    Raises:
        Denied: without `kb.edit`.
        NotImportable: the file is not a knowledge base; says where.
    """
    require(actor, Permission.KB_EDIT)
    rows = to_rows(read_file(name, data))
    with read_shop(ctx) as connection:
        current = everything(connection)
    return ImportPlan(
        name,
        tuple(rows),
        fingerprint(current),
        _planned(difference(current, rows, Mode.MERGE)),
        _planned(difference(current, rows, Mode.REPLACE)),
        tuple(_notes(rows)),
    )


def apply_import(
    ctx: Context,
    actor: Actor,
    plan: ImportPlan,
    *,
    mode: Mode = Mode.MERGE,
    reason: str = "",
    typed: str = "",
) -> ChangeSet:
    """Do exactly what the plan says, as one change set.

    Args:
        typed: `replace`, as the person typed it, where the mode replaces everything.

    Raises:
        Conflict: the knowledge base changed since the preview; nothing was imported.
        Invalid: there is nothing to import, or the confirmation is missing.
    """
    require(actor, Permission.KB_EDIT)
    reason = sound_reason(reason) or f"Import of {plan.source[:200]}"
    if mode is Mode.REPLACE and typed.strip() != REPLACE_WORD:
        raise Invalid(
            "The confirmation does not fit; nothing was imported.",
            f"Type {REPLACE_WORD} to replace the whole knowledge base.",
        )
    with write_shop(ctx) as connection:
        current = everything(connection)
        if fingerprint(current) != plan.fingerprint:
            raise Conflict(
                "The knowledge base was changed since this preview; nothing was imported.",
                "Look at a new preview of the same file, then import it.",
            )
        found = difference(current, plan.rows, mode)
        if found.is_empty:
            raise Invalid(
                "There is nothing to import: the knowledge base already says all of this.",
            )
        change_set = _write(ctx, actor, connection, found, "import", reason)
    relay(ctx)
    return change_set


def restore_document(
    ctx: Context, actor: Actor, wanted: Mapping[str, Any], reason: str
) -> ChangeSet:
    """Make the knowledge base exactly this document, as one change set.

    What it took is in the history like any edit. A restore that finds nothing to change
    still leaves its change set.

    Raises:
        Denied: without `restore.run`.
    """
    require(actor, Permission.RESTORE)
    rows = to_rows(wanted)
    with write_shop(ctx) as connection:
        found = difference(everything(connection), rows, Mode.REPLACE)
        change_set = _write(ctx, actor, connection, found, "restore", reason)
    relay(ctx)
    return change_set


def _write(
    ctx: Context,
    actor: Actor,
    connection: Connection,
    found: Difference,
    kind: str,
    reason: str,
) -> ChangeSet:
    ledger = Ledger(connection)
    found.enter(ledger)
    return ledger.write(ctx, actor, kind, reason)


def _planned(found: Difference) -> PlannedMode:
    return PlannedMode(
        tuple(_change(None, row) for row in found.added if row.kind is not Kind.GROUP),
        tuple(_change(entry.row, row) for entry, row in found.changed),
        tuple(_change(entry.row, None) for entry in found.removed if entry.kind is not Kind.GROUP),
        len(found.moved),
        found.unchanged,
        found.is_empty,
    )


def _change(before: Row | None, after: Row | None) -> PlannedChange:
    row = after or before
    return PlannedChange(
        row.section if row else "", row.key if row else "", _shown(before), _shown(after)
    )


def _shown(row: Row | None) -> dict[str, str] | None:
    if row is None:
        return None
    if row.kind is Kind.GROUP:
        return {"value": "(a dict of entries)"}
    if row.kind is Kind.VALUE:
        return {"value": json.dumps(row.body, ensure_ascii=False)}
    return cells_of(row.kind, row.body)


def _notes(rows: list[Row]) -> list[str]:
    """What is unusual in a file that can be imported all the same."""
    notes: list[str] = []
    for row in rows:
        part = part_at(row.section)
        if part is not None and not KEY_PATTERN.fullmatch(row.key):
            better = suggest_key(row.key)
            notes.append(
                f"{title_of(row.section)} / {row.key}: the shop would not find this key"
                + (f"; {better} would be found." if better else ".")
            )
        if row.kind is Kind.VALUE:
            notes.append(f"{title_of(row.section)} / {row.key} is no text; it is kept, not edited.")
        if part is not None and row.kind is Kind.RECORD:
            extra = [name for name in row.body if name not in part.field_names]
            if extra:
                notes.append(
                    f"{title_of(row.section)} / {row.key} has fields the shop is not known to "
                    f"read: {', '.join(extra)}. They are kept."
                )
    if len(notes) > _MAX_NOTES:
        notes[_MAX_NOTES:] = [f"and {len(notes) - _MAX_NOTES} more notes of this kind."]
    return notes


def find_shop_module(ctx: Context) -> ShopModule | None:
    """The shop's own `utils/fashion_kb.py`, when there is one; read, never run.

    `differs` says whether it holds anything that the knowledge base does not say the same.
    """
    path = ctx.settings.shop_kb_module
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        problem = Invalid(
            f"The shop's knowledge module at {path} can't be read ({error.strerror}).",
            "Give the account that runs the desk read permission on it.",
        )
        return ShopModule(str(path), b"", 0, True, problem)
    try:
        wanted = read_file(path.name, data)
    except DeskError as error:
        return ShopModule(str(path), data, 0, True, error)
    rows = to_rows(wanted)
    count = sum(1 for row in rows if row.kind is not Kind.GROUP)
    with read_shop(ctx) as connection:
        differs = canonical(_document(everything(connection))) != canonical(wanted)
    return ShopModule(str(path), data, count, differs)


# --- export ---


def export_json(ctx: Context, actor: Actor) -> Export:
    """The whole knowledge base as canonical JSON; the export is audited."""
    return _export(ctx, actor, "fashion_kb.json", "application/json", canonical)


def export_module(ctx: Context, actor: Actor) -> Export:
    """The whole knowledge base as a Python module of data alone; the export is audited."""
    return _export(ctx, actor, "fashion_kb.py", "text/x-python", to_module)


def _export(ctx: Context, actor: Actor, name: str, mime: str, write: Any) -> Export:
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        found = everything(connection)
    data: bytes = write(_document(found))
    count = sum(1 for entry in found if entry.kind is not Kind.GROUP)
    audit.note(
        ctx,
        actor,
        "knowledge.export",
        ("knowledge base", name),
        f"Exported {count} entries of the knowledge base as {name}",
    )
    return Export(name, mime, data)


def canonical_json(engine: Engine) -> bytes:
    """The whole knowledge base of any database with the desk's tables, as canonical JSON.

    For backups: no permission is asked, the caller holds the database already.
    """
    return canonical(document(engine))


def _document(found: list[Entry]) -> dict[str, Any]:
    return from_rows(entry.row for entry in found)
