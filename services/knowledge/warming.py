"""What the first visitor of a large knowledge base would wait for, done when a desk starts."""

from __future__ import annotations

import logging
import threading

from sqlalchemy import select

from db.knowledge import entries as table
from services.core.context import Context
from services.core.databases import read_shop
from services.core.errors import describe
from services.knowledge import inspecting
from services.knowledge.searching import index

log = logging.getLogger("desk.warming")

MUCH = inspecting.MUCH
"""A knowledge base with no more entries is looked through while a page is drawn."""


def warm(ctx: Context) -> threading.Thread | None:
    """Have a thread bring the search index and the findings up to date. It never fails.

    Returns:
        The thread; None where there is too little to be worth one, or no shop.
    """
    try:
        with read_shop(ctx) as connection:
            query = select(table.c.id).order_by(table.c.id).limit(1).offset(MUCH)
            if connection.scalar(query) is None:
                return None
        thread = threading.Thread(target=_work, args=(ctx,), name="warming", daemon=True)
        thread.start()
        return thread
    except Exception as error:
        _tell(error)
        return None


def _work(ctx: Context) -> None:
    for refresh in (index.refresh, inspecting.refresh):
        try:
            refresh(ctx)
        except Exception as error:
            _tell(error)


def _tell(error: Exception) -> None:
    message, hint, _error_id = describe(error)
    log.warning("the first visitor will wait a moment longer: %s %s", message, hint)
