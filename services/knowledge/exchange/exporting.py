"""The knowledge base, or a part of it, as a file to hand out; every export is audited."""

from __future__ import annotations

from dataclasses import dataclass

from services.core import audit
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import Invalid
from services.knowledge.comparing import ROOT, lies_in
from services.knowledge.document import Kind
from services.knowledge.entries import everything
from services.knowledge.exchange.formats import write
from services.knowledge.exchange.model import Format
from services.knowledge.exchange.naming import MIME as MIME
from services.knowledge.exchange.naming import file_name
from services.knowledge.sections import title_of


@dataclass(frozen=True)
class Export:
    """A file to hand out."""

    name: str
    mime: str
    data: bytes
    entries: int


def export(ctx: Context, actor: Actor, form: Format, part: str = ROOT) -> Export:
    """The whole knowledge base, or a part of it, as a file; the export is audited.

    Importing the file again changes nothing.

    Args:
        part: pointer of a section or of a part of one; the root for everything.

    Raises:
        Denied: without `kb.view`.
        Invalid: there is nothing at this place.
    """
    require(actor, Permission.KB_VIEW)
    with read_shop(ctx) as connection:
        rows = [entry.row for entry in everything(connection)]
    within = rows if part == ROOT else [row for row in rows if lies_in(row.pointer, {part})]
    count = sum(1 for row in within if row.kind is not Kind.GROUP)
    if part != ROOT and not within:
        raise Invalid("There is nothing to export at this place; nothing was written.")
    name, mime, data = write(rows, form, part=part if part != ROOT else None)
    what = "the knowledge base" if part == ROOT else title_of(part)
    audit.note(
        ctx,
        actor,
        "knowledge.export",
        ("knowledge base", name),
        f"Exported {count} entries of {what} as {name}",
    )
    return Export(name, mime, data, count)


def name_of(form: Format, part: str = ROOT) -> str:
    """What an export is called."""
    return file_name(form, None if part == ROOT else part)
