"""After a kill: bring every unfinished restore to one side, and say which."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import update

from db.control import jobs as job_rows
from db.engine import write
from services.core import audit, jobs
from services.core.access import system_actor
from services.core.context import Context
from services.core.errors import DeskError, describe
from services.protection.rescue import journal as journals
from services.protection.rescue import putback
from services.protection.rescue.boundary import reached
from services.protection.rescue.database import Replacement
from services.protection.rescue.engines import database_of, unfinished
from services.protection.rescue.journal import Journal, Ledger, Phase
from services.protection.rescue.outcome import Outcome, in_words
from services.protection.rescue.undo import KIND
from services.protection.stores.base import Store
from services.protection.workspace import sweep

log = logging.getLogger("desk.restore")


@dataclass(frozen=True)
class Recovery:
    """What became of one unfinished restore."""

    job_id: str
    side: str  # "old", "new", or "" when it could not be decided yet
    message: str
    hint: str = ""


def recover_all(ctx: Context, open_store: Callable[[], Store]) -> list[Recovery]:
    """Finish or take back every restore whose process is gone. May be killed and repeated.

    Args:
        open_store: only called where a safety snapshot has to be fetched.
    """
    jobs.reap(ctx)
    with open(journals.home(ctx) / "recover.lock", "ab") as guard:
        # Another process of the desk may be at it: what it leaves is settled, or ours.
        fcntl.flock(guard, fcntl.LOCK_EX)
        found = []
        for journal in list(journals.pending(ctx)):
            if not _running(ctx, journal.job_id):
                found.append(_recover(ctx, journal, open_store))
        if found:
            sweep(ctx.settings.temp_dir)  # what the safety snapshot had captured
        found += _without_journal(ctx)
        with suppress(DeskError):  # a server that can't be reached now: at the next start
            if found:
                database_of(ctx).clear_previews()
            database_of(ctx).sweep()
        return found


def _recover(ctx: Context, journal: Journal, open_store: Callable[[], Store]) -> Recovery:
    try:
        ledger = Ledger(ctx, journal)
        database = unfinished(ctx, ledger)
        new = _bring_to_one_side(ctx, ledger, database, open_store)
        notes = database.settled() if database and new else []
        kept = putback.tidy(ctx, journal, database, new=new)
    except Exception as error:
        log.exception("the restore %s could not be recovered", journal.job_id)
        message, hint, _id = describe(in_words(error))
        return Recovery(
            journal.job_id,
            "",
            f"A restore of {journal.snapshot_id} was interrupted and could not be settled yet: "
            f"{message}",
            f"{hint} The desk tries again at its next start.".strip(),
        )
    if new:
        text = (
            f"The restore of {journal.snapshot_id} was interrupted after it had replaced the "
            "data: the shop has the restored data, all of it."
        )
        hint = "Undo it on the Backups page if that is not wanted. Start the shop again."
    else:
        text = (
            f"The restore of {journal.snapshot_id} was interrupted: the shop has the data of "
            "before, all of it."
        )
        hint = "Start the restore again when you are ready."
    outcome = Outcome(
        journal.snapshot_id,
        tuple(journal.parts),
        safety_id=journal.safety_id,
        side="new" if new else "old",
        notes=notes,
        kept=kept + _kept_files(journal, new),
    )
    _write(ctx, journal.job_id, text, hint, outcome)
    return Recovery(journal.job_id, outcome.side, " ".join([text, *notes]), hint)


def _bring_to_one_side(
    ctx: Context,
    ledger: Ledger,
    database: Replacement | None,
    open_store: Callable[[], Store],
) -> bool:
    journal = ledger.journal
    if journal.phase is Phase.STAGING:
        return False
    if journal.phase is Phase.APPLYING and putback.committed(ctx, journal, database):
        putback.finish(journal)
        reached("finished")
        return True
    # Written first: a kill while things go back must not be taken for a restore half done.
    ledger.save(Phase.PUTTING_BACK)
    putback.take_back(journal, database, open_store)
    return False


def _kept_files(journal: Journal, new: bool) -> list[str]:
    folder = Path(journal.kept) if journal.kept and new else None
    return sorted(str(file) for file in folder.iterdir()) if folder and folder.is_dir() else []


def _running(ctx: Context, job_id: str) -> bool:
    try:
        return not jobs.get(ctx, job_id).state.ended
    except KeyError:
        return False  # the control database was replaced; no job of ours can be alive


def _write(ctx: Context, job_id: str, text: str, hint: str, outcome: Outcome) -> None:
    with write(ctx.control) as connection:
        connection.execute(
            update(job_rows)
            .where(job_rows.c.id == job_id)
            .values(
                state=jobs.JobState.INTERRUPTED.value,
                error=text,
                hint=hint,
                result=outcome.to_dict() | {"told": True},
            )
        )
        audit.record(
            connection,
            ctx,
            system_actor(),
            "restore.recovered",
            ("snapshot", outcome.snapshot_id),
            text,
            details=outcome.to_dict() | {"job": job_id},
        )


def _without_journal(ctx: Context) -> list[Recovery]:
    """Interrupted restores that left no journal: killed before their first or after their
    last touch. Their rows say which, once."""
    found = []
    unsettled = {journal.job_id for journal in journals.pending(ctx)}
    for job in jobs.recent(ctx, (KIND,)):
        if job.state is not jobs.JobState.INTERRUPTED or job.id in unsettled:
            continue
        result = job.result or {}
        if result.get("told"):
            continue
        if result.get("side") == "new":
            text = (
                f"The restore of {result['snapshot']} was done and checked when its process was "
                "stopped: the shop has the restored data, all of it."
            )
            hint = "Undo it on the Backups page if that is not wanted. Start the shop again."
        elif not result:
            text = "The restore was stopped before it touched anything; nothing was changed."
            hint = "Start the restore again when you are ready."
        else:
            continue
        side = result.get("side", "old")
        with write(ctx.control) as connection:
            connection.execute(
                update(job_rows)
                .where(job_rows.c.id == job.id)
                .values(error=text, hint=hint, result={**result, "side": side, "told": True})
            )
        found.append(Recovery(job.id, side, text, hint))
    return found
