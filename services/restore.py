"""Door: look at what a restore would change, do it, undo it, recover from a kill.

The browser calls these functions; an operator at a terminal runs the file
(`python services/restore.py latest`) or the module (`python -m services.restore`).
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
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from services.core import doors, jobs, terminal
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context, open_context
from services.core.errors import Conflict, DeskError, Invalid, Misconfigured
from services.core.loading import load_settings
from services.core.settings import Settings
from services.knowledge import transfer
from services.protection.archive.objects import require_pictures, saying_the_way_back
from services.protection.index import catalog
from services.protection.model import PROTECTION_LOCK, Part
from services.protection.reading import require_openable, require_way_back
from services.protection.replication.listing import index_copies
from services.protection.rescue import fresh_parts, fresh_terminal
from services.protection.rescue import job as restoring
from services.protection.rescue import terminal as screen
from services.protection.rescue.execute import Borrowed
from services.protection.rescue.job import resolved
from services.protection.rescue.outcome import words
from services.protection.rescue.plan import RESTORABLE, RestorePlan
from services.protection.rescue.preview import make_plan
from services.protection.rescue.recovery import Recovery, recover_all
from services.protection.rescue.undo import UndoOffer, newest_undoable, undo_plan
from services.protection.stores import as_the_only_store, open_store
from services.protection.stores.places import COPY, STORE
from services.shop.attach import attach, migration_waits

log = logging.getLogger("desk.restore")

LOCK = PROTECTION_LOCK


def preview(
    ctx: Context,
    actor: Actor,
    snapshot_id: str,
    parts: frozenset[Part],
    watcher: doors.Watcher = doors.unwatched,
) -> RestorePlan:
    """What restoring these parts would change, in the shop's words. Changes nothing.

    Fetches the backup's database into a scratch file, which the restore then uses.

    Args:
        snapshot_id: an id, or `latest`.
        parts: what to put back; the database brings the knowledge base with it.
        watcher: called with every (step, fraction).

    Raises:
        Invalid: there is no such snapshot, or a part is not in it.
        Misconfigured: the shop's database is not an SQLite file, or there is no identity here
            for what is encrypted.
        Broken: the snapshot is damaged or was altered.
    """
    require(actor, Permission.RESTORE)
    store = open_store(ctx.settings)
    manifest = catalog.load_manifest(ctx, store, resolved(ctx, snapshot_id))
    require_openable(ctx, manifest)
    require_way_back(ctx)
    with saying_the_way_back(manifest.id), words():
        if Part.IMAGES in parts:
            require_pictures(ctx, store, manifest)
        return make_plan(ctx, store, manifest, parts, lambda: _live_document(ctx), watcher)


def start(ctx: Context, actor: Actor, plan: RestorePlan, typed: str) -> jobs.Job:
    """Begin the restore of a plan in a process of its own.

    Args:
        plan: as `preview` gave it.
        typed: what the person typed to confirm.

    Raises:
        Invalid: the word is not the plan's.
        Busy: a backup or another restore is running.
    """
    return doors.begin(ctx, _queue(ctx, actor, plan, typed), "restore")


def run(
    ctx: Context,
    actor: Actor,
    plan: RestorePlan,
    typed: str,
    watcher: doors.Watcher = doors.unwatched,
    *,
    undo_of: str = "",
) -> jobs.Job:
    """The same in this process, for a terminal.

    Raises:
        DeskError: nothing was changed, or everything was put back; the message says which.
    """
    return _work_off(ctx, _queue(ctx, actor, plan, typed, undo_of=undo_of), watcher)


def undo_offer(ctx: Context, actor: Actor) -> UndoOffer | None:
    """The newest restore that can be undone; None when there is none.

    Whoever looks settles a restore that was killed since the desk started.
    """
    require(actor, Permission.BACKUP_VIEW)
    recover(ctx)
    return newest_undoable(restoring.where_undone(ctx))


def start_undo(ctx: Context, actor: Actor, offer: UndoOffer) -> jobs.Job:
    """Put back what was there before a restore, in a process of its own.

    Asks for no word: what is there now goes into a safety snapshot first, so an undo can
    itself be undone.

    Raises:
        Conflict: the offer is no longer the newest.
        Busy: a backup or another restore is running.
    """
    plan, there = _undo(ctx, actor, offer), restoring.where_undone(ctx)
    job = _queue(there, actor, plan, plan.word, undo_of=offer.job_id)
    return doors.begin(there, job, "restore")


def recover(ctx: Context) -> list[Recovery]:
    """Finish or take back restores that were killed; for every start of the desk."""
    return recover_all(ctx, lambda: open_store(ctx.settings))


def _undo(ctx: Context, actor: Actor, offer: UndoOffer) -> RestorePlan:
    require(actor, Permission.RESTORE)
    there = restoring.where_undone(ctx)
    newest = newest_undoable(there)
    if newest is None or newest.job_id != offer.job_id:
        raise Conflict(
            "Another restore ended since you looked; nothing was started.",
            "Look at the newest restore, then undo that one if you want to.",
        )
    manifest = catalog.load_manifest(there, open_store(there.settings), offer.safety_id)
    return undo_plan(there, offer, manifest)


def _queue(
    ctx: Context, actor: Actor, plan: RestorePlan, typed: str, *, undo_of: str = ""
) -> jobs.Job:
    require(actor, Permission.RESTORE)
    return restoring.queue(ctx, plan, actor, typed, undo_of)


def _work_off(ctx: Context, job: jobs.Job, watcher: doors.Watcher) -> jobs.Job:
    actor = restoring.who_asked(job)
    borrowed = Borrowed(
        canonical_json=transfer.canonical_json,
        live_document=lambda: _live_document(ctx),
        restore_document=lambda document, why: _restore_document(ctx, actor, document, why),
    )
    _sample(ctx)
    try:
        ended = restoring.work_off(ctx, job, watcher, borrowed)
        _bring_up_to_date(ctx)
        return ended
    finally:
        _sample(ctx)


def _restore_document(ctx: Context, actor: Actor, document: dict[str, Any], why: str) -> None:
    attach(ctx)  # the safety snapshot, which a migration waits for, was taken just before
    transfer.restore_document(ctx, actor, document, why)


def _bring_up_to_date(ctx: Context) -> None:
    """A backup of an older desk brought its tables along; the snapshot itself keeps them."""
    try:
        if migration_waits(ctx):
            attach(ctx)
    except DeskError as error:
        log.warning("the restored tables of the knowledge base wait for the next start: %s", error)


def _sample(ctx: Context) -> None:
    # Before and after, so that charts show what was lost and its return; but a chart is
    # never worth a failed restore.
    try:
        from services.watch import samples

        samples.take(ctx, samples.collect(ctx))
    except Exception as error:
        log.warning("no sample was taken after the restore: %s", type(error).__name__)


def _live_document(ctx: Context) -> dict[str, Any]:
    try:
        document = json.loads(transfer.canonical_json(ctx.shop))
    except SQLAlchemyError as error:
        if any(sign in str(error) for sign in ("no such table", "UndefinedTable")):
            return {}  # a shop that the desk was never attached to
        raise
    return document if isinstance(document, dict) else {}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return terminal.main(_parser(), arguments, _command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="restore.py",
        description="Put a backup of the shop back, or look what it would change.",
        epilog=terminal.CODES,
    )
    parser.add_argument("snapshot", nargs="?", help="an id, latest, or list")
    parser.add_argument(
        "--only",
        metavar="PARTS",
        default="",
        help=f"some of {', '.join(sorted(RESTORABLE))}, separated by commas",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and stop")
    parser.add_argument("--yes", action="store_true", help="do not ask for the word")
    parser.add_argument("--undo", action="store_true", help="undo the newest restore")
    terminal.add_json(parser)
    parser.add_argument(
        "--from",
        dest="source",
        metavar="STORE",
        help="s3://BUCKET/PREFIX or file:FOLDER: look into that store without a catalog; "
        "copy: the second store",
    )
    parser.add_argument(
        "--place",
        choices=(STORE, COPY),
        default=STORE,
        help="copy: read from the second store (BACKUP_COPY_URL), when the first is lost",
    )
    parser.add_argument(
        "--fresh",
        metavar="ID",
        nargs="?",
        const=catalog.LATEST,
        help="recover a lost machine: put everything back where nothing is (docs/recovery.md)",
    )
    parser.add_argument(
        "--without",
        metavar="PARTS",
        default="",
        help="leave damaged parts out of a recovery: some of control, images, vectors",
    )
    parser.add_argument("--instance", metavar="NAME", help="which shop of the store to recover")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    settings = load_settings()
    return as_the_only_store(settings) if COPY in (options.place, options.source) else settings


def _command(options: argparse.Namespace, answer: dict[str, Any]) -> None:
    if options.fresh is not None or options.source not in (None, COPY):
        answer |= _from_store(options)
        return
    ctx = open_context(_settings(options), patient=True)
    try:
        answer |= _run_queued(ctx, options.job) if options.job else _headless(ctx, options)
    finally:
        ctx.close()


def _from_store(options: argparse.Namespace) -> dict[str, Any]:
    """Recover a machine that has nothing but this repository: no catalog, no accounts, no jobs."""
    if options.snapshot not in (None, "list") or options.undo or options.only:
        raise Misconfigured(
            "A recovery from a store brings everything; nothing was started.",
            "restore.py --from STORE --fresh [ID], or restore.py list --from STORE.",
        )
    if COPY in (options.place, options.source):
        options.source = COPY
    if options.fresh is None and options.snapshot != "list":
        raise Misconfigured(
            "--from says where to look, not what to do; nothing was started.",
            "Add --fresh to recover everything from there, or list to see what is there.",
        )
    borrowed = fresh_parts.Borrowed(
        canonical_json=transfer.canonical_json,
        attach=attach,
        restore_document=transfer.restore_document,
    )
    return fresh_terminal.run(options, command_line_actor(), borrowed)


def _run_queued(ctx: Context, job_id: str) -> dict[str, Any]:
    # The shop waits for it: nothing else goes first.
    job = doors.taken_up(ctx, job_id, politely=False)
    return _ended(ctx, _work_off(ctx, job, screen.watcher))


def _headless(ctx: Context, options: argparse.Namespace) -> dict[str, Any]:
    actor = command_line_actor()
    for found in recover(ctx):
        print(found.message, found.hint, file=sys.stderr)
    here, ctx = ctx, restoring.where_undone(ctx) if options.undo else ctx
    if ctx is not here or COPY in (options.place, options.source):
        index_copies(ctx, open_store(ctx.settings))
    else:
        # A machine set up anew knows no snapshot: the store does.
        catalog.refresh(ctx, open_store(ctx.settings))
    if options.snapshot == "list":
        return _list(ctx, quiet=options.json)
    if bool(options.snapshot) == options.undo:
        raise Misconfigured(
            "Say what to restore; nothing was started.",
            "restore.py latest | ID | list, or restore.py --undo.",
        )
    if options.undo:
        offer = undo_offer(ctx, actor)
        if offer is None:
            raise Invalid("There is no restore to undo; nothing was started.")
        plan, undo_of = _undo(ctx, actor, offer), offer.job_id
    else:
        plan = preview(ctx, actor, options.snapshot, _parts(ctx, options), screen.watcher)
        undo_of = ""
        screen.watcher_end()
    print(screen.plan_text(plan), file=sys.stderr)
    if options.dry_run:
        return {"plan": plan.to_dict()}
    typed = plan.word if options.yes else screen.ask(plan.word)
    try:
        job = run(ctx, actor, plan, typed, screen.watcher, undo_of=undo_of)
    finally:
        screen.watcher_end()
    done = _ended(ctx, job)
    print(
        f"Done in {done['seconds']:.1f} s.",
        *done["notes"],
        *done["kept"],
        file=sys.stderr,
        sep="\n",
    )
    return done


def _list(ctx: Context, *, quiet: bool) -> dict[str, Any]:
    rows = catalog.page(ctx, rows=200).rows
    if not quiet:
        print(screen.rows_text(rows))
    return {
        "snapshots": [
            {"id": row.id, "created_at": row.created_at.isoformat(), "reason": row.reason}
            for row in rows
        ]
    }


def _parts(ctx: Context, options: argparse.Namespace) -> frozenset[Part]:
    if not options.only:
        return catalog.find(ctx, resolved(ctx, options.snapshot)).parts & RESTORABLE
    try:
        return frozenset(Part(name.strip()) for name in options.only.split(","))
    except ValueError as error:
        raise Misconfigured(
            f"--only holds {options.only!r}, which names no part; nothing was started.",
            f"It may hold: {', '.join(sorted(RESTORABLE))}.",
        ) from error


def _ended(ctx: Context, job: jobs.Job) -> dict[str, Any]:
    seconds = round(job.seconds(ctx.now()), 3)
    return {"job": job.id, "state": job.state.value, "seconds": seconds, **(job.result or {})}


if __name__ == "__main__":
    sys.exit(main())
