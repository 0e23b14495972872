"""What retention decides: plans over simulated years that a person can read, and properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.protection.model import Part, Pin, SnapshotRow, Storage
from services.protection.retention.model import Archive, Inventory, Policy, PrunePlan, Shared
from services.protection.retention.plan import plan_prune

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)  # a Sunday
DEFAULT = Policy(days=30, weeks=8, months=12, minimum=7)


def row(at: datetime, number: int = 0, **more) -> SnapshotRow:
    values = {
        "id": f"{at:%Y%m%dT%H%M%SZ}-{number:04d}",
        "instance": "default",
        "created_at": at,
        "reason": "scheduled",
        "asked_by": "cron",
        "plain_bytes": 1000,
        "stored_bytes": 100,
        "headline": {"orders": 300, "products": 60, "users": 40},
        "parts": frozenset({Part.DATABASE}),
        "read_back_at": None,
        "verify_error": None,
    }
    return SnapshotRow(**values | more)


def nightly(days: int, *, until: datetime = NOW, hour: int = 2) -> list[SnapshotRow]:
    """A snapshot every night, the newest this morning."""
    newest = until.replace(hour=hour, minute=0)
    return [row(newest - timedelta(days=back)) for back in range(days)]


def planned(rows, policy: Policy = DEFAULT, now: datetime = NOW, **facts) -> PrunePlan:
    return plan_prune(Inventory(tuple(rows), **facts), policy, now)


def told(plan: PrunePlan, *wanted: str) -> list[str]:
    """Decisions as lines; of those days alone where some are named."""
    return [
        f"{each.row.created_at:%Y-%m-%d %H:%M} {'keep' if each.keep else 'GOES'} {each.words}"
        for each in plan.decisions
        if not wanted or f"{each.row.created_at:%Y-%m-%d}" in wanted
    ]


def holds(plan: PrunePlan) -> list[str]:
    return [hold.name for hold in plan.holds]


def test_a_year_and_a_half_of_nights_leaves_days_weeks_and_months_that_a_person_can_read():
    plan = planned(nightly(550))
    kept = [f"{each.row.created_at:%Y-%m-%d}" for each in plan.kept]
    days = [f"{(NOW - timedelta(days=back)):%Y-%m-%d}" for back in range(30)]
    assert kept == [
        *days,  # 22 November back to 24 October; the Sundays of four weeks are among them
        "2026-10-18",
        "2026-10-11",
        "2026-10-04",
        "2026-09-30",
        "2026-08-31",
        "2026-07-31",
        "2026-06-30",
        "2026-05-31",
        "2026-04-30",
        "2026-03-31",
        "2026-02-28",
        "2026-01-31",
        "2025-12-31",
    ]
    assert told(
        plan, "2026-11-22", "2026-11-03", "2026-10-31", "2026-10-18", "2026-09-30", "2026-10-15",
        "2026-09-20", "2025-12-31", "2025-11-30",
    ) == [
        "2026-11-22 02:00 keep younger than a day; newest of Sunday 22 November; newest of week "
        "47; newest of November 2026",
        "2026-11-03 02:00 keep newest of Tuesday 3 November",
        "2026-10-31 02:00 keep newest of Saturday 31 October; newest of October 2026",
        "2026-10-18 02:00 keep newest of week 42",
        "2026-10-15 02:00 GOES goes: older than the 30 days kept, and week 42 keeps the one of "
        "18 October",
        "2026-09-30 02:00 keep newest of September 2026",
        "2026-09-20 02:00 GOES goes: older than the 30 days and 8 weeks kept, and September 2026 "
        "keeps the one of 30 September",
        "2025-12-31 02:00 keep newest of December 2025",
        "2025-11-30 02:00 GOES goes: older than the 30 days, 8 weeks, 12 months kept",
    ]  # fmt: skip


def test_night_after_night_for_three_years_the_coverage_is_what_was_promised():
    """Carried out every night: 30 days, 8 weeks and 12 months are there at the end of each."""
    there: list[SnapshotRow] = []
    sizes = set()
    for night in range(3 * 365):
        now = datetime(2024, 1, 1, 3, tzinfo=UTC) + timedelta(days=night)
        there.append(row(now - timedelta(hours=1)))
        plan = planned(there, now=now, last_policy=DEFAULT)
        assert holds(plan) == []
        there = [each.row for each in plan.kept]
        ages = {(now.date() - each.created_at.date()).days for each in there}
        assert set(range(min(30, night + 1))) <= ages
        if night > 400:
            sizes.add(len(there))
            months = {(each.created_at.year, each.created_at.month) for each in there}
            weeks = {each.created_at.isocalendar()[:2] for each in there}
            assert len(months) == 12
            assert len(weeks) >= 8
    assert max(sizes) <= 30 + 8 + 12
    assert min(sizes) >= 40


def test_several_a_day_keep_the_newest_of_each_day_and_say_so():
    rows = [row(NOW - timedelta(days=3, hours=hours)) for hours in (0, 4, 8)]
    plan = planned(rows, replace(DEFAULT, minimum=1))
    assert told(plan) == [
        "2026-11-19 09:00 keep newest of Thursday 19 November; newest of week 47; newest of "
        "November 2026",
        "2026-11-19 05:00 GOES goes: Thursday 19 November keeps the one of 09:00",
        "2026-11-19 01:00 GOES goes: Thursday 19 November keeps the one of 09:00",
    ]


def test_after_a_long_pause_the_days_there_were_are_not_thrown_away():
    """Days count among those that have a backup: one after two silent months deletes nothing."""
    old = nightly(30, until=NOW - timedelta(days=61))
    plan = planned([row(NOW - timedelta(hours=2)), *old], replace(DEFAULT, days=31))
    assert plan.going == ()


def test_never_fewer_than_the_minimum():
    rows = [row(NOW - timedelta(days=3, minutes=back)) for back in range(20)]
    plan = planned(rows, Policy(days=1, weeks=0, months=0, minimum=5))
    assert [each.row for each in plan.kept] == rows[:5]
    assert plan.kept[-1].words == "one of the 5 newest"


def test_pins_adopted_ones_and_what_is_used_stay_with_their_reason():
    old = NOW - timedelta(days=900)
    rows = [
        row(old, 1, pin=Pin("before the migration", "Ada", NOW)),
        row(old, 2, reason="legacy"),
        row(old, 3),
        row(old, 4),
        *nightly(500),
    ]
    plan = planned(rows, in_use={rows[2].id: "a drill is using it"})
    assert told(plan, f"{old:%Y-%m-%d}") == [
        "2024-06-05 09:00 GOES goes: older than the 30 days, 8 weeks, 12 months kept",
        "2024-06-05 09:00 keep a drill is using it",
        "2024-06-05 09:00 keep adopted from a legacy backup",
        "2024-06-05 09:00 keep pinned by Ada: before the migration",
    ]


def test_the_last_verified_and_the_last_read_back_stay_however_old():
    verified = row(NOW - timedelta(days=800), verified_at=NOW, read_back_at=NOW)
    read = row(NOW - timedelta(days=700), read_back_at=NOW)
    older = row(NOW - timedelta(days=801), verified_at=NOW)
    plan = planned([*nightly(420), verified, read, older])
    assert [each.words for each in plan.decisions if each.row in (read, verified)] == [
        "the last one read back",
        "the last verified one",
    ]
    assert older in [each.row for each in plan.going]


def test_a_damaged_one_stands_for_a_day_only_when_there_is_no_other():
    good = row(NOW - timedelta(days=2, hours=3))
    bad = row(NOW - timedelta(days=2), verify_error="altered")
    alone = row(NOW - timedelta(days=4), verify_error="altered")
    plan = planned([good, bad, alone], Policy(days=5, weeks=0, months=0, minimum=1))
    assert told(plan)[1:] == [
        "2026-11-20 06:00 keep newest of Friday 20 November",
        "2026-11-18 09:00 keep newest of Wednesday 18 November, though damaged",
    ]
    plan = planned([good, bad, alone, row(NOW)], Policy(days=5, weeks=0, months=0, minimum=1))
    assert told(plan, "2026-11-20")[0] == (
        "2026-11-20 09:00 GOES goes: damaged; Friday 20 November keeps the one of 06:00"
    )


def test_what_a_restore_set_aside_stays_for_its_undo_and_never_stands_for_a_day():
    """It holds what somebody wanted to get away from."""
    tight = Policy(days=30, weeks=0, months=0, minimum=1)
    made = row(NOW - timedelta(days=6, hours=5))
    aside = row(NOW - timedelta(days=6, hours=2), reason="safety")
    plan = planned([made, aside], tight)
    assert told(plan) == [
        "2026-11-16 07:00 keep made before a restore: can undo it until 23 November",
        "2026-11-16 04:00 keep newest of Monday 16 November",
    ]
    later = NOW + timedelta(days=2)
    plan = planned([made, aside, row(later)], tight, later)
    assert told(plan, "2026-11-16")[0] == (
        "2026-11-16 07:00 GOES goes: Monday 16 November keeps the one of 04:00"
    )
    used = {aside.id: "undoing the last restore needs it"}
    plan = planned([made, aside, row(later)], tight, later, in_use=used)
    assert plan.going == ()


def test_what_kept_ones_share_with_a_going_one_is_told_and_not_counted_as_freed():
    tight = Policy(days=1, weeks=0, months=0, minimum=1)
    old, other, newest = (row(NOW - timedelta(days=back)) for back in (3, 2, 0))
    shared = (
        Shared(old.id, newest.id, "vectors.tar.zst", 60),
        Shared(old.id, other.id, "vectors.tar.zst", 60),
        Shared(old.id, other.id, "database.sqlite3.zst", 30),
    )
    plan = planned([old, other, newest], tight, shared=shared)
    assert told(plan)[1:] == [
        "2026-11-20 09:00 GOES goes: older than the 1 day kept",
        "2026-11-19 09:00 GOES goes: older than the 1 day kept; what 1 kept backup shares with it "
        "stays",
    ]
    assert [each.freed_bytes for each in plan.going] == [100, 40]
    assert plan.bytes_freed == 140


def test_deleting_early_from_an_archive_or_under_object_lock_says_what_it_costs():
    tight = Policy(days=1, weeks=0, months=0, minimum=1)
    rows = [row(NOW), row(NOW - timedelta(days=60), storage=Storage.ARCHIVED)]
    archive = Archive("DEEP_ARCHIVE", after_days=30, lock_days=90)
    plan = planned(rows, tight, archive=archive)
    assert plan.going[0].words == (
        "goes: older than the 1 day kept (Object Lock keeps its bytes until 22 December; "
        "DEEP_ARCHIVE bills 180 days, so S3 may charge an early deletion fee until 21 April 2027)"
    )
    old = replace(rows[1], **_at(NOW - timedelta(days=211)))
    assert planned([rows[0], old], tight, archive=archive).going[0].warning == ""
    standard = replace(rows[1], storage=Storage.STANDARD)
    free = Archive("DEEP_ARCHIVE", after_days=30)
    assert planned([rows[0], standard], tight, archive=free).going[0].warning == ""


def _at(at: datetime) -> dict:
    return {"id": f"{at:%Y%m%dT%H%M%SZ}-0000", "created_at": at}


def test_each_refusal_holds_the_whole_plan_and_says_why():
    rows = nightly(45)
    assert holds(planned(rows)) == []
    assert holds(planned(rows, store_error="It does not answer.")) == ["store"]
    assert holds(planned(rows, unreadable={"20260101T000000Z-zzzz": "no JSON"})) == ["catalog"]
    assert holds(planned(rows, failed_run="The disk is full.")) == ["failed"]
    assert holds(planned(rows, Policy(0, 0, 0, 40))) == ["policy"]
    ahead = row(NOW + timedelta(hours=1))
    assert holds(planned([ahead, *rows])) == ["clock"]
    assert holds(planned([row(NOW + timedelta(minutes=4)), *rows])) == []
    for hold in planned(rows, store_error="x", failed_run="y", unreadable={"z": "?"}).holds:
        assert hold.message
        assert hold.hint
        assert not hold.confirmable


def test_more_than_half_at_once_is_asked_about_unless_the_policy_changed():
    rows = nightly(120)
    tight = Policy(days=10, weeks=1, months=1, minimum=7)
    for last in (None, tight):
        plan = planned(rows, tight, last_policy=last)
        assert holds(plan) == ["half"]
        assert plan.holds[0].confirmable
        assert plan.holds[0].message.startswith("110 of 120 backups would go at once")
    assert holds(planned(rows, tight, last_policy=DEFAULT)) == []


def test_a_few_may_go_at_once_whatever_share_they_are():
    rows = [row(NOW - timedelta(days=3, minutes=back)) for back in range(11)]
    plan = planned(rows, Policy(days=1, weeks=0, months=0, minimum=1))
    assert len(plan.going) == 10
    assert holds(plan) == []


@pytest.mark.parametrize(
    ("before", "now", "held"),
    [
        (300, 149, True),
        (300, 150, False),
        (300, 0, True),
        (20, 9, True),
        (19, 9, False),  # a small table may halve
        (19, 0, True),  # but not be emptied
        (3, 0, True),
        (2, 0, False),  # a tiny one may do as it likes
        (0, 500, False),
        (300, 900, False),
    ],
)
def test_a_table_that_shrank_abnormally_holds(before, now, held):
    rows = [
        row(NOW, headline={"orders": now, "users": 5}),
        *(row(NOW - timedelta(days=back), headline={"orders": before, "users": 5})
          for back in range(1, 9)),
    ]  # fmt: skip
    assert holds(planned(rows)) == (["shrunk"] if held else [])


def test_what_is_normal_is_the_middle_of_the_seven_before_and_no_safety_snapshot():
    counts = [100, 300, 300, 10, 300, 300, 300, 300, 5, 5, 5, 5, 5]
    rows = [
        row(NOW - timedelta(days=back), headline={"orders": count})
        for back, count in enumerate(counts)
    ]
    plan = planned(rows)
    assert plan.holds[0].message == (
        "The shop lost rows: in the newest backup, orders has 100 rows instead of 300."
    )
    empty = row(NOW + timedelta(minutes=1), reason="safety", headline={"orders": 0})
    rows[0] = replace(rows[0], headline={"orders": 290})
    assert holds(planned([empty, *rows])) == []


def test_the_policy_is_told_in_one_sentence():
    assert DEFAULT.sentence == (
        "Keeps the newest backup of each of the last 30 days, 8 weeks and 12 months that have "
        "one, and never fewer than the 7 newest."
    )
    assert Policy(1, 0, 0, 7).sentence.startswith(
        "Keeps the newest backup of each of the last 1 day"
    )
    assert Policy(0, 0, 0, 7).sentence == "Keeps the 7 newest backups and nothing else."


def test_ten_thousand_are_decided_about_in_one_go():
    """Every five minutes for a month, and pins in between: each has a decision and a reason."""
    rows = [row(NOW - timedelta(minutes=5 * number), number % 7) for number in range(10_000)]
    plan = planned(rows)
    assert len(plan.decisions) == 10_000
    assert all(each.reasons for each in plan.decisions)
    # A day in full, the newest of each of 28 days before yesterday, and of one week more.
    assert len(plan.kept) == 288 + 28 + 1
