"""Messages go out once, to whoever has not got them, and nothing that can't be sent is lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from db.control import alert_changes
from db.control import alerts as alerts_table
from db.engine import read, write
from services.core import audit, logs
from services.core.context import Context, open_context
from services.core.errors import Misconfigured
from services.core.loading import load_settings
from services.watch import alerts, notify, responses, targets
from services.watch.alerting import Condition
from services.watch.notify import Beat
from services.watch.posture import Tone
from tests.services.inbox import CLOSED, FAILED, PASSWORD, TOKEN, Inbox, errors, listening, telling


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with listening() as box:
        yield box


DISK = Condition("disk.full", "shop", Tone.WARNING, "The disk is 95% full.", "Free some space.")


@pytest.fixture
def desk(ctx, clock, inbox) -> Context:
    return telling(replace(ctx, clock=clock), inbox.address)


def deliveries(ctx: Context) -> list[str]:
    with read(ctx.control) as connection:
        return list(
            connection.scalars(select(alert_changes.c.delivery).order_by(alert_changes.c.id))
        )


def test_a_message_says_what_it_is_about_since_when_what_to_do_and_where_to_look(desk, inbox):
    desk = telling(desk, inbox.address, desk_url="https://desk.example.org/")
    alerts.observe(desk, [FAILED])
    assert notify.deliver(desk) == notify.Delivery(1, 0)
    alerts.observe(desk, [])
    notify.deliver(desk)
    fired, over = inbox.messages
    assert fired["title"].startswith("At risk: Backup failed (default, development, ")
    assert fired["type"] == "failure" and over["type"] == "success"
    for part in (
        "The last backup failed.",
        "Mend it.",
        "Since 2026-11-22 09:00 UTC.",
        "https://desk.example.org/monitoring",
    ):
        assert part in fired["message"]
    assert over["title"].startswith("Resolved: Backup failed")


def test_each_change_is_sent_once_though_many_processes_deliver_at_once(desk, inbox, clock):
    alerts.observe(desk, [FAILED, DISK])
    ready = threading.Barrier(4)
    others = [open_context(desk.settings, clock) for _ in range(4)]

    def work(other: Context) -> None:
        ready.wait()
        notify.deliver(other)

    threads = [threading.Thread(target=work, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.close()
    assert sorted(inbox.titles) == ["At risk: Backup failed", "Warning: Disk nearly full"]
    assert deliveries(desk) == ["delivered", "delivered"]
    notify.deliver(desk)
    assert len(inbox.messages) == 2


def test_two_desks_on_postgresql_open_one_alert_and_send_one_message(
    tmp_path, inbox, clock, postgres_server, admin
):
    settings = load_settings(
        env_file=tmp_path / "none.env",
        desk_home=tmp_path / "desk",
        control_database_url=postgres_server.make_database(),
        alert_urls=inbox.address,
    )
    desks = [open_context(settings, clock) for _ in range(3)]
    ready = threading.Barrier(3)

    def work(one: Context) -> None:
        ready.wait()
        alerts.observe(one, [FAILED])
        notify.deliver(one)

    threads = [threading.Thread(target=work, args=(one,)) for one in desks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (alert,) = alerts.standing(desks[0], admin)
    notify.beat(desks[0], Beat.START)
    assert inbox.titles == ["At risk: Backup failed"] and deliveries(desks[0]) == ["delivered"]
    with pytest.raises(IntegrityError), write(desks[0].control) as connection:
        row = connection.execute(select(alerts_table)).one()._asdict()
        connection.execute(insert(alerts_table).values({**row, "id": alert.id + 1}))
    for one in desks:
        one.close()


def test_what_could_not_be_sent_is_kept_and_tried_again_later_and_later(desk, inbox, clock):
    inbox.status = 500
    alerts.observe(desk, [FAILED])
    waits = []
    for _ in range(9):
        assert notify.deliver(desk).failed == 1 and "500" in errors(desk)
        with read(desk.control) as connection:
            again = connection.scalar(select(alert_changes.c.next_try_at))
        waits.append((again - clock()) // timedelta(minutes=1))
        clock.forward(seconds=(again - clock()).total_seconds() - 1)
        assert notify.deliver(desk) == notify.Delivery()
        clock.forward(seconds=1)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    inbox.status = 200
    assert notify.deliver(desk).delivered == 1
    assert len(inbox.messages) == 1 and deliveries(desk) == ["delivered"] and not errors(desk)


def test_a_change_that_could_not_be_told_for_a_day_is_told_no_more(desk, inbox, clock):
    inbox.status = 500
    alerts.observe(desk, [FAILED])
    notify.deliver(desk)
    inbox.status = 200
    clock.forward(hours=24, seconds=1)
    assert notify.deliver(desk) == notify.Delivery()
    assert inbox.messages == [] and deliveries(desk) == ["given up"] and "500" in errors(desk)


def test_only_the_target_that_did_not_take_a_message_gets_it_again(desk, inbox, clock):
    desk = telling(desk, inbox.address, CLOSED)
    alerts.observe(desk, [FAILED])
    found = notify.deliver(desk)
    assert found.failed == 1 and found.error.startswith("JSON (target 2): ")
    clock.forward(minutes=1)
    desk = telling(desk, inbox.address, inbox.address + "/second")
    assert notify.deliver(desk).delivered == 1
    assert len(inbox.messages) == 2


def test_whoever_heard_of_the_beginning_hears_of_the_end_though_it_was_muted_in_between(
    desk, inbox, clock, operator, admin
):
    desk = telling(desk, inbox.address, CLOSED)
    alerts.observe(desk, [FAILED])
    notify.deliver(desk)
    (alert,) = alerts.standing(desk, admin)
    responses.mute(desk, operator, alert.id, clock() + timedelta(hours=1))
    clock.forward(minutes=5)
    assert notify.deliver(desk) == notify.Delivery(), "what is muted is not tried again"
    responses.unmute(desk, operator, alert.id)
    alerts.observe(desk, [])
    notify.deliver(desk)
    assert inbox.titles == ["At risk: Backup failed", "Resolved: Backup failed"]


def test_an_end_is_not_told_before_the_beginning_was(desk, inbox, clock):
    inbox.status = 503
    alerts.observe(desk, [FAILED])
    notify.deliver(desk)
    inbox.status = 200
    alerts.observe(desk, [])
    assert notify.deliver(desk) == notify.Delivery() and inbox.messages == []
    clock.forward(minutes=1)
    assert notify.deliver(desk).delivered == 2
    assert inbox.titles == ["At risk: Backup failed", "Resolved: Backup failed"]


def test_what_a_process_that_died_was_sending_is_sent_by_another_one(
    desk, inbox, clock, monkeypatch
):
    alerts.observe(desk, [FAILED])

    def dies(*_what: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(targets, "send", dies)
        with pytest.raises(KeyboardInterrupt):
            notify.deliver(desk)
    assert notify.deliver(desk) == notify.Delivery(), "somebody may be sending it"
    clock.forward(minutes=2)
    assert notify.deliver(desk).delivered == 1 and len(inbox.messages) == 1


def test_without_anybody_to_tell_nothing_piles_up_for_whoever_comes_later(desk, inbox, clock):
    alone = telling(desk)
    alerts.observe(alone, [FAILED])
    assert notify.deliver(alone) == notify.Delivery()
    assert notify.deliver(desk) == notify.Delivery() and deliveries(desk) == ["none"]
    alerts.observe(desk, [FAILED, DISK])
    notify.deliver(alone)  # the addresses were taken out again
    assert deliveries(desk) == ["none", "none"] and inbox.messages == []


def test_no_part_of_an_address_is_in_what_is_kept_said_or_logged(
    desk, inbox, clock, operator, admin, caplog
):
    inbox.status = 500
    addresses = (
        inbox.address,
        f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}",
        f"nosuch://desk:{PASSWORD}@host/{TOKEN}",
        f"json://desk:{PASSWORD}@127.0.0.1:9/{TOKEN}",
    )
    desk = telling(desk, *addresses[:1], *addresses[2:], addresses[1].replace("slack", "nosuch"))
    alerts.observe(desk, [FAILED])
    caplog.set_level(logging.DEBUG)
    for name in logs.TELLTALES:  # as `configure` does
        caplog.set_level(logging.WARNING, name)
    notify.deliver(desk)
    outcomes = notify.send_test(desk, operator)
    assert len(outcomes) == 4 and all(outcome.error for outcome in outcomes)
    with read(desk.control) as connection:
        stored_rows = str(connection.execute(select(alert_changes)).all())
    log = str(audit.events(desk, admin, audit.AuditFilter()).events)
    for secret in (PASSWORD, TOKEN, "T1JJ3T3L2", "A1BRTD4JD"):
        for said in (stored_rows, log, str(outcomes), caplog.text, repr(desk.settings)):
            assert secret not in said


def test_a_test_message_says_what_came_back_from_each_target(desk, inbox, operator, admin):
    desk = telling(desk, inbox.address, CLOSED, "nosuch://here")
    good, closed, unknown = notify.send_test(desk, operator)
    assert good.name == "JSON (target 1)" and good.error == ""
    assert "onnection" in closed.error and "no address that apprise knows" in unknown.error
    assert inbox.messages[0]["message"].startswith("Operator sent this")
    (event,) = audit.events(desk, admin, audit.AuditFilter(actions=("alert.test",))).events
    assert "1 of 3 targets took it" in event.summary and event.outcome == "failed"
    with pytest.raises(Misconfigured, match="ALERT_URLS is not set"):
        notify.send_test(telling(desk), operator)


def test_a_target_that_never_answers_holds_nobody_up_for_ever(desk, monkeypatch):
    silent = threading.Event()
    monkeypatch.setattr(targets, "_send", lambda *_what: silent.wait())
    monkeypatch.setattr(targets, "SECONDS", 0.05)
    alerts.observe(desk, [FAILED])
    assert "did not answer in time" in notify.deliver(desk).error
    silent.set()


@pytest.mark.parametrize(
    ("name", "value", "may"),
    [
        ("ALERT_URLS", f"me@example.org:{PASSWORD}", "apprise addresses"),
        ("HEARTBEAT_URL", f"ftp://host/{PASSWORD}", "https://HOST/PATH"),
        ("HEARTBEAT_URL", f"https://host:x{PASSWORD}/", "https://HOST/PATH"),
    ],
)
def test_an_address_that_is_none_stops_the_start_without_being_shown(
    tmp_path, monkeypatch, name, value, may
):
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=name) as caught:
        load_settings(env_file=tmp_path / "none.env", desk_home=tmp_path)
    assert may in str(caught.value) and PASSWORD not in str(caught.value)


def test_addresses_are_separated_by_commas_and_may_hold_some(tmp_path):
    urls = "mailtos://u:p@host?to=a@b.c,d@e.f, slack://a/b/c ,json://host"
    settings = load_settings(env_file=tmp_path / "none.env", desk_home=tmp_path, alert_urls=urls)
    assert settings.alert_addresses == (
        "mailtos://u:p@host?to=a@b.c,d@e.f",
        "slack://a/b/c",
        "json://host",
    )
