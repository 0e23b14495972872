"""The plan of "Prepare bucket" on a terminal."""

from __future__ import annotations

import textwrap

from services.core.errors import EXIT_DONE, EXIT_FAILED
from services.protection.bucket.plan import NOT_DONE, BucketPlan, Verdict

_WIDTH = 96


def text(found: BucketPlan) -> str:
    """Every line with what is, what will be and why, then the warnings."""
    said = [found.url, ""]
    for line in found.lines:
        change = line.now
        if line.verdict in (Verdict.CHANGE, *NOT_DONE):
            change += f"  ->  {line.will}"
        said += [f"{line.item.value}: {line.verdict.value}", f"    {change}"]
        said += _wrapped(line.why)
    if found.foreign_rules:
        said += ["", f"Rules of others, kept as they are: {', '.join(found.foreign_rules)}"]
    for mark, remarks in (("Warning", found.warnings), ("Note", found.notes)):
        for remark in remarks:
            said += ["", *_wrapped(f"{mark}: {remark}")]
    if found.changes:
        said += ["", "Nothing was changed. `python services/doctor.py bucket --apply` does it."]
    return "\n".join(said)


def state(found: BucketPlan) -> str:
    """One word for `--json`."""
    if code(found) != EXIT_DONE:
        return "failed"
    return "planned" if found.changes else "done"


def code(found: BucketPlan) -> int:
    """Failed where something could not be done; what a server does not know is no failure."""
    return EXIT_FAILED if any(line.verdict in NOT_DONE for line in found.lines) else EXIT_DONE


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, _WIDTH, initial_indent="    ", subsequent_indent="    ")
