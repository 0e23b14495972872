"""The revision of the knowledge base, and what was worked out for it.

Every change set leaves another revision (`Ledger.write`), and a restored database brings its
own along: what holds for a revision holds for as long as the database says that revision.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sized
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from db.knowledge import state

T = TypeVar("T")

_KEPT = 512
_WEIGHT = 4_000_000
"""So many values are kept, and so many ids and the like in all of them: 32 MB of ids."""
_known: OrderedDict[tuple[str, str], Any] = OrderedDict()
_lock = threading.Lock()


def revision(connection: Connection) -> str:
    """The revision that this transaction sees."""
    return str(connection.scalar(select(state.c.revision)))


def once_a_revision(connection: Connection, name: str, work_out: Callable[[], T]) -> T:
    """What `work_out` gives, worked out once for each revision in this process.

    Args:
        connection: of a reading transaction; one that writes sees what may never be.
        name: what it is; with its parameters, where it has any. Those used last are kept,
            many small ones or a few large: nothing that may be changed by whoever gets it.
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
        _known.move_to_end(key)
        weight = sum(map(_weight, _known.values()))
        while len(_known) > _KEPT or (weight > _WEIGHT and len(_known) > 1):
            weight -= _weight(_known.popitem(last=False)[1])
    return made


def _weight(value: Any) -> int:
    return 1 + (len(value) if isinstance(value, Sized) else 0)
