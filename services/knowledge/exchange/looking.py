"""What of the knowledge base an import has to look at: all of it only where it must."""

from __future__ import annotations

from sqlalchemy import Connection, select

from db.knowledge import entries as table
from services.knowledge.comparing import Mode, lies_in
from services.knowledge.document import Kind
from services.knowledge.entries import Entry, entry_of, everything
from services.knowledge.exchange.model import ReadFile
from services.knowledge.exchange.planning import Options, row_pointer
from services.knowledge.sections import pointer

_SECTIONS = 400
"""More of them than this are not asked for one by one."""


def group_pointers(connection: Connection) -> list[str]:
    """Where every dict of entries lies."""
    query = select(table.c.section, table.c.key).where(table.c.kind == Kind.GROUP)
    return [row.section + pointer((row.key,)) for row in connection.execute(query)]


def touched(connection: Connection, file: ReadFile, options: Options) -> list[Entry]:
    """Every row that importing a file can touch or has to find its place among.

    Those are the sections of its rows whole, what it replaces, and all groups. In the order
    of `everything`, of which it is a part.
    """
    if options.mode is Mode.REPLACE:
        return everything(connection)
    groups = group_pointers(connection)
    tables = file.tables if options.tables is None else options.tables
    replaced = options.mode.replaced(tables)
    # A text or a value where a dict is takes along what lies in it.
    turned = {row_pointer(row) for row in file.rows if row.kind is not Kind.GROUP}
    turned &= set(groups)
    wanted = {row.section for row in file.rows} | {where.rpartition("/")[0] for where in replaced}
    wanted |= replaced | {where for where in groups if lies_in(where, replaced | turned)}
    if len(wanted) > _SECTIONS:
        return everything(connection)
    query = (
        select(table)
        .where(table.c.section.in_(sorted(wanted)) | (table.c.kind == Kind.GROUP))
        .order_by(table.c.section, table.c.position, table.c.id)
    )
    return [entry_of(row) for row in connection.execute(query)]
