"""Messages go out once, to whoever has not got them, and nothing that can't be sent is lost."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from db.control import alert_changes
from db.control import alerts as alerts_table
from db.engine import read, write
from services import backup, drill, monitor
from services.core import audit, logs
from services.core.context import Context, open_context
from services.core.errors import Broken, DeskError, Misconfigured
from services.core.settings import load_settings
from services.watch import alerts, notify, responses, targets
from services.watch.alerting import Condition
from services.watch.notify import Beat
from services.watch.posture import Tone
from tests.drills import flip, furnished_desk, stored

FAILED = Condition("backup.failed", "", Tone.BAD, "The last backup failed.", "Mend it.")
DISK = Condition("disk.full", "shop", Tone.WARNING, "The disk is 95% full.", "Free some space.")
PASSWORD, TOKEN = "hunter2hunter2", "t0ken-in-the-path"
CLOSED = "json://127.0.0.1:9/"


@dataclass
class Inbox:
    """A server that takes messages, or does not."""

    port: int = 0
    status: int = 200
    messages: list[dict] = field(default_factory=list)
    pings: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"json://desk:{PASSWORD}@127.0.0.1:{self.port}/{TOKEN}"

    @property
    def titles(self) -> list[str]:
        return [message["title"].partition(" (")[0] for message in self.messages]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    box = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if box.status == 200:
                box.messages.append(json.loads(body))
            self.send_response(box.status)
            self.end_headers()

        def do_GET(self) -> None:
            box.pings.append(self.path)
            self.send_response(box.status)
            self.end_headers()

        def log_message(self, *_said: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        box.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield box
        server.shutdown()


def telling(ctx: Context, *addresses: str, **more: object) -> Context:
    """The same desk with these targets."""
    urls = SecretStr(",".join(addresses)) if addresses else None
    return replace(ctx, settings=ctx.settings.model_copy(update={"alert_urls": urls, **more}))


@pytest.fixture
def desk(ctx, clock, inbox) -> Context:
    return telling(replace(ctx, clock=clock), inbox.address)


def deliveries(ctx: Context) -> list[str]:
    with read(ctx.control) as connection:
        return list(
            connection.scalars(select(alert_changes.c.delivery).order_by(alert_changes.c.id))
        )


def errors(ctx: Context) -> str:
    with read(ctx.control) as connection:
        return " ".join(filter(None, connection.scalars(select(alert_changes.c.delivery_error))))


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


@pytest.fixture
def made(tmp_path, tmp_path_factory, inbox) -> Iterator[tuple[Context, str]]:
    """A desk with a shop, a backup and somebody to tell, and the backup's id."""
    manifest = furnished_desk(tmp_path, tmp_path_factory, vectors=False)
    context = open_context(
        load_settings(
            env_file=tmp_path / "none.env",
            desk_home=tmp_path / "desk",
            shop_root=tmp_path / "shop",
            alert_urls=inbox.address,
            heartbeat_url=f"http://127.0.0.1:{inbox.port}/ping/{TOKEN}?a=1",
        )
    )
    yield context, manifest.id
    context.close()


def test_a_failed_drill_fires_an_alert_at_once_and_one_that_passes_ends_it(
    made, inbox, operator, admin
):
    ctx, snapshot_id = made
    backup.refresh(ctx, admin)
    manifest = backup.manifest(ctx, admin, snapshot_id)
    broken = stored(ctx, next(c.key for c in manifest.components if c.name.startswith("database")))
    whole = broken.read_bytes()
    flip(broken)
    with pytest.raises(Broken, match="test restore of .* failed"):
        drill.run(ctx, operator, snapshot_id)
    assert inbox.titles == ["At risk: Test restore failed"]
    assert snapshot_id in inbox.messages[0]["message"]
    monitor.evaluate(ctx, admin)
    assert inbox.titles.count("At risk: Test restore failed") == 1, "it is the same alert"
    assert "At risk: Newest backup damaged" not in inbox.titles, "nor the same trouble twice"
    broken.write_bytes(whole)
    drill.run(ctx, operator, snapshot_id)
    monitor.evaluate(ctx, admin)
    assert "Resolved: Test restore failed" in inbox.titles
    assert all(alert.rule != "drill.failed" for alert in alerts.standing(ctx, admin))


def test_a_backup_tells_the_dead_mans_switch_and_its_failure_fires_at_once(
    made, inbox, operator, admin, monkeypatch
):
    ctx, _id = made
    root = Path(ctx.settings.store_url.removeprefix("file:"))
    aside = root.rename(root.with_name("away"))
    root.write_text("no folder")
    with pytest.raises((DeskError, OSError)):
        backup.run(ctx, operator)
    assert inbox.pings == [f"/ping/{TOKEN}/start?a=1", f"/ping/{TOKEN}/fail?a=1"]
    assert inbox.titles == ["At risk: Backup failed"]
    root.unlink()
    aside.rename(root)
    backup.run(ctx, operator)
    assert inbox.pings[2:] == [f"/ping/{TOKEN}/start?a=1", f"/ping/{TOKEN}?a=1"]
    assert inbox.titles == ["At risk: Backup failed", "Resolved: Backup failed"]
    beat = notify.last_beat(ctx, admin)
    assert beat is not None and beat.beat is Beat.SUCCESS and beat.error == ""


def test_a_backup_succeeds_though_nobody_can_be_told(made, inbox, operator, admin):
    ctx, _id = made
    ctx = telling(ctx, CLOSED, heartbeat_url=SecretStr(f"http://127.0.0.1:9/{TOKEN}"))
    alerts.observe(ctx, [FAILED])
    assert backup.run(ctx, operator).result["snapshot"]
    beat = notify.last_beat(ctx, admin)
    assert beat is not None and "can't be reached" in beat.error and TOKEN not in beat.error
    assert "onnection" in errors(ctx)


def test_a_database_that_can_not_keep_alerts_is_no_reason_to_fail_a_backup(
    made, operator, monkeypatch
):
    ctx, _id = made

    def breaks(*_what: object, **_more: object) -> None:
        raise RuntimeError("no alerts today")

    monkeypatch.setattr(alerts, "observe", breaks)
    assert backup.run(ctx, operator).result["snapshot"]


def test_the_monitor_of_cron_sends_what_is_due_and_says_so(made, inbox, admin, capsys, monkeypatch):
    ctx, _id = made
    for name, value in ctx.settings.as_environment().items():
        monkeypatch.setenv(name, value)
    alerts.observe(ctx, [FAILED])
    assert monitor.main(["--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["alerts"]
    assert answer["delivered"] == len(inbox.messages) and answer["failed"] == 0
    assert inbox.titles[:2] == ["At risk: Backup failed", "Resolved: Backup failed"]
    inbox.status = 500
    alerts.observe(ctx, [FAILED])
    assert monitor.main([]) == 0
    assert "could not be delivered. JSON (target 1)" in capsys.readouterr().err
    assert [alert.rule for alert in alerts.standing(ctx, admin)] != ["backup.failed"]
