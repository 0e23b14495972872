"""Taking back, on every kind of document: what is taken back is as it was, the rest as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.knowledge.comparing import Mode, difference
from services.knowledge.document import Kind, Row, canonical, from_rows, same, to_rows
from services.knowledge.entries import Entry
from services.knowledge.inverse import Past, inverse
from services.knowledge.sliding import Slide, slid, slides_of
from tests.knowledge_base import DOCUMENTS

_AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Done:
    """What the history holds of one change set."""

    past: list[Past]
    slides: list[Slide]


class Held:
    """Rows in memory, asked as the database is."""

    def __init__(self, rows: dict[int, Entry]) -> None:
        self._rows = rows

    def by_id(self, ids):
        return {one: self._rows[one] for one in ids if one in self._rows}

    def at(self, places):
        there = {(one.section, one.key): one for one in self._rows.values()}
        return {place: there[place] for place in places if place in there}

    def held(self, sections):
        return Counter(one.section for one in self._rows.values() if one.section in sections)

    def standing(self, section):
        return sorted((o.position, o.id) for o in self._rows.values() if o.section == section)


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

    def become(self, wanted, mode: Mode) -> Done:
        """Import a document; gives what the history would hold."""
        found = difference(self.entries, to_rows(wanted), mode)
        slides = self._make_way(found.removed, (*found.changed, *found.moved), found.shifted)
        past = [Past(e.id, e.section, e.key, e.row, None) for e in found.removed]
        for entry in found.removed:
            del self.rows[entry.id]
        past += [self._edit(e, row, slides) for e, row in (*found.changed, *found.moved)]
        for row in found.added:
            past.append(Past(self._put(row), row.section, row.key, None, row))
        return Done(past, slides)

    def take_back(self, done: Done, later: list[Slide] | None = None) -> Done:
        found = inverse(done.past, Held(self.rows), slides=done.slides, later=later or [])
        slides = list(found.slides)
        for entry in self.entries:
            position = slid(found.slides, entry.section, entry.position)
            self.rows[entry.id] = replace(entry, position=position)
        slides += self._make_way(found.deleted, found.edited, found.shifted, found.placed)
        past = [Past(e.id, e.section, e.key, e.row, None) for e in found.deleted]
        for entry in found.deleted:
            del self.rows[entry.id]
        for entry, row in found.edited:
            past.append(self._edit(entry, row, () if entry.id in found.placed else slides))
        for change, row in found.returned:
            assert change.entry_id not in self.rows
            past.append(Past(change.entry_id, row.section, row.key, None, row))
            self._put(row, change.entry_id, change.writes + 1)
        self.check()
        return Done(past, slides)

    def _edit(self, entry: Entry, row: Row, slides: Sequence[Slide]) -> Past:
        if row.position == entry.position:
            row = replace(row, position=slid(slides, row.section, row.position))
        self._put(row, entry.id, entry.version + 1)
        return Past(entry.id, entry.section, row.key, entry.row, row)

    def _make_way(self, removed, edited, shifted, placed=frozenset()) -> list[Slide]:
        placed = placed | {one.id for one in removed}
        placed |= {entry.id for entry, row in edited if entry.position != row.position}
        new = dict(shifted)
        assert not placed & set(new)
        slides: list[Slide] = []
        for section in {self.rows[one].section for one in new}:
            stay = [o for o in self.entries if o.section == section and o.id not in placed]
            found = slides_of(section, [(o.position, new.get(o.id, o.position)) for o in stay])
            assert found is not None, "the order of what makes room stays"
            slides += found
        for one, position in new.items():
            self.rows[one] = replace(self.rows[one], position=position)
        return slides

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
    base.take_back(past, later.slides)
    for change in later.past:
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


_NAMES = st.permutations([f"k{n}" for n in range(14)])


class Counting(Held):
    """Notes how much it was asked."""

    def __init__(self, rows: dict[int, Entry]) -> None:
        super().__init__(rows)
        self.asked = 0

    def at(self, places):
        self.asked += len(places)
        return super().at(places)


@given(_NAMES, _NAMES, st.sets(st.integers(0, 13)), st.sets(st.integers(0, 13)))
def test_however_many_names_clash_each_entry_ends_with_one_of_its_own(names, others, gone, taken):
    """Names are passed around in a ring, some entries go, and others take the names since."""
    base = Base({"s": {name: f"text {name}" for name in sorted(names)}})
    rows = {e.key: e for e in base.entries if e.section == "/s"}
    past: list[Past] = []
    for number, (old, new) in enumerate(zip(sorted(names), names, strict=True)):
        entry = rows[old]
        if number in gone:
            past.append(Past(entry.id, "/s", old, entry.row, None, writes=2))
            del base.rows[entry.id]
        elif new not in {sorted(names)[index] for index in gone}:
            past.append(base._edit(entry, replace(entry.row, key=f"x{new}"), []))
    free = set(names) - {one.key for one in base.rows.values()}
    for number, name in enumerate(others):
        if number in taken and name in free:
            base._put(Row("/s", name, Kind.TEXT, "another's", 100 + number))
    new = [one for one in base.rows.values() if one.body == "another's"]
    around = Counting(base.rows)
    found = inverse(past, around)
    assert around.asked <= 2 * len(past)
    base.take_back(Done(past, []))  # `check` looks for twins
    for one in new:
        assert base.rows[one.id] == one, "what others wrote since stays"
    theirs = {one.key for one in new}
    for change in past:
        assert change.before is not None
        if change.before.key in theirs:
            assert change.entry_id not in base.rows or change.after is not None
        elif change.entry_id in base.rows:
            assert base.rows[change.entry_id].key == change.before.key
    assert len(found.kept) == len({one.before.key for one in past if one.before} & theirs)


def test_thousands_of_clashes_are_settled_with_one_look_at_each_name():
    base = Base({"s": {f"k{n}": "text" for n in range(5000)}})
    past = [Past(e.id, "/s", e.key, e.row, None, writes=2) for e in base.entries if e.section]
    base.rows = {key: one for key, one in base.rows.items() if not one.section}
    for change in past:
        base._put(Row("/s", change.key, Kind.TEXT, "another's", change.entry_id))
    around = Counting(base.rows)
    found = inverse(past, around)
    assert found.is_empty and len(found.kept) == 5000
    assert around.asked == 5000
