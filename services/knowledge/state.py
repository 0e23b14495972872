"""The revision of the knowledge base, and what was worked out for it.

Every change set leaves another revision (`Ledger.write`), and a restored database brings its
own along: what holds for a revision holds for as long as the database says that revision.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from db.knowledge import state

T = TypeVar("T")

_KEPT = 64
_known: OrderedDict[tuple[str, str], Any] = OrderedDict()
_lock = threading.Lock()


def revision(connection: Connection) -> str:
    """The revision that this transaction sees."""
    return str(connection.scalar(select(state.c.revision)))


def once_a_revision(connection: Connection, name: str, work_out: Callable[[], T]) -> T:
    """What `work_out` gives, worked out once for each revision in this process.

    Args:
        connection: of a reading transaction; one that writes sees what may never be.
        name: what it is; with its parameters, where it has any. Kept for every one of the
            last few: nothing large, and nothing that may be changed by whoever gets it.
    """
    key = (revision(connection), name)  # no two databases share a revision, but copies
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            found: T = _known[key]
            return found
    made = work_out()
    with _lock:
        _known[key] = made
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return made
