"""Two states differ for the desk exactly when the shop would read something else."""

from __future__ import annotations

from itertools import count

from hypothesis import example, given
from hypothesis import strategies as st

from db.knowledge import content_digest
from services.knowledge.document import Kind, canonical, to_rows
from services.knowledge.releasing.archive import Member
from services.knowledge.releasing.comparing import difference
from tests.knowledge_base import DOCUMENTS

_SMALL = st.recursive(
    st.sampled_from(["x", "y"]),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=8,
)
_STATES = st.one_of(st.dictionaries(st.sampled_from("abcd"), _SMALL, max_size=4), DOCUMENTS)


def members(document, ids, known):
    """As a release keeps them: an entry keeps its id while its place has it."""
    rows = sorted(to_rows(document), key=lambda row: (row.section, row.position))
    return [
        Member(
            known.setdefault(row.pointer, next(ids)),
            content_digest(row.section, row.key, row.kind, row.body),
            row.pointer,
            row.kind is Kind.GROUP,
        )
        for row in rows
    ]


@given(_STATES, _STATES, st.booleans())
@example({"a": "x", "b": "x"}, {"b": "x", "a": "x"}, True)
@example({"a": {}}, {"a": "x"}, True)
@example({"a": {"b": {}}}, {"a": {}}, True)
def test_nothing_differs_exactly_when_both_read_the_same(one, other, ids_stay):
    ids, known = count(1), {}
    before = members(one, ids, known)
    after = members(other, ids, known if ids_stay else {})
    found = difference(before, after)
    is_same = canonical(one) == canonical(other)
    assert (not found.pairs and not found.moved) == is_same
    places_before = {member.pointer for member in before if not member.is_group}
    places_after = {member.pointer for member in after if not member.is_group}
    kept = {m.pointer for m in before} & {m.pointer for m in after}
    assert found.added == len(places_after - kept)
    assert found.deleted == len(places_before - kept)


@given(st.permutations(range(7)))
def test_no_fewer_entries_could_have_been_moved(order):
    before = [Member(number, "d", f"/{number}", False) for number in range(7)]
    found = difference(before, [before[number] for number in order])
    longest = max(
        sum(1 for _ in run)
        for size in range(128)
        if (run := [order[bit] for bit in range(7) if size >> bit & 1]) == sorted(run)
    )
    assert (found.pairs, found.moved) == ((), 7 - longest)
