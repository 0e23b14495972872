"""Ten thousand snapshots: what a page reads is what it shows, and any day is found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event

from benchmarks.history import fill, manifest_at
from services import backup, retention
from services.protection.index import catalog
from services.protection.index.searching import period_of
from services.protection.stores.local import LocalStore
from tests.faults import matrix

NEWEST = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


def history(ctx, count: int, step: timedelta = timedelta(hours=6)) -> list[str]:
    """A store that held so many snapshots before this desk ever saw it, newest first."""
    made = [manifest_at(NEWEST - step * number) for number in range(count)]
    fill(ctx.settings.instance_dir / "backups", made, data=False)
    return [manifest.id for manifest in made]


@pytest.fixture
def counted(ctx, monkeypatch):
    """What was read from the store, and what was asked of the database."""
    found: dict[str, list[str]] = {"reads": [], "lists": [], "queries": []}
    real_open, real_list = LocalStore.open, LocalStore.list

    def opened(store, key):
        found["reads"].append(key)
        return real_open(store, key)

    def listed(store, prefix):
        found["lists"].append(prefix)
        return real_list(store, prefix)

    monkeypatch.setattr(LocalStore, "open", opened)
    monkeypatch.setattr(LocalStore, "list", listed)

    @event.listens_for(ctx.control, "before_cursor_execute")
    def _count(_connection, _cursor, statement, *_rest):
        found["queries"].append(statement)

    return found


def test_a_first_look_reads_each_manifest_once_and_the_next_none(ctx, operator, counted):
    made = history(ctx, 2500)
    assert len(backup.refresh(ctx, operator).added) == 2500
    assert sorted(counted["reads"]) == sorted(f"manifests/default/{each}.json" for each in made)
    counted["reads"].clear()
    assert backup.refresh(ctx, operator).added == ()
    assert counted["reads"] == []


def test_the_index_is_written_in_one_transaction(ctx, operator, counted):
    history(ctx, 700)
    counted["queries"].clear()
    backup.refresh(ctx, operator)
    begun = [query for query in counted["queries"] if query.startswith("BEGIN IMMEDIATE")]
    inserts = [query for query in counted["queries"] if query.startswith("INSERT INTO snapshots")]
    assert (len(begun), len(inserts)) == (1, 1)


def test_a_page_of_an_unknown_store_waits_for_the_newest_only_and_the_next_goes_on(
    ctx, operator, counted
):
    made = history(ctx, 2500)
    first = backup.snapshots(ctx, operator)
    assert [row.id for row in first.rows] == made[:50]
    assert len(counted["reads"]) == catalog.AT_A_GLANCE
    plan = retention.plan(ctx, operator)  # the second look
    assert [hold.name for hold in plan.holds][:1] == ["store"]
    assert "500 manifests have not been read yet" in plan.holds[0].message
    assert backup.snapshots(ctx, operator).total == 2500
    assert len(counted["reads"]) == 2500
    assert retention.plan(ctx, operator).holds[0].name == "half"


@matrix.tried(matrix.MANY, "lists the newest fifty, and reads no others", matrix.TEN_THOUSAND)
def test_a_page_asks_for_fifty_rows_and_not_for_all(ctx, operator, counted):
    count = matrix.times(1500, 10_000)
    made = history(ctx, count)
    backup.refresh(ctx, operator)
    counted["queries"].clear()
    counted["lists"].clear()
    page = backup.snapshots(ctx, operator, page=2)
    assert ([row.id for row in page.rows], page.total) == (made[50:100], count)
    assert counted["lists"] == []
    assert len([query for query in counted["queries"] if "FROM snapshots" in query]) <= 3
    with ctx.control.connect() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM snapshots WHERE instance = 'default' "
            "ORDER BY created_at DESC, id DESC LIMIT 50"
        ).all()
    assert "ix_snapshots_instance_newest" in str(plan)
    assert "TEMP B-TREE" not in str(plan)


@matrix.tried(matrix.MANY, "finds any by its date", matrix.TEN_THOUSAND)
def test_any_is_found_by_its_day(ctx, operator):
    count = matrix.times(1200, 10_000)
    history(ctx, count)
    backup.refresh(ctx, operator)
    wanted = {
        "2026-03-14": 4,
        "14 March 2026": 4,
        "14 Mar 2026": 4,
        "Saturday 14 March 2026": 4,
        "March 14, 2026": 4,
        "14.3.2026": 4,
        "20260314": 4,
        "2026-03": 31 * 4,
        "March 2026": 31 * 4,
        "2026/3": 31 * 4,
        "20260314T080000": 1,
        "30 February 2026": 0,
        "14 Marble 2026": 0,
        "cron": count,
        "%": 0,
    }
    assert {text: backup.snapshots(ctx, operator, search=text).total for text in wanted} == wanted


def test_a_day_is_that_of_whoever_looks(ctx, operator):
    """02:00 UTC of the 14th is still the 13th in New York."""
    (made,) = history(ctx, 1)
    backup.refresh(ctx, operator)
    zone = ZoneInfo("America/New_York")
    found = backup.snapshots(ctx, operator, search="21 November 2026", zone=zone)
    assert [row.id for row in found.rows] == [made]
    assert backup.snapshots(ctx, operator, search="21 November 2026").total == 0


def test_a_year_is_a_year_and_a_word_is_none():
    assert period_of("2026") == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert period_of("December 2026") == (
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    for text in ("", "march", "ma 2026", "2026-13", "2026-02-30", "1", "20261122T02", "x" * 5000):
        assert period_of(text) is None


def test_what_vanished_by_the_thousand_leaves_the_index_too(ctx, operator):
    history(ctx, 1300)
    backup.refresh(ctx, operator)
    for path in (ctx.settings.instance_dir / "backups/manifests/default").iterdir():
        path.unlink()
    assert len(backup.refresh(ctx, operator).removed) == 1300
    assert backup.snapshots(ctx, operator).total == 0
