"""Make the control database of a lost machine fit for the one that takes its place.

Accounts, roles and the audit log stay as they are. What was true of the old machine alone is
ended: its running jobs, and the sign-ins of browsers that nobody can vouch for now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, select, update

from db.control import accounts, audit_log, auth_sessions, jobs
from db.engine import read, write
from db.migrate import NewerDatabase, upgrade_control
from services.core.errors import Misconfigured
from services.core.jobs import JobState
from services.protection.rescue.words import plural

_OPEN = (JobState.QUEUED.value, JobState.RUNNING.value)


@dataclass(frozen=True)
class ControlFacts:
    """What a recovered control database holds."""

    accounts: int
    audit_rows: int
    jobs_ended: int
    sessions_revoked: int


def words(facts: ControlFacts) -> str:
    """What a recovered control database holds, for a person."""
    told = (
        f"Whole: {plural(facts.accounts, 'account', 'accounts')}, "
        f"{plural(facts.audit_rows, 'row', 'rows')} of the audit log"
    )
    if facts.jobs_ended:
        told += f"; {plural(facts.jobs_ended, 'job', 'jobs')} of the old machine ended"
    if facts.sessions_revoked:
        ended = plural(facts.sessions_revoked, "sign-in", "sign-ins")
        told += f"; {ended} ended, everybody signs in anew"
    return f"{told}."


def settle(engine: Engine, now: datetime, snapshot_id: str) -> ControlFacts:
    """Bring a staged control database to this version and end what belonged to its past.

    May be repeated. Nothing is deleted.

    Raises:
        Misconfigured: a newer version of the desk wrote it.
    """
    try:
        upgrade_control(engine)
    except NewerDatabase as error:
        raise Misconfigured(
            f"The snapshot {snapshot_id} was made by a newer version of the desk: {error}. "
            "Nothing was changed.",
            "Get that version of the repository, and run this again there.",
        ) from error
    with write(engine) as connection:
        ended = connection.execute(
            update(jobs)
            .where(jobs.c.state.in_(_OPEN))
            .values(
                state=JobState.INTERRUPTED.value,
                ended_at=now,
                error=f"It was running when the snapshot {snapshot_id} was taken; how it ended "
                "is not known to it.",
                hint="This desk was recovered from that snapshot. Whatever the job made and "
                "finished is in the store, and listed.",
                # Settled: nobody looks for traces of it on this machine.
                result={"side": "old", "told": True},
            )
        ).rowcount
        revoked = connection.execute(
            update(auth_sessions)
            .where(auth_sessions.c.revoked_at.is_(None))
            .values(revoked_at=now, revoked_why="recovered from a backup")
        ).rowcount
    return _facts(engine, ended, revoked)


def _facts(engine: Engine, ended: int, revoked: int) -> ControlFacts:
    with read(engine) as connection:
        return ControlFacts(
            accounts=connection.scalar(select(func.count()).select_from(accounts)) or 0,
            audit_rows=connection.scalar(select(func.count()).select_from(audit_log)) or 0,
            jobs_ended=ended,
            sessions_revoked=revoked,
        )
