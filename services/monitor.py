"""Door: measure the installation, judge whether its data is safe, tell what was done.

Cron runs the file (`python services/monitor.py`) or the module to take a sample and to send
the alerts that are due; the pages call the functions.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python puts services/ first on the path, ahead of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import json
import logging
import re
import sqlite3
from datetime import timedelta
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from services.core import jobs
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context, open_context
from services.core.databases import shop_error
from services.core.errors import (
    EXIT_DONE,
    EXIT_USAGE,
    Broken,
    DeskError,
    Refused,
    describe,
    exit_code,
)
from services.knowledge.releasing.unreached import unreached
from services.protection import matching
from services.protection.index import catalog
from services.protection.model import SnapshotRow
from services.protection.proving import records
from services.protection.replication import status as replication
from services.shop.attach import ShopState, status
from services.watch import alerts, notify, samples
from services.watch import facts as watched
from services.watch.alerting import AlertState, Transition, conditions
from services.watch.facts import failed_test_restore
from services.watch.judging import judge
from services.watch.notify import Delivery
from services.watch.posture import Facts, Posture, Proof, Recovery, Snapshot, Trouble
from services.watch.rules import looked_at
from services.watch.samples import Reading

log = logging.getLogger("desk.monitor")

SAMPLE_AFTER = timedelta(minutes=15)
"""A page that shows samples takes a fresh one when the newest is older."""
MOST_FAILED_PROOFS = 10
"""More damaged backups than this are told by these."""


def sample(ctx: Context, actor: Actor) -> tuple[Reading, ...]:
    """Measure everything now and keep it.

    Raises:
        Denied: without `monitoring.view`.
    """
    require(actor, Permission.MONITORING_VIEW)
    readings = samples.collect(ctx)
    samples.take(ctx, readings)
    return readings


def sample_if_old(ctx: Context, actor: Actor) -> bool:
    """Take a sample unless there is a fresh one. A page must open all the same: never raises
    over a measurement.

    Returns:
        Whether one was taken.

    Raises:
        Denied: without `monitoring.view`.
    """
    require(actor, Permission.MONITORING_VIEW)
    taken = samples.taken_at(ctx)
    if taken is not None and ctx.now() - taken < SAMPLE_AFTER:
        return False
    try:
        sample(ctx, actor)
    except (OSError, SQLAlchemyError) as error:
        log.warning("no sample taken: %s", error)
        return False
    return True


def gather(ctx: Context, actor: Actor) -> Facts:
    """Everything that the judgement of `posture` needs, read now.

    Raises:
        Denied: without `overview.view`.
    """
    require(actor, Permission.OVERVIEW_VIEW)
    catalog.refresh_if_old(ctx)
    listed = catalog.page(ctx, rows=1)
    trusted = catalog.page(ctx, state="trusted", rows=1)
    newest, proof = _snapshot(listed.rows), _last_proof(ctx)
    shop = status(ctx)
    shop_trouble, kb_empty = None, False
    if shop.state is not ShopState.READY:
        shop_trouble = Trouble(None, _standing(shop.message), shop.hint)
    else:
        kb_empty, shop_trouble = _look_inside(ctx)
    late, folder_trouble = _releases(ctx) if shop.state is ShopState.READY else (None, None)
    store_trouble = None
    if listed.store_error is not None:
        message, hint = listed.store_error
        store_trouble = Trouble(None, _standing(message), hint)
    return Facts(
        newest=newest,
        newest_trusted=_snapshot(trusted.rows),
        first_backup_at=catalog.first_made_at(ctx),
        last_proof=proof,
        failed_proofs=_failed_proofs(ctx),
        damaged=catalog.page(ctx, state="damaged", rows=1).total,
        mismatch=matching.mismatch(listed.rows[0].missing_vectors, listed.rows[0].stray_vectors)
        if listed.rows
        else "",
        can_open=not (listed.rows and listed.rows[0].encrypted)
        or ctx.settings.backup_age_identity_file is not None,
        failed_backup=watched.failed_backup(ctx),
        interrupted_restore=watched.interrupted_restore(ctx),
        shop_trouble=shop_trouble,
        store_trouble=store_trouble,
        store_is_local=samples.local_store(ctx) is not None,
        store_shares_disk=watched.store_shares_disk(ctx),
        copy_trouble=_copy_trouble(ctx),
        archive_news=watched.archive_news(ctx),
        recovery=_recovery(watched.measured_restore(ctx), proof),
        kb_empty=kb_empty,
        kb_module=ctx.settings.shop_kb_module.is_file(),
        disks=watched.disks(ctx),
        unreached=late,
        folder_trouble=folder_trouble,
    )


def posture(ctx: Context, actor: Actor) -> tuple[Facts, Posture]:
    """Whether the data is safe now, and the facts behind it.

    Raises:
        Denied: without `overview.view`.
    """
    facts = gather(ctx, actor)
    return facts, judge(facts, ctx.now())


def look(ctx: Context, actor: Actor) -> tuple[Facts, Posture]:
    """The posture, held against the alerts that are open; what is to be told of it is told
    beside the caller. A page must open all the same: never raises over an alert.

    Raises:
        Denied: without `overview.view`.
    """
    facts, found = posture(ctx, actor)
    try:
        alerts.observe(ctx, conditions(found), looked_at(facts))
        notify.deliver_aside(ctx)
    except SQLAlchemyError as error:
        log.warning("the alerts were not looked at: %s", error)
    return facts, found


def evaluate(ctx: Context, actor: Actor) -> tuple[tuple[Transition, ...], Delivery]:
    """Judge what is there now, open and end alerts, and tell whoever is to be told.

    Raises:
        Denied: without `overview.view`.
    """
    require(actor, Permission.OVERVIEW_VIEW)
    jobs.reap(ctx)  # a backup that was killed has failed, and nobody said so yet
    facts, found = posture(ctx, actor)
    return alerts.observe(ctx, conditions(found), looked_at(facts)), notify.deliver(ctx)


def _copy_trouble(ctx: Context) -> Trouble | None:
    found = replication.trouble(ctx)
    return Trouble(found[0], _standing(found[1]), found[2]) if found else None


def _releases(ctx: Context) -> tuple[tuple[Trouble, ...] | None, Trouble | None]:
    """Releases that were to be published and are not; and what is the matter with the folder."""
    try:
        found = unreached(ctx)
    except DeskError as error:
        log.warning("the releases were not looked at: %s", error)
        return None, None
    late, folder = [], None
    for one in found:
        trouble = Trouble(one.since, one.message, one.hint, one.subject)
        if one.subject:
            late.append(trouble)
        else:
            folder = trouble
    return tuple(late), folder


def _standing(message: str) -> str:
    """A message about how things are; what a refused action left alone is not part of it."""
    return re.sub(r"[;.]? nothing was changed\.$", ".", message, flags=re.IGNORECASE)


def _snapshot(rows: tuple[SnapshotRow, ...]) -> Snapshot | None:
    if not rows:
        return None
    row = rows[0]
    return Snapshot(
        row.id, row.created_at, row.read_back_at, row.verify_error or "", row.verified_at
    )


def _last_proof(ctx: Context) -> Proof | None:
    drill = records.newest(ctx, passed=True, place=records.STORE)
    return None if drill is None else Proof(drill.snapshot_id, drill.at, drill.seconds)


def _failed_proofs(ctx: Context) -> tuple[Trouble, ...]:
    """Backups whose test restore failed, unless one of the same store has passed since."""
    if records.newest(ctx, passed=False) is None:
        return ()
    found: dict[str, Trouble] = {}
    for place in records.PLACES:
        passed = records.newest(ctx, passed=True, place=place)
        for drill in records.history(ctx, place=place):
            if passed is not None and drill.at <= passed.at:
                break
            told = failed_test_restore(drill.place, drill.snapshot_id, drill.at, drill.error)
            if told.subject not in found and _is_listed(ctx, drill.snapshot_id):
                found[told.subject] = told
    return tuple(found.values())[:MOST_FAILED_PROOFS]


def _is_listed(ctx: Context, snapshot_id: str) -> bool:
    try:
        catalog.find(ctx, snapshot_id)
    except Refused:
        return False
    return True


def _recovery(restore: Recovery | None, proof: Proof | None) -> Recovery | None:
    """The newer of the two measurements."""
    drill = None if proof is None else Recovery(proof.seconds, proof.at, "drill")
    known = [found for found in (restore, drill) if found is not None]
    return max(known, key=lambda found: found.at, default=None)


def _look_inside(ctx: Context) -> tuple[bool, Trouble | None]:
    """Whether the knowledge base is empty, and what shows that the database is damaged."""
    try:
        return watched.knowledge_is_empty(ctx), None
    except (SQLAlchemyError, sqlite3.Error) as error:
        found = shop_error(error)
    if isinstance(found, Broken):
        return False, Trouble(None, _standing(found.message), found.hint)
    return False, None  # its tables are not there (yet), or it is locked: nothing can be said


def main(arguments: list[str] | None = None) -> int:
    """Send what is due and take one sample. Quiet when all is well; `--json` prints both."""
    parser = argparse.ArgumentParser(
        prog="monitor.py",
        description="Judge whether the data is safe, send alerts, and keep sizes, rows and disks.",
    )
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON")
    try:
        wanted = parser.parse_args(arguments)
    except SystemExit as stop:
        return EXIT_DONE if stop.code in (0, None) else EXIT_USAGE
    answer: dict[str, Any] = {"state": "succeeded"}
    code = EXIT_DONE
    try:
        ctx = open_context(patient=True)
        try:
            actor = command_line_actor()
            changed, delivery = evaluate(ctx, actor)
            still_open = alerts.standing(ctx, actor)
            readings = sample(ctx, actor)
        finally:
            ctx.close()
        if delivery.failed:
            print(f"An alert could not be delivered. {delivery.error}", file=sys.stderr)
        answer["alerts"] = {
            "open": sum(alert.state is AlertState.FIRING for alert in still_open),
            "pending": sum(alert.state is AlertState.PENDING for alert in still_open),
            "changed": len(changed),
            "delivered": delivery.delivered,
            "failed": delivery.failed,
        }
        answer["readings"] = [
            {"metric": reading.metric, "subject": reading.subject, "value": reading.value}
            for reading in readings
        ]
        if sys.stdout.isatty() and not wanted.json:
            print(f"{len(readings)} values measured and kept.")
    except Exception as error:  # whatever it is, a machine gets words and an exit code
        message, hint, error_id = describe(error)
        print(f"{message} {hint}".strip(), file=sys.stderr)
        answer = {"state": "failed", "error": message, "hint": hint, "error_id": error_id}
        code = exit_code(error)
    if wanted.json:
        print(json.dumps(answer | {"exit_code": code}, ensure_ascii=False))
    return code


if __name__ == "__main__":
    sys.exit(main())
