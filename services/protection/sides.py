"""Databases that a job makes beside the shop's, and how to tell whose they are.

The id of the job is the end of the name, so that there is no moment at which one of them
belongs to nobody: what has a living job is left alone, by whoever sweeps.
"""

from __future__ import annotations

from services.core import jobs
from services.core.context import Context
from services.protection.sources import postgres


def sweep(ctx: Context, url: str, prefix: str) -> None:
    """Drop the databases whose job has ended; what another desk made stays.

    Raises:
        Transient, Misconfigured: the server does not answer.
    """
    jobs.reap(ctx)
    for name in postgres.databases(url, prefix):
        if is_left(ctx, name, prefix):
            postgres.drop_side(url, name)


def is_left(ctx: Context, name: str, prefix: str) -> bool:
    """Whether the job that made this (a database, a role) is one of ours and has ended."""
    try:
        return jobs.get(ctx, name.removeprefix(prefix)).state.ended
    except KeyError:
        return False  # another desk's, which may be under way
