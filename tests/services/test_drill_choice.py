"""Whose turn it is: every kept backup is proven at least every thirty days."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as some

from services.protection.model import SnapshotRow, Storage
from services.protection.proving.choice import EVERY, choose, due, proven_since

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def row(made: datetime, proven: datetime | None = None, **more: object) -> SnapshotRow:
    known = SnapshotRow(
        id=f"{made:%Y%m%dT%H%M%SZ}-aaaa",
        instance="default",
        created_at=made,
        reason="scheduled",
        asked_by="cron",
        plain_bytes=1,
        stored_bytes=1,
        headline={},
        parts=frozenset(),
        read_back_at=made,
        verify_error=None,
        verified_at=proven,
    )
    return replace(known, **more)


def kept(rows: list[SnapshotRow], today: datetime, days: int, weeks: int) -> list[SnapshotRow]:
    """A retention like the desk's: so many days, and one a week of so many weeks before."""
    return [
        each
        for each in rows
        if today - each.created_at < days * DAY
        or (each.created_at.weekday() == 6 and today - each.created_at < weeks * 7 * DAY)
    ]


@settings(max_examples=25)
@given(
    some.integers(min_value=1, max_value=3),
    some.integers(min_value=1, max_value=60),
    some.integers(min_value=0, max_value=60),
    some.integers(min_value=0, max_value=6),
)
def test_over_a_year_of_daily_drills_no_kept_backup_goes_without_a_proof_for_thirty_days(
    backups_a_day, days, weeks, missed_weekday
):
    rows: list[SnapshotRow] = []
    proofs: dict[str, datetime] = {}
    for number in range(365):
        today = NOW + number * DAY
        rows += [row(today - timedelta(hours=3 * k + 1)) for k in range(backups_a_day)]
        rows = kept([replace(r, verified_at=proofs.get(r.id)) for r in rows], today, days, weeks)
        late = [r.id for r in rows if today - proven_since(r) > EVERY]
        assert late == [], f"day {number}"
        if today.weekday() == missed_weekday and number % 14 == 0:
            continue  # the machine was off
        for chosen in choose(rows, today):
            proofs[chosen] = today


@given(some.lists(some.integers(min_value=0, max_value=400), max_size=120), some.data())
def test_a_choice_names_kept_backups_once_and_never_one_that_cannot_be_read(ages, data):
    rows = [
        row(
            NOW - timedelta(hours=age),
            NOW - data.draw(some.integers(0, 60)) * DAY if data.draw(some.booleans()) else None,
            storage=data.draw(some.sampled_from(Storage)),
            verify_error=data.draw(some.sampled_from([None, "damaged"])),
        )
        for age in dict.fromkeys(ages)
    ]
    chosen = choose(rows, NOW)
    assert len(set(chosen)) == len(chosen)
    able = {r.id: r for r in rows if r.storage is not Storage.ARCHIVED and not r.verify_error}
    assert set(chosen) <= able.keys()
    assert len(chosen) <= 1 + 3 * -(-len(able) // 25)
    if any(r.verified_at is None for r in able.values()):
        assert chosen, "something was never proven and could be"
    newest = max(able.values(), key=lambda r: (r.created_at, r.id), default=None)
    if newest is not None and newest.verified_at is None:
        assert chosen[0] == newest.id, "what would be put back comes first"
    assert choose(list(reversed(rows)), NOW) == chosen, "the order of the list decides nothing"


def test_a_desk_with_a_backlog_proves_the_newest_and_then_the_oldest():
    rows = [row(NOW - n * DAY) for n in range(50)]
    assert choose(rows, NOW) == (
        rows[0].id, rows[49].id, rows[48].id, rows[47].id, rows[46].id, rows[45].id, rows[44].id,
    )  # fmt: skip


def test_a_young_proof_is_not_made_again():
    rows = [row(NOW - n * DAY, NOW - timedelta(days=6)) for n in range(3)]
    assert choose(rows, NOW) == ()
    young = row(NOW - timedelta(hours=1))
    assert choose([*rows, young], NOW) == (young.id,), "one that has none does not wait for them"


def test_the_figures_count_what_stands_in_the_way():
    rows = [
        row(NOW - 40 * DAY),
        row(NOW - 50 * DAY, NOW - 31 * DAY, storage=Storage.ARCHIVED),
        row(NOW - 1 * DAY, None, verify_error="torn"),
        row(NOW - 2 * DAY, NOW - 1 * DAY),
    ]
    found = due(rows, NOW)
    assert (found.kept, found.never, found.late, found.archived, found.damaged) == (4, 2, 2, 1, 1)
    assert found.chosen == (rows[0].id,)
    assert due([], NOW).chosen == ()
