"""What is kept of drills: rows in the control database, and files beside the snapshots.

The file lets a drill count at every desk that sees the store: where backups are encrypted,
drills run where the identity lies, which may be another machine. It names the manifest that
it proved by its digest, and is signed with the key that signs manifests, if there is one.
"""

from __future__ import annotations

import io
import logging
import math
import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update

from db.control import drills, snapshots
from db.engine import read, write
from services.core import audit
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Broken, DeskError
from services.protection.manifest import SNAPSHOT_ID
from services.protection.proving.evidence import Drill, Step
from services.protection.sealing.keys import Keys, keys_of
from services.protection.sealing.signing import (
    SIGNATURE,
    canonical,
    parsed,
    signature_state,
    signed,
)
from services.protection.stores.base import Store

log = logging.getLogger("desk.drill")

STORE, COPY = "store", "copy"
PLACES = (STORE, COPY)
_FORMAT = 1
_MOST_BYTES = 1 << 20
_MOST_TEXT = 20_000
_MOST_STEPS = 50
_DRILL_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,39}")
_KIND = "drill"


def evidence_prefix(instance: str, snapshot_id: str = "") -> str:
    """Where the evidence of one tenant, or of one snapshot, lies in a store."""
    return f"drills/{instance}/{snapshot_id}/" if snapshot_id else f"drills/{instance}/"


def evidence_key(drill: Drill) -> str:
    """Key of the evidence of one drill."""
    return f"{evidence_prefix(drill.instance, drill.snapshot_id)}{drill.id}.json"


def keep(ctx: Context, drill: Drill, actor: Actor) -> None:
    """Write a drill into the control database and onto its snapshot, and say so in the log."""
    outcome = "Passed" if drill.passed else "FAILED"
    where = " from the second store" if drill.place == COPY else ""
    summary = f"Test restore of {drill.snapshot_id}{where}: {outcome.lower()}"
    with write(ctx.control) as connection:
        connection.execute(insert(drills).values(**_values(drill)))
        _apply(connection, drill, heals=True)
        audit.record(
            connection,
            ctx,
            actor,
            "drill.passed" if drill.passed else "drill.failed",
            ("snapshot", drill.snapshot_id),
            summary if drill.passed else f"{summary}. {drill.error}",
            details={"drill": drill.id, "seconds": round(drill.seconds, 1), "place": drill.place},
            outcome="done" if drill.passed else "failed",
        )


def send(ctx: Context, store: Store, drill: Drill) -> bool:
    """Put the evidence beside the snapshot, so that it counts at every desk.

    Returns:
        Whether it is there; a store that can't be written keeps it from being shared only.
    """
    data = to_json(drill, _manifest_sha256(ctx, drill.snapshot_id), keys_of(ctx.settings))
    try:
        store.put(evidence_key(drill), io.BytesIO(data))
    except (DeskError, OSError) as error:
        log.warning("the evidence of the drill %s is kept here alone: %s", drill.id, error)
        return False
    return True


def gather(ctx: Context, store: Store) -> int:
    """Take over the evidence of drills that other desks made.

    Evidence that was altered, is not signed as it must be, or proves another manifest than
    the one that is indexed is left where it lies.

    Returns:
        How many drills were new.

    Raises:
        Transient, Misconfigured: the store can't be listed.
    """
    instance = ctx.settings.instance_id
    with read(ctx.control) as connection:
        known = set(connection.scalars(select(drills.c.id).where(drills.c.instance == instance)))
        manifests: dict[str, str] = {
            row.id: row.manifest_sha256
            for row in connection.execute(
                select(snapshots.c.id, snapshots.c.manifest_sha256).where(
                    snapshots.c.instance == instance
                )
            )
        }
    found = []
    for item in store.list(evidence_prefix(instance)):
        snapshot_id, _, name = item.key.removeprefix(evidence_prefix(instance)).partition("/")
        if name.removesuffix(".json") in known or snapshot_id not in manifests:
            continue
        drill = _trusted(ctx, store, item.key, manifests[snapshot_id])
        if drill is not None:
            found.append(drill)
    if not found:
        return 0
    with write(ctx.control) as connection:
        for drill in sorted(found, key=lambda drill: drill.at):
            connection.execute(insert(drills).values(**_values(drill)))
            _apply(connection, drill, heals=False)
    return len(found)


def history(
    ctx: Context, snapshot_id: str = "", *, place: str = "", limit: int = 100
) -> tuple[Drill, ...]:
    """Drills, newest first: of one snapshot, or of all."""
    query = select(drills).where(drills.c.instance == ctx.settings.instance_id)
    if snapshot_id:
        query = query.where(drills.c.snapshot_id == snapshot_id)
    if place:
        query = query.where(drills.c.place == place)
    return _found(ctx, query.limit(limit))


def newest(ctx: Context, *, passed: bool, place: str = "") -> Drill | None:
    """The newest drill that passed (or did not), of a snapshot that is still there."""
    query = (
        select(drills)
        .join(
            snapshots,
            (snapshots.c.id == drills.c.snapshot_id) & (snapshots.c.instance == drills.c.instance),
        )
        .where(drills.c.instance == ctx.settings.instance_id, drills.c.passed.is_(passed))
    )
    if place:
        query = query.where(drills.c.place == place)
    found = _found(ctx, query.limit(1))
    return found[0] if found else None


def standing_failure(ctx: Context, snapshot_id: str) -> str | None:
    """What the newest drill of a snapshot found wrong; None where it passed or there is none."""
    found = history(ctx, snapshot_id, place=STORE, limit=1)
    return found[0].error if found else None


def proven_copies(ctx: Context) -> dict[str, datetime]:
    """When the copy of each snapshot last passed; without those whose newest drill failed."""
    query = (
        select(drills.c.snapshot_id, drills.c.at, drills.c.passed)
        .where(drills.c.instance == ctx.settings.instance_id, drills.c.place == COPY)
        .order_by(drills.c.at)
    )
    with read(ctx.control) as connection:
        newest = {row.snapshot_id: row for row in connection.execute(query)}
    return {name: row.at for name, row in newest.items() if row.passed}


def get(ctx: Context, drill_id: str) -> Drill | None:
    """One drill, or None."""
    found = _found(ctx, select(drills).where(drills.c.id == drill_id))
    return found[0] if found else None


def to_json(drill: Drill, manifest_sha256: str, keys: Keys) -> bytes:
    """The evidence as a file that anybody can read; signed when there is a key."""
    values: dict[str, Any] = {
        "kind": _KIND,
        "format": _FORMAT,
        "id": drill.id,
        "snapshot": drill.snapshot_id,
        "instance": drill.instance,
        "manifest_sha256": manifest_sha256,
        "place": drill.place,
        "at": drill.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "seconds": round(drill.seconds, 3),
        "passed": drill.passed,
        "host": drill.host,
        "asked_by": drill.asked_by,
        "error": drill.error,
        "steps": [step.to_dict() for step in drill.steps],
    }
    return signed(canonical(values), keys)


def from_json(data: bytes, manifest_sha256: str, keys: Keys) -> Drill:
    """Read evidence that anybody may have written.

    Raises:
        Broken: it is no evidence, was altered, is not signed though a key is set, or proves
            another manifest.
    """
    values = parsed(data)
    state = signature_state(data, keys)
    if keys.signing and state != "signed":
        raise _refused("it is not signed with a key that is accepted here")
    values.pop(SIGNATURE, None)
    if (values.get("kind"), values.get("format")) != (_KIND, _FORMAT):
        raise _refused("it is of a kind that this desk does not know")
    # A manifest may have been signed anew since; whoever holds the key can say so here, too.
    if state != "signed" and values.get("manifest_sha256") != manifest_sha256:
        raise _refused("it is about another manifest than the one in the list")
    try:
        return _drill(values)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _refused("a field is missing or not what it must be") from error


def _trusted(ctx: Context, store: Store, key: str, manifest_sha256: str) -> Drill | None:
    try:
        with store.open(key) as stream:
            data = stream.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise _refused("it is larger than any evidence")
        drill = from_json(data, manifest_sha256, keys_of(ctx.settings))
        if evidence_key(drill) != key or drill.instance != ctx.settings.instance_id:
            raise _refused("it lies under a name that is not its own")
    except KeyError:
        return None  # it vanished while it was read
    except Broken as error:
        log.warning("%s: %s", key, error.message)
        return None
    return drill


def _drill(values: dict[str, Any]) -> Drill:
    at = datetime.fromisoformat(_text(values["at"]))
    if at.tzinfo is None or values["place"] not in PLACES or type(values["passed"]) is not bool:
        raise ValueError("a field is not what it must be")
    steps = values["steps"]
    if not isinstance(steps, list) or len(steps) > _MOST_STEPS:
        raise ValueError("no list of steps")
    error = values["error"]
    drill = Drill(
        id=_matching(_DRILL_ID, values["id"]),
        snapshot_id=_matching(SNAPSHOT_ID, values["snapshot"]),
        instance=_text(values["instance"]),
        place=values["place"],
        at=at.astimezone(UTC),
        seconds=_seconds(values["seconds"]),
        passed=values["passed"],
        host=_text(values["host"])[:120],
        asked_by=_text(values["asked_by"])[:120],
        error=None if error is None else _text(error),
        steps=tuple(_step(step) for step in steps),
    )
    if drill.passed != (bool(drill.steps) and all(step.passed for step in drill.steps)):
        raise ValueError("its steps say something else than its end")
    return drill


def _step(value: dict[str, Any]) -> Step:
    if value["passed"] not in (True, False, None):
        raise ValueError("no outcome")
    return Step(
        _text(value["name"])[:60],
        value["passed"],
        _text(value["found"]),
        _seconds(value["seconds"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        raise ValueError("no text, or a very long one")
    return value


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    if not pattern.fullmatch(_text(value)):
        raise ValueError("not of the form that it must have")
    return str(value)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    if not math.isfinite(value) or value < 0:
        raise ValueError("no time span")
    return float(value)


def _refused(why: str) -> Broken:
    return Broken(f"The evidence of a drill in the store can't be used: {why}.")


def _manifest_sha256(ctx: Context, snapshot_id: str) -> str:
    with read(ctx.control) as connection:
        found = connection.scalar(
            select(snapshots.c.manifest_sha256).where(
                snapshots.c.instance == ctx.settings.instance_id, snapshots.c.id == snapshot_id
            )
        )
    return str(found or "")


def _apply(connection: Connection, drill: Drill, *, heals: bool) -> None:
    """Let a snapshot show its newest drill.

    Args:
        heals: a drill that passed just now also ends what an earlier look found wrong; one
            of another desk ends only what a drill before it had found.
    """
    same = (drills.c.snapshot_id == drill.snapshot_id) & (drills.c.instance == drill.instance)
    of_place = same & (drills.c.place == drill.place)
    # What was found just now is the newest, though a clock that was set back says otherwise.
    newer = select(drills.c.id).where(of_place, drills.c.at > drill.at).limit(1)
    if not heals and connection.scalar(newer):
        return  # a newer one has spoken
    row = (snapshots.c.id == drill.snapshot_id) & (snapshots.c.instance == drill.instance)
    error = snapshots.c.verify_error if drill.place == STORE else snapshots.c.copy_error
    values: dict[str, Any] = {}
    if drill.place == STORE:
        values |= {
            "verified_at": drill.at if drill.passed else None,
            "drill_seconds": drill.seconds if drill.passed else None,
        }
    if not drill.passed:
        values[error.name] = drill.error
    else:
        said = connection.scalar(select(error).where(row))
        of_drills = connection.scalars(select(drills.c.error).where(of_place)).all()
        if heals or said in of_drills:
            values[error.name] = None
        elif said is not None and drill.place == STORE:
            values |= {"verified_at": None, "drill_seconds": None}  # damaged stays damaged
    if values:
        connection.execute(update(snapshots).where(row).values(**values))


def _values(drill: Drill) -> dict[str, Any]:
    return {
        "id": drill.id,
        "snapshot_id": drill.snapshot_id,
        "instance": drill.instance,
        "place": drill.place,
        "at": drill.at,
        "seconds": drill.seconds,
        "passed": drill.passed,
        "host": drill.host[:120],
        "asked_by": drill.asked_by[:120],
        "error": drill.error,
        "evidence": [step.to_dict() for step in drill.steps],
    }


def _found(ctx: Context, query: Select[Any]) -> tuple[Drill, ...]:
    with read(ctx.control) as connection:
        rows = connection.execute(query.order_by(drills.c.at.desc(), drills.c.id.desc())).all()
    return tuple(
        Drill(
            id=row.id,
            snapshot_id=row.snapshot_id,
            instance=row.instance,
            place=row.place,
            at=row.at,
            seconds=row.seconds,
            passed=row.passed,
            host=row.host,
            asked_by=row.asked_by,
            error=row.error,
            steps=tuple(
                Step(step["name"], step["passed"], step["found"], step["seconds"])
                for step in row.evidence
            ),
        )
        for row in rows
    )
