"""The rows of a file that can't be taken, as a file of their own: to be put right there."""

from __future__ import annotations

import csv
import io

from services.knowledge.exchange.cells import FIX, ROW, SHEET, WRONG, harmless, restored
from services.knowledge.exchange.exporting import Export
from services.knowledge.exchange.model import Format
from services.knowledge.exchange.naming import MIME
from services.knowledge.exchange.planning import Plan

_OURS = (SHEET, ROW, WRONG, FIX)


def errors_file(plan: Plan) -> Export:
    """A CSV file with the rows as they are, where each is, and what is wrong with it.

    Opening it in a spreadsheet is safe: whatever would be a formula is text. Put right, it can
    be imported as it is.
    """
    # A row that is wrong in several cells is one row.
    rows: dict[tuple[str, int, str, tuple[tuple[str, str], ...]], list[tuple[str, str]]] = {}
    for fault in plan.faults:
        at = fault.at
        place = (at.sheet, at.row, "" if at.row else at.column, tuple(fault.raw.items()))
        column = fault.field if fault.raw or at.row else ""
        said = f"{column}: {fault.message}" if column else fault.message
        rows.setdefault(place, []).append((said, fault.fix))
    columns = dict.fromkeys(
        name for _s, _r, _c, raw in rows for name, _text in raw if name not in _OURS
    )
    # A CSV file has its apostrophes already.
    told = restored if plan.file.format is Format.CSV else str
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*(harmless(told(name)) for name in columns), *_OURS])
    for (sheet, row, column, raw), wrong in rows.items():
        cells = dict(raw)
        line = [harmless(told(cells.get(name, ""))) for name in columns]
        line += [harmless(sheet), str(row or "") or harmless(column)]
        line += [harmless("\n".join(dict.fromkeys(texts))) for texts in zip(*wrong, strict=True)]
        writer.writerow(line)
    data = out.getvalue().encode("utf-8-sig")
    return Export("import-errors.csv", MIME[Format.CSV], data, len(rows))
