"""Taking back, on every kind of document: what is taken back is as it was, the rest as it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.knowledge.comparing import Mode, difference
from services.knowledge.document import Kind, Row, canonical, from_rows, same, to_rows
from services.knowledge.entries import Entry
from services.knowledge.inverse import Past, inverse
from tests.knowledge_base import DOCUMENTS

_AT = datetime(2026, 1, 1, tzinfo=UTC)


class Base:
    """A knowledge base in memory, written as the ledger writes it."""

    def __init__(self, document) -> None:
        self.rows: dict[int, Entry] = {}
        self._last = 0
        for row in to_rows(document):
            self._put(row)

    def _put(self, row: Row, entry_id: int = 0, version: int = 1) -> int:
        if not entry_id:
            self._last += 1
            entry_id = self._last
        self.rows[entry_id] = Entry(
            entry_id,
            row.section,
            row.key,
            row.kind,
            row.body,
            row.position,
            version,
            _AT,
            "Somebody",
        )
        return entry_id

    @property
    def entries(self) -> list[Entry]:
        return sorted(self.rows.values(), key=lambda one: (one.section, one.position, one.id))

    def document(self) -> bytes:
        return canonical(from_rows(entry.row for entry in self.entries))

    def become(self, wanted, mode: Mode) -> list[Past]:
        """Import a document; gives what the history would hold."""
        found = difference(self.entries, to_rows(wanted), mode)
        past = [Past(e.id, e.section, e.key, e.row, None) for e in found.removed]
        for entry in found.removed:
            del self.rows[entry.id]
        for entry, row in (*found.changed, *found.moved):
            past.append(Past(entry.id, entry.section, row.key, entry.row, row))
            self._put(row, entry.id, entry.version + 1)
        for row in found.added:
            past.append(Past(self._put(row), row.section, row.key, None, row))
        self._shift(found.shifted)
        return past

    def take_back(self, past: list[Past]) -> list[Past]:
        found = inverse(past, self.entries)
        done = [Past(e.id, e.section, e.key, e.row, None) for e in found.deleted]
        for entry in found.deleted:
            del self.rows[entry.id]
        for entry, row in found.edited:
            done.append(Past(entry.id, entry.section, row.key, entry.row, row))
            self._put(row, entry.id, entry.version + 1)
        for change, row in found.returned:
            assert change.entry_id not in self.rows
            done.append(Past(change.entry_id, row.section, row.key, None, row))
            self._put(row, change.entry_id, change.writes + 1)
        self._shift(found.shifted)
        self.check()
        return done

    def _shift(self, shifted) -> None:
        for entry_id, position in shifted:
            self.rows[entry_id] = replace(self.rows[entry_id], position=position)

    def check(self) -> None:
        places = [(one.section, one.key) for one in self.rows.values()]
        assert len(set(places)) == len(places), "two entries of one name"
        self.document()  # every row has something to lie in


@given(DOCUMENTS, DOCUMENTS, st.sampled_from(Mode))
def test_the_newest_change_is_taken_back_to_the_byte_and_again(first, second, mode):
    base = Base(first)
    before = base.document()
    past = base.become(second, mode)
    after = base.document()
    again = base.take_back(past)
    assert base.document() == before
    base.take_back(again)
    assert base.document() == after


@given(DOCUMENTS, DOCUMENTS, DOCUMENTS, st.sampled_from(Mode), st.sampled_from(Mode))
def test_an_older_change_is_taken_back_without_touching_what_came_later(
    first, second, third, one, other
):
    base = Base(first)
    past = base.become(second, one)
    later = base.become(third, other)
    base.take_back(past)
    for change in later:
        wrote = change.after is not None and (
            change.before is None
            or (change.before.kind, change.before.body) != (change.after.kind, change.after.body)
        )
        # What was only moved, or deleted, says nothing that taking back could lose.
        if wrote and change.after is not None and change.after.kind is not Kind.GROUP:
            entry = base.rows[change.entry_id]
            assert entry.key == change.after.key
            assert entry.kind is change.after.kind
            if entry.kind is not Kind.RECORD:
                assert same(entry.body, change.after.body)
