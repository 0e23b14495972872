"""Alerts: when trouble becomes one, when it ends, who took it up, and what is kept of it."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import func, insert, select, update

from db.control import alert_changes, jobs, snapshots
from db.control import alerts as alerts_table
from db.engine import read, write
from services import monitor
from services.core import audit
from services.core.context import Context
from services.core.errors import Conflict, Invalid
from services.core.settings import PROJECT_ROOT
from services.watch import alerts, responses
from services.watch.alerting import Alert, AlertState, Change, Condition, conditions, judge
from services.watch.judging import judge as judge_posture
from services.watch.posture import Tone
from services.watch.rules import RULES, rule_of
from tests.services.test_watch import add_job, add_snapshot
from tests.services.test_watch_posture import CASES, GOOD, NOW, snapshot, trouble

FAILED = Condition("backup.failed", "", Tone.BAD, "The last backup failed.", "Mend it.")
AWAY = Condition("store.unreachable", "", Tone.BAD, "The store is away.", "Wait.")
DISK = Condition("disk.full", "shop", Tone.WARNING, "The disk is full.", "Free some space.")


def opened(each: Condition, ago: timedelta = timedelta(), **more) -> Alert:
    """An alert about it that was opened, and last seen, so long ago."""
    at = NOW - ago
    values = {"state": AlertState.FIRING, "opened_at": at, "seen_at": at, "fired_at": at}
    return Alert(
        1,
        each.rule,
        each.subject,
        **{**values, "severity": each.severity, **more},
        message=each.message,
        hint=each.hint,
        since=at,
    )


def become(each: Condition | None, alert: Alert | None) -> list[tuple[AlertState, bool]]:
    found = judge([each] if each else [], [alert] if alert else [], NOW)
    return [(change.to, change.tells) for change in found]


@pytest.mark.parametrize(
    ("each", "alert", "changes"),
    [
        (FAILED, None, [(AlertState.FIRING, True)]),
        (FAILED, opened(FAILED), []),
        (None, opened(FAILED), [(AlertState.RESOLVED, True)]),
        (AWAY, None, [(AlertState.PENDING, False)]),
        (AWAY, opened(AWAY, timedelta(minutes=9), state=AlertState.PENDING), []),
        (
            AWAY,
            opened(AWAY, timedelta(minutes=10), state=AlertState.PENDING),
            [(AlertState.FIRING, True)],
        ),
        (None, opened(AWAY, state=AlertState.PENDING), [(AlertState.RESOLVED, False)]),
        (None, opened(DISK, timedelta(minutes=59)), []),
        (None, opened(DISK, timedelta(minutes=60)), [(AlertState.RESOLVED, True)]),
        (replace(DISK, severity=Tone.BAD), opened(DISK), [(AlertState.FIRING, True)]),
        (DISK, opened(replace(DISK, severity=Tone.BAD)), []),
        (FAILED, opened(FAILED, muted_until=NOW + timedelta(hours=1)), []),
        (FAILED, opened(FAILED, muted_until=NOW), [(AlertState.FIRING, True)]),
        (replace(FAILED, held=True), None, []),
        (replace(FAILED, held=True), opened(FAILED, timedelta(days=9)), []),
    ],
    ids=[
        "new trouble fires",
        "and is told once",
        "and ends when it is gone",
        "what may pass by itself is pending first",
        "for as long as its rule waits",
        "and fires then",
        "what passed by itself is never told",
        "a disk around its limit is one trouble",
        "until it was fine for an hour",
        "what gets worse is told again",
        "what gets better is not",
        "what is muted stays silent",
        "until the silence ends",
        "what a worse trouble hides opens nothing",
        "and ends nothing",
    ],
)
def test_the_state_of_an_alert_follows_from_what_is_there(each, alert, changes):
    assert become(each, alert) == changes


def test_only_the_rules_that_were_looked_at_change():
    known = [opened(FAILED), opened(DISK, timedelta(days=1))]
    (change,) = judge([AWAY], known, NOW, ["backup.failed"])
    assert change.alert == known[0] and change.to is AlertState.RESOLVED
    assert judge([], known, NOW, ["backup.failed"], ends=False) == ()


def test_every_finding_that_is_not_mere_news_is_some_alert_with_a_name_of_its_own():
    findings = [
        finding
        for case in CASES
        for finding in judge_posture(case[1], NOW).findings
        if finding.tone is not Tone.NOTE
    ]
    names = {finding.code: rule_of(finding) for finding in findings}
    assert len(names) > 12 and all(names.values())
    assert len({rule.name for rule in names.values()}) == len(names)
    assert all(RULES[rule.name] is rule for rule in names.values())


def test_the_document_names_every_rule_and_no_other():
    text = (PROJECT_ROOT / "docs" / "alerts.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([\w.-]+)` \|", text, re.MULTILINE)) == set(RULES)


def test_an_alert_does_not_end_because_a_worse_trouble_hides_what_it_is_about():
    old = replace(GOOD, store_shares_disk=True, damaged=1)
    worse = replace(old, store_trouble=trouble(), failed_proofs=(trouble(1),))
    before, now = (conditions(judge_posture(facts, NOW)) for facts in (old, worse))
    known = [opened(each) for each in before]
    changes = judge(now, known, NOW)
    assert AlertState.RESOLVED not in {change.to for change in changes}
    assert {change.condition.rule for change in changes} == {"store.unreachable", "drill.failed"}


def test_a_backup_that_is_too_old_is_told_beside_one_that_failed_and_may_be_muted():
    facts = replace(
        GOOD, newest=snapshot(30), newest_trusted=snapshot(30), failed_backup=trouble(1)
    )
    rules = {each.rule for each in conditions(judge_posture(facts, NOW)) if not each.held}
    assert rules == {"backup.failed", "backup.stale"}


@pytest.fixture
def desk(ctx, clock) -> Context:
    """A desk with somebody to tell, who can't be reached: nothing is sent in these tests."""
    settings = ctx.settings.model_copy(update={"alert_urls": SecretStr("json://127.0.0.1:9/")})
    return replace(ctx, clock=clock, settings=settings)


def kept(ctx: Context, admin, alert: Alert) -> list[tuple[str, str]]:
    """What happened to an alert, and whether it is told."""
    found = alerts.changes(ctx, admin, [alert.id])[alert.id]
    return [(change.what.value, change.delivery) for change in found]


def test_an_alert_is_one_row_from_its_first_sight_to_its_end_and_a_new_one_afterwards(
    desk, clock, admin
):
    for minutes in (0, 6, 6):
        clock.forward(minutes=minutes)
        alerts.observe(desk, [FAILED])
    (alert,) = alerts.standing(desk, admin)
    assert (alert.fired_at, alert.seen_at) == (clock() - timedelta(minutes=12), clock())
    alerts.observe(desk, [])
    assert alerts.standing(desk, admin) == ()
    ((ended,), total) = alerts.past(desk, admin)
    assert total == 1 and ended.id == alert.id and ended.resolved_at == clock()
    assert kept(desk, admin, ended) == [("firing", "due"), ("resolved", "due")]
    alerts.observe(desk, [FAILED])
    assert alerts.standing(desk, admin)[0].id > alert.id


def test_trouble_that_passed_by_itself_is_kept_and_in_nobodys_way(desk, clock, admin):
    alerts.observe(desk, [AWAY])
    (pending,) = alerts.standing(desk, admin)
    assert pending.state is AlertState.PENDING and pending.fired_at is None
    clock.forward(minutes=3)
    alerts.observe(desk, [])
    assert alerts.past(desk, admin) == ([], 0)
    assert kept(desk, admin, pending) == [("pending", "none"), ("resolved", "none")]


def test_processes_that_look_at_once_open_one_alert_and_one_of_them_tells(desk, admin):
    ready = threading.Barrier(4)

    def look() -> None:
        ready.wait()
        alerts.observe(desk, [FAILED, DISK])

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = alerts.standing(desk, admin)
    assert sorted(alert.rule for alert in found) == ["backup.failed", "disk.full"]
    with read(desk.control) as connection:
        assert connection.scalar(select(func.count()).select_from(alert_changes)) == 2


def test_nothing_is_written_while_nothing_changes(desk, clock):
    alerts.observe(desk, [FAILED])
    clock.forward(minutes=1)
    with write(desk.control):  # a second writer would wait, and then fail
        assert alerts.observe(desk, [FAILED]) == ()


def test_whoever_takes_an_alert_up_is_kept_with_what_they_said(desk, clock, operator, admin):
    alerts.observe(desk, [FAILED])
    (alert,) = alerts.standing(desk, admin)
    taken = responses.acknowledge(desk, operator, alert.id, "  The disk\x00 is on its way  ")
    assert (taken.acknowledged_by, taken.acknowledged_at) == ("Operator", clock())
    assert taken.comment == "The disk\ufffd is on its way"
    (event,) = audit.events(desk, admin, audit.AuditFilter(actions=("alert.acknowledge",))).events
    assert event.actor_name == "Operator" and "Backup failed" in event.summary
    assert event.details == {"rule": "backup.failed", "subject": ""}
    assert kept(desk, admin, alert) == [("firing", "due"), ("acknowledged", "none")]


def test_what_gets_worse_has_to_be_taken_up_again(desk, operator, admin):
    alerts.observe(desk, [DISK])
    (alert,) = alerts.standing(desk, admin)
    responses.acknowledge(desk, operator, alert.id, "I know.")
    alerts.observe(desk, [replace(DISK, severity=Tone.BAD, message="The disk is 98% full.")])
    (worse,) = alerts.standing(desk, admin)
    assert worse.id == alert.id and worse.severity is Tone.BAD and worse.acknowledged_at is None
    assert worse.message == "The disk is 98% full."
    assert kept(desk, admin, alert)[-1] == ("firing", "due")


def test_a_muted_alert_is_silent_until_its_time_and_is_told_then_if_it_is_still_so(
    desk, clock, operator, admin
):
    alerts.observe(desk, [FAILED])
    (alert,) = alerts.standing(desk, admin)
    muted = responses.mute(desk, operator, alert.id, clock() + timedelta(hours=2))
    assert muted.is_muted(clock()) and muted.muted_by == "Operator"
    assert kept(desk, admin, alert) == [("firing", "none"), ("muted", "none")]
    clock.forward(hours=1)
    alerts.observe(desk, [])
    alerts.observe(desk, [FAILED])
    (again,) = alerts.standing(desk, admin)
    assert again.is_muted(clock()), "the same trouble that comes back is muted still"
    assert kept(desk, admin, again) == [("firing", "none")]
    clock.forward(hours=1)
    alerts.observe(desk, [FAILED])
    (told,) = alerts.standing(desk, admin)
    assert told.muted_until is None and kept(desk, admin, told)[-1] == ("firing", "due")
    actions = audit.AuditFilter(actions=("alert.mute",))
    (event,) = audit.events(desk, admin, actions).events
    assert "Backup failed" in event.summary and event.actor_name == "Operator"


def test_an_end_is_not_told_to_whoever_never_heard_of_the_beginning(desk, clock, operator, admin):
    alerts.observe(desk, [FAILED])
    (alert,) = alerts.standing(desk, admin)
    responses.mute(desk, operator, alert.id, clock() + timedelta(hours=2))
    responses.unmute(desk, operator, alert.id)
    alerts.observe(desk, [])
    assert kept(desk, admin, alert)[-2:] == [("unmuted", "none"), ("resolved", "none")]


@pytest.mark.parametrize("days", [0, -1, 31])
def test_no_alert_is_muted_for_ever_or_into_the_past(desk, clock, operator, admin, days):
    alerts.observe(desk, [FAILED])
    (alert,) = alerts.standing(desk, admin)
    with pytest.raises(Invalid, match="within the next 30 days"):
        responses.mute(desk, operator, alert.id, clock() + timedelta(days=days))
    assert not alerts.standing(desk, admin)[0].is_muted(clock())


def test_an_alert_that_ended_meanwhile_or_is_not_there_can_not_be_taken_up(desk, operator, admin):
    alerts.observe(desk, [FAILED])
    (alert,) = alerts.standing(desk, admin)
    with pytest.raises(Invalid, match="500 characters"):
        responses.acknowledge(desk, operator, alert.id, "x" * 501)
    alerts.observe(desk, [])
    with pytest.raises(Conflict, match="has ended meanwhile"):
        responses.acknowledge(desk, operator, alert.id)
    with pytest.raises(Invalid, match="no such alert"):
        responses.unmute(desk, operator, 99)


def test_another_tenant_of_the_same_database_has_alerts_of_its_own(desk, operator, admin):
    other = replace(desk, settings=desk.settings.model_copy(update={"instance_id": "other"}))
    alerts.observe(desk, [FAILED])
    (alert,) = alerts.standing(desk, admin)
    alerts.observe(other, [])
    assert alerts.standing(other, admin) == () and alerts.standing(desk, admin) == (alert,)
    assert alerts.changes(other, admin, [alert.id]) == {}
    with pytest.raises(Invalid):
        responses.acknowledge(other, operator, alert.id)


def test_one_trouble_can_not_be_two_open_rows(desk):
    alerts.observe(desk, [FAILED])
    with pytest.raises(Exception, match="UNIQUE"), write(desk.control) as connection:
        row = connection.execute(select(alerts_table)).one()._asdict()
        row.pop("id")
        connection.execute(insert(alerts_table).values(row))


def backed_up(ctx: Context, at: datetime) -> None:
    add_snapshot(ctx, f"{at:%Y%m%dT%H%M%S}Z-0000000a", at)
    with write(ctx.control) as connection:
        connection.execute(update(snapshots).values(read_back_at=at, verified_at=at))
        connection.execute(update(snapshots).values(manifest_sha256="0" * 64, indexed_at=ctx.now()))


@pytest.fixture
def watched(desk, monkeypatch) -> Context:
    """A desk whose store is as the index says."""
    monkeypatch.setattr(monitor.catalog, "refresh_if_old", lambda _ctx: None)
    monkeypatch.setattr(monitor.notify, "deliver", lambda _ctx: None)
    return desk


def rules_now(ctx: Context, admin) -> set[str]:
    monitor.evaluate(ctx, admin)
    return {alert.rule for alert in alerts.standing(ctx, admin) if alert.state is AlertState.FIRING}


def test_silence_is_an_alarm_no_backup_for_26_hours_fires_though_nothing_ran(
    watched, shop, clock, admin
):
    backed_up(watched, clock())
    clock.forward(hours=26)
    assert "backup.stale" not in rules_now(watched, admin)
    clock.forward(minutes=1)
    assert "backup.stale" in rules_now(watched, admin)
    backed_up(watched, clock())
    assert "backup.stale" not in rules_now(watched, admin)


def test_a_desk_that_never_made_a_backup_is_told_after_26_hours_too(watched, shop, clock, admin):
    assert "backup.none" not in rules_now(watched, admin)
    clock.forward(hours=26)
    assert "backup.none" in rules_now(watched, admin)


def test_a_backup_whose_process_was_killed_fires_at_the_next_look(watched, shop, clock, admin):
    add_job(watched, "killed", "running", clock() - timedelta(hours=1))
    with write(watched.control) as connection:
        gone = {"ended_at": None, "pid": 2**22 + 1}
        connection.execute(update(jobs).where(jobs.c.id == "killed").values(**gone))
    assert "backup.failed" in rules_now(watched, admin)


def test_a_page_that_looks_opens_the_alert_it_shows(watched, shop, clock, admin):
    add_job(watched, "bad", "failed", clock(), error="No space.")
    _facts, posture = monitor.look(watched, admin)
    (alert,) = [a for a in alerts.standing(watched, admin) if a.rule == "backup.failed"]
    assert alert.message in {finding.text for finding in posture.findings}
    assert alerts.changes(watched, admin, [alert.id])[alert.id][0].what is Change.FIRING
