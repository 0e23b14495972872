"""Door: how the store is kept, what lies in its archive, and bringing it back.

The browser calls these functions; cron runs the file (`python services/store.py poll`).
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python puts services/ first on the path, ahead of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import logging
import time
from typing import Any

from services.core import terminal
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context
from services.core.errors import (
    Archived,
    DeskError,
    Transient,
)
from services.protection.archive import index as archive_index
from services.protection.archive import retrieval as archive
from services.protection.archive.model import Options, Retrieval, RetrievalState
from services.protection.bucket import plan as bucket
from services.protection.bucket.facts import StoreFacts, store_facts
from services.protection.bucket.plan import BucketPlan
from services.protection.index import catalog
from services.protection.stores import open_store
from services.protection.stores.base import Tier

log = logging.getLogger("desk.store")

WAIT_SECONDS = 60
"""Between two looks of `retrieve --wait`."""


def facts(ctx: Context, actor: Actor) -> StoreFacts:
    """Where backups lie and who can read them; no store is asked, no secret is in it."""
    require(actor, Permission.BACKUP_VIEW)
    return store_facts(ctx)


def bucket_plan(ctx: Context, actor: Actor, *, hurried: bool = False) -> BucketPlan:
    """What the bucket is like and what "Prepare bucket" would change. Changes nothing.

    Args:
        hurried: give a silent server up after seconds, for a page.

    Raises:
        Invalid: the backups lie in a folder.
        Transient, Misconfigured: the bucket can't be reached.
    """
    require(actor, Permission.BACKUP_VIEW)
    return bucket.plan(ctx, hurried=hurried)


def apply_bucket(ctx: Context, actor: Actor, plan: BucketPlan) -> BucketPlan:
    """Make the bucket as the plan says; see `bucket.prepare`."""
    require(actor, Permission.STORE_MANAGE)
    return bucket.prepare(ctx, actor, plan)


def retrieval_options(ctx: Context, actor: Actor, snapshot_id: str, days: int = 3) -> Options:
    """Whether a snapshot can be read now; if not, how it comes back, how soon, at what cost."""
    require(actor, Permission.BACKUP_VIEW)
    store = open_store(ctx.settings, hurried=True)
    row = catalog.find(ctx, snapshot_id)
    _look_after(ctx)
    return archive.options(ctx, store, row.id, days)


def request_retrieval(
    ctx: Context, actor: Actor, snapshot_id: str, tier: Tier, days: int
) -> Retrieval:
    """Ask the archive for every object of a snapshot; see `archive.request`."""
    require(actor, Permission.RESTORE)
    return archive.request(ctx, open_store(ctx.settings), actor, snapshot_id, tier, days)


def retrievals(ctx: Context, actor: Actor) -> tuple[Retrieval, ...]:
    """The newest retrievals, newest first; whoever looks looks after them."""
    require(actor, Permission.BACKUP_VIEW)
    _look_after(ctx)
    return archive_index.known(ctx)


def poll(ctx: Context) -> tuple[Retrieval, ...]:
    """Look after every retrieval, and see what S3 archived meanwhile: for cron.

    Raises:
        Transient, Misconfigured: the store can't be read.
    """
    store = open_store(ctx.settings)
    looked = archive.poll(ctx, store, everything=True)
    archive_index.look(ctx, store)
    return looked


def _look_after(ctx: Context) -> None:
    """For a page: a store that is silent does not keep it from what is known."""
    try:
        archive.poll(ctx, open_store(ctx.settings, hurried=True))
    except DeskError as error:
        log.warning("retrievals are as they were: %s", error)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return terminal.main(_parser(), arguments, terminal.on_a_desk(_command))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python services/store.py",
        description="Look after snapshots in the archive of an S3 store.",
        epilog=terminal.CODES,
    )
    parser.set_defaults(json=False)
    as_json = argparse.ArgumentParser(add_help=False)
    terminal.add_json(as_json)
    what = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    what.add_parser("poll", parents=[as_json], help="see how far every retrieval is (for cron)")
    show = what.add_parser("show", parents=[as_json], help="whether a snapshot can be read now")
    retrieve = what.add_parser("retrieve", parents=[as_json], help="bring a snapshot back")
    for each in (show, retrieve):
        each.add_argument("snapshot", metavar="ID", help="an id, or latest")
        each.add_argument("--days", type=int, default=3, help="how long the copy stays; 3")
    retrieve.add_argument(
        "--tier",
        choices=[each.value for each in Tier],
        help="how quickly; standard. A running one can be made faster, at the full price",
    )
    retrieve.add_argument("--wait", action="store_true", help="stay until it can be read")
    retrieve.add_argument("--every", type=float, default=WAIT_SECONDS, help=argparse.SUPPRESS)
    return parser


def _command(ctx: Context, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    does = {"poll": _command_poll, "show": _command_show, "retrieve": _command_retrieve}
    does[options.command](ctx, command_line_actor(), options, answer)


def _command_poll(
    ctx: Context, actor: Actor, options: argparse.Namespace, answer: dict[str, Any]
) -> None:
    catalog.refresh(ctx, open_store(ctx.settings))
    before = {each.id: each.state for each in archive_index.known(ctx)}
    found = poll(ctx)
    answer |= {"state": "done", "retrievals": [_as_json(each) for each in found]}
    if options.json:
        return
    for each in found:
        # cron mails what is printed: only what is new.
        if sys.stdout.isatty() or before.get(each.id) is not each.state:
            print(_line(each))
    if not found and sys.stdout.isatty():
        print("Nothing is being brought back from the archive.")


def _command_show(
    ctx: Context, actor: Actor, options: argparse.Namespace, answer: dict[str, Any]
) -> None:
    catalog.refresh(ctx, open_store(ctx.settings))
    _say(retrieval_options(ctx, actor, options.snapshot, options.days), options, answer)


def _say(found: Options, options: argparse.Namespace, answer: dict[str, Any]) -> None:
    answer |= {
        "snapshot": found.snapshot_id,
        "storage": found.storage.value,
        "objects": found.objects,
        "stored_bytes": found.stored_bytes,
        "offers": [
            {"tier": each.tier.value, "wait": each.wait, "dollars": round(each.cost, 4)}
            for each in found.offers
        ],
    }
    if options.json:
        return
    print(f"{found.snapshot_id}: {found.storage.value}")
    for each in found.offers:
        print(f"  --tier {each.tier.value:10} {each.wait:18} about ${each.cost:,.2f}")


def _command_retrieve(
    ctx: Context, actor: Actor, options: argparse.Namespace, answer: dict[str, Any]
) -> None:
    store = open_store(ctx.settings)
    catalog.refresh(ctx, store)
    snapshot_id = catalog.find(ctx, options.snapshot).id
    waiting = [
        each
        for each in archive.poll(ctx, store, everything=True)
        if each.snapshot_id == snapshot_id and each.state is RetrievalState.WAITING
    ]
    running = waiting[0] if waiting else None
    # Without a word about it, what runs is not made dearer.
    tier = Tier(options.tier) if options.tier else running.tier if running else Tier.STANDARD
    # Started again, the command goes on waiting for what was asked for before.
    if running and options.wait and tier not in running.tier.faster:
        retrieval = running
    else:
        retrieval = request_retrieval(ctx, actor, snapshot_id, tier, options.days)
    if not options.json:
        print(_line(retrieval), flush=True)
    if options.wait and retrieval.state is RetrievalState.WAITING and not options.json:
        print("Waiting; what was asked for comes back also when this is stopped.", flush=True)
    while options.wait and retrieval.state is RetrievalState.WAITING:
        time.sleep(options.every)
        try:
            archive.poll(ctx, store, everything=True)
        except Transient as error:
            log.warning("waiting goes on: %s", error)  # hours pass; the network may fail once
            continue
        newest = archive_index.known(ctx, snapshot_id, limit=1000)
        retrieval = next(each for each in newest if each.id == retrieval.id)
    answer |= {"state": retrieval.state.value, "retrieval": _as_json(retrieval)}
    if retrieval.state not in (RetrievalState.WAITING, RetrievalState.READY):
        raise Archived(_line(retrieval), "Ask for it again.")
    if options.wait and not options.json:
        print(_line(retrieval))


def _line(found: Retrieval) -> str:
    if found.state is RetrievalState.READY and found.ready_until is not None:
        return f"{found.snapshot_id} can be read until {found.ready_until:%Y-%m-%d %H:%M} UTC."
    if found.state is RetrievalState.WAITING:
        return (
            f"{found.snapshot_id} is being brought back ({found.tier.value}, asked for "
            f"{found.asked_at:%Y-%m-%d %H:%M} UTC): {found.objects_ready} of {found.objects} "
            "objects are there."
        )
    why = f" {found.error}" if found.error else ""
    return f"{found.snapshot_id}: the retrieval is {found.state.value}.{why}"


def _as_json(found: Retrieval) -> dict[str, Any]:
    return {
        "id": found.id,
        "snapshot": found.snapshot_id,
        "state": found.state.value,
        "tier": found.tier.value,
        "asked_at": found.asked_at.isoformat(),
        "ready_until": found.ready_until.isoformat() if found.ready_until else None,
        "objects": found.objects,
        "objects_ready": found.objects_ready,
    }


if __name__ == "__main__":
    sys.exit(main())
