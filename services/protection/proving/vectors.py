"""The vectors of a snapshot: opened aside, counted, and asked what they were asked before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.core.errors import Broken, Transient
from services.core.lineage import PARENT
from services.core.settings import PROJECT_ROOT
from services.protection import tar
from services.protection.model import Component, Manifest, Neighbours
from services.protection.sources.chroma import neighbours_of
from services.protection.sources.chroma_export import file_name

TOLERANCE = 5e-7
"""Vectors of a cosine collection come back within this, not bit for bit."""
EXACT_TOLERANCE = 1e-5
"""Of distances that are computed from the vectors here, and were computed by the index then."""
_ANSWERED_ALIKE = 0.8
"""An index answers approximately; one that was built anew may miss a neighbour now and then.
Fewer equal answers than this are no chance any more."""
_DEADLINE_SECONDS = 3600.0
_KILLED = -9


def unpack(archive: Path, component: Component, folder: Path) -> None:
    """Unpack the exact folder into an empty one; its digest was checked when it was fetched.

    Raises:
        Broken: it is no archive, or holds what no vector folder holds.
    """
    folder.mkdir(mode=0o700)
    tar.unpack(archive, folder, component.plain_bytes)


def look(folder: Path, tables: Path, manifest: Manifest) -> str:
    """Open the folder with our chromadb, in a process of its own, and compare.

    Args:
        folder: a copy of its own; it is changed by this.
        tables: the folder with the portable tables that were fetched.

    Returns:
        What was found equal, for a person.

    Raises:
        Broken: a count differs, a neighbour is another one, or it can't be opened.
        Transient: the process was stopped from outside.
    """
    if not manifest.collections:
        return (
            "The folder could not be read as collections when it was backed up either; its "
            "files are byte for byte those that were."
        )
    answer = _child(folder, tables, manifest)
    told = []
    for name, facts in sorted(manifest.collections.items()):
        found = answer["collections"].get(name)
        if found is None:
            raise Broken(f"The restored vectors hold no collection {name[:60]!r}.")
        if found["count"] != facts.count:
            raise Broken(
                f"The collection {name[:60]!r} holds {found['count']:,} vectors, and "
                f"{facts.count:,} were recorded."
            )
        told.append(f"{name}: {facts.count:,} vectors opened by Chroma {answer['chromadb']}")
        told.append(_compare_neighbours(name, manifest.neighbours.get(name, ()), found))
        told.append(_compare_table(name, answer["tables"].get(name), found))
    return "; ".join(filter(None, told)) + "."


def same_neighbours(recorded: Neighbours, answered: Neighbours) -> bool:
    """Whether two answers are the same, as far as distances can tell neighbours apart.

    Neighbours at the same distance may come in any order, and which of those at the end of
    the list still are in it is chance.
    """
    if len(recorded.distances) != len(answered.distances):
        return False
    pairs = zip(recorded.distances, answered.distances, strict=True)
    if any(abs(one - other) > _allowed(one) for one, other in pairs):
        return False
    last = recorded.distances[-1] if recorded.distances else 0.0
    found = dict(zip(answered.nearest, answered.distances, strict=True))
    for name, distance in zip(recorded.nearest, recorded.distances, strict=True):
        tied_with_the_end = abs(distance - last) <= 2 * _allowed(distance)
        here = found.get(name)
        if here is None and tied_with_the_end:
            continue
        if here is None or abs(here - distance) > 2 * _allowed(distance):
            return False
    return True


def _allowed(distance: float, tolerance: float = TOLERANCE) -> float:
    return tolerance * max(1.0, abs(distance))


def _compare_neighbours(name: str, recorded: Sequence[Neighbours], found: dict[str, Any]) -> str:
    if not recorded:
        return "no neighbours were recorded, so none were asked for"
    if found["problem"]:
        raise Broken(f"The collection {name[:60]!r} can't be searched ({found['problem']}).")
    answers = {answer["id"]: neighbours_of(answer) for answer in found["answers"]}
    unlike = [
        each
        for each in recorded
        if each.id not in answers or not same_neighbours(each, answers[each.id])
    ]
    exact = {each["id"]: each for each in found["exact"]}
    # The index may answer with another one at the same distance; the vectors may not differ.
    wrong = [each for each in recorded if not _same_distances(each, exact.get(each.id))]
    if wrong:
        raise Broken(
            f"In the collection {name[:60]!r}, {len(wrong)} of {len(recorded)} sampled vectors "
            f"have other neighbours than when they were backed up ({wrong[0].id[:60]})."
        )
    alike = len(recorded) - len(unlike)
    if alike < _ANSWERED_ALIKE * len(recorded):
        raise Broken(
            f"The search index of {name[:60]!r} finds the recorded neighbours of only {alike} "
            f"of {len(recorded)} sampled vectors."
        )
    missed = (
        f" ({len(unlike)} of them only by their vectors: the index answers approximately)"
        if unlike
        else ""
    )
    return f"{len(recorded)} sampled searches gave the recorded neighbours{missed}"


def _same_distances(recorded: Neighbours, exact: dict[str, Any] | None) -> bool:
    if exact is None:
        return False
    pairs = zip(recorded.distances, exact["distances"], strict=True)
    return all(
        here is not None and abs(here - then) <= _allowed(then, EXACT_TOLERANCE)
        for then, here in pairs
    )


def _compare_table(name: str, table: dict[str, Any] | None, found: dict[str, Any]) -> str:
    if table is None:
        return ""
    if table["problem"]:
        raise Broken(f"The portable table of {name[:60]!r} can't be read ({table['problem']}).")
    if (table["count"], table["ids"]) != (found["count"], found["ids"]):
        raise Broken(
            f"The portable table of {name[:60]!r} holds {table['count']:,} vectors, and the "
            f"folder {found['count']:,}, or their ids differ."
        )
    return "the portable table holds the same ids"


def _child(folder: Path, tables: Path, manifest: Manifest) -> dict[str, Any]:
    files = {file_name(name): name for name in manifest.collections}
    wanted = {
        "questions": {
            name: [[each.id, list(each.nearest)] for each in recorded]
            for name, recorded in manifest.neighbours.items()
        },
        "tables": {
            files[component.opened_name]: component.opened_name
            for component in manifest.components
            if component.opened_name in files
        },
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "services.protection.sources.chroma_check", folder, tables],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "ANONYMIZED_TELEMETRY": "False", PARENT: str(os.getpid())},
    )
    try:
        output, _nothing = process.communicate(json.dumps(wanted).encode(), _DEADLINE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Transient(
            f"Opening the vectors took longer than {_DEADLINE_SECONDS / 60:.0f} minutes."
        ) from error
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode == _KILLED:
        raise Transient(
            "The process that looked into the vectors was killed.",
            "The machine may be short of memory; try again when it has some.",
        )
    if process.returncode != 0:
        raise Broken("The restored vectors can't be opened by Chroma.")
    answer: dict[str, Any] = json.loads(output)
    return answer
