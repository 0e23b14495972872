"""The rows of a file that can't be taken, as a file of their own: to be put right there."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from services.knowledge.exchange.exporting import Export
from services.knowledge.exchange.model import Fault

_WRONG = "what is wrong"
_FORMULA = tuple("=+-@\t\r")


def errors_file(faults: Sequence[Fault]) -> Export:
    """A CSV file with the rows as they are, where each is, and what is wrong with it.

    Opening it in a spreadsheet is safe: whatever would be a formula is text.
    """
    columns = dict.fromkeys(name for fault in faults for name in fault.raw)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*map(_safe, columns), "sheet", "row", "column", _WRONG, "how to fix it"])
    for fault in faults:
        cells = [_safe(fault.raw.get(name, "")) for name in columns]
        place = [_safe(fault.at.sheet), fault.at.row or "", _safe(fault.at.column or fault.field)]
        writer.writerow([*cells, *place, _safe(fault.message), _safe(fault.fix)])
    data = out.getvalue().encode("utf-8-sig")
    return Export("import-errors.csv", "text/csv", data, len(faults))


def _safe(text: str) -> str:
    return "'" + text if text.startswith(_FORMULA) else text
