"""Run the checks over a large knowledge base in a process of its own.

They take seconds of pure computing, and a thread would take turns with every page that is
drawn meanwhile. The process reads by itself, writes nothing, and goes when it is done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from services.core import spawning
from services.core.context import Context, open_context
from services.core.databases import read_shop
from services.core.errors import Broken
from services.core.settings import PROJECT_ROOT
from services.knowledge.entries import everything_calmly
from services.knowledge.quality import Completeness, Facts, Finding, completeness, findings
from services.knowledge.state import revision

_PATIENCE = 900.0
"""Seconds; 100,000 entries take about ten."""


@dataclass(frozen=True)
class Looked:
    """What the checks found, and in which state; of two states at once it has no revision."""

    revision: str
    findings: tuple[Finding, ...]
    completeness: tuple[Completeness, ...]


def look(ctx: Context, categories: frozenset[str]) -> Looked:
    """Have another process run every check, and wait for it.

    Args:
        categories: of the shop's products, in lower case.

    Raises:
        Broken: it could not be started, or met a bug.
    """
    asked = {"now": ctx.now().isoformat(), "categories": sorted(categories)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            cwd=PROJECT_ROOT,
            env={**os.environ, **ctx.settings.as_environment()},
            input=json.dumps(asked).encode(),
            stdout=subprocess.PIPE,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Broken(
            f"The checks could not be run beside the desk ({type(error).__name__}).",
            "Whoever runs the server finds why in the log.",
        ) from error
    told = json.loads(done.stdout)
    return Looked(
        told["revision"],
        tuple(Finding(**one) for one in told["findings"]),
        tuple(
            Completeness(**{**one, "empty": tuple((i, k, f) for i, k, f in one["empty"])})
            for one in told["completeness"]
        ),
    )


def answer(ctx: Context, asked: dict[str, Any]) -> dict[str, Any]:
    """What `look` gets: the findings, and the revision if it was one and the same throughout."""
    with read_shop(ctx) as connection:
        before = revision(connection)
    held = list(everything_calmly(ctx))
    with read_shop(ctx) as connection:
        now = before if revision(connection) == before else ""
    at = datetime.fromisoformat(asked["now"])
    facts = Facts(held, at, frozenset(asked["categories"]))
    return {
        "revision": now,
        "findings": [asdict(one) for one in findings(facts)],
        "completeness": [asdict(one) for one in completeness(facts)],
    }


def main() -> None:
    """The process itself: a question on standard input, the answer on standard output."""
    spawning.give_way()
    asked: dict[str, Any] = json.load(sys.stdin)
    ctx = open_context()
    try:
        told = answer(ctx, asked)
    finally:
        ctx.close()
    with suppress(BrokenPipeError):  # the desk that asked may have ended meanwhile
        sys.stdout.write(json.dumps(told))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
