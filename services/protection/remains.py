"""What killed work left behind, cleared away when the desk starts: scratch copies, and
databases on a server that an import or a test restore had made beside the shop's."""

from __future__ import annotations

import logging

from services.core import jobs
from services.core.context import Context
from services.core.errors import DeskError
from services.protection import workspace

log = logging.getLogger("desk.jobs")

DRILL, IMPORT = "drill", "legacy import"
"""Kinds of jobs that restore something aside."""
_LOOKED_AT = 10


def clear(ctx: Context) -> None:
    """Clear away what has no living owner. Never fails: who comes next tries again.

    The server is asked only where one of the last jobs that use it was cut off.
    """
    jobs.reap(ctx)
    workspace.sweep(ctx.settings.temp_dir)
    cut_off = {
        job.kind
        for job in jobs.recent(ctx, (DRILL, IMPORT), _LOOKED_AT)
        if job.state is jobs.JobState.INTERRUPTED
    }
    # An import restores its snapshot as a test, too.
    for kind, sweep in ((cut_off, _test_restores), (cut_off & {IMPORT}, _imports)):
        try:
            if kind:
                sweep(ctx)
        except DeskError as error:
            log.warning("databases of killed work were not looked for: %s", error.message)


def _test_restores(ctx: Context) -> None:
    from services.protection.proving import aside_server

    aside_server.sweep_all(ctx)


def _imports(ctx: Context) -> None:
    from services.protection.legacy import sql_load
    from services.protection.sources import postgres

    url = ctx.settings.shop_database_url
    if postgres.is_server(url):
        sql_load.sweep(ctx, url)
