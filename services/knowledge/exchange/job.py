"""The import of a large file in a process of its own: all of it or nothing, or begun again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from db.knowledge import change_sets
from services.core import audit, doors, jobs
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import Invalid, Refused
from services.knowledge.changes import sound_reason
from services.knowledge.exchange import spool
from services.knowledge.exchange.applying import carry_out, opened, preview_of, require_word
from services.knowledge.exchange.choosing import ALL, Choice
from services.knowledge.exchange.planning import Plan
from services.knowledge.ledger import ChangeSet

KIND = "knowledge import"
LOCK = "knowledge import"

LARGE = 2_000
"""Rows of a file, or changes, beyond which an import is left to a process of its own."""


@dataclass(frozen=True)
class Outcome:
    """How the newest import that ran as a job ended, as the knowledge base itself tells."""

    job: jobs.Job
    name: str  # of the file
    order: str
    change_set: ChangeSet | None  # None where nothing was imported
    waits: bool  # the file is still here, to go on with


@dataclass(frozen=True)
class Resumed:
    """A file that was put aside, looked at again."""

    data: bytes
    part: str | None
    plan: Plan
    choice: Choice
    same: bool  # the plan is the one that was shown then
    reason: str


def is_large(plan: Plan) -> bool:
    """Whether an import takes longer than somebody should wait for a page."""
    return max(len(plan.items), len(plan.file.rows)) > LARGE


def queue(
    ctx: Context,
    actor: Actor,
    plan: Plan,
    data: bytes,
    choice: Choice = ALL,
    *,
    part: str | None = None,
    reason: str = "",
    typed: str = "",
) -> jobs.Job:
    """Put a file aside and write the row of the job that imports it.

    Args:
        data: the bytes that the plan was made from.
        part: with which they were read.

    Raises:
        Busy: another import is running; names it.
        Invalid: the confirmation is missing, or the reason is too long.
        Broken: the disk is full; nothing is left behind.
    """
    require(actor, Permission.KB_EDIT)
    require_word(plan.options, typed)
    reason = sound_reason(reason)
    spool.sweep(ctx)
    name, options = plan.file.name, plan.options
    shown = plan.fingerprint
    order = spool.lay_down(ctx, name, part, data, options, choice, shown, reason)
    try:
        params = {"order": order.id, "name": name[:200]}
        return jobs.create(ctx, actor, KIND, lock=LOCK, params=params)
    except BaseException:
        spool.take_away(ctx, order.id)
        raise


def work_off(ctx: Context, job: jobs.Job, watcher: doors.Watcher) -> jobs.Job:
    """Do a queued import; how it ended stands in its row and in the audit log.

    Raises:
        what `applying.carry_out` raises, and Refused when somebody called it off.
    """
    actor = doors.who_asked(job, Permission.KB_EDIT)
    order_id = str(job.params["order"])

    def work(handle: jobs.JobHandle) -> dict[str, Any]:
        def step(text: str, fraction: float) -> None:
            handle.step(text, fraction)
            if spool.is_stopped(ctx, order_id):
                raise Refused(
                    "The import was called off; nothing was imported.",
                    "The file is kept for two days: you can go on with it.",
                )

        step("Reading the file", 0.05)
        order = spool.order_of(ctx, order_id)
        file = opened(ctx, order.name, spool.bytes_of(ctx, order), order.part)
        done = carry_out(
            ctx,
            actor,
            file,
            order.options,
            order.choice,
            order.fingerprint,
            order.reason,
            step,
            change_set_id=order.id,
        )
        spool.take_away(ctx, order_id)
        return {
            "change_set": done.id,
            "added": done.added,
            "edited": done.edited,
            "deleted": done.deleted,
        }

    def failed(message: str) -> None:
        said = f"The import of {job.params['name']} failed. {message}"
        audit.note(ctx, actor, "knowledge.import", ("job", job.id), said, outcome="failed")

    return doors.work_off(ctx, job, work, watcher, failed)


def running(ctx: Context) -> jobs.Job | None:
    """The import that is under way."""
    return jobs.active(ctx, LOCK)


def call_off(ctx: Context, actor: Actor, job_id: str) -> None:
    """Have an import end before it writes; one that has written is done.

    Raises:
        Denied: without `kb.edit`.
    """
    require(actor, Permission.KB_EDIT)
    job = _import(ctx, job_id)
    spool.ask_to_stop(ctx, str(job.params["order"]))
    said = f"Called off the import of {job.params['name']}"
    audit.note(ctx, actor, "knowledge.import.cancel", ("job", job.id), said)


def outcome(ctx: Context, actor: Actor) -> Outcome | None:
    """How the newest import that ran as a job ended; None where none did.

    A job may be killed in the very moment after its commit: what counts is whether its change
    set is there.

    Raises:
        Denied: without `kb.edit`.
    """
    require(actor, Permission.KB_EDIT)
    spool.sweep(ctx)
    jobs.reap(ctx)
    found = jobs.recent(ctx, (KIND,), 1)
    if not found or not found[0].state.ended:
        return None
    job = found[0]
    order = str(job.params["order"])
    with read_shop(ctx) as connection:
        written = _written(connection, order)
    waits = written is None and spool.is_there(ctx, order)
    return Outcome(job, str(job.params["name"]), order, written, waits)


def resume(ctx: Context, actor: Actor, order_id: str) -> Resumed:
    """Look again at a file whose import did not come to its end.

    Raises:
        Invalid: the file is no longer here, or was imported all the same.
    """
    require(actor, Permission.KB_EDIT)
    order = spool.order_of(ctx, order_id)
    with read_shop(ctx) as connection:
        if _written(connection, order_id) is not None:
            raise Invalid("This file was imported; its change set stands in the history.")
    data = spool.bytes_of(ctx, order)
    plan = preview_of(ctx, actor, opened(ctx, order.name, data, order.part), order.options)
    same = plan.fingerprint == order.fingerprint
    return Resumed(data, order.part, plan, order.choice, same, order.reason)


def forget(ctx: Context, actor: Actor, order_id: str) -> None:
    """Throw away a file that waits; one that is being imported stays.

    Raises:
        Denied: without `kb.edit`.
    """
    require(actor, Permission.KB_EDIT)
    job = running(ctx)
    if job is None or job.params.get("order") != order_id:
        spool.take_away(ctx, order_id)


def _written(connection: Connection, order_id: str) -> ChangeSet | None:
    row = connection.execute(select(change_sets).where(change_sets.c.id == order_id)).first()
    if row is None:
        return None
    said = (row.id, row.at, row.author, row.author_kind, row.kind, row.reason)
    return ChangeSet(*said, row.added, row.edited, row.deleted)


def _import(ctx: Context, job_id: str) -> jobs.Job:
    try:
        job = jobs.get(ctx, job_id)
    except KeyError as error:
        raise Invalid("There is no such import.") from error
    if job.kind != KIND:
        raise Invalid("There is no such import.")
    return job
