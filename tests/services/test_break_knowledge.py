"""Fifty people in one knowledge base at once: nothing of anybody's is lost."""

from __future__ import annotations

import json
import threading
from collections import Counter

from services.core.errors import Conflict, Transient
from services.knowledge import changes, entries, history, transfer
from services.knowledge.document import Kind
from tests.conftest import person

FABRICS = [f"fabric_{number}" for number in range(10)]
ROUNDS = 4


def test_fifty_people_saving_different_and_the_same_cells_lose_no_update(ctx, shop, admin):
    start = {name: {"description": "0", "care": "0"} for name in FABRICS}
    transfer.restore_document(ctx, admin, {"fabric_guide": start, "fabric_pairing": "0"}, "start")
    page = entries.page(ctx, admin, "/fabric_guide", rows=100).entries
    records = [entry.id for entry in page if entry.kind is Kind.RECORD]
    (shared,) = (
        entry.id for entry in entries.page(ctx, admin, "/fabric_pairing", rows=100).entries
    )
    saved: Counter[tuple[int, str]] = Counter()
    counting, barrier, unexpected = threading.Lock(), threading.Barrier(51), []
    done = threading.Event()

    def person_at_work(number: int) -> None:
        entry_id = shared if number % 5 == 0 else records[number % len(records)]
        cell = entries.TEXT if number % 5 == 0 else ("description", "care")[number % 2]
        barrier.wait()
        left = ROUNDS
        while left:
            seen = entries.entry(ctx, admin, entry_id)
            before = seen.cells[cell]
            mine = f"{int(before.split()[0]) + 1} by {number}"
            edit = changes.Edit(entry_id, seen.version, {cell: before}, {cell: mine})
            try:
                changes.save(ctx, admin, [edit], f"person {number}")
            except (Conflict, Transient):
                continue  # somebody was faster: look again
            except Exception as error:
                unexpected.append(error)
                return
            left -= 1
            with counting:
                saved[entry_id, cell] += 1

    def export() -> None:
        barrier.wait()
        while not done.is_set():
            document = json.loads(transfer.canonical_json(ctx.shop))
            if list(document["fabric_guide"]) != FABRICS:
                unexpected.append(document)

    people = [threading.Thread(target=person_at_work, args=(number,)) for number in range(50)]
    exporting = threading.Thread(target=export)
    for thread in [*people, exporting]:
        thread.start()
    for thread in people:
        thread.join()
    done.set()
    exporting.join()

    assert not unexpected
    assert sum(saved.values()) == 50 * ROUNDS
    for (entry_id, cell), count in saved.items():
        value = entries.entry(ctx, admin, entry_id).cells[cell]
        assert int(value.split()[0]) == count, "an update was lost"
    # Every save is a change set, and each of them is in the history.
    assert history.recent(ctx, person("admin")).total == 50 * ROUNDS + 1
