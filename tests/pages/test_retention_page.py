"""The Retention page: who sees what, what a day says, pins, and the button that is final."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import streamlit as st
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest, app_test

from benchmarks.history import fill, manifest_at
from db.engine import write
from services import backup, retention
from services.core import jobs
from services.core.access import command_line_actor
from services.core.settings import PROJECT_ROOT
from services.people import passwords
from services.protection.index import catalog
from services.protection.model import DayMark, Pin
from services.protection.retention.calendar import CalendarDay, first_day
from services.protection.retention.model import Decision
from tests.pages.people import TakenOver, browser_with, context_of, member, said, token_of
from tests.unit.test_retention import row
from ui import retention_calendar, session
from ui.retention_calendar import Look, look_of, words_of

ROOT = command_line_actor("root")


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch):
    """Pages find the test's desk, which has a shop and the tightest policy."""
    for name, value in context_of(ctx).items():
        monkeypatch.setenv(name, value)
    for name in ("KEEP_DAYS", "KEEP_MINIMUM"):
        monkeypatch.setenv(name, "1")
    for name in ("KEEP_WEEKS", "KEEP_MONTHS"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr(passwords, "COST", 4)
    monkeypatch.setattr(app_test, "PagesManager", TakenOver)
    monkeypatch.setattr(session, "token", lambda: st.session_state.get("test_token", ""))
    st.cache_resource.clear()
    yield session.context()
    st.cache_resource.clear()


def history(desk, *days: float) -> list[str]:
    """Snapshots made so many days ago; gives their ids."""
    now = desk.now().replace(microsecond=0)
    made = [manifest_at(now - timedelta(days=age), n) for n, age in enumerate(days)]
    fill(desk.settings.instance_dir / "backups", made)
    backup.refresh(desk, ROOT)
    return [manifest.id for manifest in made]


def seen(role: str = "admin", **query: str) -> AppTest:
    app = AppTest.from_file(str(PROJECT_ROOT / "pages" / "retention.py"), default_timeout=30)
    for name, value in query.items():
        app.query_params[name] = value
    member(role, role)
    app.session_state["test_token"] = token_of(role)
    return app.run()


def keys(app: AppTest) -> set[str]:
    return {button.key for button in app.button}


def alerts(app: AppTest) -> str:
    boxes = (*app.error, *app.warning, *app.info)
    return "\n".join(f"{box.proto.title} {box.value}" for box in boxes).replace("\\", "")


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_every_role_that_may_see_backups_sees_the_page_and_only_an_admin_may_remove(desk):
    history(desk, 5, 3, 0)
    for role in ("admin", "operator", "manager"):
        app = seen(role)
        assert not app.exception
        assert not app.error
        assert metrics(app)["Would go now"] == "2"
        assert ("remove" in keys(app)) is (role == "admin")
    app = seen("editor")
    assert "does not include this page" in alerts(app)
    assert not app.metric


def test_nobody_sees_it_without_signing_in(desk):
    with browser_with(""):
        app = AppTest.from_file(str(PROJECT_ROOT / "pages" / "retention.py")).run()
    assert not app.metric
    assert "Sign in" in alerts(app)


def test_without_a_backup_it_says_where_to_make_one(desk):
    app = seen()
    assert "There is no backup yet" in said(app)
    assert keys(app) == {"to_backups"}
    assert "Keeps the newest backup of each of the last 1 day" in said(app)


def test_the_policy_the_figures_and_what_would_go_are_told(desk):
    history(desk, 5, 3, 0)
    app = seen()
    assert metrics(app) == {
        "Stay": "1",
        "Would go now": "2",
        "Back to": f"{desk.now():%-d %b %Y}",
        "Pinned": "0",
    }
    assert "This is final" in said(app)
    assert list(app.dataframe[0].value["Why it goes"]) == ["Older than the 1 day kept"] * 2
    (text,) = [field for field in app.text_input if field.key == "typed"]
    assert "remove 2" in text.label


def test_a_wrong_word_removes_nothing_and_the_right_one_starts_the_job(desk):
    *old, newest = history(desk, 5, 3, 0)
    app = seen()
    app.text_input(key="typed").input("yes")
    app.button(key="remove").click().run()
    assert "nothing was deleted" in alerts(app)
    assert jobs.recent(desk, ("retention",)) == []
    app.text_input(key="typed").input("remove 2")
    app.button(key="remove").click().run()
    assert not app.exception
    for _ in range(300):
        (job,) = jobs.recent(desk, ("retention",), 1)
        if job.state.ended:
            break
        time.sleep(0.1)
    assert job.result["removed"] == old
    assert [row.id for row in catalog.everything(desk)] == [newest]
    app = seen("operator")
    assert "2 backups removed" in said(app)
    assert "the policy keeps every backup there is" in said(app)


def test_a_hold_is_told_and_takes_the_button_away(desk):
    history(desk, 5, 3, 0)
    job = jobs.create(desk, ROOT, "backup")
    with pytest.raises(ZeroDivisionError):
        jobs.run(desk, job, lambda _handle: 1 / 0)
    app = seen()
    assert "Nothing is removed for now. The last backup did not succeed" in alerts(app)
    assert "remove" not in keys(app)
    assert metrics(app)["Would go now"] == "2"


def test_a_hold_that_a_person_may_pass_keeps_the_button_and_asks_to_look(desk):
    history(desk, *range(20, 0, -1), 0)
    app = seen()
    assert "would go at once, though the policy is as it was" in alerts(app)
    (text,) = [field for field in app.text_input if field.key == "typed"]
    assert "that you have looked at the warning above" in text.label


def test_a_store_that_does_not_answer_holds_and_the_page_shows_what_it_knew(desk, monkeypatch):
    history(desk, 5, 3, 0)
    (desk.settings.instance_dir / "backups").rename(desk.settings.instance_dir / "away")
    (desk.settings.instance_dir / "backups").write_text("a file in the way")
    with write(desk.control) as connection:
        connection.exec_driver_sql("DELETE FROM desk_state WHERE key LIKE 'catalog:%'")
    app = seen()
    assert "The store can't be read" in alerts(app)
    assert metrics(app)["Stay"] == "1"
    assert "remove" not in keys(app)


def test_a_day_lists_its_backups_with_their_reasons_and_opens_them(desk):
    old, _newer, _newest = history(desk, 5, 3, 0)
    day = (desk.now() - timedelta(days=5)).date()
    app = seen(day=day.isoformat())
    assert f"{day:%A} {day.day} {day:%B %Y}" in said(app)
    assert "older than the 1 day kept" in said(app)
    assert {f"open_{old}", f"pin_{old}", "close_day"} <= keys(app)
    assert f"pin_{old}" not in keys(seen("manager", day=day.isoformat()))


@pytest.mark.parametrize("day", ["yesterday", "2026-13-45", "", "1999-01-01", "x" * 3000])
def test_a_day_that_is_none_opens_nothing(desk, day):
    history(desk, 5, 0)
    app = seen(day=day)
    assert not app.exception
    assert "close_day" not in keys(app)


def test_pinning_needs_a_note_and_is_taken_back_by_a_button(desk):
    old, _newest = history(desk, 5, 0)
    day = (desk.now() - timedelta(days=5)).date().isoformat()
    app = seen("operator", day=day)
    app.button(key=f"pin_{old}").click().run()
    assert "A pin needs a note" in alerts(app)
    app.text_input(key=f"note_{old}").input("Before *the* <b>move</b>")
    app.button(key=f"pin_{old}").click().run()
    assert catalog.find(desk, old).pin.note == "Before *the* <b>move</b>"
    assert "\\*the\\* \\<b\\>move" in "".join(text.value for text in app.markdown)
    assert metrics(app)["Would go now"] == "0"
    app.button(key=f"unpin_{old}").click().run()
    assert catalog.find(desk, old).pin is None


def test_while_a_backup_runs_nothing_can_be_removed(desk):
    history(desk, 5, 3, 0)
    jobs.create(desk, ROOT, "backup", lock=retention.LOCK)
    app = seen()
    assert app.button(key="remove").disabled


DAY = datetime(2026, 11, 3, 2, tzinfo=UTC)


def _decision(keep: bool = True, reason: str = "newest of its day", **more) -> Decision:
    return Decision(row(DAY, **more), keep, (reason,))


@pytest.mark.parametrize(
    ("decisions", "mark", "look"),
    [
        ((_decision(),), DayMark.MADE, Look.KEPT),
        ((_decision(verified_at=DAY),), DayMark.VERIFIED, Look.VERIFIED),
        ((_decision(pin=Pin("x", "Ada", DAY), verified_at=DAY),), DayMark.VERIFIED, Look.PINNED),
        ((_decision(keep=False),), DayMark.MADE, Look.GOES),
        ((_decision(keep=False, verified_at=DAY), _decision()), DayMark.VERIFIED, Look.KEPT),
        ((_decision(verify_error="altered"),), DayMark.MADE, Look.DAMAGED),
        ((_decision(verify_error="altered"), _decision()), DayMark.MADE, Look.KEPT),
        ((), DayMark.FAILED, Look.FAILED),
        ((), DayMark.MISSING, Look.MISSING),
        ((), DayMark.BEFORE, Look.NOTHING),
    ],
)
def test_a_square_shows_what_is_there_after_the_next_run(decisions, mark, look):
    day = CalendarDay(DAY.date(), mark, decisions)
    assert look_of(day, DAY.date()) is look
    assert words_of(day).startswith("Tuesday 3 November 2026: ")


def test_an_empty_day_before_the_days_that_are_kept_is_no_alarm():
    day = CalendarDay(DAY.date(), DayMark.MISSING)
    assert look_of(day, DAY.date() + timedelta(days=1)) is Look.NOTHING


def test_a_day_in_words_names_each_backup_and_why(desk):
    day = CalendarDay(
        DAY.date(),
        DayMark.VERIFIED,
        (_decision(keep=False, reason="older"), _decision(verified_at=DAY)),
    )
    assert words_of(day) == (
        "Tuesday 3 November 2026: 2 backups, 1 verified\n"
        "02:00 stays: newest of its day\n"
        "02:00 goes: older"
    )


def test_the_calendar_has_every_day_of_twelve_months(desk):
    history(desk, 400, 5, 0)
    found = retention.calendar(desk, ROOT)
    today = desk.now().date()
    assert found.days[-1].day == today
    assert found.days[0].day == first_day(today, 12)
    assert found.days[0].day.day == 1
    assert [day.day for day in found.days] == [
        found.days[0].day + timedelta(days=n) for n in range(len(found.days))
    ]
    assert sum(len(day.decisions) for day in found.days) == 2
    months = list(retention_calendar._months([(day, Look.KEPT) for day in found.days], UTC))
    assert len(months) == 12
    assert sum(len(month["days"]) for month in months) == len(found.days)


def test_a_backup_made_late_at_night_in_utc_belongs_to_the_viewers_next_day(desk, monkeypatch):
    late = (desk.now() - timedelta(days=3)).replace(hour=23, minute=30, second=0, microsecond=0)
    fill(desk.settings.instance_dir / "backups", [manifest_at(late, 1)])
    backup.refresh(desk, ROOT)
    berlin = ZoneInfo("Europe/Berlin")
    assert [day.day for day in retention.calendar(desk, ROOT).days if day.decisions] == [
        late.date()
    ]
    found = retention.calendar(desk, ROOT, zone=berlin)
    (made,) = [day for day in found.days if day.decisions]
    assert made.day == late.date() + timedelta(days=1)
    assert made.mark is DayMark.MADE and found.days[-1].day == desk.now().astimezone(berlin).date()
    assert late.astimezone(berlin).strftime("%H:%M stays") in words_of(made, berlin)
    (strip,) = [day for day in backup.days(desk, ROOT, 9, berlin) if day.snapshots]
    assert strip.day == made.day
    monkeypatch.setattr(ContextProxy, "timezone", "Europe/Berlin")
    assert "days are those of Europe/Berlin" in said(seen()).replace("\\", "")


def test_the_word_to_type_is_named_without_stars_that_a_screen_reader_would_say(desk):
    history(desk, 400, 5, 0)
    (field,) = [field for field in seen().text_input if field.key == "typed"]
    assert field.label == "Type “remove 2” to confirm"
